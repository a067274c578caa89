"""One message that a server breaks on: the others come, and in the end so does its place."""

from collections.abc import AsyncIterator

import pytest

from libs.schema.runtime.db import Connection
from services.replies.deps import Deps
from services.replies.jobs.poll import poll
from tests.contract.bad_imap import HANG_UP, BadServer
from tests.contract.replies_world import make_office, replies

POISON = 37


@pytest.fixture(autouse=True)
def _no_pause(monkeypatch: pytest.MonkeyPatch) -> None:  # pyright: ignore[reportUnusedFunction] - a fixture
    monkeypatch.setattr("services.replies.sessions.FIRST_PAUSE_S", 0.0)


@pytest.fixture
async def server(owner: Connection) -> AsyncIterator[BadServer]:
    messages = {uid: f"Message-ID: <{uid}@x>\r\n\r\nhello".encode() for uid in range(1, 121)}
    async with BadServer(messages).running() as server:
        await make_office(owner, imap_port=server.port)
        await owner.execute("UPDATE inboxes SET imap_tls = 'none'")
        yield server


def breaks_on(server: BadServer, *poison: int, answer: bytes | None, command: str = "BODY") -> None:
    def broken(said: str) -> bytes | None:
        asked = {int(uid) for uid in said.split(" ")[2].split(",")}
        return answer if command in said and asked & set(poison) else server.sane(said)

    server.script["UID FETCH"] = broken


async def polled(deps: Deps, most: int) -> int:
    """How many polls it took until the mailbox was read to its end."""
    for number in range(1, most + 1):
        if await poll(deps):
            return number
    raise AssertionError(f"not read in {most} polls")


async def stored(owner: Connection) -> tuple[list[int], list[int]]:
    """The UIDs that came, and of these the ones without their bytes."""
    rows = await owner.fetch("SELECT uid, raw FROM inbound_raw ORDER BY uid")
    return [row["uid"] for row in rows], [row["uid"] for row in rows if not row["raw"]]


@pytest.mark.parametrize("command", ["BODY", "RFC822.SIZE"])
@pytest.mark.parametrize("answer", [b"{tag} NO [SERVERBUG] Internal error\r\n", b"{tag} BAD what\r\n"])
async def test_a_refused_message_is_found_by_halves_in_one_poll(
    database: str, owner: Connection, server: BadServer, command: str, answer: bytes
) -> None:
    breaks_on(server, POISON, answer=answer, command=command)
    async with replies(database) as deps:
        assert await polled(deps, 1) == 1
        assert await stored(owner) == ([*range(1, 121)], [POISON])
        assert await owner.fetchval("SELECT last_uid FROM imap_cursor WHERE folder = 'INBOX'") == 120
    assert server.logins == 1


@pytest.mark.parametrize(
    "answer", [HANG_UP, b"* 1 FETCH (UID 1 BODY[]<0> {9000000}\r\n" + b"x" * 9_000_000], ids=["hangs up", "floods"]
)
async def test_a_message_that_breaks_the_session_is_given_up_and_the_others_do_not_wait_for_it(
    database: str, owner: Connection, server: BadServer, answer: bytes | None
) -> None:
    breaks_on(server, POISON, answer=answer)
    async with replies(database) as deps:
        assert not await poll(deps)
        assert not await poll(deps)
        assert not await poll(deps)
        came, _ = await stored(owner)
        assert came == [uid for uid in range(1, 101) if uid != POISON]
        assert await owner.fetchval("SELECT max(last_uid) FROM imap_cursor WHERE folder = 'INBOX'") in (None, 0)
        assert await poll(deps)
        assert await stored(owner) == ([*range(1, 121)], [POISON])
        assert await owner.fetchval("SELECT outcome FROM inbound_raw WHERE uid = $1", POISON) is None
    assert server.logins == 4


async def test_several_poisonous_messages_are_all_found(database: str, owner: Connection, server: BadServer) -> None:
    breaks_on(server, 3, 4, 50, 101, answer=HANG_UP)
    async with replies(database) as deps:
        assert await polled(deps, 16) > 4
    assert await stored(owner) == ([*range(1, 121)], [3, 4, 50, 101])


async def test_what_failed_by_chance_comes_whole(database: str, owner: Connection, server: BadServer) -> None:
    breaks_on(server, POISON, answer=HANG_UP)
    async with replies(database) as deps:
        assert not await poll(deps)
        assert not await poll(deps)
        server.script.clear()
        assert await poll(deps)
    assert await stored(owner) == ([*range(1, 121)], [])


async def test_a_server_that_hands_out_nothing_loses_nobody_a_message(
    database: str, owner: Connection, server: BadServer
) -> None:
    server.script["UID FETCH"] = b"{tag} NO [UNAVAILABLE] the disk is away\r\n"
    async with replies(database) as deps:
        for _ in range(4):
            assert not await poll(deps)
        assert await stored(owner) == ([], [])
        assert len(server.said("UID FETCH")) < 100
        server.script.clear()
        assert await poll(deps)
    assert await stored(owner) == ([*range(1, 121)], [])


async def test_the_only_message_is_tried_longer_and_then_given_up(
    database: str, owner: Connection, server: BadServer
) -> None:
    server.messages = {1: b"poison"}
    breaks_on(server, 1, answer=HANG_UP)
    async with replies(database) as deps:
        assert await polled(deps, 9) == 7
    assert await stored(owner) == ([1], [1])


async def test_a_suspect_that_somebody_deletes_is_in_nobodys_way(
    database: str, owner: Connection, server: BadServer
) -> None:
    breaks_on(server, POISON, answer=HANG_UP)
    async with replies(database) as deps:
        assert not await poll(deps)
        del server.messages[POISON]
        assert await poll(deps)
        assert await poll(deps)
    came, unreadable = await stored(owner)
    assert (len(came), unreadable) == (119, [])


async def test_a_mailbox_of_large_messages_is_read_in_turns(
    database: str, owner: Connection, server: BadServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.replies.jobs.poll.MAX_BYTES_PER_POLL", 1000)
    async with replies(database) as deps:
        assert await poll(deps)
        assert len((await stored(owner))[0]) == 100
        assert await owner.fetchval("SELECT last_reply_checked_at FROM inboxes") is None
        assert await poll(deps)
        assert len((await stored(owner))[0]) == 120
        assert await owner.fetchval("SELECT last_reply_checked_at FROM inboxes") is not None
    assert server.logins == 1
