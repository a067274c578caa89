"""Ends that nobody knows, and mail that nobody sent back: what evidence and time make of them.

Nothing here ever moves a send from unknown back to queued: what may have been accepted is never sent again.
"""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import msgspec

from libs.schema.events.email import Resolution
from libs.schema.runtime.db import Tx, fetch_all
from services.sender.queries.sends import Send

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
    SET status = CASE WHEN m.status = 'bounced' THEN m.status ELSE $5::text::email_status END,
        sent_at = resolved.committed_at
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


# What events of others have left behind, should one of them never have come.
DUE_LOOKS = """
SELECT l.send_id, l.committed_at,
    CASE WHEN EXISTS (SELECT FROM replies AS r WHERE r.email_id = l.send_id) THEN 'reply'
        WHEN EXISTS (SELECT FROM refusal AS f WHERE f.email_id = l.send_id AND f.source <> 'smtp') THEN 'dsn'
        WHEN EXISTS (SELECT FROM emails AS m WHERE m.id = l.send_id AND (m.open_count > 0 OR m.click_count > 0))
            THEN 'hit' END AS found
FROM send_ledger AS l
WHERE l.state = 'unknown'
    AND l.next_settle_at <= $1
ORDER BY l.next_settle_at
LIMIT 500
FOR UPDATE OF l SKIP LOCKED
"""


class Look(msgspec.Struct, frozen=True, kw_only=True):
    """An unknown end at which it is time to look, and what is found now."""

    send_id: UUID
    committed_at: datetime
    found: Resolution | None


async def due_looks(tx: Tx, now: datetime) -> list[Look]:
    """The unknown ends at which it is time to look, locked until the transaction ends."""
    return await fetch_all(tx, Look, DUE_LOOKS, now)


LOOK_AGAIN = """
UPDATE send_ledger AS l
SET next_settle_at = $2, settle_round = l.settle_round + 1
WHERE l.send_id = $1
    AND l.state = 'unknown'
"""


async def look_again(tx: Tx, send_id: UUID, at: datetime) -> None:
    """Nothing was found yet; the next look is taken then."""
    await tx.execute(LOOK_AGAIN, send_id, at)


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


ARRIVED = """
WITH told AS (
    UPDATE emails AS m
    SET status = $4::text::email_status, delivered_at = $3
    WHERE m.team_id = $1
        AND m.id = $2
        AND m.status = 'sent'
    RETURNING m.id, m.variant_id
)
SELECT l.send_id, l.kind, l.team_id, l.lead_id, l.lead_key, l.inbox_id, l.campaign_id, l.enrollment_id, l.step_id,
    q.step_number, told.variant_id, l.attempt, l.slot_at, l.not_before, l.committed_at, l.sent_on, l.inbox_sent_on
FROM told
JOIN send_ledger AS l ON l.send_id = told.id
LEFT JOIN sequences AS q ON q.id = l.step_id
"""


async def mark_arrived(tx: Tx, team_id: UUID, email_id: UUID, at: datetime, email_status: str) -> list[Send]:
    """The email that its server reported as delivered, now shown so; empty when that was known or it came back."""
    return await fetch_all(tx, Send, ARRIVED, team_id, email_id, at, email_status)
