"""T3 and what follows: a send's end in ledger, email, enrollment and lead; what ends a claim names its fence.

Rows are always locked in the order ledger, email, enrollment, lead, so that two settlements never wait for each other.
"""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import msgspec

from libs.planning.sequence import Step
from libs.schema.runtime.db import Tx, fetch_one, to_struct
from services.sender.queries.sends import Send

Claim = tuple[UUID, int, int]  # send, fence, epoch

# A report may be faster than the answer to the dot: what it showed stays.
SETTLE_CLAIM = """
WITH settled AS (
    UPDATE send_ledger AS l
    SET state = $5, settled_at = $6, lease_until = NULL, claimed_by = NULL, smtp_code = $7, smtp_status = $8,
        smtp_reply = $9, remote_queue_id = coalesce($10, l.remote_queue_id), resolved_by = $11, next_settle_at = $12
    WHERE l.send_id = $1
        AND l.fence = $2
        AND l.epoch = $3
        AND l.state = ANY ($4::text[])
    RETURNING l.send_id, l.committed_at
),
shown AS (
    UPDATE emails AS m
    SET status = CASE WHEN m.status = 'bounced' THEN m.status ELSE $13::text::email_status END,
        error_message = coalesce($14, CASE WHEN m.status = 'bounced' THEN m.error_message END),
        sent_at = CASE WHEN $5 = 'accepted' THEN settled.committed_at ELSE m.sent_at END
    FROM settled
    WHERE m.id = settled.send_id
)
SELECT count(*) FROM settled
"""


class Settlement(msgspec.Struct, frozen=True, kw_only=True):
    """How a claim ends: the new state, and what the server said."""

    state: str
    email_status: str
    smtp_code: int | None = None
    smtp_status: str | None = None
    smtp_reply: str | None = None
    queue_id: str | None = None
    resolved_by: str | None = None
    next_settle_at: datetime | None = None
    error: str | None = None


async def settle_claim(tx: Tx, claim: Claim, from_states: Sequence[str], end: Settlement, at: datetime) -> bool:
    """Ends the claim if it is still in one of the states; False when somebody else has ended it."""
    count = await tx.fetchval(
        SETTLE_CLAIM,
        *claim,
        from_states,
        end.state,
        at,
        end.smtp_code,
        end.smtp_status,
        end.smtp_reply,
        end.queue_id,
        end.resolved_by,
        end.next_settle_at,
        end.email_status,
        end.error,
    )
    return count == 1


GIVE_BACK = """
WITH given AS (
    UPDATE send_ledger AS l
    SET state = 'queued', not_before = greatest(l.not_before, $5), attempt = l.attempt - $6::int, committed_at = NULL,
        sent_on = NULL, inbox_sent_on = NULL, lease_until = NULL, claimed_by = NULL,
        smtp_code = coalesce($7, l.smtp_code), smtp_status = coalesce($8, l.smtp_status),
        smtp_reply = coalesce($9, l.smtp_reply)
    WHERE l.send_id = $1
        AND l.fence = $2
        AND l.epoch = $3
        AND l.state = ANY ($4::text[])
    RETURNING l.send_id
),
shown AS (
    UPDATE emails AS m
    SET status = $10::text::email_status, sent_on = NULL, inbox_sent_on = NULL
    FROM given
    WHERE m.id = given.send_id
)
SELECT count(*) FROM given
"""


class Return(msgspec.Struct, frozen=True, kw_only=True):
    """How a claim goes back into the queue, not accepted by anybody: when it may go, and whether the try counts."""

    not_before: datetime
    try_counts: bool
    email_status: str
    smtp_code: int | None = None
    smtp_status: str | None = None
    smtp_reply: str | None = None


async def give_back(tx: Tx, claim: Claim, from_states: Sequence[str], back: Return) -> bool:
    """Queues the claimed send again. Only for a send whose final dot has certainly not been accepted."""
    count = await tx.fetchval(
        GIVE_BACK,
        *claim,
        from_states,
        back.not_before,
        0 if back.try_counts else 1,
        back.smtp_code,
        back.smtp_status,
        back.smtp_reply,
        back.email_status,
    )
    return count == 1


UNCOUNT_TRY = """
UPDATE send_ledger AS l
SET attempt = l.attempt - 1
WHERE l.send_id = $1
    AND l.state = 'expired'
"""


async def uncount_try(tx: Tx, send_id: UUID) -> None:
    """A claim that a gate ended before anything was said to a server is no attempt."""
    await tx.execute(UNCOUNT_TRY, send_id)


class Enrollment(msgspec.Struct, frozen=True, kw_only=True):
    """An enrollment with its sequence, as far as it decides what comes next."""

    id: UUID
    campaign_id: UUID
    lead_id: UUID
    state: str
    step_number: int
    steps: list[Step]


LOCK_ENROLLMENT = """
SELECT e.id, e.campaign_id, e.lead_id, e.state, e.step_number, v.steps
FROM enrollments AS e
JOIN sequence_version AS v ON v.campaign_id = e.campaign_id AND v.version = e.sequence_version
WHERE e.id = $1
FOR UPDATE OF e
"""


async def lock_enrollment(tx: Tx, enrollment_id: UUID) -> Enrollment | None:
    """The enrollment, locked until the transaction ends; None when it was deleted with its lead."""
    return await fetch_one(tx, Enrollment, LOCK_ENROLLMENT, enrollment_id)


# The enrollment is locked first: what is not read in a WITH comes after what is.
SHOW_SENT = """
WITH touched AS (
    UPDATE inboxes AS i
    SET last_sent_at = greatest(i.last_sent_at, $4)
    WHERE i.id = $2
),
contacted AS (
    UPDATE leads AS ld
    SET first_contacted_at = coalesce(ld.first_contacted_at, $4),
        last_contacted_at = greatest(ld.last_contacted_at, $4)
    WHERE ld.id = $3
)
SELECT e.id, e.campaign_id, e.lead_id, e.state, e.step_number, v.steps
FROM enrollments AS e
JOIN sequence_version AS v ON v.campaign_id = e.campaign_id AND v.version = e.sequence_version
WHERE e.id = $1
FOR UPDATE OF e
"""


async def show_sent(tx: Tx, send: Send, at: datetime) -> Enrollment | None:
    """Lead and inbox show when they last met; returns the enrollment as `lock_enrollment` does."""
    return await fetch_one(tx, Enrollment, SHOW_SENT, send.enrollment_id, send.inbox_id, send.lead_id, at)


# The usual end, all at once: the claims as SETTLE_CLAIM ends them, and what SHOW_SENT shows.
ACCEPT_CLAIMS = """
WITH settled AS (
    UPDATE send_ledger AS l
    SET state = 'accepted', settled_at = $8, lease_until = NULL, claimed_by = NULL, smtp_code = u.smtp_code,
        smtp_status = u.smtp_status, smtp_reply = NULL, remote_queue_id = coalesce(u.queue_id, l.remote_queue_id),
        resolved_by = 'smtp', next_settle_at = NULL
    FROM unnest($1::uuid[], $2::bigint[], $3::int[], $4::int[], $5::text[], $6::text[])
        AS u(send_id, fence, epoch, smtp_code, smtp_status, queue_id)
    WHERE l.send_id = u.send_id
        AND l.fence = u.fence
        AND l.epoch = u.epoch
        AND l.state = ANY ($7::text[])
    RETURNING l.send_id, l.inbox_id, l.lead_id, l.enrollment_id, coalesce(l.committed_at, $8) AS at
),
shown AS (
    UPDATE emails AS m
    SET status = CASE WHEN m.status = 'bounced' THEN m.status ELSE $9::text::email_status END,
        error_message = CASE WHEN m.status = 'bounced' THEN m.error_message END, sent_at = settled.at
    FROM settled
    WHERE m.id = settled.send_id
),
touched AS (
    UPDATE inboxes AS i
    SET last_sent_at = greatest(i.last_sent_at, settled.at)
    FROM (SELECT s.inbox_id, max(s.at) AS at FROM settled AS s GROUP BY s.inbox_id) AS settled
    WHERE i.id = settled.inbox_id
),
contacted AS (
    UPDATE leads AS ld
    SET first_contacted_at = coalesce(ld.first_contacted_at, settled.first_at),
        last_contacted_at = greatest(ld.last_contacted_at, settled.last_at)
    FROM (SELECT s.lead_id, min(s.at) AS first_at, max(s.at) AS last_at FROM settled AS s GROUP BY s.lead_id) AS settled
    WHERE ld.id = settled.lead_id
)
SELECT settled.send_id, e.id, e.campaign_id, e.lead_id, e.state, e.step_number, e.steps
FROM settled
LEFT JOIN LATERAL (
    SELECT f.id, f.campaign_id, f.lead_id, f.state, f.step_number, v.steps
    FROM enrollments AS f
    JOIN sequence_version AS v ON v.campaign_id = f.campaign_id AND v.version = f.sequence_version
    WHERE f.id = settled.enrollment_id
    FOR UPDATE OF f
) AS e ON true
"""


class Acceptance(msgspec.Struct, frozen=True, kw_only=True):
    """A claim whose mail was accepted, and what the server said."""

    claim: Claim
    smtp_code: int | None
    smtp_status: str | None
    queue_id: str | None


async def accept_claims(
    tx: Tx, ends: Sequence[Acceptance], from_states: Sequence[str], email_status: str, at: datetime
) -> dict[UUID, Enrollment | None]:
    """Ends the claims that are still in one of the states as accepted; the others somebody else has ended.

    Returns the enrollments of those sends, locked; None: it has none any more.
    """
    rows = [(*end.claim, end.smtp_code, end.smtp_status, end.queue_id) for end in ends]
    records = await tx.fetch(ACCEPT_CLAIMS, *zip(*rows, strict=True), from_states, at, email_status)
    return {record["send_id"]: None if record["id"] is None else to_struct(Enrollment, record) for record in records}


NEXT_STEPS = """
WITH moved AS (
    UPDATE enrollments AS e
    SET step_number = u.step_number,
        next_at = greatest(u.next_at, CASE WHEN e.held_gate = 'out_of_office' THEN e.held_until END),
        held_gate = CASE WHEN e.held_gate = 'out_of_office' AND e.held_until > u.next_at THEN e.held_gate END,
        held_until = CASE WHEN e.held_gate = 'out_of_office' AND e.held_until > u.next_at THEN e.held_until END
    FROM unnest($1::uuid[], $2::int[], $3::timestamptz[]) AS u(id, step_number, next_at)
    WHERE e.id = u.id
        AND e.state = 'active'
    RETURNING e.lead_id, e.campaign_id, e.step_number, e.next_at
)
UPDATE leads AS ld
SET current_step = moved.step_number, next_send_at = moved.next_at
FROM moved
WHERE ld.id = moved.lead_id
    AND ld.current_campaign_id = moved.campaign_id
"""


async def next_steps(tx: Tx, moves: Sequence[tuple[UUID, int, datetime]]) -> None:
    """These (enrollment, step, due) wait for that step, if need be until an absence is over that became known since."""
    if moves:
        await tx.execute(NEXT_STEPS, *zip(*moves, strict=True))


END_ENROLLMENTS = """
WITH ended AS (
    UPDATE enrollments AS e
    SET state = $2, ended_reason = $3, ended_at = $4, next_at = NULL, held_gate = NULL, held_until = NULL
    WHERE e.id = ANY ($1::uuid[])
        AND e.state IN ('active', 'held')
    RETURNING e.lead_id, e.campaign_id
),
shown AS (
    UPDATE leads AS ld
    SET current_campaign_id = NULL, current_step = NULL, next_send_at = NULL,
        status = CASE WHEN $5::text IS NOT NULL
                AND array_position($6::text[], ld.status::text) < array_position($6::text[], $5::text)
            THEN $5::text::lead_status ELSE ld.status END,
        bounced_at = CASE WHEN $5::text IN ('bounced', 'soft_bounced') THEN coalesce(ld.bounced_at, $4)
            ELSE ld.bounced_at END
    FROM ended
    WHERE ld.id = ended.lead_id
        AND (ld.current_campaign_id IS NULL OR ld.current_campaign_id = ended.campaign_id)
)
SELECT count(*) FROM ended
"""


class End(msgspec.Struct, frozen=True, kw_only=True):
    """How an enrollment ends, and to which status the lead climbs (None: it stays)."""

    state: str
    reason: str | None
    at: datetime
    lead_status: str | None


async def end_enrollments(tx: Tx, enrollment_ids: Sequence[UUID], end: End, order: Sequence[str]) -> int:
    """Ends them; those that had ended before stand as they are, and are not counted.

    `order` lists the lead statuses, lowest first.
    """
    if not enrollment_ids:
        return 0
    return await tx.fetchval(END_ENROLLMENTS, enrollment_ids, end.state, end.reason, end.at, end.lead_status, order)


class Stopping(msgspec.Struct, frozen=True, kw_only=True):
    """A stop that the sender itself finds out: a hard bounce in the dialogue."""

    id: UUID
    team_id: UUID
    lead_key: bytes
    email: str | None  # None: stopped and not suppressed
    reason: str
    event_id: UUID
    at: datetime


STOP_PERSON = """
INSERT INTO lead_stop (id, team_id, lead_key, campaign_id, reason, event_id, stopped_at)
VALUES ($1, $2, $3, NULL, $4, $5, $6)
ON CONFLICT DO NOTHING
"""
SUPPRESS_PERSON = """
INSERT INTO suppression_list (id, team_id, email, reason, scope, value_hash, created_at)
VALUES ($1, $2, $3, $4, 'email', $5, $6)
ON CONFLICT DO NOTHING
"""


async def stop_person(tx: Tx, stop: Stopping) -> None:
    """Stops the person's sequences; call it only under barrier.stop_people."""
    await tx.execute(STOP_PERSON, stop.id, stop.team_id, stop.lead_key, stop.reason, stop.event_id, stop.at)


async def suppress_person(tx: Tx, stop: Stopping) -> None:
    """Puts the address onto the team's suppression list; a second call changes nothing."""
    await tx.execute(SUPPRESS_PERSON, stop.id, stop.team_id, stop.email, stop.reason, stop.lead_key, stop.at)
