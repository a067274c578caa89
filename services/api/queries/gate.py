"""SQL before a request has a team: its key, how far the read side has come. Runs as coldstream_api.

Never reads what a tenant wrote.
"""

from datetime import datetime
from uuid import UUID

import msgspec

from libs.schema.runtime.db import Tx, fetch_one


class Key(msgspec.Struct, frozen=True, kw_only=True):
    """An API key as it is stored: the hash of the whole key, the team it acts for, and how far it may go."""

    id: UUID
    team_id: UUID
    key_hash: bytes
    role: str
    scopes: list[str]
    expires_at: datetime | None
    last_used_at: datetime | None
    revoked_at: datetime | None


FIND_KEY = """
SELECT id, team_id, key_hash, role, scopes, expires_at, last_used_at, revoked_at
FROM api_keys
WHERE prefix = $1
"""


async def find_key(tx: Tx, prefix: str) -> Key | None:
    """The key with this prefix, valid or not."""
    return await fetch_one(tx, Key, FIND_KEY, prefix)


TOUCH_KEY = """
UPDATE api_keys
SET last_used_at = $2
WHERE id = $1
"""


async def touch_key(tx: Tx, key_id: UUID, at: datetime) -> None:
    """Notes that the key was used at this time."""
    await tx.execute(TOUCH_KEY, key_id, at)


POSITION_REACHED = """
SELECT coalesce(e.stream_seq, 0) > 0 AND NOT EXISTS (
    SELECT FROM projection_offset AS o WHERE o.last_seq < e.stream_seq
)
FROM event_log AS e
WHERE e.team_id = $1
    AND e.event_id = $2
"""


async def position_reached(tx: Tx, team_id: UUID, event_id: UUID) -> bool | None:
    """Whether every projection has come as far as this event of the team; None when there is no such event."""
    return await tx.fetchval(POSITION_REACHED, team_id, event_id)


FORGET_ANSWERS = """
DELETE FROM idempotency_key
WHERE (team_id, key) IN (
    SELECT team_id, key
    FROM idempotency_key
    WHERE created_at < $1
    ORDER BY created_at
    LIMIT $2
)
RETURNING 1
"""


async def forget_answers(tx: Tx, before: datetime, limit: int) -> int:
    """Deletes up to `limit` kept answers from before this time; returns how many there were."""
    return len(await tx.fetch(FORGET_ANSWERS, before, limit))
