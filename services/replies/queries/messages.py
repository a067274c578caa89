"""Stored messages: which wait for their outcome, and what it is."""

from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from libs.schema.runtime.db import Tx, fetch_all, fetch_one


class Raw(msgspec.Struct, frozen=True, kw_only=True):
    """A stored message that has no outcome yet."""

    id: UUID
    team_id: UUID
    inbox_id: UUID
    folder: str
    dedupe: bytes
    internal_date: datetime
    raw: bytes


class Waiting(msgspec.Struct, frozen=True, kw_only=True):
    """A stored message that waits for its outcome, and whose it is."""

    id: UUID
    team_id: UUID


# A copy in Sent says something only when its send has ended: it waits while the mailbox has one under way.
UNSORTED = """
SELECT r.id, r.team_id
FROM inbound_raw AS r
WHERE r.outcome IS NULL
    AND NOT (r.folder = 'Sent' AND EXISTS (
        SELECT FROM send_ledger AS l WHERE l.inbox_id = r.inbox_id AND l.state IN ('claimed', 'in_data')
    ))
ORDER BY r.stored_at, r.id
LIMIT $1
"""


async def unsorted(tx: Tx, limit: int) -> list[Waiting]:
    """The messages that wait for their outcome, oldest first."""
    return await fetch_all(tx, Waiting, UNSORTED, limit)


TAKE_RAW = """
SELECT id, team_id, inbox_id, folder, dedupe, internal_date, raw
FROM inbound_raw
WHERE id = $1 AND outcome IS NULL
FOR UPDATE SKIP LOCKED
"""


async def take_raw(tx: Tx, raw_id: UUID) -> Raw | None:
    """The message, locked until the transaction ends; None where another process has it or it has its outcome."""
    return await fetch_one(tx, Raw, TAKE_RAW, raw_id)


TAKE_UNMATCHED = """
SELECT id, team_id, inbox_id, folder, dedupe, internal_date, raw
FROM inbound_raw
WHERE team_id = $1
    AND id = $2
    AND outcome = 'unmatched'
FOR UPDATE
"""


async def take_unmatched(tx: Tx, team_id: UUID, raw_id: UUID) -> Raw | None:
    """The team's message that is nobody's answer yet, locked until the transaction ends; None where it is not one."""
    return await fetch_one(tx, Raw, TAKE_UNMATCHED, team_id, raw_id)


OUTCOME_OF = "SELECT outcome FROM inbound_raw WHERE team_id = $1 AND id = $2"


async def outcome_of(tx: Tx, team_id: UUID, raw_id: UUID) -> str | None:
    """The outcome of the team's message; None where it has none yet, or there is no such message."""
    return await tx.fetchval(OUTCOME_OF, team_id, raw_id)


SETTLE_RAW = """
UPDATE inbound_raw
SET outcome = $2, outcome_detail = $3, sorted_at = $4
WHERE id = $1 AND (outcome IS NULL OR outcome = 'unmatched')
"""


async def settle_raw(tx: Tx, raw_id: UUID, outcome: str, detail: dict[str, Any], now: datetime) -> None:
    """Writes the message's one outcome, which is the last unless it is that nobody was found."""
    await tx.execute(SETTLE_RAW, raw_id, outcome, detail, now)


COUNT_ATTEMPT = "UPDATE inbound_raw SET attempts = attempts + 1 WHERE id = $1 RETURNING attempts"


async def count_attempt(tx: Tx, raw_id: UUID) -> int:
    """How often the message has failed now."""
    return await tx.fetchval(COUNT_ATTEMPT, raw_id)
