"""A mailbox session against a good server and against bad ones: every message once, and a bound on all else."""

import asyncio
import time
import tracemalloc
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from deploy.local.sandbox.world import MailWorld
from libs.schema.runtime.network import ForbiddenAddressError, tls_context
from services.replies import imap, imap_guard
from services.replies.imap import Account, ImapError, LoginRefusedError, Network, Session
from tests.contract.bad_imap import HANG_UP, BadServer
from tests.contract.replies_world import LOOPBACK, PASSWORD

ADDRESS = "ann@acme.test"
MEGABYTE = 1_048_576


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[MailWorld]:
    async with MailWorld(tmp_path / "mail") as world:
        yield world


@pytest.fixture
async def bad() -> AsyncIterator[BadServer]:
    async with BadServer({1: b"Subject: one\r\n\r\nfirst", 2: b"Subject: two\r\n\r\nsecond"}).running() as bad:
        yield bad


def plain(bad: BadServer, *, password: str = PASSWORD, username: str = ADDRESS) -> Account:
    return Account(host="127.0.0.1", port=bad.port, tls="none", username=username, password=password)


def anywhere() -> Network:
    return Network(context=tls_context(None), allow=LOOPBACK)


async def enter(world: MailWorld, password: str = PASSWORD) -> Session:
    account = Account(host="127.0.0.1", port=world.imap_port, tls="implicit", username=ADDRESS, password=password)
    return await imap.connect(account, Network(context=tls_context(str(world.ca_file)), allow=LOOPBACK))


async def read_all(session: Session) -> dict[int, bytes]:
    await session.open("INBOX")
    found = await session.describe(await session.search_after(0))
    return {each.found.uid: each.raw for each in await session.fetch(found)}


async def test_messages_come_as_they_lie_in_the_mailbox(world: MailWorld) -> None:
    raw = b"Subject: hi\r\nMessage-ID: <1@x>\r\n\r\n(unbalanced * 3 ( {5}\r\n\r\nbinary \x00\xff"
    world.put(ADDRESS, raw, arrived=datetime(2026, 3, 2, 8, 0, tzinfo=UTC))
    world.put(ADDRESS, b"Subject: two\r\n\r\n")
    session = await enter(world)
    assert await session.open("INBOX") > 0
    assert await session.search_after(0) == [1, 2]
    assert await session.search_after(2) == []
    assert await session.newest() == 2
    first, second = await session.describe([1, 2, 99])
    assert (first.uid, first.size, first.internal_date) == (1, len(raw), datetime(2026, 3, 2, 8, 0, tzinfo=UTC))
    assert [each.raw for each in await session.fetch([first, second])] == [raw, b"Subject: two\r\n\r\n"]
    (header,) = await session.fetch([first], headers_only=True)
    assert (header.raw, header.truncated) == (raw.partition(b"\r\n\r\n")[0] + b"\r\n\r\n", True)
    await session.close()


async def test_nothing_is_ever_changed_in_the_mailbox(bad: BadServer) -> None:
    session = await imap.connect(plain(bad), anywhere())
    await read_all(session)
    await session.close()
    assert {command.split(" ")[0] for command in bad.commands} == {
        "CAPABILITY",
        "LOGIN",
        "LIST",
        "EXAMINE",
        "UID",
        "LOGOUT",
    }
    fetches = [command for command in bad.commands if command.startswith("UID") and "SEARCH" not in command]
    assert all("BODY" not in command or "BODY.PEEK[" in command for command in fetches)


async def test_the_folders_that_matter_are_found_by_their_flags(world: MailWorld) -> None:
    session = await enter(world)
    assert session.folders == {"INBOX": "INBOX", "Junk": "Junk", "Sent": "Sent"}
    world.put(ADDRESS, b"Subject: spam\r\n\r\n", folder="Junk")
    await session.open("Junk")
    assert await session.search_after(0) == [1]
    await session.close()


async def test_new_mail_is_seen_by_the_next_search_of_the_same_session(world: MailWorld) -> None:
    session = await enter(world)
    for uid in (1, 2, 3):
        world.put(ADDRESS, b"Subject: news\r\n\r\n")
        await session.open("INBOX")
        assert await session.search_after(uid - 1) == [uid]
    await session.close()


async def test_a_wrong_password_is_told_as_such(world: MailWorld) -> None:
    with pytest.raises(LoginRefusedError):
        await enter(world, "wrong")


async def test_a_certificate_that_nobody_vouches_for_is_not_accepted(world: MailWorld) -> None:
    account = Account(host="127.0.0.1", port=world.imap_port, tls="implicit", username=ADDRESS, password=PASSWORD)
    with pytest.raises(ImapError):
        await imap.connect(account, anywhere())


async def test_an_address_of_our_own_house_is_not_connected_to(bad: BadServer) -> None:
    with pytest.raises(ForbiddenAddressError):
        await imap.connect(plain(bad), Network(context=tls_context(None)))
    assert bad.commands == []


@pytest.mark.parametrize("password", ["line\r\nbreak", "nul\0"])
async def test_a_password_with_a_line_break_is_never_sent(bad: BadServer, password: str) -> None:
    with pytest.raises(LoginRefusedError):
        await imap.connect(plain(bad, password=password), anywhere())
    assert not any("LOGIN" in command for command in bad.commands)


async def test_quotes_and_blanks_in_a_login_are_quoted(bad: BadServer) -> None:
    session = await imap.connect(plain(bad, username='an "odd" user', password='p\\"w'), anywhere())
    assert 'LOGIN "an \\"odd\\" user" "p\\\\\\"w"' in bad.commands
    await session.close()


async def test_folders_without_flags_are_found_by_name_also_beneath_the_inbox(bad: BadServer) -> None:
    bad.script['LIST "" "%"'] = (
        b'* LIST (\\HasChildren) "." INBOX\r\n* LIST () "." "Odd \\"name\\""\r\n{tag} OK done\r\n'
    )
    bad.script['LIST "" "INBOX.%"'] = b'* LIST () "." INBOX.Sent\r\n* LIST () "." "INBOX.Spam"\r\n{tag} OK done\r\n'
    session = await imap.connect(plain(bad), anywhere())
    assert session.folders == {"INBOX": "INBOX", "Sent": "INBOX.Sent", "Junk": "INBOX.Spam"}
    await session.close()


async def test_the_uid_may_stand_behind_the_literal(bad: BadServer) -> None:
    bad.script["UID FETCH 1,2 (UID BODY"] = (
        b"* 1 FETCH (BODY[]<0> {5}\r\nfirst UID 1)\r\n* 9 FETCH (FLAGS (\\Seen))\r\n"
        b'* 2 FETCH (BODY[]<0> "quo\\"ted" UID 2)\r\n{tag} OK done\r\n'
    )
    session = await imap.connect(plain(bad), anywhere())
    assert await read_all(session) == {1: b"first", 2: b'quo"ted'}
    await session.close()


async def test_a_greeting_that_refuses_is_an_error_at_once(bad: BadServer) -> None:
    bad.greeting = b"* BYE too many connections\r\n"
    started = time.monotonic()
    with pytest.raises(ImapError):
        await imap.connect(plain(bad), anywhere())
    assert time.monotonic() - started < 5


@pytest.mark.parametrize("command", ["CAPABILITY", "LOGIN", "LIST", "EXAMINE", "UID SEARCH", "UID FETCH"])
async def test_a_connection_that_is_lost_is_noticed_at_once(bad: BadServer, command: str) -> None:
    bad.script[command] = HANG_UP
    started = time.monotonic()
    with pytest.raises(ImapError):
        await read_all(await imap.connect(plain(bad), anywhere()))
    assert time.monotonic() - started < 5


async def test_a_connection_that_is_lost_between_two_commands_is_noticed_by_the_next(bad: BadServer) -> None:
    session = await imap.connect(plain(bad), anywhere())
    await session.open("INBOX")
    bad.script["NOOP"] = HANG_UP
    with pytest.raises(ImapError):
        await session.open("INBOX")
    with pytest.raises(ImapError):
        await session.search_after(0)
    await session.close()


async def test_a_server_that_falls_silent_is_left_in_time(bad: BadServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(imap_guard, "COMMAND_TIMEOUT_S", 0.3)
    bad.script["UID SEARCH"] = b"* SEARCH"
    session = await imap.connect(plain(bad), anywhere())
    await session.open("INBOX")
    with pytest.raises(ImapError, match="no answer"):
        await session.search_after(0)


FLOODS = {
    "a literal of 4 GB": b"* 1 FETCH (UID 1 BODY[]<0> {4294967296}\r\n" + b"x" * 8 * MEGABYTE,
    "a literal that was not asked for": b"* 1 FETCH (UID 1 BODY[]<0> {9000000}\r\n"
    + b"x" * 9_000_000
    + b")\r\n{tag} OK\r\n",
    "an endless line": b"* " + b"x" * 8 * MEGABYTE,
    "endless untagged lines": b"* 5 EXISTS\r\n" * 500_000,
    "3,000 lines in one answer": b"".join(b"* %d FETCH (UID %d\r\n x)\r\n" % (n, n) for n in range(1500))
    + b"{tag} OK\r\n",
    "no IMAP at all": bytes(range(256)) * 4096,
    "another tag": b"ZZZ9 OK done\r\n",
}


@pytest.mark.parametrize("flood", FLOODS.values(), ids=FLOODS.keys())
async def test_a_flood_ends_the_session_and_is_not_buffered(
    bad: BadServer, flood: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(imap_guard, "COMMAND_TIMEOUT_S", 3.0)
    bad.script["UID FETCH 1,2 (UID BODY"] = flood
    session = await imap.connect(plain(bad), anywhere())
    tracemalloc.start()  # and not the process's peak, which tells of the tests before as well
    try:
        with pytest.raises(ImapError):
            await read_all(session)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 50 * MEGABYTE  # the script's own copies of the flood are part of it (reliability.md F47)
    await session.close()


async def test_other_sessions_go_on_while_one_is_flooded(
    bad: BadServer, world: MailWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(imap_guard, "COMMAND_TIMEOUT_S", 3.0)
    bad.script["UID FETCH 1,2 (UID BODY"] = b"* 5 EXISTS\r\n" * 200_000
    good, flooded = await enter(world), await imap.connect(plain(bad), anywhere())
    world.put(ADDRESS, b"Subject: hi\r\n\r\n")
    read, failed = await asyncio.gather(read_all(good), read_all(flooded), return_exceptions=True)
    assert read == {1: b"Subject: hi\r\n\r\n"}
    assert isinstance(failed, ImapError)
    await good.close()
    await flooded.close()


async def test_one_command_asks_for_no_more_than_it_may(bad: BadServer) -> None:
    bad.messages = dict.fromkeys(range(1, 251), b"x" * 100000)
    session = await imap.connect(plain(bad), anywhere())
    await session.open("INBOX")
    uids = await session.search_after(0)
    found = await session.describe(uids)
    assert len(found) == imap.MAX_UIDS
    batch = imap.affordable(found)
    assert sum(each.size for each in batch) <= imap.MAX_FETCH_BYTES
    assert len(await session.fetch(batch)) == len(batch) == 41
    await session.close()


async def test_a_message_beyond_a_megabyte_is_cut(world: MailWorld) -> None:
    world.put(ADDRESS, b"Subject: big\r\n\r\n" + b"x" * 3 * MEGABYTE)
    session = await enter(world)
    await session.open("INBOX")
    (fetched,) = await session.fetch(await session.describe([1]))
    assert (len(fetched.raw), fetched.truncated) == (MEGABYTE, True)
    await session.close()
