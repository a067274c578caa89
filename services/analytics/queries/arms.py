"""The arms of running A/B tests, and what is written when one has won or when there is nothing to find."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import msgspec

from libs.schema.runtime.db import Tx, fetch_all


class ArmCount(msgspec.Struct, frozen=True, kw_only=True):
    """An arm of a test that runs: its mails of the test that are old enough, and how many of them were answered."""

    team_id: UUID
    campaign_id: UUID
    step_id: UUID
    variant_id: UUID
    sent: int
    replied: int


# A test runs from the day on which the newest of its arms came: what an arm did before, it did among other readers. A
# mail's day is all that is known, so it is old enough when even its last minute is. A winner stands while every arm is
# one of those that it has won against (migration 046).
READ_ARMS = """
WITH test AS (
    SELECT s.id AS step_id, s.team_id, s.campaign_id, coalesce(t.settings ->> 'timezone', 'UTC') AS zone,
        array_agg(v.id) AS arms, max(v.created_at) AS began_at
    FROM sequences AS s
    JOIN campaigns AS c ON c.id = s.campaign_id
    JOIN teams AS t ON t.id = s.team_id
    JOIN sequence_variants AS v ON v.sequence_id = s.id
    WHERE c.status IN ('active', 'paused')
        AND s.deleted_at IS NULL
        AND v.deleted_at IS NULL
    GROUP BY s.id, t.id
)
SELECT test.team_id, test.campaign_id, test.step_id, v.id AS variant_id, count(o.email_id) AS sent,
    count(o.email_id) FILTER (WHERE o.human_replies > 0) AS replied
FROM test
JOIN sequence_variants AS v ON v.sequence_id = test.step_id AND v.deleted_at IS NULL
LEFT JOIN email_outcome AS o ON o.variant_id = v.id AND o.sent
    AND o.sent_on >= (test.began_at AT TIME ZONE test.zone)::date
    AND o.sent_on < ($1::timestamptz AT TIME ZONE test.zone)::date - $2::int
WHERE NOT EXISTS (SELECT FROM sequence_variants AS w
        WHERE w.id = ANY (test.arms) AND w.won_against @> test.arms)
GROUP BY test.team_id, test.campaign_id, test.step_id, v.id
ORDER BY test.step_id, v.variant_index
"""


async def read_arms(tx: Tx, as_of: datetime, mature_days: int) -> list[ArmCount]:
    """Every arm of every step whose test runs, test by test."""
    return await fetch_all(tx, ArmCount, READ_ARMS, as_of, mature_days)


# Who had won before is shown as a winner no more; where a version still has only arms that it won against, and no newer
# winner among them, its leads go on with it.
UNCROWN = """
UPDATE sequence_variants AS v
SET is_winner = false, won_against = CASE WHEN $2 = ANY (v.won_against) THEN NULL ELSE v.won_against END
WHERE v.sequence_id = $1
    AND v.id <> $2
    AND (v.is_winner OR v.won_against IS NOT NULL)
"""
CROWN = """
UPDATE sequence_variants
SET is_winner = true, won_against = $2::uuid[]
WHERE id = $1
    AND deleted_at IS NULL
RETURNING id
"""
# Tests that run, and so have nobody to show: a new arm has come since one had won.
SHOW_RUNNING = """
UPDATE sequence_variants
SET is_winner = false
WHERE sequence_id = ANY ($1::uuid[])
    AND is_winner
"""
SHOW_NO_DIFFERENCE = """
UPDATE sequences
SET no_difference = (id = ANY ($1::uuid[]))
WHERE no_difference IS DISTINCT FROM (id = ANY ($1::uuid[]))
"""


async def show_running(tx: Tx, step_ids: Sequence[UUID]) -> None:
    """These steps' tests have no winner, or none any more."""
    await tx.execute(SHOW_RUNNING, step_ids)


async def crown(tx: Tx, step_id: UUID, variant_id: UUID, arm_ids: Sequence[UUID]) -> bool:
    """Whether the winner is still there; new mails of versions with no other arms than these go to it alone."""
    if await tx.fetchval(CROWN, variant_id, arm_ids) is None:
        return False
    await tx.execute(UNCROWN, step_id, variant_id)
    return True


async def show_no_difference(tx: Tx, step_ids: Sequence[UUID]) -> None:
    """These steps' tests have found nothing, and no other's; a step that got new arms is tested anew."""
    await tx.execute(SHOW_NO_DIFFERENCE, step_ids)
