"""Circuit breakers as rows: locked, changed by the rules, written back; an inbox shows the worst of its own.

Whoever changes breakers locks the inbox first and they after it, in one order, so that nobody waits in a circle.
"""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from libs.schema.runtime.db import Tx, fetch_all
from services.sender.rules.breaker import Breaker

LOCK_BREAKERS = """
WITH box AS MATERIALIZED (
    SELECT i.id
    FROM inboxes AS i
    WHERE i.team_id = $1
        AND i.id = $2
    FOR NO KEY UPDATE
)
INSERT INTO breaker AS b (team_id, kind, scope, scope_key, changed_at)
SELECT $1, u.kind, u.scope, u.scope_key, $6
FROM (SELECT count(*) FROM box) AS boxes
CROSS JOIN unnest($3::text[], $4::text[], $5::text[]) AS u(kind, scope, scope_key)
ORDER BY u.kind, u.scope, u.scope_key
ON CONFLICT (team_id, kind, scope, scope_key) DO UPDATE
SET team_id = b.team_id
RETURNING b.kind, b.scope, b.scope_key AS key, b.state, b.failures, b.sends, b.threshold, b.retry_at, b.failed_at,
    b.counted_from, b.reason
"""


async def lock_breakers(
    tx: Tx, team_id: UUID, inbox_id: UUID | None, spots: Sequence[tuple[str, str, str]], now: datetime
) -> list[Breaker]:
    """The breakers at (kind, scope, key) as they are, locked until the transaction ends; missing ones are made.

    `inbox_id` is the inbox whose affair it is; None: a campaign's alone.
    """
    kinds, scopes, keys = zip(*spots, strict=True)
    return await fetch_all(tx, Breaker, LOCK_BREAKERS, team_id, inbox_id, kinds, scopes, keys, now)


SAVE_BREAKER = """
UPDATE breaker AS b
SET state = $5, failures = $6, sends = $7, threshold = $8, retry_at = $9, failed_at = $10, counted_from = $11,
    reason = $12, changed_at = $13,
    opened_at = CASE WHEN $5 = 'closed' THEN NULL WHEN b.state = 'closed' THEN $13 ELSE b.opened_at END
WHERE b.team_id = $1
    AND b.kind = $2
    AND b.scope = $3
    AND b.scope_key = $4
"""


async def save_breaker(tx: Tx, team_id: UUID, breaker: Breaker, now: datetime) -> None:
    """Writes a locked breaker back."""
    await tx.execute(
        SAVE_BREAKER,
        team_id,
        *breaker.spot,
        breaker.state,
        breaker.failures,
        breaker.sends,
        breaker.threshold,
        breaker.retry_at,
        breaker.failed_at,
        breaker.counted_from,
        breaker.reason,
        now,
    )


SHOW_CIRCUIT = """
UPDATE inboxes AS i
SET circuit_state = w.state, circuit_failure_count = w.failures, circuit_last_failure_at = coalesce(w.failed_at,
        i.circuit_last_failure_at)
FROM (
    SELECT b.state, b.failures, CASE WHEN b.failures > 0 THEN b.changed_at END AS failed_at
    FROM breaker AS b
    WHERE b.team_id = $1
        AND b.scope = 'inbox'
        AND b.scope_key = $2::uuid::text
    ORDER BY array_position(ARRAY['open', 'half-open', 'closed'], b.state), b.failures DESC
    LIMIT 1
) AS w
WHERE i.team_id = $1
    AND i.id = $2
"""


async def show_circuit(tx: Tx, team_id: UUID, inbox_id: UUID) -> None:
    """The inbox shows the worst of its breakers."""
    await tx.execute(SHOW_CIRCUIT, team_id, inbox_id)


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


# Only while the way in that stands there still leads nowhere: a report may come late.
DISCONNECT_UNREAD_INBOX = """
UPDATE inboxes AS i
SET status = 'error', status_reason = $3
WHERE i.team_id = $1
    AND i.id = $2
    AND i.status IN ('active', 'warming_up')
    AND (i.imap_refused = i.imap_way OR i.imap_unreachable_since IS NOT NULL)
    AND i.deleted_at IS NULL
"""


async def disconnect_unread_inbox(tx: Tx, team_id: UUID, inbox_id: UUID, reason: str) -> None:
    """The inbox whose replies cannot be read sends nothing until they can be."""
    await tx.execute(DISCONNECT_UNREAD_INBOX, team_id, inbox_id, reason)


# Who waits for a new consent, or is paused by a person, goes on waiting for that.
RECONNECT_INBOX = """
UPDATE inboxes AS i
SET status = 'active', status_reason = NULL
WHERE i.team_id = $1
    AND i.id = $2
    AND i.status = 'error'
    AND NOT i.reauth_required
    AND i.deleted_at IS NULL
"""


async def reconnect_inbox(tx: Tx, team_id: UUID, inbox_id: UUID) -> None:
    """The inbox sends again, if nothing but its credentials was in the way."""
    await tx.execute(RECONNECT_INBOX, team_id, inbox_id)


OVER = """
SELECT b.team_id, b.kind, b.scope, b.scope_key AS key, b.state, b.failures, b.sends, b.threshold, b.retry_at,
    b.failed_at, b.counted_from, b.reason
FROM breaker AS b
WHERE b.retry_at <= $1
    AND ((b.kind = 'reputation' AND b.state = 'open') OR (b.kind = 'complaint' AND b.state = 'half-open'))
ORDER BY b.team_id, b.kind, b.scope, b.scope_key
LIMIT 500
"""


class Over(Breaker, frozen=True, kw_only=True):
    """A breaker whose pause is over, and whose it is."""

    team_id: UUID


async def over(tx: Tx, now: datetime) -> list[Over]:
    """The breakers of the good name that time moves on; lock each before it is changed."""
    return await fetch_all(tx, Over, OVER, now)


CLOSE_BY_PERSON = """
UPDATE breaker AS b
SET state = 'closed', failures = 0, sends = NULL, threshold = NULL, retry_at = NULL, failed_at = '{}', opened_at = NULL,
    counted_from = $5, reason = 'closed by a person', changed_at = $5
WHERE b.team_id = $1
    AND b.kind = $2
    AND b.scope = $3
    AND b.scope_key = $4
    AND b.changed_at <= $5
"""


async def close_by_person(tx: Tx, team_id: UUID, spot: tuple[str, str, str], at: datetime) -> None:
    """Closes what a person has closed; one that has changed since then is left as it is."""
    await tx.execute(CLOSE_BY_PERSON, team_id, *spot, at)


SMTP_HOST = """
SELECT lower(i.smtp_host)
FROM inboxes AS i
WHERE i.team_id = $1
    AND i.id = $2
"""


async def smtp_host(tx: Tx, team_id: UUID, inbox_id: UUID) -> str | None:
    """The name of the host that the inbox sends through, as breakers are keyed by it."""
    return await tx.fetchval(SMTP_HOST, team_id, inbox_id)


INBOXES_OF_HOST = """
SELECT o.id
FROM inboxes AS i
JOIN inboxes AS o ON o.team_id = i.team_id AND lower(o.smtp_host) = lower(i.smtp_host)
WHERE i.team_id = $1
    AND i.id = $2
"""


async def inboxes_of_host(tx: Tx, team_id: UUID, inbox_id: UUID) -> list[UUID]:
    """The team's inboxes that send through the same host as this one, itself among them."""
    return [record["id"] for record in await tx.fetch(INBOXES_OF_HOST, team_id, inbox_id)]
