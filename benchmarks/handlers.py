"""Once-only consumption: our consumer with an empty handler, against nats-py's fetch and ack around the same INSERT.

Against one transaction an event, which most consumers are, and against as many events a transaction as ours takes.
"""

# pyright: reportUnknownMemberType=false
# nats-py leaves its **options and **params open.

import asyncio
import time
from datetime import UTC, datetime
from functools import partial

from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig

from benchmarks.ground import Ground, Place
from benchmarks.harness import Pair, Row, Scale, compare
from libs.schema.events.base import STREAM, Envelope, open_envelope, open_event, seal
from libs.schema.events.lead import LeadEnrolled
from libs.schema.runtime.clock import new_id
from libs.schema.runtime.consume import BATCH, Consumer
from libs.schema.runtime.db import Pool, Tx, transaction
from libs.schema.runtime.relay import Outgoing, publish_batch

FETCH = 100
PUBLISHED_AT_ONCE = 500
DURABLE = "sender"
INSERT = "INSERT INTO event_handled (consumer, event_id) VALUES ('bare', $1)"


async def run(ground: Ground, scale: Scale) -> list[Row]:
    """A row for each baseline. Each side has a durable of its own, and the events of its own round."""
    size = scale.size(500, 100)
    async with ground.place() as place, place.pool(DURABLE) as pool:
        config = ConsumerConfig(
            durable_name="bare", filter_subject="campaign.*.*", ack_policy=AckPolicy.EXPLICIT, max_ack_pending=1_000
        )
        await place.link.jetstream.add_consumer(STREAM, config)
        fetching = await place.link.jetstream.pull_subscribe_bind("bare", STREAM)

        async def ours() -> float:
            await _publish(place, size, "lead.enrolled")
            return size / await _consume(place, pool, size)

        async def bare(together: int) -> float:
            await _publish(place, size, "campaign.enrolled")
            return size / await _fetch(fetching, pool, size, together)

        singly = await compare(ours, partial(bare, 1), scale)
        batched = await compare(ours, partial(bare, BATCH), scale)
    return [
        _row("claim, handle, ack; bare: 1 a commit", singly),
        _row(
            f"claim, handle, ack; bare: {BATCH} a commit", batched, "bare: fetch, decode, an INSERT each, commit, ack"
        ),
    ]


def _row(what: str, pair: Pair, note: str = "") -> Row:
    return Row(
        bench="handlers", what=what, unit="events/s", ours=pair.ours, bare=pair.bare, ratio=pair.ratio, note=note
    )


async def _publish(place: Place, size: int, subject: str) -> None:
    """The same events for both; the subject decides who hears them."""
    team_id = new_id()
    for _ in range(0, size, PUBLISHED_AT_ONCE):
        batch: list[Outgoing] = []
        for _ in range(min(size, PUBLISHED_AT_ONCE)):
            event = LeadEnrolled(lead_id=new_id(), enrollment_id=new_id(), campaign_id=new_id(), sequence_version=1)
            id_ = new_id()
            body = seal(event, event_id=id_, team_id=team_id, time=datetime.now(UTC), by="sender")
            batch.append(Outgoing(event_id=id_, team_id=team_id, type=subject, body=body))
        await publish_batch(place.link, batch, (await place.link.state()).last_seq)


async def _consume(place: Place, pool: Pool, size: int) -> float:
    stopping, done = asyncio.Event(), asyncio.Event()
    left, finished = size, 0.0

    async def handle(tx: Tx, envelope: Envelope, event: LeadEnrolled) -> None:
        nonlocal left, finished
        _ = tx, envelope, event
        left -= 1
        if left == 0:
            finished = time.perf_counter()
            done.set()

    consumer = Consumer(
        name=DURABLE,
        handlers={LeadEnrolled: handle},
        pool=pool,
        link=place.link,
        nats_url=place.nats_url,
        stopping=stopping,
    )
    started = time.perf_counter()
    running = asyncio.create_task(consumer.run())
    await done.wait()
    stopping.set()
    await running
    return finished - started


async def _fetch(fetching: JetStreamContext.PullSubscription, pool: Pool, size: int, together: int) -> float:
    started = time.perf_counter()
    left = size
    while left:
        messages = await fetching.fetch(FETCH)
        for at in range(0, len(messages), together):
            async with transaction(pool) as tx:
                for message in messages[at : at + together]:
                    envelope = open_envelope(message.data)
                    open_event(envelope)
                    await tx.execute(INSERT, envelope.id)
            for message in messages[at : at + together]:
                await message.ack()
        left -= len(messages)
    return time.perf_counter() - started
