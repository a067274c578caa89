"""Whose turn it is to be planned: one planner at a time, team by team, in bounded batches."""

from datetime import datetime
from uuid import UUID

import msgspec

from libs.schema.runtime.db import Tx

LOCK_PLANNING = "SELECT pg_try_advisory_xact_lock(hashtextextended('sender/plan', 0))"


async def lock_planning(tx: Tx) -> bool:
    """Whether this process may plan now: one does at a time, so that no two give out the same minute."""
    return bool(await tx.fetchval(LOCK_PLANNING))


WAKE_HELD = """
UPDATE enrollments AS e
SET state = 'active'
FROM campaigns AS c
WHERE c.id = e.campaign_id
    AND c.status = 'active'
    AND e.state = 'held'
    AND e.held_until <= $1
"""


async def wake_held(tx: Tx, now: datetime) -> None:
    """Looks again at those who wait for a person, from time to time: not every mend is told as an event."""
    await tx.execute(WAKE_HELD, now)


TEAMS_TO_PLAN = """
SELECT DISTINCT e.team_id
FROM enrollments AS e
JOIN campaigns AS c ON c.id = e.campaign_id
WHERE c.status = 'active'
    AND e.state = 'active'
    AND e.next_at <= $2
    AND (e.held_until IS NULL OR e.held_until <= CASE WHEN e.held_gate = ANY ($3::text[]) THEN $2 ELSE $1 END)
"""


class Ahead(msgspec.Struct, frozen=True, kw_only=True):
    """How far the planner looks: who falls due before `until`; who waits for a slot counts when that is near."""

    now: datetime
    until: datetime
    slot_gates: tuple[str, ...]  # a lead held by any other gate is looked at again only when that clears


async def teams_to_plan(tx: Tx, ahead: Ahead) -> list[UUID]:
    """The teams with leads that want a slot."""
    records = await tx.fetch(TEAMS_TO_PLAN, ahead.now, ahead.until, ahead.slot_gates)
    return [record["team_id"] for record in records]


DUE = """
SELECT e.id
FROM enrollments AS e
JOIN campaigns AS c ON c.id = e.campaign_id
WHERE e.team_id = $1
    AND c.status = 'active'
    AND e.state = 'active'
    AND e.next_at <= $3
    AND (e.held_until IS NULL OR e.held_until <= CASE WHEN e.held_gate = ANY ($4::text[]) THEN $3 ELSE $2 END)
ORDER BY e.step_number = 1, e.next_at, e.id
LIMIT $5
FOR UPDATE OF e SKIP LOCKED
"""


async def due(tx: Tx, team_id: UUID, ahead: Ahead, most: int) -> list[UUID]:
    """The team's enrollments that want a slot, follow-ups first, the longest due first, locked until the end."""
    records = await tx.fetch(DUE, team_id, ahead.now, ahead.until, ahead.slot_gates, most)
    return [record["id"] for record in records]
