"""What a message changes: its reply row, and the stops and suppressions of its person."""

from collections.abc import Sequence
from datetime import date, datetime
from uuid import UUID

import msgspec

from libs.schema.runtime.db import Tx, fetch_one


class NewReply(msgspec.Struct, frozen=True, kw_only=True):
    """A row of `replies`; its fields are the columns, in the order of the statement."""

    id: UUID
    team_id: UUID
    email_id: UUID | None
    lead_id: UUID
    inbox_id: UUID
    campaign_id: UUID | None
    message_id: str
    thread_id: str
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
    is_alias: bool
    left_company: bool
    replacement: str | None
    raw_id: UUID
    return_date: date | None


# Unmatched mail that answers this very message, or is it in another mailbox, is no longer nobody's: it is sorted again.
INSERT_REPLY = """
WITH stored AS (
    INSERT INTO replies (id, team_id, email_id, lead_id, inbox_id, campaign_id, message_id, thread_id, in_reply_to,
        from_email, from_name, subject, body_text, body_preview, intent, intent_confidence, intent_model, received_at,
        created_at, updated_at, match_method, match_confidence, needs_review, is_alias, left_company, replacement,
        raw_id, return_date)
    SELECT $1, $2, $3, $4, $5, $6, $7::text, $8, $9, $10, $11, $12, $13, $14, $15, $16::double precision, $17, $18,
        $19, $19, $20, $21::double precision, $22, $23, $24, $25, $26, $27
    WHERE NOT EXISTS (SELECT FROM replies WHERE team_id = $2 AND message_id = $7::text)
    ON CONFLICT (inbox_id, message_id) DO NOTHING
    RETURNING id
),
again AS (
    UPDATE inbound_raw
    SET outcome = NULL, outcome_detail = NULL, sorted_at = NULL
    WHERE id = ANY (ARRAY(
        SELECT r.id
        FROM inbound_raw AS r
        JOIN stored ON true
        WHERE r.team_id = $2
            AND r.outcome = 'unmatched'
            AND (r.outcome_detail -> 'answers' ? $7::text OR r.outcome_detail ->> 'message_id' = $7::text)
        FOR UPDATE OF r SKIP LOCKED
    ))
)
SELECT id
FROM stored
"""


async def insert_reply(tx: Tx, reply: NewReply) -> bool:
    """Stores the reply; False where a mailbox of the team already has one with this Message-ID: nothing changes."""
    return await tx.fetchval(INSERT_REPLY, *msgspec.structs.astuple(reply)) is not None


class Copies(msgspec.Struct, frozen=True, kw_only=True):
    """Under which ids the team knows a message from another mailbox or folder: as a reply, or as nobody's answer."""

    reply_id: UUID | None
    raw_id: UUID | None


FIND_COPIES = """
SELECT
    (SELECT id FROM replies WHERE team_id = $1 AND message_id = $2 LIMIT 1) AS reply_id,
    (SELECT id FROM inbound_raw WHERE team_id = $1 AND outcome = 'unmatched' AND outcome_detail ->> 'message_id' = $2
        LIMIT 1) AS raw_id
"""


async def find_copies(tx: Tx, team_id: UUID, message_id: str) -> Copies:
    """Where the team has the message with this Message-ID already."""
    return await fetch_one(tx, Copies, FIND_COPIES, team_id, message_id) or Copies(reply_id=None, raw_id=None)


IS_NOTED = """
SELECT EXISTS (
    SELECT FROM replies
    WHERE team_id = $1
        AND lead_id = $2
        AND intent = $3::text::reply_intent
        AND left_company = $4
        AND received_at >= $5
        AND received_at < $5 + INTERVAL '1 day'
)
"""


async def is_noted(tx: Tx, reply: NewReply, day: datetime) -> bool:
    """Whether the lead's machine has said such a thing on that day, which begins at `day`."""
    return await tx.fetchval(IS_NOTED, reply.team_id, reply.lead_id, reply.intent, reply.left_company, day)


WAS_TOLD = """
SELECT EXISTS (SELECT FROM event_log WHERE team_id = $1 AND subject = $2 AND type = $3)
"""


async def was_told(tx: Tx, team_id: UUID, email_id: UUID, event_type: str) -> bool:
    """Whether an event of that type has been recorded of the email, by whomever."""
    return await tx.fetchval(WAS_TOLD, team_id, f"email/{email_id}", event_type)


WAS_CONFIRMED = """
SELECT EXISTS (
    SELECT FROM event_log
    WHERE team_id = $1
        AND subject = $2
        AND type = 'email.confirmed'
        AND coalesce(body -> 'data' ->> 'evidence', 'sent_folder') = $3
)
"""


async def was_confirmed(tx: Tx, team_id: UUID, email_id: UUID, evidence: str) -> bool:
    """Whether it has been recorded that this evidence shows the email as gone."""
    return await tx.fetchval(WAS_CONFIRMED, team_id, f"email/{email_id}", evidence)


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
