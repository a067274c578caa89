"""Stops as they reach enrollments, queued mail and leads: what stands in lead_stop decides, not the order of events.

Every statement is harmless the second time; mail that is under way is left alone, T2 has its own look at the stops.
"""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import msgspec

from libs.schema.runtime.db import Tx, fetch_all
from services.sender.queries.sends import Send

END_QUEUED = """
WITH ended AS (
    UPDATE send_ledger AS l
    SET state = u.state, settled_at = $3, lease_until = NULL, claimed_by = NULL
    FROM unnest($1::uuid[], $2::text[]) AS u(send_id, state)
    WHERE l.send_id = u.send_id
        AND l.state = 'queued'
    RETURNING l.send_id, l.kind, l.team_id, l.lead_id, l.lead_key, l.inbox_id, l.campaign_id, l.enrollment_id,
        l.step_id, l.attempt, l.slot_at, l.not_before, l.committed_at, l.sent_on, l.inbox_sent_on
),
shown AS (
    UPDATE emails AS m
    SET status = $4::text::email_status, error_message = $5
    FROM ended
    WHERE m.id = ended.send_id
)
SELECT l.send_id, l.kind, l.team_id, l.lead_id, l.lead_key, l.inbox_id, l.campaign_id, l.enrollment_id, l.step_id,
    q.step_number, m.variant_id, l.attempt, l.slot_at, l.not_before, l.committed_at, l.sent_on, l.inbox_sent_on
FROM ended AS l
LEFT JOIN emails AS m ON m.id = l.send_id
LEFT JOIN sequences AS q ON q.id = l.step_id
"""


async def end_queued(tx: Tx, ends: Sequence[tuple[UUID, str]], at: datetime, email_status: str, why: str) -> list[Send]:
    """The queued ones among (send, state), now in that state; one that has been claimed is left to its gates."""
    return await fetch_all(
        tx, Send, END_QUEUED, [send_id for send_id, _ in ends], [state for _, state in ends], at, email_status, why
    )


# Its server's own wish stands: a mail that was put off after its slot is due no earlier than that.
DUE_AGAIN = """
WITH due AS (
    UPDATE enrollments AS e
    SET next_at = greatest(CASE WHEN l.not_before > l.slot_at THEN l.not_before ELSE coalesce(l.due_at, l.slot_at) END,
            $2, CASE WHEN e.held_gate = 'out_of_office' THEN e.held_until END),
        held_gate = NULL, held_until = NULL
    FROM send_ledger AS l
    WHERE l.send_id = ANY ($1::uuid[])
        AND e.id = l.enrollment_id
        AND e.state = 'active'
    RETURNING e.lead_id, e.campaign_id, e.next_at
)
UPDATE leads AS ld
SET next_send_at = due.next_at
FROM due
WHERE ld.id = due.lead_id
    AND ld.current_campaign_id = due.campaign_id
"""


async def due_again(tx: Tx, send_ids: Sequence[UUID], earliest: datetime | None) -> None:
    """The enrollments whose slots were taken away want others: due as they were before, but not before `earliest`."""
    await tx.execute(DUE_AGAIN, send_ids, earliest)


class Stopped(msgspec.Struct, frozen=True, kw_only=True):
    """An enrollment to which a stop applies, and its queued mail, if there is one."""

    id: UUID
    campaign_id: UUID
    lead_id: UUID
    reason: str
    send_id: UUID | None


STOPPED_ENROLLMENTS = """
SELECT e.id, e.campaign_id, e.lead_id, s.reason,
    (SELECT l.send_id FROM send_ledger AS l
        WHERE l.team_id = e.team_id AND l.lead_key = e.lead_key AND l.enrollment_id = e.id AND l.state = 'queued'
        LIMIT 1) AS send_id
FROM enrollments AS e
JOIN campaigns AS c ON c.id = e.campaign_id
JOIN LATERAL (
    SELECT ls.reason
    FROM lead_stop AS ls
    WHERE ls.team_id = e.team_id AND ls.lead_key = e.lead_key
        AND ls.stopped_at >= e.enrolled_at
        AND (ls.campaign_id IS NULL OR ls.campaign_id = e.campaign_id)
        AND (ls.reason <> 'replied' OR coalesce((c.settings ->> 'stop_on_reply')::boolean, true))
        AND (ls.reason NOT IN ('hard_bounce', 'soft_bounce')
            OR coalesce((c.settings ->> 'stop_on_bounce')::boolean, true))
    ORDER BY ls.stopped_at, ls.id
    LIMIT 1
) AS s ON true
WHERE e.team_id = $1
    AND e.state IN ('active', 'held')
    AND e.lead_key IN (SELECT o.lead_key FROM enrollments AS o WHERE o.team_id = $1 AND o.lead_id = $2)
"""


async def stopped_enrollments(tx: Tx, team_id: UUID, lead_id: UUID) -> list[Stopped]:
    """The sequences of this person that a stop has ended and that do not show it yet."""
    return await fetch_all(tx, Stopped, STOPPED_ENROLLMENTS, team_id, lead_id)


CAMPAIGN_ENROLLMENTS = """
SELECT e.id, e.campaign_id, e.lead_id, 'campaign_archived' AS reason, l.send_id
FROM enrollments AS e
LEFT JOIN send_ledger AS l ON l.enrollment_id = e.id AND l.team_id = e.team_id AND l.lead_key = e.lead_key
    AND l.state = 'queued'
WHERE e.team_id = $1
    AND e.campaign_id = $2
    AND e.state IN ('active', 'held')
"""


async def campaign_enrollments(tx: Tx, team_id: UUID, campaign_id: UUID) -> list[Stopped]:
    """All open sequences of a campaign that was put away."""
    return await fetch_all(tx, Stopped, CAMPAIGN_ENROLLMENTS, team_id, campaign_id)


class LeadChange(msgspec.Struct, frozen=True, kw_only=True):
    """What an event says about a lead; a field that is None changes nothing."""

    status: str | None = None
    reply_intent: str | None = None
    replied_at: datetime | None = None
    bounced_at: datetime | None = None
    unsubscribed_at: datetime | None = None
    by_person: bool = False


class Orders(msgspec.Struct, frozen=True, kw_only=True):
    """How a lead's status may change: lowest first, and those among which a person may choose."""

    climb: Sequence[str]
    of_replies: Sequence[str]


CHANGE_LEAD = """
UPDATE leads AS ld
SET status = CASE WHEN $3::text IS NOT NULL
            AND (array_position($8::text[], ld.status::text) < array_position($8::text[], $3::text)
                OR ($9 AND ld.status::text = ANY($10::text[]) AND $3::text = ANY($10::text[])))
        THEN $3::text::lead_status ELSE ld.status END,
    reply_intent = coalesce($4, ld.reply_intent),
    replied_at = CASE WHEN $5::timestamptz < ld.replied_at THEN ld.replied_at ELSE coalesce($5, ld.replied_at) END,
    bounced_at = least(ld.bounced_at, $6),
    unsubscribed_at = least(ld.unsubscribed_at, $7)
WHERE ld.team_id = $1
    AND ld.id = $2
"""


async def change_lead(tx: Tx, team_id: UUID, lead_id: UUID, change: LeadChange, orders: Orders) -> None:
    """The lead's columns take in what happened; its status only climbs, whichever event comes first.

    A person may also lower it among the statuses that a reply gives.
    """
    await tx.execute(
        CHANGE_LEAD,
        team_id,
        lead_id,
        change.status,
        change.reply_intent,
        change.replied_at,
        change.bounced_at,
        change.unsubscribed_at,
        orders.climb,
        change.by_person,
        orders.of_replies,
    )


READ_PERSONS_WORD = """
SELECT intent::text
FROM replies
WHERE team_id = $1
    AND id = $2
    AND intent_manual_override
"""


async def persons_word(tx: Tx, team_id: UUID, reply_id: UUID) -> str | None:
    """What a person says that the reply means; None where nobody has said anything."""
    return await tx.fetchval(READ_PERSONS_WORD, team_id, reply_id)


POSTPONE = """
WITH moved AS (
    UPDATE enrollments AS e
    SET next_at = CASE WHEN e.next_at IS NOT NULL THEN greatest(e.next_at, $3) END, held_gate = 'out_of_office',
        held_until = greatest(e.held_until, $3)
    WHERE e.team_id = $1
        AND e.lead_id = $2
        AND e.state = 'active'
    RETURNING e.lead_id, e.campaign_id, e.next_at
)
UPDATE leads AS ld
SET next_send_at = moved.next_at
FROM moved
WHERE ld.id = moved.lead_id
    AND ld.current_campaign_id = moved.campaign_id
    AND moved.next_at IS NOT NULL
"""


async def postpone(tx: Tx, team_id: UUID, lead_id: UUID, until: datetime) -> None:
    """The person's sequences go on no earlier than that, also from a mail that is under way; a later date stands."""
    await tx.execute(POSTPONE, team_id, lead_id, until)


QUEUED_OF_LEAD = """
SELECT l.send_id
FROM send_ledger AS l
JOIN enrollments AS e ON e.id = l.enrollment_id
WHERE e.team_id = $1
    AND e.lead_id = $2
    AND l.team_id = $1
    AND l.lead_key = e.lead_key
    AND l.state = 'queued'
    AND l.not_before < $3
"""


async def queued_of_lead(tx: Tx, team_id: UUID, lead_id: UUID, before: datetime) -> list[UUID]:
    """The person's queued sends that would go before that."""
    return [record["send_id"] for record in await tx.fetch(QUEUED_OF_LEAD, team_id, lead_id, before)]


RELEASE_CAMPAIGN = """
UPDATE enrollments AS e
SET state = 'active', held_until = NULL
WHERE e.team_id = $1
    AND e.campaign_id = $2
    AND e.state IN ('active', 'held')
    AND e.held_gate IS NOT NULL
    AND e.held_gate <> 'out_of_office'
"""
RELEASE_INBOXES = """
UPDATE enrollments AS e
SET state = 'active', held_until = NULL
FROM campaign_inboxes AS ci
WHERE ci.team_id = $1
    AND ci.inbox_id = ANY ($2::uuid[])
    AND e.campaign_id = ci.campaign_id
    AND e.state IN ('active', 'held')
    AND e.held_gate IN ('inbox', 'circuit', 'health', 'esp')
"""
RELEASE_LEAD = """
UPDATE enrollments AS e
SET state = 'active', held_until = NULL
WHERE e.team_id = $1
    AND e.lead_id = $2
    AND e.state IN ('active', 'held')
    AND e.held_gate IN ('variable', 'subject', 'body', 'template')
"""


async def release_campaign(tx: Tx, team_id: UUID, campaign_id: UUID) -> None:
    """The planner looks at all held leads of the campaign again."""
    await tx.execute(RELEASE_CAMPAIGN, team_id, campaign_id)


async def release_inboxes(tx: Tx, team_id: UUID, inbox_ids: Sequence[UUID]) -> None:
    """The planner looks again at the leads that these inboxes held."""
    await tx.execute(RELEASE_INBOXES, team_id, inbox_ids)


async def release_lead(tx: Tx, team_id: UUID, lead_id: UUID) -> None:
    """The planner looks again at a lead whose values had a gap."""
    await tx.execute(RELEASE_LEAD, team_id, lead_id)


SHOW_BOUNCED = """
UPDATE emails AS m
SET status = $3::text::email_status, error_message = coalesce(m.error_message, $4)
WHERE m.team_id = $1
    AND m.id = $2
    AND m.status IN ('sending', 'sent', 'delivered', 'unknown', 'opened', 'clicked')
"""


async def show_bounced(tx: Tx, team_id: UUID, email_id: UUID, status: str, why: str) -> None:
    """An email that came back by report shows it."""
    await tx.execute(SHOW_BOUNCED, team_id, email_id, status, why)


KEEP_PROVIDER_ID = """
UPDATE send_ledger AS l
SET provider_message_id = $3
WHERE l.team_id = $1
    AND l.send_id = $2
    AND l.provider_message_id IS NULL
"""


async def keep_provider_id(tx: Tx, team_id: UUID, email_id: UUID, message_id: str) -> None:
    """The Message-ID that the provider gave the mail, for the threads of follow-ups."""
    await tx.execute(KEEP_PROVIDER_ID, team_id, email_id, message_id)
