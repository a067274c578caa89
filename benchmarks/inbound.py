"""Received messages understood, per second of one core, against the standard library's parser reading the same.

Bare parses and reads the text parts and four headers, which its parser does only when asked; it understands nothing.
"""

import time
from collections.abc import Sequence
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import SMTP, default

from benchmarks.ground import Ground
from benchmarks.harness import Row, Scale, compare
from benchmarks.world import BODY
from deploy.local.sandbox.answers import compose
from deploy.local.sandbox.recipients import behaviour_of
from libs.planning.words.render import Content
from services.replies.rules.inspection import inspect
from services.sender.rules.message import Headers, build
from tests.support import EPOCH

HEADERS = ("From", "Subject", "Message-ID", "References")
# What comes back, by the word that people's addresses in the sandbox begin with.
KINDS = {
    "reply": "interested",
    "refusal": "not-interested",
    "opt-out": "unsubscribe",
    "German": "interested-de",
    "French": "not-interested-fr",
    "Japanese": "unsubscribe-ja",
    "absence": "ooo",
    "gone": "leftcompany",
    "report": "dsn",
}
# Reports of no RFC, in the shapes that mail servers have given them: the words, then what was sent.
FREE_REPORTS = (
    """Your mail could not be delivered. This is a permanent error.

<{to}>:
192.0.2.1 does not like the recipient.
Remote host said: 550 5.1.1 User unknown

--- Below this line is a copy of the message.

{sent}""",
    """This message was created automatically by mail delivery software.

The following address failed:

  {to}
    host mx.lead.test [192.0.2.1]: 552 mailbox is full

------ This is a copy of the headers ------

{sent}""",
    """Delivery has failed to these recipients:

{to}
The address was not found. Please check it.

Diagnostic information for administrators:
#550 5.1.10 RESOLVER.ADR.RecipientNotFound ##

{sent}""",
)


async def run(ground: Ground, scale: Scale) -> list[Row]:
    """A row for the whole mix; its note says what each kind costs."""
    _ = ground
    each = scale.size(200, 20)
    mix = {kind: [_answer(word, n) for n in range(each)] for kind, word in KINDS.items()}
    mix["free report"] = [_free_report(n) for n in range(each)]
    mix["html"] = [_html_answer(n) for n in range(each)]
    mail = [raw for raws in mix.values() for raw in raws]

    async def ours() -> float:
        return len(mail) / _inspect_all(mail)

    async def bare() -> float:
        return len(mail) / _parse_all(mail)

    pair = await compare(ours, bare, scale)
    costs = ", ".join(f"{kind} {_inspect_all(raws) / len(raws) * 1e6:.0f}" for kind, raws in mix.items())
    size = sum(len(raw) for raw in mail) / len(mail) / 1024
    return [
        Row(
            bench="inbound",
            what="parse and classify, one core",
            unit="messages/s",
            ours=pair.ours,
            bare=pair.bare,
            ratio=pair.ratio,
            note=f"µs a message: {costs}; {size:.1f} KB on average",
        )
    ]


def _inspect_all(mail: Sequence[bytes]) -> float:
    started = time.process_time()
    for raw in mail:
        inspect(raw)
    return time.process_time() - started


def _parse_all(mail: Sequence[bytes]) -> float:
    started = time.process_time()
    for raw in mail:
        message = message_from_bytes(raw, policy=default)
        for name in HEADERS:
            str(message[name])
        for part in message.walk():
            if part.get_content_maintype() == "text":
                part.get_content()
    return time.process_time() - started


def _sent(number: int, word: str = "interested") -> tuple[str, bytes]:
    """A mail of ours, which answers quote."""
    recipient = f"{word}.mary{number}@lead.test"
    headers = Headers(
        sender="ann@acme.test",
        sender_name="Ann",
        recipient=recipient,
        date=EPOCH,
        message_id=f"<{number:026x}@acme.test>",
        reference=f"{number:026x}",
        unsubscribe_url=f"https://mail.acme.test/u/{number:064x}",
    )
    return recipient, build(headers, Content(subject="Two days a month", text=BODY)).content


def _answer(word: str, number: int) -> bytes:
    recipient, raw = _sent(number, word)
    return compose(behaviour_of(recipient), raw, sender="ann@acme.test", recipient=recipient, now=EPOCH)[1]


def _free_report(number: int) -> bytes:
    recipient, raw = _sent(number)
    head = raw.decode().partition("\r\n\r\n")[0].replace("\r\n", "\n")
    mail = EmailMessage(policy=SMTP)
    mail["From"], mail["To"] = "MAILER-DAEMON@mx.lead.test", "ann@acme.test"
    mail["Subject"], mail["Message-ID"] = "failure notice", f"<free.{number}@mx.lead.test>"
    mail.set_content(FREE_REPORTS[number % len(FREE_REPORTS)].format(to=recipient, sent=head))
    return mail.as_bytes()


def _html_answer(number: int) -> bytes:
    """As webmail writes it: both parts, the history quoted in each."""
    recipient, raw = _sent(number)
    said = "Hello Ann,\n\nyes, please send me more information. What does it cost for 40 people?\n\nMary"
    mail = EmailMessage(policy=SMTP)
    mail["From"], mail["To"], mail["Subject"] = f"Mary <{recipient}>", "ann@acme.test", "Re: Two days a month"
    mail["Message-ID"] = f"<html.{number}@lead.test>"
    mail["In-Reply-To"] = mail["References"] = f"<{number:026x}@acme.test>"
    quoted = raw.decode().partition("\r\n\r\n")[2].replace("\r\n", "\n")
    history = "\n".join(f"> {line}" for line in (quoted * 3).splitlines())
    mail.set_content(f"{said}\n\nOn Mon, 2 Mar 2026 at 08:00, Ann <ann@acme.test> wrote:\n{history}\n")
    paragraphs = "".join(f"<div style='font-family:sans-serif'>{line}</div>" for line in said.splitlines())
    mail.add_alternative(f"<html><body>{paragraphs}<blockquote>{quoted * 3}</blockquote></body></html>", subtype="html")
    return mail.as_bytes()
