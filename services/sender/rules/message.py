"""The bytes that go over the wire: one builder for every mail that we send (RFC 5322, RFC 2045, RFC 8058).

Never lets a value add a header, never writes a line above 998 octets, never encodes an identifier (RFC 2047 §5
forbids it, and a follow-up whose References are encoded loses its thread: reliability.md §0.7).
"""

from collections.abc import Sequence
from datetime import datetime
from email.headerregistry import Address, BaseHeader, HeaderRegistry, UnstructuredHeader
from email.message import EmailMessage
from email.policy import SMTP, SMTPUTF8, Policy

import msgspec

from libs.planning.render import Content, one_line

# RFC 5322 §2.1.1 wants 78; a longer single identifier stands alone on its line, which may have 998.
_LINE = 78


class Headers(msgspec.Struct, frozen=True, kw_only=True):
    """Everything above the body; addresses are bare, identifiers have their angle brackets."""

    sender: str
    sender_name: str | None
    recipient: str
    date: datetime
    message_id: str
    reference: str  # our signed token, for relays that rewrite Message-ID
    in_reply_to: str | None = None
    references: Sequence[str] = ()
    unsubscribe_url: str | None = None


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """A mail ready for SMTP: the envelope and the content with CRLF line ends, not yet dot-stuffed."""

    sender: str
    recipient: str
    content: bytes
    smtputf8: bool


class _Verbatim(BaseHeader):
    """A header that is written as it is: words are folded between, never encoded, never cut."""

    max_count = 1

    @staticmethod
    def value_parser(value: str) -> object:
        return UnstructuredHeader.value_parser(value)

    @classmethod
    def parse(cls, value: str, kwds: dict[str, object]) -> None:
        kwds["parse_tree"] = cls.value_parser(value)
        kwds["decoded"] = value

    def fold(self, *, policy: Policy) -> str:
        lines: list[str] = []
        line = f"{self.name}:"
        for word in str(self).split():
            if len(line) + 1 + len(word) > _LINE and line != f"{self.name}:":
                lines.append(line)
                line = ""
            line += f" {word}"
        return policy.linesep.join([*lines, line]) + policy.linesep


_registry = HeaderRegistry(base_class=BaseHeader)
for _name in (
    "message-id",
    "in-reply-to",
    "references",
    "list-unsubscribe",
    "list-unsubscribe-post",
    "x-coldstream-ref",
):
    _registry.map_to_type(_name, _Verbatim)
# 7-bit content everywhere: no server on the way needs 8BITMIME.
_ASCII = SMTP.clone(header_factory=_registry, cte_type="7bit")
_UTF8 = SMTPUTF8.clone(header_factory=_registry, cte_type="7bit")


def build(headers: Headers, content: Content) -> Message:
    """The message; the same headers and content give the same bytes.

    Raises:
        ValueError: an address is none.

    """
    utf8 = not (headers.recipient.isascii() and headers.sender.isascii())
    mail = EmailMessage(policy=_UTF8 if utf8 else _ASCII)
    mail["From"] = _address(headers.sender, headers.sender_name)
    mail["To"] = _address(headers.recipient, None)
    mail["Subject"] = one_line(content.subject)
    mail["Date"] = headers.date
    mail["Message-ID"] = _token(headers.message_id)
    if headers.in_reply_to:
        mail["In-Reply-To"] = _token(headers.in_reply_to)
    if headers.references:
        mail["References"] = " ".join(_token(reference) for reference in headers.references)
    if headers.unsubscribe_url:
        mail["List-Unsubscribe"] = f"<{_token(headers.unsubscribe_url)}>"
        mail["List-Unsubscribe-Post"] = "List-Unsubscribe=One-Click"  # RFC 8058 §3.1, this very text
    mail["X-Coldstream-Ref"] = _token(headers.reference)
    mail.set_content(content.text, cte="quoted-printable")
    if content.html is not None:
        mail.add_alternative(content.html, subtype="html", cte="quoted-printable")
        # "=_" cannot come out of quoted-printable (RFC 2045 §6.7), so no text can end its part.
        mail.set_boundary(f"=_{headers.reference}")
    return Message(sender=headers.sender, recipient=headers.recipient, content=mail.as_bytes(), smtputf8=utf8)


def _address(address: str, name: str | None) -> Address:
    local, at, domain = address.rpartition("@")
    if (
        not at
        or not local
        or not domain
        or any(character.isspace() or not character.isprintable() for character in address)
    ):
        raise ValueError("not an address")
    return Address(display_name=one_line(name or ""), username=local, domain=domain)


def _token(text: str) -> str:
    """One printable ASCII word, or nothing at all of it."""
    if not text.isascii() or not text.isprintable() or " " in text:
        raise ValueError("not an identifier")
    return text
