"""How leads enter sequences and how campaigns begin and end: set-based, in bounded batches."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import msgspec

from libs.planning.sequence import Step
from libs.schema.runtime.db import Tx, fetch_all

ACTIVATE_SCHEDULED = """
UPDATE campaigns AS c
SET status = 'active', started_at = coalesce(c.started_at, $1)
WHERE c.status = 'scheduled'
    AND c.scheduled_start_at <= $1
    AND EXISTS (SELECT FROM sequence_version AS v WHERE v.campaign_id = c.id)
RETURNING c.id, c.team_id, (SELECT max(v.version) FROM sequence_version AS v WHERE v.campaign_id = c.id) AS version
"""


class Started(msgspec.Struct, frozen=True, kw_only=True):
    """A campaign that its schedule has started, with the version that its leads get."""

    id: UUID
    team_id: UUID
    version: int


async def activate_scheduled(tx: Tx, now: datetime) -> list[Started]:
    """The scheduled campaigns whose hour has come, now active."""
    return await fetch_all(tx, Started, ACTIVATE_SCHEDULED, now)


class Running(msgspec.Struct, frozen=True, kw_only=True):
    """An active campaign that takes leads out of a list, with its newest steps."""

    id: UUID
    team_id: UUID
    lead_list_id: UUID
    list_changed_at: datetime  # moves with every lead that comes or goes
    version: int
    steps: list[Step]


RUNNING_CAMPAIGNS = """
SELECT c.id, c.team_id, c.lead_list_id, ll.updated_at AS list_changed_at, v.version, v.steps
FROM campaigns AS c
JOIN lead_lists AS ll ON ll.id = c.lead_list_id
JOIN LATERAL (
    SELECT sv.version, sv.steps
    FROM sequence_version AS sv
    WHERE sv.campaign_id = c.id
    ORDER BY sv.version DESC
    LIMIT 1
) AS v ON true
WHERE c.status = 'active'
    AND c.lead_list_id IS NOT NULL
    AND c.deleted_at IS NULL
ORDER BY c.id
"""


async def running_campaigns(tx: Tx) -> list[Running]:
    """All active campaigns with a list."""
    return await fetch_all(tx, Running, RUNNING_CAMPAIGNS)


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """A lead that may be enrolled."""

    id: UUID
    email: str


CANDIDATES = """
SELECT ld.id, ld.email
FROM leads AS ld
WHERE ld.team_id = $1
    AND ld.lead_list_id = $2
    AND ld.id > $4
    AND ld.deleted_at IS NULL
    AND ld.status NOT IN ('bounced', 'unsubscribed', 'spam_reported')
    AND NOT EXISTS (SELECT FROM enrollments AS e WHERE e.campaign_id = $3 AND e.lead_id = ld.id)
    AND NOT EXISTS (SELECT FROM enrollments AS e
        WHERE e.team_id = $1 AND e.lead_id = ld.id AND e.state IN ('active', 'held'))
    AND NOT EXISTS (SELECT FROM suppression_list AS sl
        WHERE (sl.team_id = $1 OR sl.team_id IS NULL)
            AND (sl.email = ld.email OR sl.email = split_part(ld.email, '@', 2)))
ORDER BY ld.id
LIMIT $5
"""


async def candidates(tx: Tx, campaign: Running, after: UUID, most: int) -> list[Candidate]:
    """The next leads of the campaign's list by id; who is in another sequence waits, who is suppressed stays out."""
    return await fetch_all(tx, Candidate, CANDIDATES, campaign.team_id, campaign.lead_list_id, campaign.id, after, most)


SUPPRESSED_KEYS = """
UPDATE leads AS ld
SET status = 'unsubscribed'
FROM unnest($2::uuid[], $3::bytea[]) AS u(lead_id, lead_key)
WHERE ld.id = u.lead_id
    AND ld.status NOT IN ('unsubscribed', 'spam_reported')
    AND EXISTS (SELECT FROM suppression_list AS sl
        WHERE sl.value_hash = u.lead_key AND (sl.team_id = $1 OR sl.team_id IS NULL))
RETURNING ld.id
"""


async def mark_suppressed(tx: Tx, team_id: UUID, lead_ids: Sequence[UUID], keys: Sequence[bytes]) -> set[UUID]:
    """Those whose address once was erased and is back, though it is suppressed: known by their key, and marked so."""
    return {record["id"] for record in await tx.fetch(SUPPRESSED_KEYS, team_id, lead_ids, keys)}


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """A lead on its way into a sequence."""

    id: UUID
    lead_id: UUID
    lead_key: bytes


ENROL = """
INSERT INTO enrollments AS e (id, team_id, campaign_id, lead_id, lead_key, sequence_version, step_number, next_at,
    enrolled_at)
SELECT u.id, $1, $2, u.lead_id, u.lead_key, $3, $4, $5, $6
FROM unnest($7::uuid[], $8::uuid[], $9::bytea[]) AS u(id, lead_id, lead_key)
WHERE NOT EXISTS (SELECT FROM enrollments AS o
    WHERE o.team_id = $1 AND o.lead_key = u.lead_key AND o.campaign_id <> $2 AND o.state IN ('active', 'held'))
ON CONFLICT (campaign_id, lead_key) DO UPDATE
SET lead_id = excluded.lead_id
RETURNING e.id, e.lead_id, e.lead_key
"""


class Start(msgspec.Struct, frozen=True, kw_only=True):
    """Where a sequence begins, and when."""

    step_number: int
    next_at: datetime
    at: datetime


async def enrol(tx: Tx, campaign: Running, start: Start, entries: Sequence[Entry]) -> list[Entry]:
    """The enrollments of these people: new ones, and those that the same person has under another lead's row."""
    return await fetch_all(
        tx,
        Entry,
        ENROL,
        campaign.team_id,
        campaign.id,
        campaign.version,
        start.step_number,
        start.next_at,
        start.at,
        [entry.id for entry in entries],
        [entry.lead_id for entry in entries],
        [entry.lead_key for entry in entries],
    )


SHOW_ENROLLED = """
UPDATE leads AS ld
SET current_campaign_id = $2, current_step = $3, next_send_at = $4,
    status = CASE WHEN ld.status = 'pending' THEN 'in_sequence' ELSE ld.status END
WHERE ld.id = ANY ($1::uuid[])
"""


async def show_enrolled(tx: Tx, campaign: Running, start: Start, lead_ids: Sequence[UUID]) -> None:
    """The leads show the sequence that they are in."""
    await tx.execute(SHOW_ENROLLED, lead_ids, campaign.id, start.step_number, start.next_at)


class Finished(msgspec.Struct, frozen=True, kw_only=True):
    """A campaign at its end, with how many of its leads ended in which way."""

    id: UUID
    team_id: UUID
    finished: int
    stopped: int
    failed: int


COMPLETE_CAMPAIGNS = """
WITH done AS (
    UPDATE campaigns AS c
    SET status = 'completed', completed_at = $1
    WHERE c.status = 'active'
        AND EXISTS (SELECT FROM enrollments AS e WHERE e.campaign_id = c.id)
        AND NOT EXISTS (SELECT FROM enrollments AS e WHERE e.campaign_id = c.id AND e.state IN ('active', 'held'))
        AND NOT EXISTS (
            SELECT FROM leads AS ld
            WHERE ld.team_id = c.team_id
                AND ld.lead_list_id = c.lead_list_id
                AND ld.deleted_at IS NULL
                AND ld.status NOT IN ('bounced', 'unsubscribed', 'spam_reported')
                AND NOT EXISTS (SELECT FROM enrollments AS e WHERE e.campaign_id = c.id AND e.lead_id = ld.id)
                AND NOT EXISTS (SELECT FROM suppression_list AS sl
                    WHERE (sl.team_id = ld.team_id OR sl.team_id IS NULL)
                        AND (sl.email = ld.email OR sl.email = split_part(ld.email, '@', 2))))
    RETURNING c.id, c.team_id
)
SELECT d.id, d.team_id,
    count(*) FILTER (WHERE e.state = 'finished')::int AS finished,
    count(*) FILTER (WHERE e.state = 'stopped')::int AS stopped,
    count(*) FILTER (WHERE e.state = 'failed')::int AS failed
FROM done AS d
JOIN enrollments AS e ON e.campaign_id = d.id
GROUP BY d.id, d.team_id
"""


async def complete_campaigns(tx: Tx, now: datetime) -> list[Finished]:
    """The active campaigns of which every lead is at its end, now completed."""
    return await fetch_all(tx, Finished, COMPLETE_CAMPAIGNS, now)
