"""A projection holds each event exactly once, in order, also when the stream is made anew or an event is poison."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import asyncpg
import msgspec
import pytest

from deploy.local.servers import Nats
from libs.schema.events.base import STREAM
from libs.schema.events.campaign import CampaignCompleted
from libs.schema.runtime.clock import Clock, new_id
from libs.schema.runtime.db import Connection, Pool, Tx, open_pool
from libs.schema.runtime.parked import retry_parked
from libs.schema.runtime.project import BATCH, Projected, Projector
from libs.schema.runtime.relay import Relay, run_relay
from libs.schema.runtime.streams import StreamLink, ensure_declared, ensure_streams
from tests.contract.journal import TEAM, linked, record_numbers, unpublished
from tests.support import eventually, role_url


@pytest.fixture
async def link(nats_streams: str) -> AsyncIterator[StreamLink]:
    async with linked(nats_streams) as link:
        yield link


@pytest.fixture
async def pool(database: str, owner: Connection) -> AsyncIterator[Pool]:
    """Analytics' own login, and a table to count in: nothing there forbids a number to be counted twice."""
    await owner.execute("CREATE TABLE counted (n INTEGER, seq BIGINT, at BIGINT GENERATED ALWAYS AS IDENTITY)")
    await owner.execute("GRANT SELECT, INSERT ON counted TO coldstream_analytics")
    pool = await open_pool(role_url(database, "analytics"), application_name="test")
    yield pool
    await pool.close()


@dataclass
class Counting:
    """Writes down every number it is given."""

    name: str = "counting"
    poison: set[int] = field(default_factory=set[int])
    batches: list[int] = field(default_factory=list[int])

    async def apply(self, tx: Tx, batch: Sequence[Projected]) -> None:
        self.batches.append(len(batch))
        for each in batch:
            assert isinstance(each.event, CampaignCompleted)
            await tx.execute("INSERT INTO counted (n, seq) VALUES ($1, $2)", each.event.finished, each.seq)
            if each.event.finished in self.poison:
                raise ZeroDivisionError("a bug")


async def counted(owner: Connection) -> list[int]:
    return [row["n"] for row in await owner.fetch("SELECT n FROM counted ORDER BY at")]


async def publish(owner: Connection, link: StreamLink, numbers: range) -> None:
    await record_numbers(owner, numbers)
    relay = Relay(owner, link, Clock())
    while await relay.relay():
        pass


async def drain(projector: Projector) -> None:
    while await projector.tick():
        pass


def make(pool: Pool, link: StreamLink, projection: Counting | None = None) -> Projector:
    return Projector(projection=projection or Counting(), pool=pool, link=link, clock=Clock())


async def test_every_event_is_counted_once_and_in_order_in_batches(
    owner: Connection, pool: Pool, link: StreamLink
) -> None:
    await publish(owner, link, range(1100))
    counting = Counting()
    await drain(make(pool, link, counting))
    assert await counted(owner) == list(range(1100))
    assert counting.batches == [BATCH, BATCH, 100]


async def test_a_new_process_goes_on_where_the_old_one_committed(
    owner: Connection, pool: Pool, link: StreamLink
) -> None:
    await publish(owner, link, range(10))
    await drain(make(pool, link))
    await publish(owner, link, range(10, 20))
    await drain(make(pool, link))
    assert await counted(owner) == list(range(20))


async def test_a_killed_transaction_counts_nothing_twice(owner: Connection, pool: Pool, link: StreamLink) -> None:
    class Killed(Counting):
        async def apply(self, tx: Tx, batch: Sequence[Projected]) -> None:
            await super().apply(tx, batch)
            if len(self.batches) == 1:
                pid = await tx.fetchval("SELECT pg_backend_pid()")
                await owner.execute("SELECT pg_terminate_backend($1)", pid)

    await publish(owner, link, range(50))
    projector = make(pool, link, Killed())
    with pytest.raises((asyncpg.PostgresConnectionError, asyncpg.InterfaceError)):
        await projector.tick()
    await drain(projector)
    assert await counted(owner) == list(range(50))


async def test_only_the_poison_is_parked_and_it_is_counted_when_asked_after_the_mend(
    owner: Connection, pool: Pool, link: StreamLink
) -> None:
    await publish(owner, link, range(30))
    counting = Counting(poison={7})
    projector = make(pool, link, counting)
    await drain(projector)
    assert await counted(owner) == [n for n in range(30) if n != 7]
    row = await owner.fetchrow("SELECT consumer, type, error FROM parked")
    assert row is not None
    assert tuple(row) == ("counting", "campaign.completed", "ZeroDivisionError: a bug")
    counting.poison.clear()
    assert await retry_parked(pool, consumer="counting") == 1
    await drain(make(pool, link, counting))
    assert (await counted(owner))[-1] == 7
    assert await owner.fetchval("SELECT count(*) FROM parked") == 0


async def test_what_cannot_be_read_is_parked_and_what_is_unknown_is_passed_over(
    owner: Connection, pool: Pool, link: StreamLink
) -> None:
    await publish(owner, link, range(1))
    known = msgspec.json.decode((await link.read(1, 1))[0].body)
    newer = known | {"id": str(new_id()), "dataschema": "campaign.completed/v99"}
    unknown = known | {"id": str(new_id()), "type": "campaign.abducted", "dataschema": "campaign.abducted/v1"}
    for body in (newer, unknown):
        await link.jetstream.publish(f"{body['type']}.{TEAM}", msgspec.json.encode(body), stream=STREAM)
    await link.jetstream.publish(f"campaign.completed.{TEAM}", b"\xff", stream=STREAM)
    await publish(owner, link, range(1, 2))
    await drain(make(pool, link))
    assert await counted(owner) == [0, 1]
    errors = [row["error"].partition(":")[0] for row in await owner.fetch("SELECT error FROM parked ORDER BY error")]
    assert errors == ["DecodeError", "NewerEventError"]


async def test_a_stream_made_anew_is_gone_on_with_where_the_journal_says(
    owner: Connection, pool: Pool, link: StreamLink
) -> None:
    await publish(owner, link, range(10))
    # Strangers' messages give the old stream other numbers than the new one will have.
    for _ in range(3):
        await link.jetstream.publish("email.sent.nobody", b"{}", stream=STREAM)
    await publish(owner, link, range(10, 20))
    projector = make(pool, link)
    await drain(projector)
    await link.jetstream.delete_stream(STREAM)
    await ensure_declared(link.jetstream)
    assert not await projector.tick()  # not refilled yet: it waits
    await publish(owner, link, range(20, 40))
    assert (await link.state()).last_seq == 40
    await drain(projector)
    assert await counted(owner) == list(range(40))


async def test_an_offset_that_somebody_else_moved_is_read_again(
    owner: Connection, pool: Pool, link: StreamLink
) -> None:
    await publish(owner, link, range(10))
    first, second = make(pool, link), make(pool, link)
    await drain(first)
    await publish(owner, link, range(10, 20))
    await drain(second)
    await publish(owner, link, range(20, 30))
    await drain(first)
    assert await counted(owner) == list(range(30))


async def test_relay_and_projection_survive_kills_of_nats_and_a_wiped_stream_exactly_once(
    tmp_path: Path, database: str, owner: Connection, pool: Pool
) -> None:
    home = tmp_path / "own"
    server = await Nats.start(home)
    await ensure_streams(server.url)
    stopping = asyncio.Event()
    async with linked(server.url) as link:
        relay = asyncio.create_task(run_relay(role_url(database, "analytics"), link, Clock(), stopping))
        projecting = asyncio.create_task(keep_ticking(make(pool, link), stopping))
        for round_ in range(3):
            await record_numbers(owner, range(round_ * 300, round_ * 300 + 300))
            os.kill(server.pid, signal.SIGKILL)
            await server.stop()
            server = await Nats.start(home, port=server.port)
            await eventually(lambda: link.is_connected)
            if round_ == 1:
                await link.jetstream.delete_stream(STREAM)
        await eventually(lambda: all_counted(owner, 900), timeout_s=20)
        stopping.set()
        await asyncio.gather(relay, projecting)
    await server.stop()
    assert await counted(owner) == list(range(900))
    assert await unpublished(owner) == 0


async def keep_ticking(projector: Projector, stopping: asyncio.Event) -> None:
    while not stopping.is_set():
        try:
            again = await projector.tick()
        except Exception:  # noqa: BLE001 - what a Loop does: try again
            again = False
        await asyncio.sleep(0 if again else 0.02)


async def all_counted(owner: Connection, wanted: int) -> bool:
    return await owner.fetchval("SELECT count(*) FROM counted") >= wanted
