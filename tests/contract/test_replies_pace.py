"""How often a mailbox is asked: by what it does, and sooner when its server calls."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from deploy.local.sandbox.world import MailWorld
from libs.schema.runtime.clock import FixedClock
from libs.schema.runtime.db import Connection
from libs.schema.runtime.network import tls_context
from services.replies.deps import Deps
from services.replies.imap import Network
from services.replies.jobs.poll import poll
from services.replies.sessions import LOST_RESTS, Sessions
from tests.contract.bad_imap import BadServer
from tests.contract.replies_world import LOOPBACK, make_office, replies
from tests.support import eventually

ADDRESS = "ann@acme.test"
SECOND, MINUTE, HOUR, DAY = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
IDLE = "IMAP4rev1 IDLE"
FAR = 1000 * DAY


@pytest.fixture(autouse=True)
def _no_gap(monkeypatch: pytest.MonkeyPatch) -> None:  # pyright: ignore[reportUnusedFunction] - a fixture
    monkeypatch.setattr("services.replies.sessions.CALL_GAP_S", 0.0)
    monkeypatch.setattr("services.replies.sessions.FIRST_PAUSE_S", 0.0)


@pytest.fixture
def clock() -> FixedClock:
    return FixedClock(datetime.now(UTC))


@pytest.fixture
async def server(owner: Connection) -> AsyncIterator[BadServer]:
    async with BadServer({1: b"Message-ID: <1@x>\r\n\r\n"}).running() as server:
        await make_office(owner, imap_port=server.port)
        await owner.execute("UPDATE inboxes SET imap_tls = 'none'")
        yield server


async def pause(deps: Deps, clock: FixedClock) -> timedelta:
    """How long the mailbox is left alone from now on, to ten seconds."""
    assert await poll(deps)
    asked_at = clock.now()
    while not await poll(deps):
        clock.move(10 * SECOND)
    return clock.now() - asked_at


async def test_a_mailbox_is_asked_often_after_it_has_sent_and_ever_more_seldom_when_nothing_happens(
    database: str, owner: Connection, server: BadServer, clock: FixedClock
) -> None:
    del server.messages[1]
    async with replies(database, clock=clock) as world:
        deps = replace(world, poll_interval=MINUTE, poll_slowest=10 * MINUTE)
        assert await poll(deps)
        pauses: list[timedelta] = []
        sent_at = clock.now() + 10 * DAY
        for after in (0 * HOUR, 5 * HOUR, 12 * HOUR, 2 * DAY, 9 * DAY):
            clock.move(sent_at + after - clock.now())
            await owner.execute("UPDATE inboxes SET last_sent_at = $1", sent_at)
            pauses.append(await pause(deps, clock))
        assert pauses == [MINUTE, MINUTE, 2 * MINUTE + 10 * SECOND, 8 * MINUTE + 10 * SECOND, 10 * MINUTE]


async def test_a_message_makes_the_mailbox_busy_again(database: str, server: BadServer, clock: FixedClock) -> None:
    async with replies(database, clock=clock) as world:
        deps = replace(world, poll_interval=MINUTE, poll_slowest=10 * MINUTE)
        assert await poll(deps)
        clock.move(9 * DAY)
        assert await pause(deps, clock) == 10 * MINUTE
        server.messages[2] = b"Message-ID: <2@x>\r\n\r\n"
        clock.move(10 * MINUTE)
        assert await pause(deps, clock) == MINUTE


@pytest.mark.usefixtures("server")
async def test_the_slowest_pace_is_never_faster_than_the_fastest(database: str, clock: FixedClock) -> None:
    async with replies(database, clock=clock) as world:
        deps = replace(world, poll_interval=20 * MINUTE, poll_slowest=10 * MINUTE)
        assert await pause(deps, clock) == 20 * MINUTE


async def test_a_call_of_the_server_brings_a_message_at_once_and_no_call_brings_it_later(
    database: str, owner: Connection, server: BadServer, clock: FixedClock
) -> None:
    server.capabilities = IDLE
    async with replies(database, clock=clock) as world:
        deps = replace(world, poll_interval=MINUTE)
        assert await poll(deps)
        await eventually(lambda: server.said("IDLE"))
        server.messages[2] = b"Message-ID: <2@x>\r\n\r\n"
        server.push(b"* 2 EXISTS\r\n")

        async def is_there() -> bool:
            await poll(deps)
            return await owner.fetchval("SELECT count(*) FROM inbound_raw") == 2

        await eventually(is_there)
        server.messages[3] = b"Message-ID: <3@x>\r\n\r\n"  # not told
        assert not await poll(deps)
        clock.move(MINUTE)
        assert await poll(deps)
        assert await owner.fetchval("SELECT count(*) FROM inbound_raw") == 3
    assert server.logins == 1


async def test_a_drop_in_idle_is_mended_at_once_and_every_message_comes_once(
    database: str, owner: Connection, server: BadServer, clock: FixedClock
) -> None:
    server.capabilities = IDLE
    async with replies(database, clock=clock) as world:
        deps = replace(world, poll_interval=MINUTE)
        assert await poll(deps)
        await eventually(lambda: server.said("IDLE"))
        server.messages[2] = b"Message-ID: <2@x>\r\n\r\n"
        server.cut()

        async def is_there() -> bool:
            await poll(deps)
            return await owner.fetchval("SELECT array_agg(uid ORDER BY uid) FROM inbound_raw") == [1, 2]

        await eventually(is_there)
    assert server.logins == 2


async def test_a_half_open_connection_in_idle_is_mended_by_the_next_polls(
    database: str, owner: Connection, server: BadServer, clock: FixedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.replies.imap_guard.Client.wake.__defaults__", (0.2,))
    server.capabilities = IDLE
    server.script["IDLE"] = b"+ idling\r\n{line}"
    async with replies(database, clock=clock) as deps:
        assert await poll(deps)
        server.messages[2] = b"Message-ID: <2@x>\r\n\r\n"
        await eventually(lambda: server.said("IDLE"))
        assert not await poll(deps)
        assert await poll(deps)
    assert await owner.fetchval("SELECT array_agg(uid ORDER BY uid) FROM inbound_raw") == [1, 2]
    assert server.logins == 2


async def test_a_server_that_hangs_up_on_idle_is_polled_without_it(
    database: str, server: BadServer, clock: FixedClock
) -> None:
    server.capabilities = IDLE
    server.script["IDLE"] = None
    async with replies(database, clock=clock) as deps:
        for number in range(1, LOST_RESTS + 1):
            assert await poll(deps)
            await eventually(lambda number=number: len(server.said("IDLE")) == number)
            await eventually(deps.sessions.called)
        for _ in range(3):
            assert await poll(deps)
    assert len(server.said("IDLE")) == LOST_RESTS
    assert server.logins == LOST_RESTS + 1


async def test_idle_can_be_switched_off(database: str, server: BadServer, clock: FixedClock) -> None:
    server.capabilities = IDLE
    async with replies(database, clock=clock) as world:
        network = Network(context=tls_context(None), allow=LOOPBACK)
        deps = replace(world, sessions=Sessions(world.pool, network, most=1, login_gap_s=0, rests=False))
        assert await poll(deps)
        assert await poll(deps)
        await deps.sessions.close()
    assert not server.said("IDLE")


async def test_a_quiet_mailbox_costs_a_few_commands_and_opens_no_other_folder(
    database: str, owner: Connection, clock: FixedClock
) -> None:
    server = BadServer({1: b"Message-ID: <1@x>\r\n\r\n"})
    server.script["LIST"] = b'* LIST (\\Junk) "/" Junk\r\n* LIST (\\Sent) "/" Sent\r\n{tag} OK done\r\n'
    async with server.running(), replies(database, clock=clock) as deps:
        await make_office(owner, imap_port=server.port)
        await owner.execute("UPDATE inboxes SET imap_tls = 'none'")
        assert await poll(deps)
        first = len(server.commands)
        assert await poll(deps)
        assert [command.split(" ")[0] for command in server.commands[first:]] == ["STATUS", "STATUS", "NOOP", "UID"]
        server.messages[2] = b"Message-ID: <2@x>\r\n\r\n"
        assert await poll(deps)
    folders = await owner.fetch("SELECT folder, uid FROM inbound_raw ORDER BY folder, uid")
    assert [tuple(row) for row in folders] == [(folder, uid) for folder in ("INBOX", "Junk", "Sent") for uid in (1, 2)]


async def test_the_sandbox_calls_too(database: str, owner: Connection, tmp_path: Path, clock: FixedClock) -> None:
    async with MailWorld(tmp_path / "mail") as world:
        await make_office(owner, imap_port=world.imap_port)
        async with replies(database, world, clock=clock) as deps:
            patient = replace(deps, poll_interval=FAR)
            assert await poll(patient)
            world.put(ADDRESS, b"Message-ID: <1@x>\r\n\r\n")

            async def is_there() -> bool:
                await poll(patient)
                return await owner.fetchval("SELECT count(*) FROM inbound_raw") == 1

            await eventually(is_there)
