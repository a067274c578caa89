"""How a team is read for a simulation: its running campaigns with all their leads, in bounded pages.

Never locks and never writes.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from libs.planning import queries
from libs.planning.facts import DueLead, PlannedInbox, SequenceVersion
from libs.planning.preflight.queries import read_steps
from libs.planning.simulate.simulation import Newcomer, OpenSend, Runner, World, begin_of
from libs.schema.ids import lead_key
from libs.schema.runtime.db import Tx, fetch_all

PAGE = 2_000  # leads in one statement
MAX_LEADS = 50_000  # as many as mails are simulated: each lead has one at least
NOBODY = UUID(int=0)  # lies before every id

RUNNERS = """
SELECT c.id, c.status::text AS status, c.lead_list_id, c.scheduled_start_at, c.settings,
    coalesce(v.version, 0) AS version
FROM campaigns AS c
LEFT JOIN LATERAL (
    SELECT max(sv.version) AS version
    FROM sequence_version AS sv
    WHERE sv.campaign_id = c.id
) AS v ON true
WHERE c.team_id = $1
    AND c.deleted_at IS NULL
    AND (c.id = $2 OR c.status = 'active')
ORDER BY c.id
"""
OPEN_ENROLLMENTS = """
SELECT e.id
FROM enrollments AS e
WHERE e.team_id = $1
    AND e.campaign_id = ANY ($2::uuid[])
    AND e.state IN ('active', 'held')
    AND e.id > $3
ORDER BY e.id
LIMIT $4
"""
OPEN_SENDS = """
SELECT l.enrollment_id, l.campaign_id, l.inbox_id, l.state, l.not_before AS at, l.committed_at,
    CASE WHEN l.state = 'unknown' THEN l.committed_at + INTERVAL '72 hours' END AS next_settle_at,
    CASE WHEN l.state = 'queued' AND ARRAY[l.campaign_id, l.inbox_id, l.team_id] && $2::uuid[] THEN greatest(
            CASE WHEN l.not_before > l.slot_at THEN l.not_before ELSE coalesce(l.due_at, l.slot_at) END,
            CASE WHEN e.held_gate = 'out_of_office' THEN e.held_until END) END AS due_again_at
FROM send_ledger AS l
JOIN inboxes AS i ON i.id = l.inbox_id
LEFT JOIN enrollments AS e ON e.id = l.enrollment_id
WHERE i.team_id = $1
    AND l.kind = 'campaign'
    AND l.state IN ('queued', 'claimed', 'in_data', 'unknown')
ORDER BY l.not_before, l.send_id
"""
# Leads that may enter a running campaign now, or when the sequence that they are in is over.
NEWCOMERS = """
SELECT ld.id AS lead_id, ld.lead_list_id, ld.status::text AS status, ld.email, ld.first_name, ld.last_name, ld.company,
    ld.title, ld.phone, ld.linkedin_url, ld.website, ld.city, ld.country, ld.timezone, ld.custom_fields, rd.provider,
    ARRAY(SELECT e.campaign_id FROM enrollments AS e WHERE e.team_id = ld.team_id AND e.lead_id = ld.id) AS enrolled_in,
    EXISTS (SELECT FROM enrollments AS e
        WHERE e.team_id = ld.team_id AND e.lead_id = ld.id AND e.state IN ('active', 'held')
            AND e.campaign_id <> ALL ($2::uuid[])) AS held_elsewhere
FROM leads AS ld
LEFT JOIN recipient_domain AS rd ON rd.domain = lower(split_part(ld.email, '@', 2))
WHERE ld.team_id = $1
    AND ld.id > $4
    AND ld.deleted_at IS NULL
    AND EXISTS (SELECT FROM unnest($2::uuid[], $3::uuid[]) AS r(campaign_id, lead_list_id)
        WHERE r.lead_list_id = ld.lead_list_id
            AND NOT EXISTS (SELECT FROM enrollments AS e WHERE e.campaign_id = r.campaign_id AND e.lead_id = ld.id))
ORDER BY ld.id
LIMIT $5
"""
# What is known of people by their keys alone, whichever row they are now.
KNOWN_PEOPLE = """
SELECT u.lead_id,
    (SELECT sl.reason FROM suppression_list AS sl
        WHERE (sl.team_id = $1 OR sl.team_id IS NULL)
            AND (sl.value_hash = u.lead_key OR sl.email = u.email OR sl.email = split_part(u.email, '@', 2))
        LIMIT 1) AS suppressed,
    (SELECT max(CASE WHEN o.committed_at > o.not_before + INTERVAL '1 minute' THEN o.committed_at ELSE o.not_before END)
        FROM send_ledger AS o
        WHERE o.team_id = $1 AND o.lead_key = u.lead_key AND o.kind = 'campaign'
            AND (o.state IN ('claimed', 'in_data', 'accepted', 'unknown') OR (o.state = 'queued'
                AND NOT ARRAY[o.campaign_id, o.inbox_id, o.team_id] && $5::uuid[]))) AS contacted_at
FROM unnest($2::uuid[], $3::bytea[], $4::text[]) AS u(lead_id, lead_key, email)
"""


class CampaignRow(msgspec.Struct, frozen=True, kw_only=True):
    """A campaign that takes part, before its steps are read."""

    id: UUID
    status: str
    lead_list_id: UUID | None
    scheduled_start_at: datetime | None
    settings: dict[str, Any]
    version: int


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """Which campaign, seen from when, and with what installation's pepper and public address."""

    campaign_id: UUID
    now: datetime
    pepper: bytes
    public_url: str


async def read_team_world(tx: Tx, team_id: UUID, asked: Asked, start_at: datetime | None) -> World | None:
    """What a simulation of the campaign starts from; None when the team has no such campaign.

    Raises:
        NotSimulatedError: it cannot be simulated, or not from that start.

    """
    rows = await read_runners(tx, team_id, asked.campaign_id)
    ours = next((row for row in rows if row.id == asked.campaign_id), None)
    if ours is None:
        return None
    begin = begin_of(ours.status, ours.scheduled_start_at, start_at, asked.now)
    return await read_world(tx, team_id, asked, rows, begin)


async def read_runners(tx: Tx, team_id: UUID, campaign_id: UUID) -> list[CampaignRow]:
    """The campaign and all active ones; without the campaign when the team has none of this id."""
    return await fetch_all(tx, CampaignRow, RUNNERS, team_id, campaign_id)


async def read_world(tx: Tx, team_id: UUID, asked: Asked, rows: Sequence[CampaignRow], start_at: datetime) -> World:
    """The team as it is now; the campaign is read as though it were to start at `start_at`."""
    runners = await _runners(tx, team_id, asked, rows)
    ids = [runner.id for runner in runners]
    changed = await queries.changed_scopes(tx, team_id)
    leads = await _open_leads(tx, team_id, ids)
    newcomers = await _newcomers(tx, team_id, asked, runners, changed)
    team = await queries.team_day(tx, team_id, asked.now, changed)
    boxes = await queries.planned_inboxes(tx, team_id, asked.now, changed=changed)
    everybody = [*leads, *(one.lead for one in newcomers)]
    return World(
        campaign_id=asked.campaign_id,
        now=asked.now,
        start_at=start_at,
        resumes=next(row.status for row in rows if row.id == asked.campaign_id) == "paused",
        team=team,
        boxes=boxes,
        runners=runners,
        versions=await queries.sequences(tx, team_id, leads),
        leads=leads,
        sends=await fetch_all(tx, OpenSend, OPEN_SENDS, team_id, changed),
        newcomers=newcomers,
        domain_mails=await queries.domain_mails(tx, team, team_id, everybody, asked.now, changed),
        public_url=asked.public_url,
        released=_released(team_id, ids, boxes, changed),
        truncated=len(leads) >= MAX_LEADS or len(newcomers) >= MAX_LEADS,
    )


async def _runners(tx: Tx, team_id: UUID, asked: Asked, rows: Sequence[CampaignRow]) -> list[Runner]:
    """Each with the steps that a lead gets which enters it now: a draft's are those that it would be started with."""
    kept = await queries.versions(tx, team_id, [(row.id, row.version) for row in rows if row.version])
    newest: Mapping[UUID, SequenceVersion] = {one.campaign_id: one for one in kept}
    runners: list[Runner] = []
    for row in rows:
        version = newest.get(row.id)
        if row.id == asked.campaign_id and row.status in ("draft", "scheduled"):
            steps = await read_steps(tx, team_id, row.id)
            version = SequenceVersion(campaign_id=row.id, version=row.version + 1, settings=row.settings, steps=steps)
        if version is not None:
            runners.append(Runner(id=row.id, status=row.status, lead_list_id=row.lead_list_id, version=version))
    return runners


async def _open_leads(tx: Tx, team_id: UUID, campaign_ids: Sequence[UUID]) -> list[DueLead]:
    found: list[DueLead] = []
    while len(found) < MAX_LEADS:
        after = found[-1].enrollment_id if found else NOBODY
        records = await tx.fetch(OPEN_ENROLLMENTS, team_id, campaign_ids, after, PAGE)
        found += await queries.lead_facts(tx, team_id, [record["id"] for record in records])
        if len(records) < PAGE:
            break
    return found


def _released(
    team_id: UUID, campaigns: Sequence[UUID], boxes: Sequence[PlannedInbox], changed: Sequence[UUID]
) -> frozenset[UUID]:
    """The campaigns whose held leads are looked at again, since they, their inboxes or the team were changed."""
    if team_id in changed:
        return frozenset(campaigns)
    return frozenset((*changed, *(each for box in boxes if box.id in changed for each in box.campaign_ids)))


async def _newcomers(
    tx: Tx, team_id: UUID, asked: Asked, runners: Sequence[Runner], changed: Sequence[UUID]
) -> list[Newcomer]:
    lists = [(runner.id, runner.lead_list_id) for runner in runners if runner.lead_list_id is not None]
    found: list[Newcomer] = []
    while len(found) < MAX_LEADS:
        after = found[-1].lead.lead_id if found else NOBODY
        ids, list_ids = [each for each, _ in lists], [each for _, each in lists]
        records = [dict(record) for record in await tx.fetch(NEWCOMERS, team_id, ids, list_ids, after, PAGE)]
        keys = {record["lead_id"]: lead_key(asked.pepper, record["email"]) for record in records}
        emails = [record["email"] for record in records]
        known = await tx.fetch(KNOWN_PEOPLE, team_id, list(keys), list(keys.values()), emails, changed)
        by_id = {row["lead_id"]: dict(row) for row in known}
        found += [_newcomer(row | by_id[row["lead_id"]], keys[row["lead_id"]], asked.now) for row in records]
        if len(records) < PAGE:
            break
    return found


def _newcomer(row: dict[str, Any], key: bytes, now: datetime) -> Newcomer:
    """What entering a campaign gives a lead is filled in when it enters one."""
    about_lists = {name: row.pop(name) for name in ("lead_list_id", "status", "enrolled_in", "held_elsewhere")}
    not_yet = {"enrollment_id": NOBODY, "campaign_id": NOBODY, "sequence_version": 0, "step_number": 1}
    nothing = dict.fromkeys(("inbox_id", "held_gate", "held_until", "stopped", "thread_subject"))
    lead = {**row, **not_yet, **nothing, "lead_key": key, "next_at": now, "archived": False}
    return Newcomer(lead=msgspec.convert(lead, DueLead, builtin_types=(bytes,)), **about_lists)
