"""The labelled set: what people and machines answered, and each of it as the messages that mail programs make of it."""

import base64
import binascii
import html
import tomllib
from datetime import date
from pathlib import Path
from typing import Literal

import msgspec

from libs.schema.events.reply import Intent

HERE = Path(__file__).parent
LANGUAGES = ("en", "de", "fr", "es", "pt", "it", "nl", "pl", "ja", "sv")
MACHINES: frozenset[Intent] = frozenset({"out_of_office", "auto_reply"})
RECIPIENT = "lead@acme.example"
OURS = "<q1w2e3r4t5@letters.example>"  # the mail that is answered
Split = Literal["tuned", "held", "blind"]
# The charsets that older mail programs of a country write; everybody else writes UTF-8.
OLD_CHARSETS = {"ja": "iso-2022-jp", "pl": "iso-8859-2"}


class Case(msgspec.Struct, frozen=True, kw_only=True):
    """One reply with its label; see README.md for the keys."""

    intent: Intent
    alternatives: tuple[Intent, ...] = msgspec.field(name="or", default=())
    text: str
    subject: str = "Re: {subject}"
    headers: dict[str, str] = {}
    return_date: date | None = None
    left_company: bool = False
    sent_on: date = date(2026, 3, 4)

    @property
    def right(self) -> tuple[Intent, ...]:
        """Every label that is right, the first one first."""
        return self.intent, *self.alternatives


class Scenery(msgspec.Struct, frozen=True, kw_only=True):
    """What stands around a reply's own words in one language."""

    writer: str
    subject: str
    wrote: str
    header: list[str]
    original: str
    pitch: str
    banner: str
    signature: str
    mobile: str
    disclaimer: str


def cases(split: Split, language: str) -> list[Case]:
    """The cases of one file."""
    lines = (HERE / split / f"{language}.jsonl").read_text("utf-8").splitlines()
    return [msgspec.json.decode(line, type=Case) for line in lines]


def sceneries() -> dict[str, Scenery]:
    """The scenery of each language."""
    return msgspec.convert(tomllib.loads((HERE / "scenery.toml").read_text("utf-8")), dict[str, Scenery])


def messages(case: Case, language: str, scenery: Scenery) -> dict[str, bytes]:
    """The same words as every kind of message that carries them, by the kind's name."""
    if case.intent == "bounce":
        return _reports(case, scenery)
    text, quoted = case.text, _quoted(scenery.pitch)
    first, _, rest = quoted.partition("\n")
    sig, disclaimer = scenery.signature.strip(), scenery.disclaimer.strip()
    plain = {
        "bare": text,
        "disclaimed": f"{scenery.banner}\n\n{text}\n\n{sig}\n\n{disclaimer}\n",
    }
    if case.intent not in MACHINES:
        plain |= {
            "top": f"{text}\n\n{scenery.wrote}\n\n{quoted}\n",
            "between": f"Hi,\n\n{scenery.wrote}\n{first}\n\n{text}\n\n{rest}\n\n-- \n{sig}\n",
            "mobile": f"{text}\n\n{scenery.mobile}\n\n{_wrapped(scenery.wrote)}\n>\n{quoted}\n",
            "bottom": f"{scenery.wrote}\n{quoted}\n\n{text}\n\n-- \n{sig}\n\n{disclaimer}\n",
            "outlook": f"{text}\n\n{sig}\n\n{scenery.original}\n" + "\n".join(scenery.header) + f"\n{scenery.pitch}",
            "rule": f"{text}\n\n{'_' * 32}\n" + "\n".join(scenery.header) + f"\n{scenery.pitch}\n{disclaimer}\n",
        }
    pages = _pages(case, scenery)
    old = OLD_CHARSETS.get(language, "iso-8859-1")
    built = {name: _message(case, scenery, "plain", body) for name, body in plain.items()}
    built |= {name: _message(case, scenery, "html", body) for name, body in pages.items()}
    return built | {"old": _message(case, scenery, "plain", f"{text}\n\n-- \n{sig}\n", old)}


def _pages(case: Case, scenery: Scenery) -> dict[str, str]:
    """The HTML of the programs that send no plain text."""
    text, sig, pitch = _html(case.text), _html(scenery.signature.strip()), _html(scenery.pitch.strip())
    wrote, disclaimer = _html(scenery.wrote), _html(scenery.disclaimer.strip())
    lines = "".join(f"<p class=MsoNormal>{_html(line) or '&nbsp;'}</p>" for line in case.text.split("\n"))
    if case.intent in MACHINES:
        return {"page": f"<html><body>{lines}<p>{sig}</p><p style='font-size:8pt'>{disclaimer}</p></body></html>"}
    header = "<br>".join(f"<b>{_html(line).replace(':', ':</b>', 1)}" for line in scenery.header)
    return {
        "gmail": f'<div dir="ltr">{text}<div><br></div></div><br><div class="gmail_quote gmail_quote_container">'
        f'<div dir="ltr" class="gmail_attr">{wrote}<br></div><blockquote class="gmail_quote" style="margin:0px 0px '
        f'0px 0.8ex;border-left:1px solid rgb(204,204,204);padding-left:1ex">{pitch}</blockquote></div>\n',
        "word": "<html><head><style><!-- p.MsoNormal {margin:0cm} --></style></head><body lang=EN><div "
        f"style='background:#FFEB9C'>{_html(scenery.banner)}</div><div class=WordSection1>{lines}"
        f"<p class=MsoNormal>&nbsp;</p><p class=MsoNormal>{sig}</p><div><div style='border:none;border-top:solid "
        f"#E1E1E1 1.0pt;padding:3.0pt 0cm 0cm 0cm'><p class=MsoNormal>{header}</p></div></div>"
        f"<p class=MsoNormal>{pitch}</p></div><p style='font-size:8pt'>{disclaimer}</p></body></html>",
        "apple": f'<html><body style="overflow-wrap: break-word;">{text}<br id="lineBreakAtBeginningOfMessage"><div>'
        f'<br><div>{_html(scenery.mobile)}</div><blockquote type="cite"><div>{wrote}</div><br><div>{pitch}</div>'
        "</blockquote></div><br></body></html>",
    }


def _reports(case: Case, scenery: Scenery) -> dict[str, bytes]:
    """A delivery report, by the standard and as text alone."""
    text = case.text.replace("{recipient}", RECIPIENT)
    returned = f"Message-ID: {OURS}\nTo: {RECIPIENT}\nSubject: {_word(scenery.subject)}\n"
    status = "Content-Type: message/delivery-status\n\nReporting-MTA: dns; mx.acme.example\n"
    parts = [
        "Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\n\n" + text,
        f"{status}\nFinal-Recipient: rfc822; {RECIPIENT}\nAction: failed\nStatus: 5.1.1\n",
        f"Content-Type: text/rfc822-headers\n\n{returned}",
    ]
    report = "".join(f"--r\n{part}\n" for part in parts) + "--r--\n"
    head = f"Return-Path: <>\n{_head(case, scenery, sender='MAILER-DAEMON@acme.example')}"
    kinds = {
        "report": ('multipart/report; report-type=delivery-status; boundary="r"', report),
        "text": ("text/plain; charset=utf-8", f"{text}\n\n--- Below this line is a copy of the message.\n\n{returned}"),
    }
    return {name: f"{head}Content-Type: {kind}\n\n{body}".encode() for name, (kind, body) in kinds.items()}


def _message(case: Case, scenery: Scenery, kind: str, body: str, charset: str = "utf-8") -> bytes:
    """The message with one text part, in quoted-printable where the charset is an old one."""
    data = body.encode(charset, "replace")
    encoding = "base64" if charset == "utf-8" else "quoted-printable"
    transferred = base64.encodebytes(data) if encoding == "base64" else binascii.b2a_qp(data)
    sender = f"{_word(scenery.writer)} <{RECIPIENT}>"
    head = (
        f"{_head(case, scenery, sender=sender)}MIME-Version: 1.0\nContent-Type: text/{kind}; charset={charset}\n"
        f"Content-Transfer-Encoding: {encoding}\n\n"
    )
    return head.encode() + transferred


def _head(case: Case, scenery: Scenery, *, sender: str) -> str:
    """The fields that every message has, and the case's own."""
    subject = case.subject.replace("{subject}", scenery.subject)
    fields = {
        "From": sender,
        "To": "Anna Keller <anna@letters.example>",
        "Subject": _word(subject),
        "Date": f"{case.sent_on:%d %b %Y} 12:00:00 +0000",
        "Message-ID": "<a1s2d3f4@acme.example>",
        "In-Reply-To": OURS,
        "References": OURS,
        **case.headers,
    }
    return "".join(f"{name}: {value}\n" for name, value in fields.items())


def _word(text: str) -> str:
    """The text as an encoded word where it needs one (RFC 2047)."""
    return text if text.isascii() else f"=?utf-8?b?{base64.b64encode(text.encode()).decode()}?="


def _html(text: str) -> str:
    return html.escape(text, quote=False).replace("\n", "<br>")


def _quoted(text: str) -> str:
    return "\n".join(f"> {line}".rstrip() for line in text.strip().split("\n"))


def _wrapped(line: str) -> str:
    """A long line broken before its last word, as programs break it."""
    return "\n".join(line.rsplit(" ", 1))
