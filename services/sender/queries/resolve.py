"""Sends whose worker is gone, and ends that nobody knows: what time and other evidence make of them.

Nothing here ever moves a send from unknown back to queued: what may have been accepted is never sent again.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

import msgspec

from libs.schema.runtime.db import Tx, fetch_all
from services.sender.queries.sends import Send

REAP_CLAIMED = """
WITH dead AS (
    SELECT l.send_id
    FROM send_ledger AS l
    WHERE l.state = 'claimed'
        AND (l.lease_until < clock_timestamp() OR l.claimed_by = ANY ($1::bigint[]))
    ORDER BY l.lease_until
    LIMIT 500
    FOR UPDATE SKIP LOCKED
),
given AS (
    UPDATE send_ledger AS l
    SET state = 'queued', lease_until = NULL, claimed_by = NULL
    FROM dead
    WHERE l.send_id = dead.send_id
    RETURNING l.send_id
),
shown AS (
    UPDATE emails AS m
    SET status = $2::text::email_status
    FROM given
    WHERE m.id = given.send_id
)
SELECT count(*) FROM given
"""


async def reap_claimed(tx: Tx, dead_owners: Sequence[int], email_status: str) -> int:
    """Queues again what was claimed by a worker that is gone: it had not passed the point of no return."""
    return await tx.fetchval(REAP_CLAIMED, dead_owners, email_status) or 0


REAP_IN_DATA = """
WITH dead AS (
    SELECT l.send_id
    FROM send_ledger AS l
    WHERE l.state = 'in_data'
        AND (l.lease_until < clock_timestamp() OR l.claimed_by = ANY ($1::bigint[]))
    ORDER BY l.lease_until
    LIMIT 500
    FOR UPDATE SKIP LOCKED
),
lost AS (
    UPDATE send_ledger AS l
    SET state = 'unknown', lease_until = NULL, claimed_by = NULL, next_settle_at = l.committed_at + $2
    FROM dead
    WHERE l.send_id = dead.send_id
    RETURNING l.send_id, l.kind, l.team_id, l.lead_id, l.lead_key, l.inbox_id, l.campaign_id, l.enrollment_id,
        l.step_id, l.attempt, l.slot_at, l.not_before, l.committed_at, l.sent_on, l.inbox_sent_on
),
shown AS (
    UPDATE emails AS m
    SET status = $3::text::email_status
    FROM lost
    WHERE m.id = lost.send_id
)
SELECT l.send_id, l.kind, l.team_id, l.lead_id, l.lead_key, l.inbox_id, l.campaign_id, l.enrollment_id, l.step_id,
    q.step_number, m.variant_id, l.attempt, l.slot_at, l.not_before, l.committed_at, l.sent_on, l.inbox_sent_on
FROM lost AS l
LEFT JOIN emails AS m ON m.id = l.send_id
LEFT JOIN sequences AS q ON q.id = l.step_id
"""


async def reap_in_data(tx: Tx, dead_owners: Sequence[int], patience: timedelta, email_status: str) -> list[Send]:
    """Calls unknown what had passed the point of no return with a worker that is gone; nothing ever sends it again."""
    return await fetch_all(tx, Send, REAP_IN_DATA, dead_owners, patience, email_status)


DEAD_OWNERS = """
SELECT o.claimed_by
FROM (
    SELECT DISTINCT claimed_by
    FROM send_ledger
    WHERE state IN ('claimed', 'in_data')
        AND claimed_by IS NOT NULL
) AS o
WHERE pg_try_advisory_xact_lock(o.claimed_by)
"""


async def dead_owners(tx: Tx) -> list[int]:
    """The workers with claims whose session lock is free: their process or its line to the database is gone."""
    return [record["claimed_by"] for record in await tx.fetch(DEAD_OWNERS)]


RESOLVE_UNKNOWN = """
WITH resolved AS (
    UPDATE send_ledger AS l
    SET state = 'accepted', resolved_by = $2, settled_at = $3, next_settle_at = NULL,
        provider_message_id = coalesce($4, l.provider_message_id)
    WHERE l.send_id = ANY ($1::uuid[])
        AND l.state = 'unknown'
    RETURNING l.send_id, l.kind, l.team_id, l.lead_id, l.lead_key, l.inbox_id, l.campaign_id, l.enrollment_id,
        l.step_id, l.attempt, l.slot_at, l.not_before, l.committed_at, l.sent_on, l.inbox_sent_on
),
shown AS (
    UPDATE emails AS m
    SET status = $5::text::email_status, sent_at = resolved.committed_at
    FROM resolved
    WHERE m.id = resolved.send_id
)
SELECT l.send_id, l.kind, l.team_id, l.lead_id, l.lead_key, l.inbox_id, l.campaign_id, l.enrollment_id, l.step_id,
    q.step_number, m.variant_id, l.attempt, l.slot_at, l.not_before, l.committed_at, l.sent_on, l.inbox_sent_on
FROM resolved AS l
LEFT JOIN emails AS m ON m.id = l.send_id
LEFT JOIN sequences AS q ON q.id = l.step_id
"""


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """Why an unknown end is held to be a sending: where it was seen, and the provider's own Message-ID, if any."""

    resolved_by: str
    provider_message_id: str | None = None


async def resolve_unknown(
    tx: Tx, send_ids: Sequence[UUID], evidence: Evidence, at: datetime, email_status: str
) -> list[Send]:
    """Those of the sends that were unknown, now accepted; the others stay what they are."""
    return await fetch_all(
        tx, Send, RESOLVE_UNKNOWN, send_ids, evidence.resolved_by, at, evidence.provider_message_id, email_status
    )


OVERDUE_UNKNOWN = """
SELECT send_id
FROM send_ledger
WHERE state = 'unknown'
    AND next_settle_at <= $1
ORDER BY next_settle_at
LIMIT 500
FOR UPDATE SKIP LOCKED
"""


async def overdue_unknown(tx: Tx, now: datetime) -> list[UUID]:
    """Unknown ends for which no evidence came in all the time that is given to it."""
    return [record["send_id"] for record in await tx.fetch(OVERDUE_UNKNOWN, now)]


DELIVERED = """
WITH calm AS (
    SELECT m.id
    FROM emails AS m
    WHERE m.status = 'sent'
        AND m.sent_at <= $2
    ORDER BY m.sent_at
    LIMIT 500
    FOR UPDATE SKIP LOCKED
),
told AS (
    UPDATE emails AS m
    SET status = $3::text::email_status, delivered_at = $1
    FROM calm
    WHERE m.id = calm.id
    RETURNING m.id, m.variant_id
)
SELECT l.send_id, l.kind, l.team_id, l.lead_id, l.lead_key, l.inbox_id, l.campaign_id, l.enrollment_id, l.step_id,
    q.step_number, told.variant_id, l.attempt, l.slot_at, l.not_before, l.committed_at, l.sent_on, l.inbox_sent_on
FROM told
JOIN send_ledger AS l ON l.send_id = told.id
LEFT JOIN sequences AS q ON q.id = l.step_id
"""


async def mark_delivered(tx: Tx, now: datetime, sent_before: datetime, email_status: str) -> list[Send]:
    """The emails that were sent before that and have not come back, now shown as delivered."""
    return await fetch_all(tx, Send, DELIVERED, now, sent_before, email_status)


class Past(msgspec.Struct, frozen=True, kw_only=True):
    """A send that the ledger knows from before."""

    send_id: UUID
    step_id: UUID
    state: str
    not_before: datetime
    committed_at: datetime | None


PAST_SENDS = """
SELECT l.send_id, l.step_id, l.state, l.not_before, l.committed_at
FROM send_ledger AS l
WHERE l.send_id = ANY ($1::uuid[])
"""


async def past_sends(tx: Tx, send_ids: Sequence[UUID]) -> list[Past]:
    """How these sends ended."""
    return await fetch_all(tx, Past, PAST_SENDS, send_ids)
