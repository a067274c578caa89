"""Slots that count for nothing any more, since their campaign, inbox or team was changed (migration 046)."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import msgspec

from libs.schema.runtime.db import Tx, fetch_one


class Changed(msgspec.Struct, frozen=True, kw_only=True):
    """A scope whose slots shall be given anew, and the rows that ask for it."""

    team_id: UUID
    scope: str  # team, campaign or inbox
    scope_id: UUID
    ids: list[UUID]


NEXT_CHANGED = """
SELECT r.team_id, r.scope, r.scope_id, array_agg(r.id) AS ids
FROM replan AS r
GROUP BY r.team_id, r.scope, r.scope_id
ORDER BY min(r.asked_at), r.scope_id
LIMIT 1
"""


async def next_changed(tx: Tx) -> Changed | None:
    """The scope that has waited longest; what is asked for after this stands in rows of its own."""
    return await fetch_one(tx, Changed, NEXT_CHANGED)


# Locked by nobody else and in no order: all of them lose their slots before anybody gets one.
TAKE_SLOTS_OF = """
SELECT l.send_id
FROM send_ledger AS l
WHERE l.team_id = $1
    AND l.state = 'queued'
    AND l.kind = 'campaign'
    AND CASE $2::text WHEN 'campaign' THEN l.campaign_id = $3 WHEN 'inbox' THEN l.inbox_id = $3 ELSE true END
LIMIT $4
FOR UPDATE SKIP LOCKED
"""
HAS_SLOTS = """
SELECT EXISTS (SELECT FROM send_ledger AS l
    WHERE l.team_id = $1
        AND l.state = 'queued'
        AND l.kind = 'campaign'
        AND CASE $2::text WHEN 'campaign' THEN l.campaign_id = $3 WHEN 'inbox' THEN l.inbox_id = $3 ELSE true END)
"""


async def slots_of(tx: Tx, changed: Changed, most: int) -> list[UUID]:
    """Some of its queued mails, locked until the transaction ends; what is claimed or under way is left alone."""
    records = await tx.fetch(TAKE_SLOTS_OF, changed.team_id, changed.scope, changed.scope_id, most)
    return [record["send_id"] for record in records]


async def has_slots(tx: Tx, changed: Changed) -> bool:
    """Whether some are left, be it that somebody else is at work on them."""
    return await tx.fetchval(HAS_SLOTS, changed.team_id, changed.scope, changed.scope_id)


# A person's absence is no setting. `simulate` says the same of the leads that it reads (libs/planning/simulate/run.py).
RELEASE_OF = """
WITH held AS (
    SELECT h.id
    FROM enrollments AS h
    WHERE h.team_id = $1
        AND h.state IN ('active', 'held')
        AND h.held_until IS NOT NULL
        AND h.held_gate <> 'out_of_office'
        AND CASE $2::text WHEN 'campaign' THEN h.campaign_id = $3
            WHEN 'inbox' THEN EXISTS (SELECT FROM campaign_inboxes AS ci
                WHERE ci.campaign_id = h.campaign_id AND ci.inbox_id = $3)
            ELSE true END
    LIMIT $4
    FOR UPDATE SKIP LOCKED
)
UPDATE enrollments AS e
SET state = 'active', held_until = NULL
FROM held
WHERE e.id = held.id
RETURNING e.id
"""


async def release_of(tx: Tx, changed: Changed, most: int) -> int:
    """How many of its held leads the planner looks at again."""
    return len(await tx.fetch(RELEASE_OF, changed.team_id, changed.scope, changed.scope_id, most))


END_CHANGED = """
DELETE FROM replan
WHERE id = ANY ($1::uuid[])
"""


async def end_changed(tx: Tx, ids: Sequence[UUID]) -> None:
    """Nothing of it is left to do; what was asked for since stays."""
    await tx.execute(END_CHANGED, ids)


ASK_FOR_THROTTLED = """
INSERT INTO replan (id, team_id, scope, scope_id, asked_at)
SELECT $1, s.team_id, 'inbox', s.inbox_id, $4
FROM inbox_settings AS s
WHERE s.team_id = $2
    AND s.inbox_id = $3
    AND s.auto_throttle_enabled
"""


async def ask_for_throttled(tx: Tx, row_id: UUID, team_id: UUID, inbox_id: UUID, at: datetime) -> None:
    """Has the slots of an inbox given anew whose health decides how much it sends; of no other."""
    await tx.execute(ASK_FOR_THROTTLED, row_id, team_id, inbox_id, at)
