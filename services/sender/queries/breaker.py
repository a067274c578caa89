"""Circuit breakers of inboxes as rows, mirrored into the inbox's own columns for those who look at it."""

from datetime import datetime
from uuid import UUID

from libs.schema.runtime.db import Tx
from services.sender.rules.breaker import Breaker

SAVE_BREAKER = """
WITH saved AS (
    INSERT INTO breaker AS b (team_id, kind, scope, scope_key, state, failures, opened_at, retry_at, reason, changed_at)
    VALUES ($1, $2, 'inbox', $3::uuid::text, $4, $5, CASE WHEN $4 = 'open' THEN $8::timestamptz END, $6, $7, $8)
    ON CONFLICT (team_id, kind, scope, scope_key) DO UPDATE
    SET state = excluded.state, failures = excluded.failures, retry_at = excluded.retry_at, reason = excluded.reason,
        changed_at = excluded.changed_at,
        opened_at = CASE WHEN excluded.state = 'open' THEN coalesce(b.opened_at, excluded.opened_at) END
)
UPDATE inboxes AS i
SET circuit_state = $4, circuit_failure_count = $5,
    circuit_last_failure_at = CASE WHEN $5 > 0 THEN $8 ELSE i.circuit_last_failure_at END
WHERE i.team_id = $1
    AND i.id = $3
"""


async def save_breaker(tx: Tx, team_id: UUID, inbox_id: UUID, breaker: Breaker, now: datetime) -> None:
    """The breaker as it is now; the inbox shows the one that changed last."""
    await tx.execute(
        SAVE_BREAKER,
        team_id,
        breaker.kind,
        inbox_id,
        breaker.state,
        breaker.failures,
        breaker.retry_at,
        breaker.reason,
        now,
    )


DISCONNECT_INBOX = """
UPDATE inboxes AS i
SET status = 'error', status_reason = $3
WHERE i.team_id = $1
    AND i.id = $2
    AND i.status = 'active'
"""


async def disconnect_inbox(tx: Tx, team_id: UUID, inbox_id: UUID, reason: str) -> None:
    """The inbox sends nothing until somebody renews its credentials."""
    await tx.execute(DISCONNECT_INBOX, team_id, inbox_id, reason)
