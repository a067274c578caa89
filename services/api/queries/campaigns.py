"""SQL of campaigns: their definition, and the inboxes they send from."""

from datetime import datetime
from typing import Any
from uuid import UUID

from libs.schema.runtime.db import Tx, fetch_all, fetch_one
from services.api.resources import Campaign, CampaignInbox

LIST_CAMPAIGNS = """
SELECT id, lead_list_id, name, description, status, settings, lead_count, sent_count, delivered_count, opened_count,
    clicked_count, replied_count, bounced_count, unsubscribed_count, scheduled_start_at, started_at, completed_at,
    paused_at, revision, created_at, updated_at
FROM campaigns
WHERE team_id = $1
    AND ($2::uuid IS NULL OR id = $2)
    AND ($3::campaign_status IS NULL OR status = $3)
    AND ($4::uuid IS NULL OR id < $4)
    AND deleted_at IS NULL
ORDER BY id DESC
LIMIT $5
"""


async def list_campaigns(tx: Tx, team_id: UUID, status: str | None, before: UUID | None, limit: int) -> list[Campaign]:
    """The team's campaigns that are not archived, newest first."""
    return await fetch_all(tx, Campaign, LIST_CAMPAIGNS, team_id, None, status, before, limit)


async def get_campaign(tx: Tx, team_id: UUID, campaign_id: UUID) -> Campaign | None:
    """One campaign of the team, unless it is archived."""
    return await fetch_one(tx, Campaign, LIST_CAMPAIGNS, team_id, campaign_id, None, None, 1)


LOCK_CAMPAIGN = """
SELECT id
FROM campaigns
WHERE team_id = $1
    AND id = $2
    AND deleted_at IS NULL
FOR NO KEY UPDATE
"""


async def lock_campaign(tx: Tx, team_id: UUID, campaign_id: UUID) -> bool:
    """Whether there is such a campaign; it is this transaction's alone until its end."""
    return await tx.fetchval(LOCK_CAMPAIGN, team_id, campaign_id) is not None


COUNT_CAMPAIGNS = """
SELECT count(*)
FROM campaigns
WHERE team_id = $1
    AND deleted_at IS NULL
"""
ADD_CAMPAIGN = """
INSERT INTO campaigns (id, team_id, lead_list_id, name, description, settings, created_at)
VALUES ($1, $2, $3, $4, $5, $6, $7)
"""
UPDATE_CAMPAIGN = """
UPDATE campaigns AS c
SET (name, description, lead_list_id, settings, revision) = (
    SELECT p.name, p.description, p.lead_list_id, c.settings || $4::jsonb, c.revision + 1
    FROM jsonb_populate_record(c, $3::jsonb) AS p
)
WHERE c.team_id = $1
    AND c.id = $2
"""


async def count_campaigns(tx: Tx, team_id: UUID) -> int:
    """How many campaigns the team has."""
    return await tx.fetchval(COUNT_CAMPAIGNS, team_id)


async def add_campaign(  # noqa: PLR0913, PLR0917  the row has that many facts
    tx: Tx,
    campaign_id: UUID,
    team_id: UUID,
    lead_list_id: UUID | None,
    name: str,
    description: str | None,
    settings: dict[str, Any],
    at: datetime,
) -> None:
    """Adds a draft."""
    await tx.execute(ADD_CAMPAIGN, campaign_id, team_id, lead_list_id, name, description, settings, at)


async def update_campaign(
    tx: Tx, team_id: UUID, campaign_id: UUID, changes: dict[str, Any], settings: dict[str, Any]
) -> None:
    """Writes the named fields and settings and raises the revision; the others stay."""
    await tx.execute(UPDATE_CAMPAIGN, team_id, campaign_id, changes, settings)


ACTIVATE_CAMPAIGN = """
UPDATE campaigns
SET status = 'active',
    started_at = coalesce(started_at, $3),
    paused_at = NULL
WHERE team_id = $1
    AND id = $2
"""
PAUSE_CAMPAIGN = """
UPDATE campaigns
SET status = 'paused',
    paused_at = $3
WHERE team_id = $1
    AND id = $2
    AND status = 'active'
RETURNING id
"""
ARCHIVE_CAMPAIGN = """
UPDATE campaigns
SET status = 'archived',
    deleted_at = $3,
    revision = revision + 1
WHERE team_id = $1
    AND id = $2
"""


async def activate_campaign(tx: Tx, team_id: UUID, campaign_id: UUID, at: datetime) -> None:
    """Lets its leads be enrolled and mailed from now on."""
    await tx.execute(ACTIVATE_CAMPAIGN, team_id, campaign_id, at)


async def pause_campaign(tx: Tx, team_id: UUID, campaign_id: UUID, at: datetime) -> bool:
    """Whether it was active and is paused now; the caller holds the barrier's lock on it."""
    return await tx.fetchval(PAUSE_CAMPAIGN, team_id, campaign_id, at) is not None


async def archive_campaign(tx: Tx, team_id: UUID, campaign_id: UUID, at: datetime) -> None:
    """Puts it away for good; the caller holds the barrier's lock on it."""
    await tx.execute(ARCHIVE_CAMPAIGN, team_id, campaign_id, at)


LIST_CAMPAIGN_INBOXES = """
SELECT ci.inbox_id, i.email, i.status, ci.sent_count
FROM campaign_inboxes AS ci
JOIN inboxes AS i ON i.id = ci.inbox_id
WHERE ci.team_id = $1
    AND ci.campaign_id = $2
    AND i.deleted_at IS NULL
ORDER BY i.email
"""
CAMPAIGN_INBOX_IDS = """
SELECT inbox_id
FROM campaign_inboxes
WHERE team_id = $1
    AND campaign_id = $2
"""
FIND_INBOXES = """
SELECT id
FROM inboxes
WHERE team_id = $1
    AND id = ANY ($2::uuid[])
    AND deleted_at IS NULL
"""
DROP_CAMPAIGN_INBOXES = """
DELETE FROM campaign_inboxes
WHERE team_id = $1
    AND campaign_id = $2
    AND inbox_id <> ALL ($3::uuid[])
"""
ADD_CAMPAIGN_INBOXES = """
INSERT INTO campaign_inboxes (team_id, campaign_id, inbox_id)
SELECT $1, $2, inbox_id
FROM unnest($3::uuid[]) AS w(inbox_id)
ON CONFLICT (campaign_id, inbox_id) DO NOTHING
"""


async def list_campaign_inboxes(tx: Tx, team_id: UUID, campaign_id: UUID) -> list[CampaignInbox]:
    """The inboxes that it sends from, by address."""
    return await fetch_all(tx, CampaignInbox, LIST_CAMPAIGN_INBOXES, team_id, campaign_id)


async def campaign_inbox_ids(tx: Tx, team_id: UUID, campaign_id: UUID) -> list[UUID]:
    """All inboxes that it was given, archived ones too."""
    return [record["inbox_id"] for record in await tx.fetch(CAMPAIGN_INBOX_IDS, team_id, campaign_id)]


async def find_inboxes(tx: Tx, team_id: UUID, inbox_ids: list[UUID]) -> set[UUID]:
    """Which of these are inboxes of the team."""
    return {record["id"] for record in await tx.fetch(FIND_INBOXES, team_id, inbox_ids)}


async def set_campaign_inboxes(tx: Tx, team_id: UUID, campaign_id: UUID, inbox_ids: list[UUID]) -> None:
    """Makes these the campaign's inboxes; those that stay keep their counters."""
    await tx.execute(DROP_CAMPAIGN_INBOXES, team_id, campaign_id, inbox_ids)
    await tx.execute(ADD_CAMPAIGN_INBOXES, team_id, campaign_id, inbox_ids)
