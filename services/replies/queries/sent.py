"""What we sent: the emails that a message may be about."""

from collections.abc import Sequence
from datetime import date, datetime
from typing import Literal
from uuid import UUID

import msgspec

from libs.schema.runtime.db import Tx, fetch_all


class SentEmail(msgspec.Struct, frozen=True, kw_only=True):
    """What ledger and emails know of an email that has passed its point of no return."""

    email_id: UUID
    kind: Literal["campaign", "reply"]
    state: str
    message_ids: list[str]  # ours, and the one that the provider gave it
    campaign_id: UUID | None
    step_id: UUID | None
    step_number: int | None
    variant_id: UUID | None
    enrollment_id: UUID | None
    inbox_id: UUID
    lead_id: UUID | None
    lead_key: bytes
    lead_email: str | None
    committed_at: datetime
    sent_on: date | None
    inbox_sent_on: date | None
    body_text: str | None


READ_SENT = """
SELECT l.send_id AS email_id, l.kind, l.state,
    array_remove(ARRAY[l.message_id, l.provider_message_id], NULL) AS message_ids,
    l.campaign_id, l.step_id, s.step_number, e.variant_id, l.enrollment_id, l.inbox_id, l.lead_id, l.lead_key,
    d.email AS lead_email, l.committed_at, l.sent_on, l.inbox_sent_on, e.body_text
FROM send_ledger AS l
LEFT JOIN emails AS e ON e.id = l.send_id
LEFT JOIN sequences AS s ON s.id = l.step_id
LEFT JOIN leads AS d ON d.id = l.lead_id
WHERE l.team_id = $1
    AND l.send_id = ANY($2::uuid[])
    AND l.committed_at IS NOT NULL
    AND l.kind IN ('campaign', 'reply')
ORDER BY l.committed_at DESC, l.send_id
"""


async def _read(tx: Tx, team_id: UUID, email_ids: Sequence[UUID]) -> list[SentEmail]:
    return await fetch_all(tx, SentEmail, READ_SENT, team_id, list(email_ids)) if email_ids else []


# Ids that a provider gave are few and have no index: they are looked for among the mailbox's own sends.
IDS_BY_MESSAGE_ID = """
SELECT send_id AS email_id
FROM send_ledger
WHERE message_id = ANY($1::text[])
UNION
SELECT send_id
FROM send_ledger
WHERE team_id = $2
    AND provider_message_id = ANY($1::text[])
"""


async def by_message_id(tx: Tx, team_id: UUID, message_ids: Sequence[str]) -> list[SentEmail]:
    """The team's emails under these Message-IDs: ours, or given by a mailbox's provider. Newest first."""
    if not message_ids:
        return []
    found = await tx.fetch(IDS_BY_MESSAGE_ID, list(message_ids), team_id)
    return await _read(tx, team_id, [row["email_id"] for row in found])


IDS_BY_MARK = """
SELECT send_id AS email_id
FROM send_ledger
WHERE inbox_id = $1
    AND committed_at >= $2
    AND split_part(message_id, '@', 1) = ANY($3::text[])
"""


async def by_mark(tx: Tx, team_id: UUID, inbox_id: UUID, tokens: Sequence[str], since: datetime) -> list[SentEmail]:
    """What the mailbox has sent since then under one of our tokens (libs/schema/ids.py), newest first."""
    found = await tx.fetch(IDS_BY_MARK, inbox_id, since, [f"<{token}" for token in tokens])
    return await _read(tx, team_id, [row["email_id"] for row in found])


IDS_BY_PERSON = """
SELECT send_id AS email_id
FROM send_ledger
WHERE team_id = $1
    AND lead_key = $2
    AND committed_at >= $3
ORDER BY committed_at DESC
LIMIT 50
"""


async def by_person(tx: Tx, team_id: UUID, lead_key: bytes, since: datetime) -> list[SentEmail]:
    """What the team has sent to the person since then, newest first, at most 50."""
    found = await tx.fetch(IDS_BY_PERSON, team_id, lead_key, since)
    return await _read(tx, team_id, [row["email_id"] for row in found])


LEADS_AT_DOMAIN = """
SELECT DISTINCT e.lead_id
FROM emails AS e
JOIN send_ledger AS l ON l.send_id = e.id
WHERE e.team_id = $1
    AND e.inbox_id = $2
    AND l.committed_at >= $3
    AND split_part(e.to_email, '@', 2) = $4
LIMIT 5
"""


async def leads_at_domain(tx: Tx, team_id: UUID, inbox_id: UUID, domain: str, since: datetime) -> list[UUID]:
    """At most five leads at the domain to whom the mailbox has written since then."""
    return [row["lead_id"] for row in await tx.fetch(LEADS_AT_DOMAIN, team_id, inbox_id, since, domain)]


IS_OWN_ADDRESS = "SELECT EXISTS (SELECT FROM inboxes WHERE team_id = $1 AND email = $2)"


async def is_own_address(tx: Tx, team_id: UUID, address: str) -> bool:
    """Whether the address is one of the team's own mailboxes."""
    return await tx.fetchval(IS_OWN_ADDRESS, team_id, address)
