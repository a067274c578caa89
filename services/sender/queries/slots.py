"""What the planner writes: slots, their emails and holds, each in one statement for all leads of a batch.

The ledger's row comes first and decides: what it does not take has a past, and gets no email and no event.
"""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import msgspec

from libs.schema.runtime.db import Tx


class NewSend(msgspec.Struct, frozen=True, kw_only=True):
    """One slot as it is written: ledger, email and enrollment."""

    send_id: UUID
    campaign_id: UUID
    step_id: UUID
    step_number: int
    lead_id: UUID
    lead_key: bytes
    enrollment_id: UUID
    inbox_id: UUID
    variant_id: UUID | None
    message_id: str
    slot_at: datetime
    due_at: datetime  # when the step fell due, before hours and limits put it into its slot
    from_email: str
    from_name: str | None
    to_email: str
    subject: str
    sequence_version: int


INSERT_LEDGER = """
INSERT INTO send_ledger AS l (send_id, kind, team_id, campaign_id, step_id, lead_id, lead_key, enrollment_id, inbox_id,
    message_id, slot_at, not_before, due_at, created_at)
SELECT u.send_id, 'campaign', $1, u.campaign_id, u.step_id, u.lead_id, u.lead_key, u.enrollment_id, u.inbox_id,
    u.message_id, u.slot_at, u.slot_at, u.due_at, $2
FROM unnest($3::uuid[], $4::uuid[], $5::uuid[], $6::uuid[], $7::bytea[], $8::uuid[], $9::uuid[], $10::text[],
    $11::timestamptz[], $12::timestamptz[])
    AS u(send_id, campaign_id, step_id, lead_id, lead_key, enrollment_id, inbox_id, message_id, slot_at, due_at)
ON CONFLICT (send_id) DO UPDATE
SET state = 'queued', lead_id = excluded.lead_id, enrollment_id = excluded.enrollment_id, inbox_id = excluded.inbox_id,
    message_id = excluded.message_id, slot_at = excluded.slot_at, not_before = excluded.not_before,
    due_at = excluded.due_at, settled_at = NULL
WHERE l.state = 'expired'
    AND l.committed_at IS NULL
RETURNING l.send_id
"""


async def insert_ledger(tx: Tx, team_id: UUID, sends: Sequence[NewSend], now: datetime) -> set[UUID]:
    """The sends that are queued now; one that is missing has a past: the person has had this step, or must not."""
    records = await tx.fetch(
        INSERT_LEDGER,
        team_id,
        now,
        [send.send_id for send in sends],
        [send.campaign_id for send in sends],
        [send.step_id for send in sends],
        [send.lead_id for send in sends],
        [send.lead_key for send in sends],
        [send.enrollment_id for send in sends],
        [send.inbox_id for send in sends],
        [send.message_id for send in sends],
        [send.slot_at for send in sends],
        [send.due_at for send in sends],
    )
    return {record["send_id"] for record in records}


INSERT_EMAILS = """
INSERT INTO emails AS m (id, team_id, campaign_id, sequence_id, variant_id, lead_id, inbox_id, message_id, from_email,
    from_name, to_email, subject, status, scheduled_at, kind, enrollment_id, sequence_version, created_at)
SELECT u.id, $1, u.campaign_id, u.step_id, u.variant_id, u.lead_id, u.inbox_id, u.message_id, u.from_email, u.from_name,
    u.to_email, u.subject, $2::text::email_status, u.slot_at, 'campaign', u.enrollment_id, u.version, $3
FROM unnest($4::uuid[], $5::uuid[], $6::uuid[], $7::uuid[], $8::uuid[], $9::uuid[], $10::text[], $11::text[],
    $12::text[], $13::text[], $14::text[], $15::timestamptz[], $16::uuid[], $17::int[])
    AS u(id, campaign_id, step_id, variant_id, lead_id, inbox_id, message_id, from_email, from_name, to_email, subject,
        slot_at, enrollment_id, version)
ON CONFLICT (id) DO UPDATE
SET status = excluded.status, inbox_id = excluded.inbox_id, message_id = excluded.message_id,
    from_email = excluded.from_email, from_name = excluded.from_name, to_email = excluded.to_email,
    subject = excluded.subject, scheduled_at = excluded.scheduled_at, variant_id = excluded.variant_id,
    sequence_version = excluded.sequence_version, error_message = NULL
"""


async def insert_emails(tx: Tx, team_id: UUID, sends: Sequence[NewSend], status: str, now: datetime) -> None:
    """The emails of freshly queued sends."""
    await tx.execute(
        INSERT_EMAILS,
        team_id,
        status,
        now,
        [send.send_id for send in sends],
        [send.campaign_id for send in sends],
        [send.step_id for send in sends],
        [send.variant_id for send in sends],
        [send.lead_id for send in sends],
        [send.inbox_id for send in sends],
        [send.message_id for send in sends],
        [send.from_email for send in sends],
        [send.from_name for send in sends],
        [send.to_email for send in sends],
        [send.subject for send in sends],
        [send.slot_at for send in sends],
        [send.enrollment_id for send in sends],
        [send.sequence_version for send in sends],
    )


TAKE_SLOTS = """
WITH taken AS (
    UPDATE enrollments AS e
    SET next_at = NULL, step_number = u.step_number, inbox_id = u.inbox_id, variant_id = u.variant_id, held_gate = NULL,
        held_until = NULL
    FROM unnest($1::uuid[], $2::int[], $3::uuid[], $4::uuid[], $5::timestamptz[])
        AS u(id, step_number, inbox_id, variant_id, slot_at)
    WHERE e.id = u.id
    RETURNING e.lead_id, e.campaign_id, u.step_number, u.slot_at
)
UPDATE leads AS ld
SET current_step = taken.step_number, next_send_at = taken.slot_at
FROM taken
WHERE ld.id = taken.lead_id
    AND ld.current_campaign_id = taken.campaign_id
"""


async def take_slots(tx: Tx, sends: Sequence[NewSend]) -> None:
    """The enrollments wait for their mail now and not for a slot."""
    await tx.execute(
        TAKE_SLOTS,
        [send.enrollment_id for send in sends],
        [send.step_number for send in sends],
        [send.inbox_id for send in sends],
        [send.variant_id for send in sends],
        [send.slot_at for send in sends],
    )


HOLD = """
UPDATE enrollments AS e
SET state = u.state, held_gate = u.gate, held_until = u.until
FROM unnest($1::uuid[], $2::text[], $3::text[], $4::timestamptz[]) AS u(id, state, gate, until)
WHERE e.id = u.id
"""


async def hold(tx: Tx, holds: Sequence[tuple[UUID, str, str, datetime]]) -> None:
    """Writes (enrollment, state, gate, until) for those that got no slot."""
    ids, states, gates, untils = zip(*holds, strict=True)
    await tx.execute(HOLD, ids, states, gates, untils)


LATE_SENDS = """
SELECT send_id
FROM send_ledger
WHERE state = 'queued'
    AND kind = 'campaign'
    AND not_before <= $1
ORDER BY not_before
LIMIT 500
FOR UPDATE SKIP LOCKED
"""


async def late_sends(tx: Tx, missed_before: datetime) -> list[UUID]:
    """Queued sends whose time has passed by too much, locked until the transaction ends."""
    return [record["send_id"] for record in await tx.fetch(LATE_SENDS, missed_before)]
