"""Leads that go on elsewhere in their sequence than one step further: moved by a condition, or into another version.

One statement for many, and none that is not harmless the second time.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

import msgspec

from libs.planning.sequence import Step
from libs.schema.runtime.db import Tx, fetch_all, fetch_one

MOVE = """
WITH moved AS (
    UPDATE enrollments AS e
    SET step_number = u.step_number, next_at = u.next_at, held_gate = NULL, held_until = NULL
    FROM unnest($2::uuid[], $3::int[], $4::timestamptz[]) AS u(id, step_number, next_at)
    WHERE e.team_id = $1
        AND e.id = u.id
        AND e.state = 'active'
    RETURNING e.lead_id, e.campaign_id, e.step_number, e.next_at
)
UPDATE leads AS ld
SET current_step = moved.step_number, next_send_at = moved.next_at
FROM moved
WHERE ld.id = moved.lead_id
    AND ld.current_campaign_id = moved.campaign_id
"""


async def move(tx: Tx, team_id: UUID, moves: Sequence[tuple[UUID, int, datetime]]) -> None:
    """These (enrollment, step, due) wait for that step now; their rows are the caller's until its transaction ends."""
    if moves:
        ids, numbers, dues = zip(*moves, strict=True)
        await tx.execute(MOVE, team_id, ids, numbers, dues)


class Version(msgspec.Struct, frozen=True, kw_only=True):
    """A version of a campaign's steps."""

    team_id: UUID
    campaign_id: UUID
    version: int
    steps: list[Step]


NEWER_VERSION = """
SELECT v.team_id, v.campaign_id, v.version, v.steps
FROM sequence_version AS v
WHERE v.moves_leads
    AND NOT EXISTS (SELECT FROM sequence_version AS w
        WHERE w.campaign_id = v.campaign_id AND w.moves_leads AND w.version > v.version)
    AND EXISTS (SELECT FROM enrollments AS e
        WHERE e.campaign_id = v.campaign_id AND e.sequence_version < v.version AND e.state IN ('active', 'held')
            AND NOT EXISTS (SELECT FROM send_ledger AS l
                WHERE l.team_id = e.team_id AND l.lead_key = e.lead_key AND l.enrollment_id = e.id
                    AND l.state IN ('claimed', 'in_data', 'unknown')))
ORDER BY v.campaign_id
LIMIT 1
"""
OLDER_VERSIONS = """
SELECT v.team_id, v.campaign_id, v.version, v.steps
FROM sequence_version AS v
WHERE v.team_id = $1
    AND v.campaign_id = $2
    AND v.version < $3
"""


async def newer_version(tx: Tx) -> Version | None:
    """A version to which leads on their way shall move and can: none of their mails is under way or unknown."""
    return await fetch_one(tx, Version, NEWER_VERSION)


async def older_versions(tx: Tx, newer: Version) -> list[Version]:
    """The campaign's versions before this one."""
    return await fetch_all(tx, Version, OLDER_VERSIONS, newer.team_id, newer.campaign_id, newer.version)


class Behind(msgspec.Struct, frozen=True, kw_only=True):
    """A lead in an older version, and its mail that waits for its second, if there is one."""

    id: UUID
    lead_id: UUID
    sequence_version: int
    step_number: int
    send_id: UUID | None


LEADS_BEHIND = """
SELECT e.id, e.lead_id, e.sequence_version, e.step_number, l.send_id
FROM enrollments AS e
LEFT JOIN send_ledger AS l ON l.team_id = e.team_id AND l.lead_key = e.lead_key AND l.enrollment_id = e.id
    AND l.state IN ('queued', 'claimed', 'in_data', 'unknown')
WHERE e.team_id = $1
    AND e.campaign_id = $2
    AND e.sequence_version < $3
    AND e.state IN ('active', 'held')
    AND (l.state = 'queued' OR (l.send_id IS NULL AND e.next_at IS NOT NULL))
ORDER BY e.id
LIMIT $4
"""
# Ledger before enrollments, as every settlement locks them; what is claimed meanwhile moves after it is settled.
LOCK_QUEUED = """
SELECT l.send_id
FROM send_ledger AS l
WHERE l.send_id = ANY ($1::uuid[])
    AND l.state = 'queued'
ORDER BY l.send_id
FOR UPDATE SKIP LOCKED
"""
LOCK_LEADS = """
SELECT e.id
FROM enrollments AS e
WHERE e.id = ANY ($1::uuid[])
    AND e.state IN ('active', 'held')
ORDER BY e.id
FOR UPDATE SKIP LOCKED
"""


async def lock_behind(tx: Tx, newer: Version, most: int) -> list[Behind]:
    """Leads that can move now, locked until the transaction ends; the caller holds the planners' lock."""
    behind = await fetch_all(tx, Behind, LEADS_BEHIND, newer.team_id, newer.campaign_id, newer.version, most)
    queued = [lead.send_id for lead in behind if lead.send_id]
    ours = {None, *(record["send_id"] for record in await tx.fetch(LOCK_QUEUED, queued))}
    behind = [lead for lead in behind if lead.send_id in ours]
    locked = {record["id"] for record in await tx.fetch(LOCK_LEADS, [lead.id for lead in behind])}
    return [lead for lead in behind if lead.id in locked]


CHANGE_VERSION = """
WITH moved AS (
    UPDATE enrollments AS e
    SET sequence_version = $2, step_number = u.step_number, next_at = e.next_at + u.shift, state = 'active',
        held_gate = CASE WHEN e.held_gate = 'out_of_office' THEN e.held_gate END,
        held_until = CASE WHEN e.held_gate = 'out_of_office' THEN e.held_until END
    FROM unnest($3::uuid[], $4::int[], $5::interval[]) AS u(id, step_number, shift)
    WHERE e.team_id = $1
        AND e.id = u.id
    RETURNING e.id, e.lead_id, e.campaign_id, e.step_number, e.next_at
),
shown AS (
    UPDATE emails AS m
    SET sequence_version = $2
    FROM moved
    WHERE m.lead_id = moved.lead_id
        AND m.enrollment_id = moved.id
        AND m.status = 'queued'
)
UPDATE leads AS ld
SET current_step = moved.step_number, next_send_at = coalesce(moved.next_at, ld.next_send_at)
FROM moved
WHERE ld.id = moved.lead_id
    AND ld.current_campaign_id = moved.campaign_id
"""


async def change_version(tx: Tx, newer: Version, moves: Sequence[tuple[UUID, int, timedelta]]) -> None:
    """These (enrollment, step, shift of its date) go on in the newer version; mail that stays queued is of it too."""
    if moves:
        await tx.execute(CHANGE_VERSION, newer.team_id, newer.version, *zip(*moves, strict=True))


FINISH = """
WITH ended AS (
    UPDATE enrollments AS e
    SET state = 'finished', ended_at = $3, next_at = NULL, held_gate = NULL, held_until = NULL
    WHERE e.team_id = $1
        AND e.id = ANY ($2::uuid[])
        AND e.state IN ('active', 'held')
    RETURNING e.lead_id, e.campaign_id
)
UPDATE leads AS ld
SET current_campaign_id = NULL, current_step = NULL, next_send_at = NULL,
    status = CASE WHEN array_position($4::text[], ld.status::text) < array_position($4::text[], 'sequence_complete')
        THEN 'sequence_complete' ELSE ld.status END
FROM ended
WHERE ld.id = ended.lead_id
    AND (ld.current_campaign_id IS NULL OR ld.current_campaign_id = ended.campaign_id)
"""


async def finish(tx: Tx, newer: Version, enrollment_ids: Sequence[UUID], at: datetime, order: Sequence[str]) -> None:
    """These have had every step that is left; `order` lists the lead statuses, lowest first."""
    if enrollment_ids:
        await tx.execute(FINISH, newer.team_id, enrollment_ids, at, order)
