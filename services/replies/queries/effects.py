"""What a message changes: its reply row, and the stops and suppressions of its person."""

from collections.abc import Sequence
from datetime import date, datetime
from uuid import UUID

import msgspec

from libs.schema.runtime.db import Tx


class NewReply(msgspec.Struct, frozen=True, kw_only=True):
    """A row of `replies`; its fields are the columns, in the order of the statement."""

    id: UUID
    team_id: UUID
    email_id: UUID | None
    lead_id: UUID
    inbox_id: UUID
    campaign_id: UUID | None
    message_id: str
    in_reply_to: str | None
    from_email: str
    from_name: str | None
    subject: str
    body_text: str
    body_preview: str
    intent: str
    intent_confidence: float
    intent_model: str
    received_at: datetime
    created_at: datetime
    match_method: str
    match_confidence: float
    needs_review: bool
    raw_id: UUID
    return_date: date | None


INSERT_REPLY = """
INSERT INTO replies (id, team_id, email_id, lead_id, inbox_id, campaign_id, message_id, in_reply_to, from_email,
    from_name, subject, body_text, body_preview, intent, intent_confidence, intent_model, received_at, created_at,
    updated_at, match_method, match_confidence, needs_review, raw_id, return_date)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15::double precision, $16, $17, $18, $18, $19,
    $20::double precision, $21, $22, $23)
ON CONFLICT (inbox_id, message_id) DO NOTHING
RETURNING id
"""


async def insert_reply(tx: Tx, reply: NewReply) -> bool:
    """Stores the reply; False where the mailbox already has one with this Message-ID, then nothing changes."""
    return await tx.fetchval(INSERT_REPLY, *msgspec.structs.astuple(reply)) is not None


HAS_RECENT_NOTE = """
SELECT EXISTS (
    SELECT FROM replies
    WHERE team_id = $1
        AND lead_id = $2
        AND intent IN ('out_of_office', 'auto_reply')
        AND received_at > $3
)
"""


async def has_recent_note(tx: Tx, team_id: UUID, lead_id: UUID, since: datetime) -> bool:
    """Whether an automatic answer of the lead has been told since then."""
    return await tx.fetchval(HAS_RECENT_NOTE, team_id, lead_id, since)


WAS_TOLD = """
SELECT EXISTS (SELECT FROM event_log WHERE team_id = $1 AND subject = $2 AND type = $3)
"""


async def was_told(tx: Tx, team_id: UUID, email_id: UUID, event_type: str) -> bool:
    """Whether an event of that type has been recorded of the email, by whomever."""
    return await tx.fetchval(WAS_TOLD, team_id, f"email/{email_id}", event_type)


INSERT_STOPS = """
INSERT INTO lead_stop (id, team_id, lead_key, reason, event_id, stopped_at)
SELECT id, $1, lead_key, $2, $3, $4
FROM unnest($5::uuid[], $6::bytea[]) AS s(id, lead_key)
ON CONFLICT DO NOTHING
"""


class Stop(msgspec.Struct, frozen=True, kw_only=True):
    """Ends every sequence that the person is in at that time; the event says why."""

    team_id: UUID
    reason: str
    event_id: UUID
    stopped_at: datetime


async def insert_stops(tx: Tx, stop: Stop, ids: Sequence[UUID], lead_keys: Sequence[bytes]) -> None:
    """One stop for each person; the barrier's lock on all of them must be held."""
    await tx.execute(
        INSERT_STOPS, stop.team_id, stop.reason, stop.event_id, stop.stopped_at, list(ids), list(lead_keys)
    )


INSERT_SUPPRESSION = """
INSERT INTO suppression_list (id, team_id, email, reason, scope, value_hash, created_at)
VALUES ($1, $2, $3, $4, 'email', $5, $6)
ON CONFLICT (team_id, email) DO NOTHING
"""


class Suppression(msgspec.Struct, frozen=True, kw_only=True):
    """An address that the team must not mail any more."""

    id: UUID
    team_id: UUID
    email: str
    reason: str
    value_hash: bytes
    created_at: datetime


async def insert_suppression(tx: Tx, suppression: Suppression) -> None:
    """Suppresses the address; where it is suppressed already its first reason stays."""
    await tx.execute(INSERT_SUPPRESSION, *msgspec.structs.astuple(suppression))
