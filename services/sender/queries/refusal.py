"""What recipients' servers and people said against our mail: each once, and counted by inbox, campaign and person.

Never counts a refusal in the dialogue and its later report twice: (email, person, class) is the key.
"""

from datetime import datetime, timedelta
from typing import Literal
from uuid import UUID

import msgspec

from libs.schema.runtime.db import Tx, fetch_one
from services.sender.rules.reputation import Bounces, Complaints

Class = Literal["hard", "soft", "blocked", "complaint"]
Source = Literal["smtp", "dsn", "arf"]

ADD_REFUSAL = """
INSERT INTO refusal (email_id, lead_key, class, team_id, inbox_id, campaign_id, source, sent_at, refused_at)
SELECT l.send_id, l.lead_key, $3, l.team_id, l.inbox_id, l.campaign_id, $4, l.committed_at, $5
FROM send_ledger AS l
WHERE l.team_id = $1
    AND l.send_id = $2
    AND l.kind IN ('campaign', 'reply')
ON CONFLICT DO NOTHING
RETURNING team_id, inbox_id, campaign_id, lead_key, coalesce(sent_at, refused_at) AS tried_at, refused_at
"""


class Refusal(msgspec.Struct, frozen=True, kw_only=True):
    """A refusal that was not known before; no campaign: the mail was a person's own."""

    team_id: UUID
    inbox_id: UUID
    campaign_id: UUID | None
    lead_key: bytes
    tried_at: datetime  # when the mail went, or was refused
    refused_at: datetime


async def add_refusal(
    tx: Tx, team_id: UUID, email_id: UUID, what: tuple[Class, Source], at: datetime
) -> Refusal | None:
    """Writes down (class, source); None when it is known already, or the mail is none of ours."""
    return await fetch_one(tx, Refusal, ADD_REFUSAL, team_id, email_id, *what, at)


SOFT_IN_A_ROW = """
SELECT count(*) AS softs, coalesce(max(r.refused_at) - min(r.refused_at), INTERVAL '0') AS span
FROM refusal AS r
WHERE r.team_id = $1
    AND r.lead_key = $2
    AND r.class = 'soft'
    AND r.refused_at > coalesce((
        SELECT max(m.delivered_at)
        FROM send_ledger AS l
        JOIN emails AS m ON m.id = l.send_id
        WHERE l.team_id = $1 AND l.lead_key = $2 AND m.status = 'delivered'), '-infinity')
"""


class Softs(msgspec.Struct, frozen=True, kw_only=True):
    """Soft bounces of a person since the last mail that arrived, and the time from the first to the last of them."""

    softs: int
    span: timedelta


async def softs_in_a_row(tx: Tx, team_id: UUID, lead_key: bytes) -> Softs:
    """How often the person's server could not take mail of ours, one after the other."""
    return await fetch_one(tx, Softs, SOFT_IN_A_ROW, team_id, lead_key) or Softs(softs=0, span=timedelta(0))


BOUNCES_OF_INBOX = """
SELECT s.committed + r.refused AS sends, r.bounces
FROM (
    SELECT count(*) AS committed
    FROM send_ledger AS l
    WHERE l.inbox_id = $1
        AND l.kind = 'campaign'
        AND l.committed_at > $2
) AS s
CROSS JOIN (
    SELECT count(*) FILTER (WHERE r.sent_at IS NULL) AS refused, count(*) AS bounces
    FROM refusal AS r
    WHERE r.inbox_id = $1
        AND r.class = 'hard'
        AND r.campaign_id IS NOT NULL
        AND coalesce(r.sent_at, r.refused_at) > $2
) AS r
"""
BOUNCES_OF_CAMPAIGN = """
SELECT s.committed + r.refused AS sends, r.bounces
FROM (
    SELECT count(*) AS committed
    FROM send_ledger AS l
    WHERE l.campaign_id = $1
        AND l.committed_at > $2
) AS s
CROSS JOIN (
    SELECT count(*) FILTER (WHERE r.sent_at IS NULL) AS refused, count(*) AS bounces
    FROM refusal AS r
    WHERE r.campaign_id = $1
        AND r.class = 'hard'
        AND coalesce(r.sent_at, r.refused_at) > $2
) AS r
"""


async def bounces_of_inbox(tx: Tx, inbox_id: UUID, since: datetime) -> Bounces:
    """The campaign mails that the inbox has sent, or tried to, and the hard bounces among them."""
    return await fetch_one(tx, Bounces, BOUNCES_OF_INBOX, inbox_id, since) or Bounces(sends=0, bounces=0)


async def bounces_of_campaign(tx: Tx, campaign_id: UUID, since: datetime) -> Bounces:
    """The same of a campaign, whichever inbox sent them."""
    return await fetch_one(tx, Bounces, BOUNCES_OF_CAMPAIGN, campaign_id, since) or Bounces(sends=0, bounces=0)


COMPLAINTS_OF_INBOX = """
SELECT r.week, r.month,
    (SELECT count(*) FROM send_ledger AS l
        WHERE l.inbox_id = $1 AND l.kind = 'campaign' AND l.committed_at > $2::timestamptz - $4::interval) AS sends
FROM (
    SELECT count(*) FILTER (WHERE c.refused_at > $2::timestamptz - $3::interval) AS week, count(*) AS month
    FROM refusal AS c
    WHERE c.inbox_id = $1
        AND c.class = 'complaint'
        AND c.refused_at > greatest($2::timestamptz - $4::interval, $5)
) AS r
"""


async def complaints_of_inbox(
    tx: Tx, inbox_id: UUID, now: datetime, spans: tuple[timedelta, timedelta], since: datetime | None
) -> Complaints:
    """Complaints of the last (week, month) about the inbox's mail, none older than `since`, and the month's mails."""
    found = await fetch_one(tx, Complaints, COMPLAINTS_OF_INBOX, inbox_id, now, *spans, since)
    return found or Complaints(week=0, month=0, sends=0)


PROBES_OF_INBOX = """
SELECT count(*)
FROM send_ledger AS l
WHERE l.inbox_id = $1
    AND l.kind = 'campaign'
    AND l.state = 'accepted'
    AND l.committed_at >= $2
"""
PROBES_OF_CAMPAIGN = """
SELECT count(*)
FROM send_ledger AS l
WHERE l.campaign_id = $1
    AND l.state = 'accepted'
    AND l.committed_at >= $2
"""


async def probes_of_inbox(tx: Tx, inbox_id: UUID, since: datetime) -> int:
    """How many campaign mails of the inbox have been accepted since then."""
    return await tx.fetchval(PROBES_OF_INBOX, inbox_id, since) or 0


async def probes_of_campaign(tx: Tx, campaign_id: UUID, since: datetime) -> int:
    """How many mails of the campaign have been accepted since then."""
    return await tx.fetchval(PROBES_OF_CAMPAIGN, campaign_id, since) or 0


FIRST_OF_DAY = """
SELECT min(l.committed_at)
FROM send_ledger AS l
WHERE l.inbox_id = $1
    AND l.committed_at > $2
"""


async def first_sent_since(tx: Tx, inbox_id: UUID, since: datetime) -> datetime | None:
    """When the inbox sent its first mail since then, of any kind."""
    return await tx.fetchval(FIRST_OF_DAY, inbox_id, since)
