"""What the tests of relay, consumers and projections share: events that carry a number, and both ends of the way."""

import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from uuid import UUID

from libs.schema.events.base import open_envelope, open_event
from libs.schema.events.campaign import CampaignCompleted
from libs.schema.runtime.clock import new_id
from libs.schema.runtime.db import Connection, Tx
from libs.schema.runtime.outbox import record
from libs.schema.runtime.streams import StreamLink, StreamMessage

TEAM = new_id()
READ_WITHIN_S = 20.0
NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)


def numbered(number: int) -> CampaignCompleted:
    """An event that says `number`."""
    return CampaignCompleted(campaign_id=new_id(), finished=number, stopped=0, failed=0)


async def record_numbers(tx: Tx, numbers: Sequence[int]) -> list[UUID]:
    """Records one event for each number, in this order."""
    return await record(tx, TEAM, *map(numbered, numbers), by="api", at=NOW)


def number_of(body: bytes) -> int:
    """What the event says."""
    event = open_event(open_envelope(body))
    assert isinstance(event, CampaignCompleted)
    return event.finished


async def journal(owner: Connection) -> list[tuple[int, UUID, bytes]]:
    """The journal in log order: place on the stream, id, bytes; raises TypeError when something is not published."""
    rows = await owner.fetch("SELECT stream_seq, event_id, body FROM event_log ORDER BY stream_seq")
    return [(int(row["stream_seq"]), row["event_id"], row["body"]) for row in rows]


async def unpublished(owner: Connection) -> int:
    """How many events have no place on the stream."""
    return await owner.fetchval("SELECT count(*) FROM event_log WHERE stream_seq IS NULL OR stream_seq < 0")


async def on_stream(link: StreamLink) -> list[tuple[int, UUID | None, bytes]]:
    """The whole stream, in the journal's words."""
    messages: list[StreamMessage] = []
    while page := await _page(link, messages[-1].seq + 1 if messages else 1):
        messages += page
    return [(message.seq, message.msg_id, message.body) for message in messages]


async def _page(link: StreamLink, seq: int) -> list[StreamMessage]:
    """The next messages; a server that has just come back may leave a request unanswered, so it is asked again."""
    deadline = time.monotonic() + READ_WITHIN_S
    while True:
        try:
            return await link.read(seq, 1000)
        except TimeoutError:
            if time.monotonic() > deadline:
                raise


@asynccontextmanager
async def linked(nats_url: str) -> AsyncGenerator[StreamLink]:
    """An open connection to NATS."""
    link = StreamLink(nats_url, "test")
    await link.open()
    try:
        yield link
    finally:
        await link.close()
