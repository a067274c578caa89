"""The bytes that go over the wire: one builder for every mail that we send (RFC 5322, RFC 2045, RFC 8058).

Never lets a value add a header, never writes a line above 998 octets, never encodes an identifier (RFC 2047 §5
forbids it, and a follow-up whose References are encoded loses its thread: reliability.md §0.7). It writes the bytes
itself, because EmailMessage costs more than ten times as much (benchmarks/message.py).
"""

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from email.utils import format_datetime
from functools import lru_cache
from typing import Literal

import idna
import msgspec

from libs.planning.words.render import Content, clean, one_line
from services.sender.rules.mime import LINE, encoded_words, folded, quoted_printable

_MAX_ADDRESS = 254  # RFC 5321 §4.5.3.1.3, without the brackets
# Three of them, which must all stay (RFC 5537 §3.4.4), fit into a line of 998.
_MAX_IDENTIFIER = 320
_MAX_LINE = 998  # RFC 5322 §2.1.1
# RFC 5322 §3.2.3 dot-atom with RFC 6531's characters; the quoted form is a typing error in lists (reliability.md B6).
_ATOM = r"[\w!#$%&'*+/=?^`{|}~\x80-\U0010ffff-]+"
_LOCAL = re.compile(rf"{_ATOM}(?:\.{_ATOM})*", re.ASCII)
_DOMAIN = re.compile(r"[a-z0-9-]+(?:\.[a-z0-9-]+)*", re.IGNORECASE | re.ASCII)
_PHRASE = re.compile(r"[\w!#$%&'*+/=?^`{|}~ -]*", re.ASCII)  # needs no quotes (RFC 5322 §3.2.5)
_IDENTIFIER = re.compile(r"<[!-;=?-~]+>")  # printable ASCII in angle brackets that has none inside
_TOKEN = re.compile(r"[!-~]+")


class Headers(msgspec.Struct, frozen=True, kw_only=True):
    """Everything above the body; addresses are bare, identifiers have their angle brackets."""

    sender: str
    sender_name: str | None
    recipient: str
    date: datetime
    message_id: str
    reference: str  # our signed token, for relays that rewrite Message-ID
    reply_to: str | None = None
    in_reply_to: str | None = None
    references: Sequence[str] = ()
    unsubscribe_url: str | None = None
    feedback_id: str | None = None


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """A mail ready for SMTP: the envelope and the content with CRLF line ends, not yet dot-stuffed."""

    sender: str
    recipient: str
    content: bytes
    smtputf8: bool


class NotAnAddressError(ValueError):
    """An address that no header can hold: the recipient's, or the sender's, out of which the Message-ID is made too."""

    def __init__(self, whose: Literal["sender", "recipient"]) -> None:
        super().__init__("not an address")
        self.whose = whose


def build(headers: Headers, content: Content) -> Message:
    """The message; the same headers and content give the same bytes.

    Of what somebody else wrote, an identifier that no header can hold is left out: the thread then hangs on the others.

    Raises:
        NotAnAddressError: see there.
        ValueError: a word of ours, as the opt-out's URL, is none.

    """
    sender, recipient = _address(headers.sender, "sender"), _address(headers.recipient, "recipient")
    if not _is_identifier(headers.message_id):
        raise NotAnAddressError("sender")
    thread = [reference for reference in headers.references if _is_identifier(reference)]
    lines = [
        _from(sender, headers.sender_name),
        f"To: {recipient}",
        _unstructured("Subject", one_line(content.subject)),
        f"Date: {format_datetime(headers.date.astimezone(UTC))}",
        f"Message-ID: {headers.message_id}",
    ]
    if headers.reply_to:
        lines.append(f"Reply-To: {_address(headers.reply_to, 'sender')}")
    if headers.in_reply_to and _is_identifier(headers.in_reply_to):
        lines.append(f"In-Reply-To: {headers.in_reply_to}")
    if thread:
        lines.append(folded("References", _trimmed(thread)))
    if headers.unsubscribe_url:
        lines.append(f"List-Unsubscribe: <{_token(headers.unsubscribe_url)}>")
        lines.append("List-Unsubscribe-Post: List-Unsubscribe=One-Click")  # RFC 8058 §3.1, this very text
    if headers.feedback_id:
        lines.append(f"Feedback-ID: {_token(headers.feedback_id)}")
    lines += [f"X-Coldstream-Ref: {_token(headers.reference)}", "MIME-Version: 1.0", ""]
    return Message(
        sender=sender,
        recipient=recipient,
        content="\r\n".join(lines).encode() + _body(content, f"=_{headers.reference}"),
        smtputf8=not (sender.isascii() and recipient.isascii()),
    )


def _body(content: Content, boundary: str) -> bytes:
    """From Content-Type to the end. "=_" cannot come out of quoted-printable, so no text can end its part."""
    text = _part("plain", content.text)
    if content.html is None:
        return text
    opening = f'Content-Type: multipart/alternative;\r\n boundary="{boundary}"\r\n'.encode()
    between = f"\r\n--{boundary}".encode()
    html = _part("html", content.html)
    return b"".join((opening, between, b"\r\n", text, between, b"\r\n", html, between, b"--\r\n"))


def _part(subtype: str, text: str) -> bytes:
    # 7 bits everywhere: no server on the way needs 8BITMIME.
    head = f'Content-Type: text/{subtype}; charset="utf-8"\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n'
    return head.encode() + quoted_printable(clean(text))


@lru_cache(maxsize=4096)
def _from(address: str, name: str | None) -> str:
    """The sender, who is the same for many mails."""
    phrase = one_line(name or "")
    if not phrase:
        return f"From: {address}"
    quoted = phrase if _PHRASE.fullmatch(phrase) else '"' + re.sub(r'(["\\])', r"\\\1", phrase) + '"'
    return folded("From", [*_written("From", phrase, quoted), f"<{address}>"])


def _unstructured(name: str, text: str) -> str:
    return folded(name, _written(name, text, text))


def _written(name: str, text: str, as_ascii: str) -> list[str]:
    """The words of a header's text: as they are where 7 bits and short lines allow it, else encoded."""
    words = as_ascii.split(" ")
    room = LINE - len(f"{name}: ")
    # What looks like an encoded word and is none would be decoded.
    if text.isascii() and "=?" not in text and max(map(len, words)) <= room:
        return words
    return encoded_words(text, room)


def _trimmed(identifiers: list[str]) -> list[str]:
    """The beginning of the thread and as much of its end as fits, unfolded, into one line (RFC 5537 §3.4.4)."""
    kept = list(identifiers)
    while len(" ".join(("References:", *kept))) > _MAX_LINE:
        del kept[1]
    return kept


def _address(text: str, whose: Literal["sender", "recipient"]) -> str:
    """The address with its domain in ASCII, so that only a local part beyond it needs SMTPUTF8 (RFC 6531)."""
    local, _, domain = text.rpartition("@")
    try:
        name = domain if domain.isascii() else idna.encode(domain, uts46=True).decode("ascii")
    except idna.IDNAError:
        raise NotAnAddressError(whose) from None
    address = f"{local}@{name}"
    if not (_LOCAL.fullmatch(local) and local.isprintable() and _DOMAIN.fullmatch(name)) or len(address) > _MAX_ADDRESS:
        raise NotAnAddressError(whose)
    return address


def _is_identifier(text: str) -> bool:
    return len(text) <= _MAX_IDENTIFIER and _IDENTIFIER.fullmatch(text) is not None


def _token(text: str) -> str:
    """One printable ASCII word that fits into a line, or nothing at all of it."""
    if not _TOKEN.fullmatch(text) or len(text) > _MAX_LINE - LINE:
        raise ValueError("not a token")
    return text
