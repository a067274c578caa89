"""Sends whose worker is gone, and sends of before: what the ledger makes of them.

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
    SET status = CASE WHEN m.status = 'bounced' THEN m.status ELSE $3::text::email_status END
    FROM lost
    WHERE m.id = lost.send_id
)
SELECT l.send_id, l.kind, l.team_id, l.lead_id, l.lead_key, l.inbox_id, l.campaign_id, l.enrollment_id, l.step_id,
    q.step_number, m.variant_id, l.attempt, l.slot_at, l.not_before, l.committed_at, l.sent_on, l.inbox_sent_on
FROM lost AS l
LEFT JOIN emails AS m ON m.id = l.send_id
LEFT JOIN sequences AS q ON q.id = l.step_id
"""


async def reap_in_data(tx: Tx, dead_owners: Sequence[int], first_look: timedelta, email_status: str) -> list[Send]:
    """Calls unknown what had passed the point of no return with a worker that is gone; nothing ever sends it again."""
    return await fetch_all(tx, Send, REAP_IN_DATA, dead_owners, first_look, email_status)


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
