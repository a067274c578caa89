"""What we sent: the emails that a message may be about."""

from collections.abc import Iterable, Sequence
from datetime import date, datetime
from typing import Literal
from uuid import UUID

import msgspec

from libs.schema.runtime.db import Tx, fetch_all, fetch_one
from services.replies.rules.match import Answered, Candidate, Housemate


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
    lead_email: str | None  # to whom it went: of an answer by hand the writer's address, which may be a colleague's
    own_email: str | None  # the lead's own address
    committed_at: datetime
    sent_on: date | None
    inbox_sent_on: date | None
    body_text: str | None
    thread_id: str | None  # the Message-ID of its thread's first mail

    @property
    def read_by(self) -> UUID | None:
        """The lead, unless it went to somebody else in the lead's thread: what comes back then is not the lead's."""
        return self.lead_id if self.kind == "campaign" or self.lead_email == self.own_email else None


READ_SENT = """
SELECT l.send_id AS email_id, l.kind, l.state,
    array_remove(ARRAY[l.message_id, l.provider_message_id], NULL) AS message_ids,
    coalesce(l.campaign_id, e.campaign_id) AS campaign_id, l.step_id, s.step_number, e.variant_id, l.enrollment_id,
    l.inbox_id, l.lead_id, l.lead_key, CASE WHEN l.kind = 'reply' THEN e.to_email ELSE d.email END AS lead_email,
    d.email AS own_email, l.committed_at, l.sent_on, l.inbox_sent_on, e.body_text,
    coalesce(e.thread_id, l.message_id) AS thread_id
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


async def read_sent(tx: Tx, team_id: UUID, email_ids: Sequence[UUID]) -> list[SentEmail]:
    """Those of the team's emails that have gone out, or may have, newest first."""
    return await fetch_all(tx, SentEmail, READ_SENT, team_id, list(email_ids)) if email_ids else []


# By the ids that a message names, ours or given by a provider, and by who wrote it.
FIND_CANDIDATES = """
SELECT l.send_id AS email_id, l.lead_id, l.inbox_id, l.committed_at,
    array_remove(ARRAY[l.message_id, l.provider_message_id], NULL) AS message_ids,
    coalesce(l.lead_key = $3, false) AS to_writer
FROM send_ledger AS l
WHERE l.team_id = $1
    AND l.send_id IN (
        SELECT send_id
        FROM send_ledger
        WHERE message_id = ANY($2::text[])
        UNION ALL
        SELECT send_id
        FROM send_ledger
        WHERE team_id = $1
            AND provider_message_id = ANY($2::text[])
        UNION ALL
        (SELECT send_id
        FROM send_ledger
        WHERE team_id = $1
            AND lead_key = $3
            AND committed_at BETWEEN $4 AND $5
        ORDER BY committed_at DESC
        LIMIT 50)
    )
    AND l.committed_at IS NOT NULL
    AND l.lead_id IS NOT NULL
    AND l.kind IN ('campaign', 'reply')
"""


async def find_candidates(
    tx: Tx, team_id: UUID, message_ids: Sequence[str], writer: bytes | None, between: tuple[datetime, datetime]
) -> list[Candidate]:
    """The team's emails under one of the ids, and the newest 50 to the writer that went out between these times."""
    return await fetch_all(tx, Candidate, FIND_CANDIDATES, team_id, list(message_ids), writer, *between)


FIND_ANSWERED = """
SELECT message_id, lead_id, email_id, thread_id
FROM replies
WHERE team_id = $1
    AND message_id = ANY($2::text[])
"""


async def find_answered(tx: Tx, team_id: UUID, message_ids: Sequence[str]) -> list[Answered]:
    """The team's stored answers under one of the ids."""
    return await fetch_all(tx, Answered, FIND_ANSWERED, team_id, list(message_ids))


FIND_HOUSEMATES = """
SELECT e.id AS email_id, e.lead_id, e.subject
FROM emails AS e
JOIN send_ledger AS l ON l.send_id = e.id
WHERE e.team_id = $1
    AND lower(split_part(e.to_email, '@', 2)) = $2
    AND e.inbox_id = $3
    AND l.kind IN ('campaign', 'reply')
    AND l.committed_at BETWEEN $4 AND $5
ORDER BY l.committed_at DESC, e.id
LIMIT 200
"""


async def find_housemates(
    tx: Tx, team_id: UUID, inbox_id: UUID, domain: str, between: tuple[datetime, datetime]
) -> list[Housemate]:
    """What the mailbox sent to addresses of the domain between these times, newest first, at most 200."""
    return await fetch_all(tx, Housemate, FIND_HOUSEMATES, team_id, domain, inbox_id, *between)


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
    return await read_sent(tx, team_id, [row["email_id"] for row in found])


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
    return await read_sent(tx, team_id, [row["email_id"] for row in found])


class Person(msgspec.Struct, frozen=True, kw_only=True):
    """A lead of the team."""

    id: UUID
    email: str


FIND_LEAD = """
SELECT id, email
FROM leads
WHERE team_id = $1
    AND id = $2
    AND deleted_at IS NULL
"""


async def find_lead(tx: Tx, team_id: UUID, lead_id: UUID) -> Person | None:
    """The team's lead; None where there is none, or it has been taken off the list."""
    return await fetch_one(tx, Person, FIND_LEAD, team_id, lead_id)


LEAD_BY_ADDRESS = "SELECT id FROM leads WHERE team_id = $1 AND email = $2"


async def lead_by_address(tx: Tx, team_id: UUID, address: str) -> UUID | None:
    """The team's lead with this address, normalised, also one that was taken off the list."""
    return await tx.fetchval(LEAD_BY_ADDRESS, team_id, address)


OWN_ADDRESSES = """
SELECT team_id, lower(email) AS email
FROM inboxes
WHERE team_id = ANY($1::uuid[])
"""


async def own_addresses(tx: Tx, team_ids: Iterable[UUID]) -> frozenset[tuple[UUID, str]]:
    """The teams' mailboxes, each as (team, address in lower case); also those that were taken away."""
    return frozenset((row["team_id"], row["email"]) for row in await tx.fetch(OWN_ADDRESSES, list(team_ids)))
