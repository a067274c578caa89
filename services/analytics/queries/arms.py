"""The arms of running A/B tests, and what is written when one has won or when there is nothing to find."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import msgspec

from libs.schema.runtime.db import Tx, fetch_all


class ArmCount(msgspec.Struct, frozen=True, kw_only=True):
    """An arm of a test that has no winner yet: its mails that are old enough, and how many of them were answered."""

    team_id: UUID
    campaign_id: UUID
    step_id: UUID
    variant_id: UUID
    sent: int
    replied: int


# A mail's day is all that is known, so it is old enough when even its last minute is.
READ_ARMS = """
SELECT s.team_id, s.campaign_id, s.id AS step_id, v.id AS variant_id, count(o.email_id) AS sent,
    count(o.email_id) FILTER (WHERE o.human_replies > 0) AS replied
FROM sequences AS s
JOIN campaigns AS c ON c.id = s.campaign_id
JOIN teams AS t ON t.id = s.team_id
JOIN sequence_variants AS v ON v.sequence_id = s.id
LEFT JOIN email_outcome AS o ON o.variant_id = v.id AND o.sent
    AND o.sent_on < ($1::timestamptz AT TIME ZONE coalesce(t.settings ->> 'timezone', 'UTC'))::date - $2::int
WHERE c.status IN ('active', 'paused')
    AND s.deleted_at IS NULL
    AND v.deleted_at IS NULL
    AND NOT EXISTS (SELECT FROM sequence_variants AS w
        WHERE w.sequence_id = s.id AND w.deleted_at IS NULL AND w.is_winner)
GROUP BY s.id, v.id
ORDER BY s.id, v.variant_index
"""


async def read_arms(tx: Tx, as_of: datetime, mature_days: int) -> list[ArmCount]:
    """Every arm of every step that tests some, test by test."""
    return await fetch_all(tx, ArmCount, READ_ARMS, as_of, mature_days)


CROWN = """
UPDATE sequence_variants
SET is_winner = true
WHERE id = ANY ($1::uuid[])
    AND deleted_at IS NULL
RETURNING id
"""
SHOW_NO_DIFFERENCE = """
UPDATE sequences
SET no_difference = (id = ANY ($1::uuid[]))
WHERE no_difference IS DISTINCT FROM (id = ANY ($1::uuid[]))
"""


async def crown(tx: Tx, variant_ids: Sequence[UUID]) -> set[UUID]:
    """Those of the winners that are still there; new mails go to them alone."""
    return {record["id"] for record in await tx.fetch(CROWN, variant_ids)}


async def show_no_difference(tx: Tx, step_ids: Sequence[UUID]) -> None:
    """These steps' tests have found nothing, and no other's; a step that got new arms is tested anew."""
    await tx.execute(SHOW_NO_DIFFERENCE, step_ids)
