"""Events that a handler or a projection could not take: put aside with the reason, run again when a person says so.

Who asks sets `retried_at`; the owning process sees it within seconds and runs the event again out of the journal: the
row goes when that succeeds, and stays with the new reason when not.
"""

from typing import Final
from uuid import UUID

import msgspec

from libs.schema.runtime.db import Pool, Tx, fetch_all, transaction
from libs.schema.runtime.telemetry import PARKED, logger

_MAX_ERROR: Final = 500  # characters; the whole traceback is in the log
_RETRIES: Final = 50  # a slice, so that new events go on between

PARK = """
INSERT INTO parked (consumer, event_id, type, error, attempts)
VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (consumer, event_id) DO UPDATE
SET error = excluded.error,
    attempts = parked.attempts + excluded.attempts,
    parked_at = clock_timestamp(),
    retried_at = NULL
"""
ASK = """
UPDATE parked
SET retried_at = clock_timestamp()
WHERE ($1::text IS NULL OR consumer = $1)
    AND ($2::uuid IS NULL OR event_id = $2)
    AND retried_at IS NULL
"""
ASKED = """
SELECT p.event_id, e.body, e.stream_seq
FROM parked p
JOIN event_log e USING (event_id)
WHERE p.consumer = $1 AND p.retried_at IS NOT NULL
ORDER BY e.stream_seq
LIMIT $2
"""
RELEASE = "DELETE FROM parked WHERE consumer = $1 AND event_id = $2"


class Retry(msgspec.Struct, frozen=True, kw_only=True):
    """A parked event that somebody wants to be run again."""

    event_id: UUID
    body: bytes
    stream_seq: int | None


class Poison(msgspec.Struct, frozen=True, kw_only=True):
    """An event that could not be taken, and why."""

    event_id: UUID
    type: str
    error: Exception
    attempts: int = 1


async def park(tx: Tx, consumer: str, poison: Poison) -> None:
    """Puts the event aside; a second call keeps the row, with the newer reason."""
    error = poison.error
    reason = f"{type(error).__name__}: {error}"[:_MAX_ERROR].replace("\x00", "")
    await tx.execute(PARK, consumer, poison.event_id, poison.type, reason, poison.attempts)
    PARKED.labels(consumer).inc()
    log = logger().bind(event_id=str(poison.event_id), event_type=poison.type)
    log.error("event.parked", consumer=consumer, attempts=poison.attempts, exc_info=error)


async def retry_parked(pool: Pool, *, consumer: str | None = None, event_id: UUID | None = None) -> int:
    """Asks the owners to run these parked events again (none named: all of them); returns how many were asked for."""
    async with transaction(pool) as tx:
        return int((await tx.execute(ASK, consumer, event_id)).rpartition(" ")[2])


async def asked_retries(pool: Pool, consumer: str) -> list[Retry]:
    """The consumer's parked events that are to be run again, in log order."""
    async with transaction(pool) as tx:
        return await fetch_all(tx, Retry, ASKED, consumer, _RETRIES)


async def release(tx: Tx, consumer: str, event_id: UUID) -> None:
    """Takes the event out: it has been run."""
    await tx.execute(RELEASE, consumer, event_id)
