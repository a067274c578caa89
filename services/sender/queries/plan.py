"""Whose turn it is to be planned: one planner at a time, team by team, in bounded batches."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import msgspec

from libs.schema.runtime.db import Tx, fetch_all

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


# Nobody of a team gets a slot before all that a change has made void are free again (jobs/changes.py).
TEAMS_TO_PLAN = """
SELECT DISTINCT e.team_id
FROM enrollments AS e
JOIN campaigns AS c ON c.id = e.campaign_id
WHERE c.status = 'active'
    AND e.state = 'active'
    AND e.next_at <= $2
    AND (e.held_until IS NULL OR e.held_until <= CASE WHEN e.held_gate = ANY ($3::text[]) THEN $2 ELSE $1 END)
    AND NOT EXISTS (SELECT FROM replan AS r WHERE r.team_id = e.team_id)
"""


class Ahead(msgspec.Struct, frozen=True, kw_only=True):
    """How far a round looks: who falls due before `until`; who waits for a slot counts when that is near."""

    round_at: datetime
    until: datetime
    slot_gates: tuple[str, ...]  # a lead held by any other gate is looked at again only when that clears


async def teams_to_plan(tx: Tx, ahead: Ahead) -> list[UUID]:
    """The teams with leads that want a slot."""
    records = await tx.fetch(TEAMS_TO_PLAN, ahead.round_at, ahead.until, ahead.slot_gates)
    return [record["team_id"] for record in records]


# schedule.wants_slot says the same of one lead. Each kind in its own order, so that neither hides the other.
WAITING = """
SELECT e.id, e.step_number > 1 AS follows_up
FROM (
    (SELECT f.id, f.step_number, f.next_at, f.lead_key
    FROM enrollments AS f
    JOIN campaigns AS c ON c.id = f.campaign_id
    WHERE f.team_id = $1
        AND c.status = 'active'
        AND f.state = 'active'
        AND f.step_number > 1
        AND f.next_at <= $3
        AND (f.held_until IS NULL OR f.held_until <= CASE WHEN f.held_gate = ANY ($4::text[]) THEN $3 ELSE $2 END)
    ORDER BY f.next_at, f.lead_key, f.id
    LIMIT $5)
    UNION ALL
    (SELECT n.id, n.step_number, n.next_at, n.lead_key
    FROM enrollments AS n
    JOIN campaigns AS c ON c.id = n.campaign_id
    WHERE n.team_id = $1
        AND c.status = 'active'
        AND n.state = 'active'
        AND n.step_number = 1
        AND n.next_at <= $3
        AND (n.held_until IS NULL OR n.held_until <= CASE WHEN n.held_gate = ANY ($4::text[]) THEN $3 ELSE $2 END)
    ORDER BY n.next_at, n.lead_key, n.id
    LIMIT $5)
) AS e
ORDER BY e.next_at, e.lead_key, e.id
"""


class Waiting(msgspec.Struct, frozen=True, kw_only=True):
    """An enrollment that wants a slot."""

    id: UUID
    follows_up: bool


async def waiting(tx: Tx, team_id: UUID, ahead: Ahead, most: int) -> list[Waiting]:
    """The team's enrollments that want a slot, the longest due first: at most so many of each kind."""
    return await fetch_all(tx, Waiting, WAITING, team_id, ahead.round_at, ahead.until, ahead.slot_gates, most)


LOCK_WAITING = """
SELECT e.id
FROM enrollments AS e
WHERE e.id = ANY ($1::uuid[])
    AND e.state = 'active'
    AND e.next_at IS NOT NULL
ORDER BY e.id
FOR UPDATE OF e SKIP LOCKED
"""


async def lock_waiting(tx: Tx, enrollment_ids: Sequence[UUID]) -> list[UUID]:
    """Those of them that still wait and that nobody is at work on, in their order, locked until the end."""
    ours = {record["id"] for record in await tx.fetch(LOCK_WAITING, enrollment_ids)}
    return [each for each in enrollment_ids if each in ours]
