"""Mails written per second of one core, against the standard library's EmailMessage writing the same headers and parts.

Bare neither guards its values nor keeps identifiers from being encoded; ours does both. Signing stands against the bare
signature of one hash with the same key.
"""

import time
from collections.abc import Callable, Sequence
from email.message import EmailMessage
from email.policy import SMTP

import msgspec
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.hashes import SHA256

from benchmarks.ground import Ground
from benchmarks.harness import Row, Scale, compare
from benchmarks.world import BODY
from libs.planning.words.render import Content
from services.sender.rules import dkim
from services.sender.rules.dkim import Signer, SigningKey
from services.sender.rules.message import Headers, build
from tests.support import EPOCH

GOAL = 10.0
FOLLOW_UP = 3  # mails that the thread has already
_CONTENT = Content(subject="Two days a month", text=BODY)
_HTML = "".join(f"<p>{line}</p>\n" for line in BODY.splitlines() if line)
KINDS = {
    "text": _CONTENT,
    "text and HTML": msgspec.structs.replace(_CONTENT, html=f"<html><body>{_HTML}</body></html>"),
    "text in French": Content(subject="Deux journées par mois à gagner", text=BODY.replace("e", "é").replace("a", "à")),
}

Mail = tuple[Headers, Content]


async def run(ground: Ground, scale: Scale) -> list[Row]:
    """A row for each kind of mail, then one for each kind of key."""
    _ = ground
    rows = [await _row(kind, content, scale) for kind, content in KINDS.items()]
    return [*rows, *[await _signing_row(name, key, scale) for name, key in _keys().items()]]


def _keys() -> dict[str, SigningKey]:
    return {
        "RSA-2048": rsa.generate_private_key(65537, 2048),
        "Ed25519": ed25519.Ed25519PrivateKey.generate(),
    }


async def _signing_row(name: str, key: SigningKey, scale: Scale) -> Row:
    content = build(_headers(0), _CONTENT).content
    signer = Signer(domain="acme.test", selector="s1", key=key)
    digest = bytes(32)
    mails = scale.size(500, 20)

    async def ours() -> float:
        return _calls(mails, lambda: dkim.signed(content, signer, EPOCH))

    def alone() -> bytes:
        if isinstance(key, rsa.RSAPrivateKey):
            return key.sign(digest, PKCS1v15(), Prehashed(SHA256()))
        return key.sign(digest)

    async def bare() -> float:
        return _calls(mails, alone)

    pair = await compare(ours, bare, scale)
    return Row(
        bench="message",
        what=f"DKIM {name}, one core",
        unit="mails/s",
        ours=pair.ours,
        bare=pair.bare,
        ratio=pair.ratio,
        note=f"µs a mail: {1e6 / pair.ours:.0f}, of which the signature itself {1e6 / pair.bare:.0f}",
    )


async def _row(kind: str, content: Content, scale: Scale) -> Row:
    mails = [(_headers(number), content) for number in range(scale.size(500, 20))]

    async def ours() -> float:
        return _rate(mails, lambda headers, content: build(headers, content).content)

    async def bare() -> float:
        return _rate(mails, _plainly)

    pair = await compare(ours, bare, scale)
    return Row(
        bench="message",
        what=f"{kind}, one core",
        unit="mails/s",
        ours=pair.ours,
        bare=pair.bare,
        ratio=pair.ratio,
        goal=GOAL,
        note=f"µs a mail: ours {1e6 / pair.ours:.0f}, EmailMessage {1e6 / pair.bare:.0f}",
    )


def _calls(times: int, call: Callable[[], bytes]) -> float:
    started = time.process_time()
    for _ in range(times):
        call()
    return times / (time.process_time() - started)


def _rate(mails: Sequence[Mail], write: Callable[[Headers, Content], bytes]) -> float:
    started = time.process_time()
    for headers, content in mails:
        write(headers, content)
    return len(mails) / (time.process_time() - started)


def _headers(number: int) -> Headers:
    thread = [f"<{step}{number:025x}@acme.test>" for step in range(FOLLOW_UP)]
    return Headers(
        sender="ann@acme.test",
        sender_name="Ann",
        recipient=f"mary{number}@lead.test",
        date=EPOCH,
        message_id=f"<{number:026x}@acme.test>",
        reference=f"{number:026x}",
        in_reply_to=thread[-1],
        references=thread,
        unsubscribe_url=f"https://mail.acme.test/u/{number:064x}",
        feedback_id=f"{'c' * 32}:{'d' * 32}:campaign:{'e' * 12}",
    )


def _plainly(headers: Headers, content: Content) -> bytes:
    mail = EmailMessage(policy=SMTP)
    mail["From"] = f"{headers.sender_name} <{headers.sender}>"
    mail["To"] = headers.recipient
    mail["Subject"] = content.subject
    mail["Date"] = headers.date
    mail["Message-ID"] = headers.message_id
    mail["In-Reply-To"] = headers.in_reply_to
    mail["References"] = " ".join(headers.references)
    mail["List-Unsubscribe"] = f"<{headers.unsubscribe_url}>"
    mail["List-Unsubscribe-Post"] = "List-Unsubscribe=One-Click"
    mail["Feedback-ID"] = headers.feedback_id
    mail["X-Coldstream-Ref"] = headers.reference
    mail.set_content(content.text, cte="quoted-printable")
    if content.html is not None:
        mail.add_alternative(content.html, subtype="html", cte="quoted-printable")
    return mail.as_bytes()
