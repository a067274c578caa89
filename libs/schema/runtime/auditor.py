"""The auditor: makes the journal and the stream agree again, whichever of the two has lost something.

Stream lost its tail, or everything: what is gone is published again, in the order in which it lay there. Stream knows
more than the journal: this database is an older copy; what it has forgotten is entered again, and sending is paused.
Works by content only: one journal row, one message, the same id. Run by the elected relay on its own connection.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

import msgspec

from libs.schema.events.base import Envelope, open_envelope
from libs.schema.runtime import barrier
from libs.schema.runtime.db import Connection
from libs.schema.runtime.streams import StreamLink, StreamMessage
from libs.schema.runtime.telemetry import logger

_CHUNK: Final = 500
_SLICE: Final = 10_000  # rows of a lost tail in one statement: about a second
RESTORED = "the stream holds events that this database does not know: it is an older copy. See coldstream verify-sends"

MARK = """
UPDATE event_log
SET stream_seq = m.seq
FROM unnest($1::uuid[], $2::bigint[]) AS m(event_id, seq)
WHERE event_log.event_id = m.event_id
"""
LAST_MARKED = "SELECT max(stream_seq) FROM event_log WHERE stream_seq > 0"
NEAREST_MARKED = """
SELECT stream_seq, event_id
FROM event_log
WHERE stream_seq BETWEEN 1 AND $1
ORDER BY stream_seq DESC
LIMIT 1
"""
# Negative: lay at this place of a stream that is gone. Keeps the order, survives a crash, and collides with nothing.
TAKE_BACK = """
UPDATE event_log
SET stream_seq = -stream_seq
WHERE event_id IN (
    SELECT event_id
    FROM event_log
    WHERE stream_seq > $1
    ORDER BY stream_seq DESC
    LIMIT $2
)
"""
KNOWN = "SELECT event_id, stream_seq FROM event_log WHERE event_id = ANY($1::uuid[])"
ADOPT = """
INSERT INTO event_log (event_id, team_id, type, subject, time, body, stream_seq)
SELECT event_id, team_id, type, subject, time, body, stream_seq
FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::timestamptz[], $6::json[], $7::bigint[])
    AS e(event_id, team_id, type, subject, time, body, stream_seq)
"""
PAUSE = """
UPDATE installation
SET epoch = epoch + 1, paused = TRUE, paused_reason = $1, paused_at = $2
RETURNING epoch
"""


async def mark(connection: Connection, places: Mapping[UUID, int]) -> None:
    """Writes where the events lie on the stream."""
    await connection.execute(MARK, list(places), list(places.values()))


async def reconcile(connection: Connection, link: StreamLink, now: datetime) -> int:
    """Makes the journal say of every event where it lies on the stream, and returns the stream's last sequence.

    Cheap when nothing is wrong: two look-ups. A second call finds nothing to do. `now` is business time.

    Raises:
        nats.errors.Error, asyncpg.PostgresError, OSError: one of the two cannot be reached; call it again.

    """
    state = await link.state()
    marked: int = await connection.fetchval(LAST_MARKED) or 0
    agreed = await _last_agreement(connection, link, min(marked, state.last_seq), is_whole=marked <= state.last_seq)
    if agreed < marked:
        logger().error("stream.lost_tail", last_marked=marked, last_agreed=agreed, last_seq=state.last_seq)
        while await connection.execute(TAKE_BACK, agreed, _SLICE) != "UPDATE 0":
            pass
    # What was there at the beginning has been read now; a stream can end behind its last message, never before it.
    return max(state.last_seq, await _scan(connection, link, agreed, now))


async def _last_agreement(connection: Connection, link: StreamLink, top: int, *, is_whole: bool) -> int:
    """The last sequence up to which journal and stream hold the same; found by halving, since both only ever grow."""
    if is_whole and (found := await _agrees(connection, link, top)) is not None:
        return found
    low, high = 0, top  # agreed up to low; not agreed beyond high
    while low < high:
        middle = (low + high + 1) // 2
        if await _agrees(connection, link, middle) is None:
            high = middle - 1
        else:
            low = middle
    return low


async def _agrees(connection: Connection, link: StreamLink, seq: int) -> int | None:
    """`seq` when the last event marked at or before it lies where the mark says; 0 is agreement on nothing."""
    row = await connection.fetchrow(NEAREST_MARKED, seq)
    if row is None:
        return seq
    there = await link.read(row["stream_seq"], 1)
    return seq if begins_with(there, row["stream_seq"], row["event_id"]) else None


async def _scan(connection: Connection, link: StreamLink, agreed: int, now: datetime) -> int:
    """Reads the stream beyond what is agreed and enters what it says; returns its end."""
    end, is_restored = agreed, False
    while messages := await link.read(end + 1, _CHUNK):
        ids = {id_: message for message in reversed(messages) if (id_ := event_id(message))}
        known = {row["event_id"]: row["stream_seq"] for row in await connection.fetch(KNOWN, list(ids))}
        unmarked = {id_: ids[id_].seq for id_, seq in known.items() if seq is None or seq < 0}
        await mark(connection, unmarked)
        unknown = [message for id_, message in ids.items() if id_ not in known]
        if unknown:
            await _adopt(connection, sorted(unknown, key=lambda message: message.seq), now, is_first=not is_restored)
            is_restored = True
        end = messages[-1].seq
    return end


async def _adopt(connection: Connection, messages: Sequence[StreamMessage], now: datetime, *, is_first: bool) -> None:
    """Enters events that only the stream remembers; the first time it also pauses everything and raises the epoch."""
    events = [(message, open_envelope(message.body)) for message in messages]
    async with connection.transaction():
        if is_first:
            await barrier.stop_everything(connection)
            epoch: int = await connection.fetchval(PAUSE, RESTORED, now)
            logger().critical("database.is_older_copy", epoch=epoch, first_seq=messages[0].seq)
        await connection.execute(
            ADOPT,
            [envelope.id for _, envelope in events],
            [envelope.teamid for _, envelope in events],
            [envelope.type for _, envelope in events],
            [envelope.subject for _, envelope in events],
            [envelope.time for _, envelope in events],
            [message.body for message, _ in events],
            [message.seq for message, _ in events],
        )


def begins_with(messages: Sequence[StreamMessage], seq: int, wanted: UUID) -> bool:
    """Whether the first of them is this event at this place."""
    return bool(messages) and messages[0].seq == seq and event_id(messages[0]) == wanted


def event_id(message: StreamMessage) -> UUID | None:
    """Which event the message is; None for what a stranger wrote, which is nobody's business."""
    envelope = _envelope(message)
    return envelope.id if envelope else None


def _envelope(message: StreamMessage) -> Envelope | None:
    try:
        return open_envelope(message.body)
    except msgspec.DecodeError:
        return None
