"""Mail to the sandbox and from it, as a client sends and reads it."""

import asyncio
import email
import imaplib
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import timedelta
from email.message import EmailMessage
from email.policy import SMTP

import aiosmtplib
import pytest

from deploy.local.sandbox.world import MailWorld
from tests.support import eventually

INBOX = "ann@acme.test"
PASSWORD = "any but one"
DAY = timedelta(days=1)


@asynccontextmanager
async def submission(world: MailWorld, *, password: str = PASSWORD) -> AsyncGenerator[aiosmtplib.SMTP]:
    client = aiosmtplib.SMTP(
        hostname="localhost",
        port=world.smtp_port,
        tls_context=world.certificates.client_context(),
        start_tls=True,
        username=INBOX,
        password=password,
    )
    await client.connect()
    try:
        yield client
    finally:
        client.close()


def message(recipient: str, number: int = 1, **headers: str) -> EmailMessage:
    mail = EmailMessage(policy=SMTP)
    mail["From"], mail["To"], mail["Subject"] = f"Ann <{INBOX}>", recipient, "A question"
    mail["Message-ID"] = f"<{number}.{recipient}>"
    for name, value in headers.items():
        mail[name.replace("_", "-")] = value
    mail.set_content("Hello,\n\nmay I ask you something?\n\n.a line with a dot\n\nAnn")
    return mail


async def send(world: MailWorld, recipient: str, number: int = 1, **headers: str) -> None:
    async with submission(world) as client:
        await client.send_message(message(recipient, number, **headers), sender=INBOX, recipients=[recipient])


async def refusal(world: MailWorld, recipient: str) -> str:
    """The whole answer to RCPT TO."""
    with pytest.raises(aiosmtplib.SMTPRecipientsRefused) as refused:
        await send(world, recipient)
    (answer,) = refused.value.recipients
    return f"{answer.code} {answer.message}"


async def texts(world: MailWorld, folder: str = "INBOX", address: str = INBOX) -> list[EmailMessage]:
    """All messages of the folder, by the standard library's client."""

    def read() -> list[EmailMessage]:
        with imaplib.IMAP4_SSL("localhost", world.imap_port, ssl_context=world.certificates.client_context()) as client:
            client.login(address, PASSWORD)
            client.select(folder, readonly=True)
            _, found = client.uid("SEARCH", "ALL")
            raws = [client.uid("FETCH", uid.decode(), "(BODY.PEEK[])")[1][0][1] for uid in found[0].split()]
            return [email.message_from_bytes(raw, policy=SMTP) for raw in raws]

    return await asyncio.to_thread(read)


async def answers(world: MailWorld, count: int = 1) -> list[EmailMessage]:
    world.advance(DAY)
    await eventually(lambda: world.state().quiet)
    found = await texts(world)
    assert len(found) == count
    return found
