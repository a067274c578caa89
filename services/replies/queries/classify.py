"""What a reply means, told again: by a person, or by a model that is asked once."""

from datetime import datetime
from uuid import UUID

import msgspec

from libs.schema.events.reply import Intent
from libs.schema.runtime.db import Tx, fetch_all, fetch_one


class Classified(msgspec.Struct, frozen=True, kw_only=True):
    """A reply as it is classified now, and whose it is."""

    id: UUID
    email_id: UUID | None
    lead_id: UUID
    inbox_id: UUID
    campaign_id: UUID | None
    intent: Intent | None
    confidence: float | None
    by_hand: bool
    from_email: str
    lead_email: str | None


TAKE_REPLY = """
SELECT r.id, r.email_id, r.lead_id, r.inbox_id, r.campaign_id, r.intent::text AS intent,
    r.intent_confidence::double precision AS confidence, r.intent_manual_override AS by_hand, r.from_email,
    d.email AS lead_email
FROM replies AS r
LEFT JOIN leads AS d ON d.id = r.lead_id
WHERE r.team_id = $1
    AND r.id = $2
FOR UPDATE OF r
"""


async def take_reply(tx: Tx, team_id: UUID, reply_id: UUID) -> Classified | None:
    """The team's reply, locked until the transaction ends."""
    return await fetch_one(tx, Classified, TAKE_REPLY, team_id, reply_id)


class NewReading(msgspec.Struct, frozen=True, kw_only=True):
    """What a reply means from now on, and who says so; its fields are the statement's parameters."""

    team_id: UUID
    reply_id: UUID
    intent: Intent
    confidence: float
    model: str
    by_hand: bool
    at: datetime


SAVE_READING = """
UPDATE replies
SET intent = $3::text::reply_intent, intent_confidence = $4::double precision, intent_model = $5,
    intent_manual_override = $6, needs_review = false, updated_at = $7
WHERE team_id = $1
    AND id = $2
"""


async def save_reading(tx: Tx, reading: NewReading) -> None:
    """The reply shows the reading, and nobody has to look at it any more."""
    await tx.execute(SAVE_READING, *msgspec.structs.astuple(reading))


class Unasked(msgspec.Struct, frozen=True, kw_only=True):
    """A reply that no model has been asked about, with the text of the email that it answers."""

    id: UUID
    team_id: UUID
    subject: str | None
    from_name: str | None
    body_text: str | None
    ours: str | None


TAKE_UNASKED = """
UPDATE replies AS r
SET model_asked_at = $1
FROM replies AS o
LEFT JOIN emails AS e ON e.id = o.email_id
WHERE r.id = o.id
    AND r.id = (
        SELECT id
        FROM replies
        WHERE received_at > $2
            AND model_asked_at IS NULL
            AND NOT intent_manual_override
            AND by_person
        ORDER BY received_at DESC
        LIMIT 1
        FOR UPDATE SKIP LOCKED
    )
RETURNING r.id, r.team_id, r.subject, r.from_name, r.body_text, e.body_text AS ours
"""


async def take_unasked(tx: Tx, now: datetime, since: datetime) -> Unasked | None:
    """The newest person's reply since then that no model was asked about, marked as asked; no other process gets it."""
    return next(iter(await fetch_all(tx, Unasked, TAKE_UNASKED, now, since)), None)


GIVE_BACK = """
UPDATE replies
SET model_asked_at = NULL
WHERE team_id = $1
    AND id = $2
"""


async def give_back(tx: Tx, team_id: UUID, reply_id: UUID) -> None:
    """The model gave no answer: it may be asked again."""
    await tx.execute(GIVE_BACK, team_id, reply_id)
