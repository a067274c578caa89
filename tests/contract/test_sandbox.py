"""The sandbox keeps its word to real clients: each behaviour, the log, the mailboxes, the clock."""

# aioimaplib is untyped:
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

import asyncio
import contextlib
import email
import imaplib
import json
import signal
import ssl
import sys
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from email.message import EmailMessage
from email.policy import SMTP
from pathlib import Path

import aiosmtplib
import pytest
from aioimaplib import aioimaplib

from deploy.local.kept import ServerError
from deploy.local.sandbox.control import Control, ControlError
from deploy.local.sandbox.log import duplicates
from deploy.local.sandbox.world import MailWorld
from tests.support import eventually

INBOX = "ann@acme.test"
PASSWORD = "any but one"
DAY = timedelta(days=1)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[MailWorld]:
    async with MailWorld(tmp_path / "mail") as world:
        yield world


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


@asynccontextmanager
async def mailbox(world: MailWorld, address: str = INBOX) -> AsyncGenerator[aioimaplib.IMAP4_SSL]:
    client = aioimaplib.IMAP4_SSL("localhost", world.imap_port, ssl_context=world.certificates.client_context())
    await client.wait_hello_from_server()
    assert (await client.login(address, PASSWORD)).result == "OK"
    try:
        yield client
    finally:
        await client.logout()


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


@pytest.mark.parametrize("word", ["interested", "not-interested", "unsubscribe"])
async def test_people_answer_in_their_own_time(world: MailWorld, word: str) -> None:
    recipient = f"{word}.mary@lead.test"
    await send(world, recipient)
    due = world.state().next_due
    assert due is not None
    assert world.clock.now() < due <= world.clock.now() + DAY
    assert await texts(world) == []
    (reply,) = await answers(world)
    assert reply["In-Reply-To"] == f"<1.{recipient}>"
    assert reply["Return-Path"] == f"<{recipient}>"
    assert reply["Date"].datetime >= due.replace(microsecond=0)
    assert world.state().last_delivery is not None


async def test_a_person_answers_a_thread_once(world: MailWorld) -> None:
    await send(world, "interested@lead.test")
    await answers(world, 1)
    await send(world, "interested@lead.test", 2, References="<1.interested@lead.test>")
    await answers(world, 1)
    await send(world, "interested@lead.test", 3)
    await answers(world, 2)


async def test_nobody_answers_a_machine(world: MailWorld) -> None:
    await send(world, "ooo@lead.test", Auto_Submitted="auto-replied")
    assert world.state().next_due is None


async def test_an_absent_person_says_when_they_are_back(world: MailWorld) -> None:
    await send(world, "ooo.kim@lead.test")
    (reply,) = await answers(world)
    assert reply["Auto-Submitted"] == "auto-replied"
    assert reply["Return-Path"] == "<>"


async def test_a_dead_address_is_refused_in_the_dialogue(world: MailWorld) -> None:
    with pytest.raises(aiosmtplib.SMTPRecipientsRefused) as refused:
        await send(world, "hardbounce.joe@lead.test")
    assert refused.value.recipients[0].code == 550
    (outcome,) = world.outcomes()
    assert (outcome.code, outcome.accepted, outcome.message_id) == (550, False, None)
    assert await texts(world, "Sent") == []


async def test_a_late_bounce_comes_to_the_envelope_sender_for_every_message(world: MailWorld) -> None:
    await send(world, "dsn.joe@lead.test")
    (report,) = await answers(world)
    assert report.get_content_type() == "multipart/report"
    assert report["Return-Path"] == "<>"
    await send(world, "dsn.joe@lead.test", 2, References="<1.dsn.joe@lead.test>")
    await answers(world, 2)


async def test_a_greylisted_sender_has_to_come_back_after_five_minutes(world: MailWorld) -> None:
    for wait in (timedelta(0), timedelta(minutes=4)):
        world.advance(wait)
        with pytest.raises(aiosmtplib.SMTPRecipientsRefused) as refused:
            await send(world, "greylist.amy@lead.test")
        assert refused.value.recipients[0].code == 451
    world.advance(timedelta(minutes=1))
    await send(world, "greylist.amy@lead.test")
    await send(world, "greylist.amy@lead.test", 2)
    assert [outcome.code for outcome in world.outcomes()] == [451, 451, 250, 250]


async def test_a_dropped_message_is_accepted_all_the_same(world: MailWorld) -> None:
    with pytest.raises(aiosmtplib.SMTPServerDisconnected):
        await send(world, "drop.dan@lead.test")
    (outcome,) = world.outcomes()
    assert (outcome.code, outcome.accepted) == ("dropped", True)
    assert len(await texts(world, "Sent")) == len(await texts(world, address="drop.dan@lead.test")) == 1
    with contextlib.suppress(aiosmtplib.SMTPServerDisconnected):
        await send(world, "drop.dan@lead.test")
    assert duplicates(world.outcomes()) == {"<1.drop.dan@lead.test>": 1}


async def test_one_click_posts_to_the_list_unsubscribe_link_until_it_is_heard(world: MailWorld) -> None:
    heard: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        heard.append(head.partition(b"\r\n")[0] + b" " + await reader.readexactly(26))
        status = b"500 Internal Server Error" if len(heard) == 1 else b"200 OK"
        writer.write(b"HTTP/1.1 " + status + b"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as platform:
        link = f"<http://127.0.0.1:{platform.sockets[0].getsockname()[1]}/u/token>"
        one_click = "List-Unsubscribe=One-Click"
        await send(world, "oneclick.eve@lead.test", List_Unsubscribe=link, List_Unsubscribe_Post=one_click)
        world.advance(DAY)
        await eventually(lambda: len(heard) == 1 and world.state().quiet)
        world.advance(timedelta(minutes=10))
        await eventually(lambda: world.state().planned == 0)
    assert heard == [b"POST /u/token HTTP/1.1 List-Unsubscribe=One-Click"] * 2


async def test_one_click_never_leaves_this_machine(world: MailWorld) -> None:
    link, one_click = "<https://192.0.2.1/u/token>", "List-Unsubscribe=One-Click"
    await send(world, "oneclick.eve@lead.test", List_Unsubscribe=link, List_Unsubscribe_Post=one_click)
    world.advance(DAY)
    await eventually(lambda: world.state().planned == 0)


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
