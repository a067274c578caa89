"""SQL of the public opt-out, which has a token and no caller: it runs as coldstream_api.

Never trusts row level security, which lets that role through: every statement names the team.
"""

from datetime import date, datetime
from uuid import UUID

import msgspec

from libs.schema.runtime.db import Tx, fetch_one

FIND_BY_EMAIL = """
SELECT l.team_id, l.lead_id, l.lead_key, a.email, l.send_id AS email_id, l.campaign_id, l.step_id, e.variant_id,
    l.inbox_id, l.sent_on, l.inbox_sent_on
FROM send_ledger AS l
JOIN leads AS a ON a.team_id = l.team_id AND a.id = l.lead_id
LEFT JOIN emails AS e ON e.team_id = l.team_id AND e.id = l.send_id
WHERE l.team_id = $1
    AND l.send_id = $2
"""
FIND_BY_BARE_LINK = """
SELECT team_id, id AS lead_id, email
FROM leads
WHERE unsubscribe_token = $1
"""


class Person(msgspec.Struct, frozen=True, kw_only=True):
    """Who opts out, and out of which email, as far as the token says."""

    team_id: UUID
    lead_id: UUID
    email: str
    lead_key: bytes | None = None
    email_id: UUID | None = None
    campaign_id: UUID | None = None
    step_id: UUID | None = None
    variant_id: UUID | None = None
    inbox_id: UUID | None = None
    sent_on: date | None = None
    inbox_sent_on: date | None = None


async def find_by_email(tx: Tx, team_id: UUID, email_id: UUID) -> Person | None:
    """The person whom this email went to."""
    return await fetch_one(tx, Person, FIND_BY_EMAIL, team_id, email_id)


async def find_by_token(tx: Tx, token: str) -> Person | None:
    """The person whose lead has this unsubscribe_token."""
    return await fetch_one(tx, Person, FIND_BY_BARE_LINK, token)


# Both, because a suppression may have been lifted by hand: then the person has to be heard again.
IS_OUT = """
SELECT EXISTS (
    SELECT FROM lead_stop WHERE team_id = $1 AND lead_key = $2 AND reason = 'unsubscribe'
) AND EXISTS (
    SELECT FROM suppression_list WHERE team_id = $1 AND (value_hash = $2 OR email = $3)
)
"""
SUPPRESS_PERSON = """
INSERT INTO suppression_list (id, team_id, email, scope, reason, value_hash, created_at)
VALUES ($1, $2, $3, 'email', 'unsubscribe', $4, $5)
ON CONFLICT (team_id, email) DO NOTHING
"""
STOP_PERSON = """
INSERT INTO lead_stop (id, team_id, lead_key, reason, event_id, stopped_at)
VALUES ($1, $2, $3, 'unsubscribe', $4, $5)
"""


async def is_out(tx: Tx, team_id: UUID, lead_key: bytes, address: str) -> bool:
    """Whether the person has opted out before and is still suppressed; the caller holds the barrier's lock."""
    return await tx.fetchval(IS_OUT, team_id, lead_key, address)


async def suppress_person(  # noqa: PLR0913, PLR0917  the row has that many facts
    tx: Tx, suppression_id: UUID, team_id: UUID, address: str, lead_key: bytes, at: datetime
) -> None:
    """Puts the address on the team's list, unless it is there."""
    await tx.execute(SUPPRESS_PERSON, suppression_id, team_id, address, lead_key, at)


async def stop_person(  # noqa: PLR0913, PLR0917  the row has that many facts
    tx: Tx, stop_id: UUID, team_id: UUID, lead_key: bytes, event_id: UUID, at: datetime
) -> None:
    """Stops all sequences that the person is in."""
    await tx.execute(STOP_PERSON, stop_id, team_id, lead_key, event_id, at)
