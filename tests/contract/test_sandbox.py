"""The sandbox keeps its word to real clients: submission, the log, the mailboxes, the clock."""

# aioimaplib is untyped:
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

import asyncio
import imaplib
import json
import signal
import ssl
import sys
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import aiosmtplib
import pytest
from aioimaplib import aioimaplib

from deploy.local.kept import ServerError
from deploy.local.sandbox.control import Control, ControlError
from deploy.local.sandbox.log import duplicates
from deploy.local.sandbox.world import MailWorld
from tests.contract.sandbox_mail import INBOX, PASSWORD, answers, message, send, submission, texts


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[MailWorld]:
    async with MailWorld(tmp_path / "mail") as world:
        yield world


@asynccontextmanager
async def mailbox(world: MailWorld, address: str = INBOX) -> AsyncGenerator[aioimaplib.IMAP4_SSL]:
    client = aioimaplib.IMAP4_SSL("localhost", world.imap_port, ssl_context=world.certificates.client_context())
    await client.wait_hello_from_server()
    assert (await client.login(address, PASSWORD)).result == "OK"
    try:
        yield client
    finally:
        await client.logout()


async def test_submission_wants_tls_then_a_login_then_mail(world: MailWorld) -> None:
    client = aiosmtplib.SMTP(hostname="localhost", port=world.smtp_port, start_tls=False)
    await client.connect()
    await client.ehlo()
    assert (await client.execute_command(b"MAIL", b"FROM:<ann@acme.test>")).code == 530
    assert (await client.execute_command(b"AUTH", b"PLAIN", b"AGEAYg==")).code in (530, 538)
    await client.starttls(tls_context=world.certificates.client_context())
    await client.ehlo()
    assert (await client.execute_command(b"MAIL", b"FROM:<ann@acme.test>")).code == 530
    await client.login(INBOX, PASSWORD)
    assert (await client.mail(INBOX)).code == 250
    client.close()


async def test_nobody_else_trusts_the_sandbox(world: MailWorld) -> None:
    client = aiosmtplib.SMTP(hostname="localhost", port=world.smtp_port, start_tls=True)
    with pytest.raises(ssl.SSLCertVerificationError):
        await client.connect()
    client.close()


async def test_the_wrong_password_is_refused_by_both_servers(world: MailWorld) -> None:
    with pytest.raises(aiosmtplib.SMTPAuthenticationError) as refused:
        async with submission(world, password="wrong"):
            pass
    assert refused.value.code == 535
    client = aioimaplib.IMAP4_SSL("localhost", world.imap_port, ssl_context=world.certificates.client_context())
    await client.wait_hello_from_server()
    assert (await client.login(INBOX, "wrong")).result == "NO"
    await client.logout()


async def test_an_accepted_message_is_logged_delivered_and_filed_in_sent(world: MailWorld) -> None:
    await send(world, "silent.bob@lead.test")
    (outcome,) = world.outcomes()
    assert (outcome.inbox, outcome.recipient, outcome.code, outcome.accepted) == (
        INBOX,
        "silent.bob@lead.test",
        250,
        True,
    )
    assert outcome.message_id == "<1.silent.bob@lead.test>"
    (delivered,) = await texts(world, address="silent.bob@lead.test")
    assert delivered["Return-Path"] == f"<{INBOX}>"
    (sent,) = await texts(world, "Sent")
    assert sent["Message-ID"] == outcome.message_id
    assert ".a line with a dot" in sent.get_content()
    assert world.state().next_due is None


async def test_a_mailbox_is_polled_as_the_platform_does_it(world: MailWorld) -> None:
    raws = [message("a@b.test", number).as_bytes() for number in (1, 2, 3)]
    for raw in raws:
        world.put(INBOX, raw)
    async with mailbox(world) as client:
        listed = await client.list('""', "*")
        assert b'(\\HasNoChildren \\Sent) "/" "Sent"' in listed.lines
        selected = await client.select("INBOX")
        assert b"3 EXISTS" in selected.lines
        assert any(line.startswith(b"OK [UIDVALIDITY ") for line in selected.lines)
        assert (await client.uid_search("UID 2:*")).lines[0] == b"2 3"
        assert (await client.uid_search('HEADER Message-ID "<3.a@b.test>"')).lines[0] == b"3"
        fetched = await client.uid("fetch", "2", "(FLAGS INTERNALDATE RFC822.SIZE BODY.PEEK[]<10.20>)")
        assert fetched.lines[0].startswith(b"2 FETCH (UID 2 FLAGS () INTERNALDATE ")
        assert f"RFC822.SIZE {len(raws[1])}".encode() in fetched.lines[0]
        assert bytes(fetched.lines[1]) == raws[1][10:30]
        head = await client.uid("fetch", "2", "(BODY.PEEK[HEADER])")
        assert bytes(head.lines[1]) == raws[1].partition(b"\r\n\r\n")[0] + b"\r\n\r\n"
        assert (await client.uid("store", "2", "+FLAGS (\\Seen \\Flagged)")).lines[
            0
        ] == b"2 FETCH (UID 2 FLAGS (\\Flagged \\Seen))"
        assert (await client.uid_search("UNSEEN")).lines[0] == b"1 3"
        status = await client.status("INBOX", "(MESSAGES UIDNEXT UNSEEN)")
        assert status.lines[0] == b'"INBOX" (MESSAGES 3 UIDNEXT 4 UNSEEN 2)'


async def test_an_appended_message_keeps_its_date_flags_and_bytes(world: MailWorld) -> None:
    raw = message("a@b.test").as_bytes()

    def append_and_read() -> tuple[bytes, bytes]:
        with imaplib.IMAP4_SSL("localhost", world.imap_port, ssl_context=world.certificates.client_context()) as client:
            client.login(INBOX, PASSWORD)
            client.append("Sent", "(\\Seen)", '"02-Mar-2026 09:30:00 +0100"', raw)
            client.select("Sent")
            return client.uid("FETCH", "1:*", "(FLAGS INTERNALDATE BODY[])")[1][0]

    meta, body = await asyncio.to_thread(append_and_read)
    assert b'INTERNALDATE "02-Mar-2026 08:30:00 +0000"' in meta
    assert b"FLAGS (\\Seen)" in meta
    assert body == raw


async def test_an_idle_client_hears_of_new_mail(world: MailWorld) -> None:
    async with mailbox(world) as client:
        await client.select("INBOX")
        idle = await client.idle_start(timeout=30)
        world.put(INBOX, message("a@b.test").as_bytes())
        assert await client.wait_server_push(10) == [b"1 EXISTS"]
        client.idle_done()
        await asyncio.wait_for(idle, 10)
        assert (await client.uid_search("ALL")).lines[0] == b"1"


async def test_mail_is_dated_by_the_business_clock(world: MailWorld) -> None:
    world.advance(timedelta(days=400))
    world.put(INBOX, message("a@b.test").as_bytes())
    year = world.clock.now().strftime("%Y").encode()
    async with mailbox(world) as client:
        await client.select("INBOX")
        assert year + b" " in (await client.uid("fetch", "1", "(INTERNALDATE)")).lines[0]


async def test_a_second_start_goes_on_where_the_first_was(tmp_path: Path) -> None:
    async with MailWorld(tmp_path) as first:
        await send(first, "interested@lead.test")
        first.put(INBOX, message("a@b.test").as_bytes())
        first.advance(timedelta(seconds=90))
        before, ports = first.state(), (first.smtp_port, first.imap_port, first.control_port)
        validity = await _uid_validity(first)
    async with MailWorld(tmp_path) as second:
        after = second.state()
        assert (second.smtp_port, second.imap_port, second.control_port) == ports
        assert (after.offset_s, after.next_due, after.messages) == (before.offset_s, before.next_due, before.messages)
        assert await _uid_validity(second) == validity
        assert second.put(INBOX, message("a@b.test").as_bytes()) == 2
        await answers(second, 3)
        assert [outcome.recipient for outcome in second.outcomes()] == ["interested@lead.test"]


async def _uid_validity(world: MailWorld) -> bytes:
    async with mailbox(world) as client:
        return next(line for line in (await client.select("INBOX")).lines if b"UIDVALIDITY" in line)


async def test_two_worlds_do_not_share_a_directory(world: MailWorld, tmp_path: Path) -> None:
    assert world.state().messages == 0
    with pytest.raises(ServerError, match="in use"):
        async with MailWorld(tmp_path / "mail"):
            pass


async def test_the_program_is_driven_by_its_control_endpoint_and_ends_at_sigterm(tmp_path: Path) -> None:
    program = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "deploy.local.sandbox", "--data-dir", str(tmp_path), "--json"),
        stdout=asyncio.subprocess.PIPE,
    )
    assert program.stdout is not None
    ready = json.loads(await program.stdout.readline())
    control = await Control.connect(ready["control_port"])
    moved = await control.set_offset(timedelta(hours=1))
    assert (moved.offset_s, moved.next_due, moved.quiet) == (3600, None, True)
    assert (await control.advance(timedelta(seconds=30))).offset_s == 3630
    with pytest.raises(ControlError, match="does not go back"):
        await control.set_offset(timedelta(0))
    assert (await control.state()).offset_s == 3630
    await control.close()
    program.send_signal(signal.SIGTERM)
    assert await asyncio.wait_for(program.wait(), 10) == 0


async def test_many_messages_go_through_one_connection(world: MailWorld) -> None:
    async with submission(world) as client:
        for number in range(100):
            await client.sendmail(INBOX, [f"silent{number}@lead.test"], message("silent@lead.test", number).as_bytes())
    assert sum(outcome.accepted for outcome in world.outcomes()) == 100
    assert duplicates(world.outcomes()) == {}
