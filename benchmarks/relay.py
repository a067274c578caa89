"""From the journal to the stream: events recorded, published and marked, against the same bytes published alone."""

# pyright: reportUnknownMemberType=false
# nats-py leaves its **options and **params open.

import os
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID

import asyncpg
from nats.aio.client import Client

from benchmarks.ground import Ground, Place
from benchmarks.harness import Pair, Row, Scale, compare
from libs.schema.events.base import seal
from libs.schema.events.email import EmailSent
from libs.schema.runtime.clock import Clock, new_id
from libs.schema.runtime.db import prepare_connection, transaction
from libs.schema.runtime.outbox import Fact, record_all
from libs.schema.runtime.relay import BATCH, Relay
from libs.schema.runtime.streams import MSG_ID, STREAM_CONFIG

A_TRANSACTION = 100  # events: a planner's batch has 500, a settled mail one or two
BARE_SUBJECT = "bare.email"


async def run(ground: Ground, scale: Scale) -> list[Row]:
    """A row for the whole way, and one for the relay's half of it."""
    size = scale.size(10_000, 1_000)
    async with ground.place() as place, place.pool("sender") as pool:
        connection = await asyncpg.connect(place.role_url("sender"))
        await prepare_connection(connection)
        relay = Relay(connection, place.link, Clock())
        await relay.audit()
        await place.link.jetstream.add_stream(replace(STREAM_CONFIG, name="BARE", subjects=["bare.>"]))
        seconds = {"record": 0.0, "relay": 0.0}

        async def ours() -> float:
            facts = [Fact(team_id=new_id(), event=_sent()) for _ in range(size)]
            started = time.perf_counter()
            for at in range(0, size, A_TRANSACTION):
                async with transaction(pool) as tx:
                    await record_all(tx, facts[at : at + A_TRANSACTION], by="sender", at=datetime.now(UTC))
            seconds["record"] = time.perf_counter() - started
            started = time.perf_counter()
            while await relay.relay():
                pass
            seconds["relay"] = time.perf_counter() - started
            return size / sum(seconds.values())

        async def half() -> float:
            await ours()
            return size / seconds["relay"]

        async def bare() -> float:
            return await _publish(place, size)

        whole, second_half = await compare(ours, bare, scale), await compare(half, bare, scale)
        await connection.close()
    return [
        _row("record, relay, mark", whole),
        _row("relay, mark", second_half, f"bare: atomic batches of {BATCH}; recorded {A_TRANSACTION} a transaction"),
    ]


def _row(what: str, pair: Pair, note: str = "") -> Row:
    return Row(bench="relay", what=what, unit="events/s", ours=pair.ours, bare=pair.bare, ratio=pair.ratio, note=note)


def _sent() -> EmailSent:
    now = datetime.now(UTC)
    return EmailSent(
        email_id=new_id(),
        lead_id=new_id(),
        inbox_id=new_id(),
        campaign_id=new_id(),
        enrollment_id=new_id(),
        step_id=new_id(),
        step_number=1,
        sent_on=now.date(),
        inbox_sent_on=now.date(),
        attempt=1,
        resolved_by="smtp",
        scheduled_at=now,
        smtp_code=250,
    )


async def _publish(place: Place, size: int) -> float:
    bodies = [
        (id_, seal(_sent(), event_id=id_, team_id=new_id(), time=datetime.now(UTC), by="sender"))
        for id_ in (new_id() for _ in range(size))
    ]
    started = time.perf_counter()
    for at in range(0, size, BATCH):
        await _publish_batch(place.link.client, bodies[at : at + BATCH])
    return size / (time.perf_counter() - started)


async def _publish_batch(client: Client, batch: Sequence[tuple[UUID, bytes]]) -> None:
    """NATS ADR-50: the first and the last as requests, the last one commits."""
    batch_id = os.urandom(8).hex()
    for number, (id_, body) in enumerate(batch, 1):
        headers = {"Nats-Batch-Id": batch_id, "Nats-Batch-Sequence": str(number), MSG_ID: str(id_)}
        if number == len(batch):
            answer = await client.request(BARE_SUBJECT, body, timeout=10, headers={**headers, "Nats-Batch-Commit": "1"})
            if b'"error"' in answer.data:
                raise AssertionError(answer.data)
        elif number == 1:
            await client.request(BARE_SUBJECT, body, timeout=10, headers=headers)
        else:
            await client.publish(BARE_SUBJECT, body, headers=headers)
