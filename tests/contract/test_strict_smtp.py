"""Every mail that we write passes a server that forgives nothing, byte by byte (reliability.md S16)."""

import asyncio
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from uuid import UUID

import msgspec
import pytest
from aiosmtpd.smtp import SMTP, Envelope, Session
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings

from libs.planning.words.render import Content
from libs.schema.runtime.network import tls_context
from services.sender.rules.dkim import Signer, signed
from services.sender.rules.message import Message, build
from services.sender.rules.verdict import Answer
from services.sender.smtp import Account, Courier
from tests.mail import HEADERS, contents, texts

SIGNER = Signer(domain="acme.test", selector="s1", key=Ed25519PrivateKey.generate())


@dataclass
class Strict:
    """What aiosmtpd asks after a message; its own part is to end a message at CRLF.CRLF alone, and a line at 998."""

    port: int = 0
    taken: list[Envelope] = field(default_factory=list[Envelope])

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802  aiosmtpd's name
        _ = server, session
        content = envelope.original_content or b""
        if re.search(rb"(?<!\r)\n|\r(?!\n)|\0", content):
            return "550 5.6.0 a line end or NUL of its own"
        if not content.isascii() and "BODY=8BITMIME" not in envelope.mail_options:
            return "550 5.6.1 eight bits unannounced"
        self.taken.append(envelope)
        return "250 2.0.0 Ok"


@pytest.fixture(scope="module")
async def strict() -> AsyncIterator[Strict]:
    judge = Strict()
    server = await asyncio.get_running_loop().create_server(
        lambda: SMTP(judge, enable_SMTPUTF8=True, hostname="strict.test"), "127.0.0.1", 0
    )
    judge.port = server.sockets[0].getsockname()[1]
    yield judge
    server.close()
    await server.wait_closed()


@pytest.fixture(scope="module")
async def courier() -> AsyncIterator[Courier]:
    courier = Courier(tls_context(None), allow=("127.0.0.0/8",))
    yield courier
    await courier.close()


async def say(strict: Strict, courier: Courier, message: Message) -> int:
    """What the server answers to the final dot."""
    account = Account(
        inbox_id=UUID(int=1),
        host="127.0.0.1",
        port=strict.port,
        tls="none",
        username=None,
        password=None,
        helo="a.test",
    )

    async def commit() -> bool:
        return True

    outcome = await courier.deliver(account, message, commit)
    assert isinstance(outcome, Answer), outcome
    return outcome.code


@settings(max_examples=100, deadline=None)
@given(name=texts, content=contents)
async def test_whatever_is_written_arrives_once_and_unchanged(
    strict: Strict, courier: Courier, name: str, content: Content
) -> None:
    headers = msgspec.structs.replace(HEADERS, sender_name=name)
    message = build(headers, content)
    message = msgspec.structs.replace(message, content=signed(message.content, SIGNER, HEADERS.date))
    strict.taken.clear()
    assert await say(strict, courier, message) == 250
    [envelope] = strict.taken
    assert envelope.original_content == message.content
    assert (envelope.mail_from, envelope.rcpt_tos) == (message.sender, [message.recipient])


async def test_an_address_beyond_ascii_arrives_announced(strict: Strict, courier: Courier) -> None:
    message = build(msgspec.structs.replace(HEADERS, recipient="böb@lead.test"), Content(subject="Hi", text="Hi"))
    strict.taken.clear()
    assert await say(strict, courier, message) == 250
    assert strict.taken[0].smtp_utf8
    assert strict.taken[0].rcpt_tos == ["böb@lead.test"]


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"a\nb\r\n", 550),
        (b"a\rb\r\n", 550),
        (b"\n.\r\nMAIL FROM:<eve@x.test>\r\n", 550),
        ("ä\r\n".encode(), 550),
        (b"x" * 1000 + b"\r\n", 500),
    ],
)
async def test_the_server_would_refuse_what_we_never_write(
    strict: Strict, courier: Courier, body: bytes, code: int
) -> None:
    message = Message(sender="a@b.test", recipient="c@d.test", content=b"Subject: x\r\n\r\n" + body, smtputf8=False)
    assert await say(strict, courier, message) == code
