"""A handler's effect happens once for each event, whatever comes twice, fails, is deleted or restarts on the way."""

import asyncio
import os
import signal
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
from opentelemetry import trace

from deploy.local.servers import Nats
from libs.schema.events.base import STREAM, Envelope
from libs.schema.events.campaign import CampaignCompleted
from libs.schema.runtime import telemetry
from libs.schema.runtime.clock import Clock, new_id
from libs.schema.runtime.consume import BATCH, Consumer, Handler, StalledError
from libs.schema.runtime.db import Connection, Pool, Tx, open_pool
from libs.schema.runtime.parked import retry_parked
from libs.schema.runtime.relay import Relay
from libs.schema.runtime.streams import StreamLink, ensure_streams
from tests.contract.journal import TEAM, linked, number_of, on_stream, record_numbers
from tests.support import eventually, role_url

# The webhooks durable hears every type, and its process logs in as api.
DURABLE = "webhooks"


@pytest.fixture(autouse=True, scope="module")
def _json_logs() -> None:
    """What a process does; structlog's own way of showing a traceback takes longer than these tests."""
    telemetry.configure("test", log_level="error", otlp_endpoint=None)


@pytest.fixture
async def link(nats_streams: str) -> AsyncIterator[StreamLink]:
    async with linked(nats_streams) as link:
        yield link


@pytest.fixture
async def pool(database: str, owner: Connection) -> AsyncIterator[Pool]:
    """A service's own login, and a table for the handlers' effects."""
    await owner.execute("CREATE TABLE effect (n INTEGER, at BIGINT GENERATED ALWAYS AS IDENTITY)")
    await owner.execute("GRANT SELECT, INSERT ON effect TO coldstream_api")
    pool = await open_pool(role_url(database, "api"), application_name="test")
    yield pool
    await pool.close()


async def note(tx: Tx, _: Envelope, event: CampaignCompleted) -> None:
    await tx.execute("INSERT INTO effect (n) VALUES ($1)", event.finished)


async def effects(owner: Connection) -> list[int]:
    return [row["n"] for row in await owner.fetch("SELECT n FROM effect ORDER BY at")]


async def count(owner: Connection, wanted: int) -> bool:
    return await owner.fetchval("SELECT count(*) FROM effect") >= wanted


async def parked(owner: Connection) -> list[tuple[str, int, str]]:
    return [tuple(row) for row in await owner.fetch("SELECT type, attempts, error FROM parked")]


async def publish(owner: Connection, link: StreamLink, numbers: range) -> None:
    await record_numbers(owner, numbers)
    relay = Relay(owner, link, Clock())
    while await relay.relay():
        pass


def make(
    pool: Pool, link: StreamLink, url: str, handler: Callable[[Tx, Envelope, CampaignCompleted], Awaitable[None]]
) -> Consumer:
    handlers: dict[type, Handler] = {CampaignCompleted: handler}
    return Consumer(
        name=DURABLE,
        handlers=handlers,
        pool=pool,
        link=link,
        nats_url=url,
        stopping=asyncio.Event(),
        retry_delays_s=(0.01, 0.01, 0.01, 0.01),
        outage_delay_s=0.01,
        watch_s=0.1,
        retries_s=0.1,
    )


@asynccontextmanager
async def running(consumer: Consumer) -> AsyncGenerator[None]:
    task = asyncio.create_task(consumer.run())
    try:
        yield
    finally:
        consumer.stopping.set()
        await task


async def all_acked(link: StreamLink) -> bool:
    info = await link.jetstream.consumer_info(STREAM, DURABLE)
    return info.num_pending == 0 and info.num_ack_pending == 0


async def test_each_event_has_its_effect_once_and_in_order(
    owner: Connection, pool: Pool, link: StreamLink, nats_url: str
) -> None:
    await publish(owner, link, range(250))
    async with running(make(pool, link, nats_url, note)):
        await eventually(lambda: count(owner, 250))
        await eventually(lambda: all_acked(link))
    assert await effects(owner) == list(range(250))


async def test_fifty_copies_of_an_event_have_one_effect(
    owner: Connection, pool: Pool, link: StreamLink, nats_url: str
) -> None:
    await publish(owner, link, range(2))
    first = (await link.read(1, 1))[0]
    for _ in range(50):
        await link.jetstream.publish(first.subject, first.body, stream=STREAM)
    async with running(make(pool, link, nats_url, note)):
        await eventually(lambda: all_acked(link))
    assert await effects(owner) == [0, 1]


async def test_a_failure_leaves_no_effect_and_comes_again(
    owner: Connection, pool: Pool, link: StreamLink, nats_url: str
) -> None:
    tries: list[int] = []

    async def third_time_lucky(tx: Tx, envelope: Envelope, event: CampaignCompleted) -> None:
        await note(tx, envelope, event)
        tries.append(event.finished)
        if event.finished == 1 and tries.count(1) < 3:
            raise ValueError("not yet")

    await publish(owner, link, range(3))
    async with running(make(pool, link, nats_url, third_time_lucky)):
        await eventually(lambda: all_acked(link))
    assert tries.count(1) == 3
    assert sorted(await effects(owner)) == [0, 1, 2]
    assert await parked(owner) == []


async def test_poison_is_parked_while_others_flow_and_runs_when_asked_after_the_mend(
    owner: Connection, pool: Pool, link: StreamLink, nats_url: str
) -> None:
    broken = True

    async def handler(tx: Tx, envelope: Envelope, event: CampaignCompleted) -> None:
        if broken and event.finished == 0:
            raise ZeroDivisionError("a bug")
        await note(tx, envelope, event)

    await publish(owner, link, range(20))
    async with running(make(pool, link, nats_url, handler)):
        await eventually(lambda: parked(owner))
        assert await parked(owner) == [("campaign.completed", 5, "ZeroDivisionError: a bug")]
        await eventually(lambda: all_acked(link))
        assert await effects(owner) == list(range(1, 20))
        assert await retry_parked(pool, consumer=DURABLE) == 1
        await eventually(lambda: attempts(owner, 6))  # still broken: one more
        broken = False
        assert await retry_parked(pool) == 1
        await eventually(lambda: count(owner, 20))
        await eventually(lambda: nothing_parked(owner))
    assert await retry_parked(pool) == 0


async def test_a_value_that_no_column_can_hold_is_poison_and_no_outage(
    owner: Connection, pool: Pool, link: StreamLink, nats_url: str
) -> None:
    async def handler(tx: Tx, envelope: Envelope, event: CampaignCompleted) -> None:
        if event.finished == 0:
            await tx.execute("INSERT INTO effect (n) VALUES ($1)", 2**40)
        await note(tx, envelope, event)

    await publish(owner, link, range(2))
    async with running(make(pool, link, nats_url, handler)):
        await eventually(lambda: parked(owner))
        await eventually(lambda: all_acked(link))
    assert await effects(owner) == [1]
    ((_, _, error),) = await parked(owner)
    assert error.startswith("DataError")


async def attempts(owner: Connection, wanted: int) -> bool:
    return await owner.fetchval("SELECT attempts FROM parked") == wanted


async def nothing_parked(owner: Connection) -> bool:
    return await parked(owner) == []


async def test_what_cannot_be_read_is_parked_at_once_and_what_is_unknown_is_passed_over(
    owner: Connection, pool: Pool, link: StreamLink, nats_url: str
) -> None:
    await publish(owner, link, range(1))
    known = msgspec.json.decode((await link.read(1, 1))[0].body)
    newer = known | {"id": str(new_id()), "dataschema": "campaign.completed/v99"}
    wrong = known | {"id": str(new_id()), "data": {"finished": "many"}}
    unknown = known | {"id": str(new_id()), "type": "campaign.abducted", "dataschema": "campaign.abducted/v1"}
    for body in (newer, wrong, unknown):
        raw = msgspec.json.encode(body)
        await link.jetstream.publish(f"{body['type']}.{TEAM}", raw, stream=STREAM, headers={"Nats-Msg-Id": body["id"]})
    await link.jetstream.publish(f"campaign.completed.{TEAM}", b"\xff\x00", stream=STREAM)
    await publish(owner, link, range(1, 2))
    skipped = telemetry.SKIPPED.labels(DURABLE)
    before = skipped._value.get()  # pyright: ignore[reportPrivateUsage, reportUnknownVariableType, reportUnknownMemberType] - the client has no reader
    async with running(make(pool, link, nats_url, note)):
        await eventually(lambda: all_acked(link))
    assert await effects(owner) == [0, 1]
    assert sorted(error.partition(":")[0] for _, _, error in await parked(owner)) == [
        "DecodeError",
        "NewerEventError",
        "ValidationError",
    ]
    assert {row["event_id"] for row in await owner.fetch("SELECT event_id FROM parked")} >= {
        msgspec.convert(newer["id"], type(new_id())),
        msgspec.convert(wrong["id"], type(new_id())),
    }
    assert skipped._value.get() == before + 1  # pyright: ignore[reportPrivateUsage, reportUnknownMemberType] - the same


async def test_an_outage_of_the_database_parks_nothing(
    owner: Connection, pool: Pool, link: StreamLink, nats_url: str
) -> None:
    kills = 0

    async def handler(tx: Tx, envelope: Envelope, event: CampaignCompleted) -> None:
        nonlocal kills
        if kills < 12:  # more than the tries that a handler has
            kills += 1
            pid = await tx.fetchval("SELECT pg_backend_pid()")
            await owner.execute("SELECT pg_terminate_backend($1)", pid)
        await note(tx, envelope, event)

    await publish(owner, link, range(5))
    async with running(make(pool, link, nats_url, handler)):
        await eventually(lambda: all_acked(link), timeout_s=20)
    assert kills == 12
    assert sorted(await effects(owner)) == [0, 1, 2, 3, 4]
    assert await parked(owner) == []


async def test_a_deleted_consumer_is_made_anew_and_nothing_happens_twice(
    owner: Connection, pool: Pool, link: StreamLink, nats_url: str
) -> None:
    await publish(owner, link, range(10))
    async with running(make(pool, link, nats_url, note)):
        await eventually(lambda: count(owner, 10))
        await link.jetstream.delete_consumer(STREAM, DURABLE)
        await publish(owner, link, range(10, 20))
        await eventually(lambda: count(owner, 20))
        await eventually(lambda: all_acked(link))
    assert await effects(owner) == list(range(20))


async def test_a_recreated_stream_brings_no_second_effect(
    owner: Connection, pool: Pool, link: StreamLink, nats_url: str
) -> None:
    await publish(owner, link, range(300))
    async with running(make(pool, link, nats_url, note)):
        await eventually(lambda: count(owner, 300))
        await link.jetstream.delete_stream(STREAM)
        await publish(owner, link, range(300, 310))
        await eventually(lambda: count(owner, 310))
        await eventually(lambda: all_acked(link))
    assert await effects(owner) == list(range(310))
    assert [number_of(body) for _, _, body in await on_stream(link)] == list(range(310))


async def test_a_consumer_that_is_stopped_gives_back_what_it_has_not_begun(
    owner: Connection, pool: Pool, link: StreamLink, nats_url: str
) -> None:
    await publish(owner, link, range(100))
    told = asyncio.Event()

    async def stop_at_five(tx: Tx, envelope: Envelope, event: CampaignCompleted) -> None:
        await note(tx, envelope, event)
        if event.finished == 5:
            told.set()

    await asyncio.wait_for(replace(make(pool, link, nats_url, stop_at_five), stopping=told).run(), 10)
    assert await effects(owner) == list(range(BATCH))  # what was in hand, and nothing more
    async with running(make(pool, link, nats_url, note)):
        await eventually(lambda: count(owner, 100), timeout_s=5)  # ack_wait, which is 30 s, plays no part
    assert await effects(owner) == list(range(100))


async def test_handlers_go_on_after_nats_was_killed(tmp_path: Path, owner: Connection, pool: Pool) -> None:
    home = tmp_path / "own"
    server = await Nats.start(home)
    await ensure_streams(server.url)
    async with linked(server.url) as link, running(make(pool, link, server.url, note)):
        await publish(owner, link, range(50))
        await eventually(lambda: count(owner, 20))
        os.kill(server.pid, signal.SIGKILL)
        await server.stop()
        server = await Nats.start(home, port=server.port)
        await eventually(lambda: link.is_connected)
        await publish(owner, link, range(50, 100))
        await eventually(lambda: count(owner, 100), timeout_s=15)
    assert sorted(await effects(owner)) == list(range(100))
    await server.stop()


async def test_the_trace_of_the_recording_goes_on_in_the_handler(
    owner: Connection, pool: Pool, link: StreamLink, nats_url: str
) -> None:
    seen: list[tuple[int, int | None]] = []

    async def handler(_: Tx, envelope: Envelope, __: CampaignCompleted) -> None:
        parent = envelope.traceparent
        recorded = int(parent.split("-")[1], 16) if parent else None
        seen.append((trace.get_current_span().get_span_context().trace_id, recorded))

    with telemetry.span("command") as command:
        await publish(owner, link, range(1))
    await publish(owner, link, range(1, 2))
    async with running(make(pool, link, nats_url, handler)):
        await eventually(lambda: len(seen) == 2)
    trace_id = command.get_span_context().trace_id
    assert seen[0] == (trace_id, trace_id)
    assert seen[1][0] not in (0, trace_id)
    assert seen[1][1] is None


async def test_a_subscription_that_brings_nothing_ends_the_process(
    owner: Connection, pool: Pool, link: StreamLink, nats_url: str
) -> None:
    consumer = replace(make(pool, link, nats_url, note), stalled_s=0.3)
    task = asyncio.create_task(consumer.run())
    await publish(owner, link, range(1))
    await eventually(lambda: count(owner, 1))
    for other in asyncio.all_tasks():
        if getattr(other.get_coro(), "__name__", "") == "_consume_pull":
            other.cancel()
    await publish(owner, link, range(1, 100))  # more than the request that the server still holds takes
    with pytest.raises(ExceptionGroup) as ended:
        await asyncio.wait_for(task, 10)
    assert ended.value.subgroup(StalledError) is not None
