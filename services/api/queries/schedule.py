"""SQL of campaigns that start at an hour of their own; the sender starts them when it comes."""

from datetime import datetime
from uuid import UUID

from libs.schema.runtime.db import Tx

SCHEDULE_CAMPAIGN = """
UPDATE campaigns
SET status = 'scheduled',
    scheduled_start_at = $3
WHERE team_id = $1
    AND id = $2
    AND status IN ('draft', 'scheduled')
    AND deleted_at IS NULL
RETURNING id
"""
UNSCHEDULE_CAMPAIGN = """
UPDATE campaigns
SET status = 'draft',
    scheduled_start_at = NULL
WHERE team_id = $1
    AND id = $2
    AND status = 'scheduled'
    AND deleted_at IS NULL
RETURNING id
"""


async def schedule_campaign(tx: Tx, team_id: UUID, campaign_id: UUID, start_at: datetime) -> bool:
    """Whether the campaign had not begun, and begins at `start_at` now; a second call moves the hour."""
    return await tx.fetchval(SCHEDULE_CAMPAIGN, team_id, campaign_id, start_at) is not None


async def unschedule_campaign(tx: Tx, team_id: UUID, campaign_id: UUID) -> bool:
    """Whether the campaign waited for its hour, and is a draft again."""
    return await tx.fetchval(UNSCHEDULE_CAMPAIGN, team_id, campaign_id) is not None
