"""What the planner reads: a fixed number of statements per team, however many leads fall due."""

from datetime import date, datetime, time
from typing import Any
from uuid import UUID

import msgspec

from libs.schema.runtime.db import Tx, fetch_all, fetch_one
from services.sender.rules.lifecycle import Step

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


class DueLead(msgspec.Struct, frozen=True, kw_only=True):
    """An enrollment whose next step wants a slot, with what gates and templates ask for."""

    enrollment_id: UUID
    campaign_id: UUID
    lead_id: UUID
    lead_key: bytes
    sequence_version: int
    step_number: int
    next_at: datetime
    inbox_id: UUID | None
    held_gate: str | None
    held_until: datetime | None
    archived: bool
    suppressed: str | None
    stopped: str | None
    email: str
    first_name: str | None
    last_name: str | None
    company: str | None
    title: str | None
    phone: str | None
    linkedin_url: str | None
    website: str | None
    city: str | None
    country: str | None
    custom_fields: dict[str, Any]
    thread_subject: str | None


DUE_LEADS = """
SELECT e.id AS enrollment_id, e.campaign_id, e.lead_id, e.lead_key, e.sequence_version, e.step_number, e.next_at,
    e.inbox_id, e.held_gate, e.held_until, ld.deleted_at IS NOT NULL AS archived,
    (SELECT sl.reason FROM suppression_list AS sl
        WHERE (sl.team_id = e.team_id OR sl.team_id IS NULL)
            AND (sl.value_hash = e.lead_key OR sl.email = ld.email OR sl.email = split_part(ld.email, '@', 2))
        LIMIT 1) AS suppressed,
    (SELECT ls.reason FROM lead_stop AS ls
        WHERE ls.team_id = e.team_id AND ls.lead_key = e.lead_key
            AND ls.stopped_at >= e.enrolled_at
            AND (ls.campaign_id IS NULL OR ls.campaign_id = e.campaign_id)
            AND (ls.reason <> 'replied' OR coalesce((c.settings ->> 'stop_on_reply')::boolean, true))
            AND (ls.reason NOT IN ('hard_bounce', 'soft_bounce')
                OR coalesce((c.settings ->> 'stop_on_bounce')::boolean, true))
        ORDER BY ls.stopped_at
        LIMIT 1) AS stopped,
    ld.email, ld.first_name, ld.last_name, ld.company, ld.title, ld.phone, ld.linkedin_url, ld.website, ld.city,
    ld.country, ld.custom_fields,
    (SELECT m.subject FROM emails AS m
        WHERE m.lead_id = e.lead_id AND m.enrollment_id = e.id AND m.sent_at IS NOT NULL
        ORDER BY m.sent_at DESC
        LIMIT 1) AS thread_subject
FROM enrollments AS e
JOIN campaigns AS c ON c.id = e.campaign_id
JOIN leads AS ld ON ld.id = e.lead_id
WHERE e.team_id = $1
    AND c.status = 'active'
    AND e.state = 'active'
    AND e.next_at <= $3
    AND (e.held_until IS NULL OR e.held_until <= CASE WHEN e.held_gate = ANY ($4::text[]) THEN $3 ELSE $2 END)
ORDER BY e.step_number = 1, e.next_at, e.id
LIMIT $5
FOR UPDATE OF e SKIP LOCKED
"""


async def due_leads(tx: Tx, team_id: UUID, ahead: Ahead, most: int) -> list[DueLead]:
    """The team's leads that want a slot, follow-ups first, the longest due first, locked until the transaction ends."""
    return await fetch_all(tx, DueLead, DUE_LEADS, team_id, ahead.now, ahead.until, ahead.slot_gates, most)


class TeamDay(msgspec.Struct, frozen=True, kw_only=True):
    """The team, and what its days hold: mails that went since yesterday, and slots."""

    zone: str
    daily_limit: int
    company_name: str | None
    physical_address: str | None
    days: list[date]
    counts: list[int]


TEAM_DAYS = """
SELECT coalesce(t.settings ->> 'timezone', 'UTC') AS zone, t.daily_email_limit AS daily_limit, t.company_name,
    t.physical_address, coalesce(u.days, '{}') AS days, coalesce(u.counts, '{}') AS counts
FROM teams AS t
LEFT JOIN LATERAL (
    SELECT array_agg(d.day) AS days, array_agg(d.mails) AS counts
    FROM (
        SELECT (s.at AT TIME ZONE coalesce(t.settings ->> 'timezone', 'UTC'))::date AS day, count(*)::int AS mails
        FROM (
            SELECT l.committed_at AS at
            FROM send_ledger AS l
            WHERE l.team_id = t.id AND l.committed_at > $2::timestamptz - INTERVAL '26 hours'
            UNION ALL
            SELECT l.not_before
            FROM send_ledger AS l
            JOIN inboxes AS i ON i.id = l.inbox_id
            WHERE i.team_id = t.id AND l.state IN ('queued', 'claimed')
        ) AS s
        GROUP BY 1
    ) AS d
) AS u ON true
WHERE t.id = $1
"""


async def team_days(tx: Tx, team_id: UUID, now: datetime) -> TeamDay | None:
    """The team as the planner sees it."""
    return await fetch_one(tx, TeamDay, TEAM_DAYS, team_id, now)


class PlannedInbox(msgspec.Struct, frozen=True, kw_only=True):
    """An inbox as the planner sees it: `busy` are its sends since yesterday and its slots."""

    id: UUID
    email: str
    from_name: str | None
    status: str
    archived: bool
    health_score: int | None
    circuit: str | None
    circuit_retry_at: datetime | None
    daily_send_limit: int
    hourly_limit: int
    min_delay_seconds: int
    max_delay_seconds: int
    send_days: list[str]
    send_window_start: time
    send_window_end: time
    send_window_timezone: str
    weekends_enabled: bool
    campaign_ids: list[UUID]
    busy: list[datetime]


PLANNED_INBOXES = """
SELECT i.id, i.email, i.from_name, i.status::text AS status, i.deleted_at IS NOT NULL AS archived,
    CASE WHEN i.health_known THEN i.health_score END AS health_score, b.kind AS circuit, b.retry_at AS circuit_retry_at,
    s.daily_send_limit, s.hourly_limit, s.min_delay_seconds, s.max_delay_seconds, s.send_days, s.send_window_start,
    s.send_window_end, s.send_window_timezone, s.weekends_enabled,
    ARRAY(SELECT ci.campaign_id FROM campaign_inboxes AS ci WHERE ci.inbox_id = i.id) AS campaign_ids,
    ARRAY(
        SELECT l.committed_at
        FROM send_ledger AS l
        WHERE l.inbox_id = i.id AND l.committed_at > $2 - INTERVAL '26 hours'
        UNION ALL
        SELECT l.not_before
        FROM send_ledger AS l
        WHERE l.inbox_id = i.id AND l.state = 'queued'
        UNION ALL
        SELECT l.not_before
        FROM send_ledger AS l
        WHERE l.inbox_id = i.id AND l.state = 'claimed'
    ) AS busy
FROM inboxes AS i
JOIN inbox_settings AS s ON s.inbox_id = i.id
LEFT JOIN LATERAL (
    SELECT br.kind, br.retry_at
    FROM breaker AS br
    WHERE br.team_id = i.team_id AND br.scope = 'inbox' AND br.scope_key = i.id::text
        AND br.state = 'open' AND br.retry_at > $2
    ORDER BY br.retry_at DESC
    LIMIT 1
) AS b ON true
WHERE i.team_id = $1
ORDER BY i.id
"""


async def planned_inboxes(tx: Tx, team_id: UUID, now: datetime) -> list[PlannedInbox]:
    """All inboxes of the team, also those that may not send: their campaigns' leads are told why."""
    return await fetch_all(tx, PlannedInbox, PLANNED_INBOXES, team_id, now)


class SequenceVersion(msgspec.Struct, frozen=True, kw_only=True):
    """A campaign's settings and one saved version of its steps."""

    campaign_id: UUID
    version: int
    settings: dict[str, Any]
    steps: list[Step]


SEQUENCES = """
SELECT v.campaign_id, v.version, c.settings, v.steps
FROM sequence_version AS v
JOIN campaigns AS c ON c.id = v.campaign_id
WHERE c.team_id = $1
    AND c.status = 'active'
    AND v.version IN (SELECT DISTINCT e.sequence_version FROM enrollments AS e
        WHERE e.campaign_id = c.id AND e.state IN ('active', 'held'))
"""


async def sequences(tx: Tx, team_id: UUID) -> list[SequenceVersion]:
    """The versions that the leads of the team's active campaigns are in."""
    return await fetch_all(tx, SequenceVersion, SEQUENCES, team_id)
