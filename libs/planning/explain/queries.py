"""How one lead's case is read: a fixed number of statements, for a request, the command line and any instant.

Never locks and never writes.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

import msgspec

from libs.planning import queries
from libs.planning.explain.case import Case, KnownSend, Membership, Offer, Person, Stop, Suppressed, Told
from libs.planning.explain.past import applying, inboxes_of, offer_then, put_back, settings_then
from libs.planning.facts import DueLead
from libs.planning.round import Sight
from libs.schema.events import Event, open_envelope, open_event
from libs.schema.events.base import Settings
from libs.schema.ids import lead_key
from libs.schema.runtime.db import Tx, fetch_all, fetch_one

# What an answer may point at; opens and clicks decide nothing here.
OF_LEAD = (
    *("lead.enrolled", "lead.held", "lead.stopped", "lead.completed", "lead.unsubscribed", "lead.suppressed"),
    *("lead.marked", "lead.erased", "email.queued", "email.cancelled", "email.sent", "email.deferred"),
    *("email.failed", "email.unknown", "email.complained", "bounce.hard", "bounce.soft", "bounce.blocked"),
)
OF_CAMPAIGN_OR_INBOX = (
    *("campaign.scheduled", "campaign.activated", "campaign.paused", "campaign.resumed", "campaign.completed"),
    *("campaign.archived", "campaign.circuit_opened", "campaign.circuit_closed", "inbox.connected"),
    *("inbox.disconnected", "inbox.paused", "inbox.resumed", "inbox.circuit_opened", "inbox.circuit_closed"),
    "inbox.health_changed",
)

# What changes settings, and what else may tell which stand.
CHANGING = ("campaign.changed", "inbox.changed", "team.changed")
TELLING = ("campaign.scheduled", "campaign.activated", "inbox.connected")

PERSON = """
SELECT ld.id, ld.email, ld.lead_list_id, ld.status::text AS status, ld.deleted_at AS archived_at, n.paused, n.paused_at,
    n.paused_reason
FROM leads AS ld
CROSS JOIN installation AS n
WHERE ld.team_id = $1
    AND ld.id = $2
"""
MEMBERSHIPS = """
SELECT e.id, e.campaign_id, c.name AS campaign_name, c.status::text AS campaign_status, c.settings AS campaign_settings,
    c.scheduled_start_at, e.lead_key, e.state, e.ended_reason, e.sequence_version, e.step_number, e.next_at, e.inbox_id,
    e.held_gate, e.held_until, e.enrolled_at, e.ended_at
FROM enrollments AS e
JOIN campaigns AS c ON c.id = e.campaign_id
WHERE e.team_id = $1
    AND e.lead_id = $2
ORDER BY e.enrolled_at, e.id
"""
OFFER = """
SELECT c.id, c.name, c.status::text AS status, c.lead_list_id, c.scheduled_start_at, coalesce(v.steps, '[]') AS steps
FROM campaigns AS c
LEFT JOIN LATERAL (
    SELECT sv.steps
    FROM sequence_version AS sv
    WHERE sv.campaign_id = c.id
    ORDER BY sv.version DESC
    LIMIT 1
) AS v ON true
WHERE c.team_id = $1
    AND CASE WHEN $3::uuid IS NULL THEN c.lead_list_id = $4 AND c.deleted_at IS NULL ELSE c.id = $3 END
    AND NOT EXISTS (SELECT FROM enrollments AS e WHERE e.campaign_id = c.id AND e.lead_id = $2)
ORDER BY c.status <> 'active', c.id
LIMIT 1
"""
SENDS = """
SELECT l.send_id, l.step_id, coalesce((
        SELECT (step ->> 'step_number')::int
        FROM sequence_version AS v
        CROSS JOIN LATERAL jsonb_array_elements(v.steps) AS step
        WHERE v.campaign_id = l.campaign_id AND step ->> 'step_id' = l.step_id::text
        ORDER BY v.version DESC
        LIMIT 1
    ), 1) AS step_number, l.inbox_id, l.state, l.slot_at, l.not_before, l.due_at, l.claimed_at, l.committed_at,
    l.next_settle_at,
    l.state = 'queued' AND ARRAY[l.campaign_id, l.inbox_id, l.team_id] && $4::uuid[] AS is_void
FROM send_ledger AS l
WHERE l.team_id = $1
    AND l.lead_key = $2
    AND l.enrollment_id = $3
ORDER BY l.slot_at, l.send_id
"""
STOPS = """
SELECT ls.reason, ls.event_id, ls.stopped_at AS at
FROM enrollments AS e
JOIN lead_stop AS ls ON ls.team_id = e.team_id AND ls.lead_key = e.lead_key
WHERE e.team_id = $1
    AND e.id = $2
    AND ls.stopped_at >= e.enrolled_at
    AND (ls.campaign_id IS NULL OR ls.campaign_id = e.campaign_id)
ORDER BY ls.stopped_at
"""
SUPPRESSIONS = """
SELECT sl.reason, sl.scope, sl.created_at AS at
FROM suppression_list AS sl
WHERE (sl.team_id = $1 OR sl.team_id IS NULL)
    AND (sl.email = $2 OR sl.email = split_part($2, '@', 2) OR sl.value_hash = $3)
ORDER BY sl.created_at
"""
EVENTS_OF_LEAD = """
SELECT event_id, type, subject, time, body
FROM event_log
WHERE team_id = $1
    AND ((subject = ANY ($2::text[]) AND type = ANY ($3::text[])) OR event_id = ANY ($4::uuid[]))
ORDER BY position
"""
LAST_EVENTS = """
SELECT l.event_id, l.type, s.subject, l.time, l.body
FROM unnest($2::text[]) AS s(subject)
CROSS JOIN LATERAL (
    SELECT DISTINCT ON (e.type) e.event_id, e.type, e.time, e.body, e.position
    FROM event_log AS e
    WHERE e.team_id = $1
        AND e.subject = s.subject
        AND e.type = ANY ($3::text[])
        AND e.time <= $4
    ORDER BY e.type, e.position DESC
) AS l
ORDER BY l.position
"""
# Around an instant: the last event that tells what was set, and the first later one that changed it (past.py).
SETTINGS_AROUND = """
SELECT s.subject, last.body AS last, following.body AS following
FROM unnest($2::text[]) AS s(subject)
LEFT JOIN LATERAL (
    SELECT e.body
    FROM event_log AS e
    WHERE e.team_id = $1
        AND e.subject = s.subject
        AND (e.type = ANY ($3::text[])
            OR (e.type = ANY ($4::text[]) AND json_typeof(e.body -> 'data' -> 'settings') = 'object'))
        AND e.time <= $5
    ORDER BY e.time DESC, e.position DESC
    LIMIT 1
) AS last ON true
LEFT JOIN LATERAL (
    SELECT e.body
    FROM event_log AS e
    WHERE e.team_id = $1
        AND e.subject = s.subject
        AND e.type = ANY ($3::text[])
        AND e.time > $5
    ORDER BY e.time, e.position
    LIMIT 1
) AS following ON true
"""
# What had gone or stood in a slot at $2. A slot that was given up since is in no index: past.py says so in its notes.
BUSY_AT = """
SELECT l.inbox_id,
    CASE WHEN l.committed_at <= l.not_before + INTERVAL '1 minute' OR l.committed_at IS NULL THEN l.not_before
        ELSE l.committed_at END AS at
FROM send_ledger AS l
WHERE l.team_id = $1
    AND l.committed_at > $2::timestamptz - INTERVAL '26 hours'
    AND (l.committed_at <= $2 OR (l.created_at <= $2 AND l.committed_at <= $2::timestamptz + INTERVAL '26 hours'))
UNION ALL
SELECT l.inbox_id, l.not_before
FROM send_ledger AS l
JOIN inboxes AS i ON i.id = l.inbox_id
WHERE i.team_id = $1
    AND l.state IN ('queued', 'claimed')
    AND l.created_at <= $2
"""


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """Who is asked about: the lead, in which campaign (None: the one that matters), at which instant, seen from now."""

    lead_id: UUID
    campaign_id: UUID | None = None
    pepper: bytes | None = None  # finds a suppression that outlived its address; None where none is at hand
    at: datetime
    now: datetime
    public_url: str


async def read_case(tx: Tx, team_id: UUID, asked: Question) -> Case | Literal["lead", "campaign"]:
    """The lead's case, or which of the two the team does not have."""
    person = await fetch_one(tx, Person, PERSON, team_id, asked.lead_id)
    if person is None:
        return "lead"
    memberships = await fetch_all(tx, Membership, MEMBERSHIPS, team_id, person.id)
    known = [one for one in memberships if one.enrolled_at <= asked.at]
    chosen = _chosen(known, asked)
    offer = await _offer(tx, team_id, person, chosen, asked)
    if asked.campaign_id is not None and chosen is None and offer is None:
        return "campaign"
    changed = await queries.changed_scopes(tx, team_id)
    case = Case(
        at=asked.at,
        now=asked.now,
        team_id=team_id,
        person=person,
        memberships=known,
        chosen=chosen,
        offer=offer,
        lead=None,
        sight=None,
        sends=await _sends(tx, team_id, chosen, [] if asked.at < asked.now else changed),
        stops=await fetch_all(tx, Stop, STOPS, team_id, chosen.id) if chosen else [],
        suppressed=await fetch_all(
            tx, Suppressed, SUPPRESSIONS, team_id, person.email, _key_of(person, chosen, asked.pepper)
        ),
        events=[],
    )
    if chosen is not None:
        return await _past(tx, case, asked) if case.is_past else await _present(tx, case, asked, changed)
    case = await _with_events(tx, case, [])
    if not case.is_past:
        return case
    return offer_then(case, await _settings(tx, case, [f"campaign/{offer.id}"] if offer else []))


def _chosen(known: Sequence[Membership], asked: Question) -> Membership | None:
    """The sequence that the question is about: the one it names, else the open one."""
    if asked.campaign_id is not None:
        return next((one for one in known if one.campaign_id == asked.campaign_id), None)
    return next((one for one in reversed(known) if one.ended_at is None or one.ended_at > asked.at), None)


def _key_of(person: Person, chosen: Membership | None, pepper: bytes | None) -> bytes | None:
    if chosen is not None:
        return chosen.lead_key
    return None if pepper is None else lead_key(pepper, person.email)


async def _offer(tx: Tx, team_id: UUID, person: Person, chosen: Membership | None, asked: Question) -> Offer | None:
    if chosen is not None:
        return None
    return await fetch_one(tx, Offer, OFFER, team_id, person.id, asked.campaign_id, person.lead_list_id)


async def _sends(tx: Tx, team_id: UUID, chosen: Membership | None, changed: Sequence[UUID]) -> list[KnownSend]:
    if chosen is None:
        return []
    return await fetch_all(tx, KnownSend, SENDS, team_id, chosen.lead_key, chosen.id, changed)


async def _present(tx: Tx, case: Case, asked: Question, changed: Sequence[UUID]) -> Case:
    """The case with what its sequence is planned with, now or later; slots that a change has made void are free."""
    chosen = _in_sequence(case)
    lead = _freed(await _lead(tx, case), case.sends)
    sight = await _sight(tx, case, lead, asked, changed=changed)
    stops = applying(case.stops, chosen.campaign_settings)
    case = msgspec.structs.replace(case, lead=lead, sight=sight, stops=stops)
    return await _with_events(tx, case, _inbox_ids(case, sight, chosen))


async def _past(tx: Tx, case: Case, asked: Question) -> Case:
    """The case as it was at that instant."""
    chosen, lead = _in_sequence(case), await _lead(tx, case)
    told = await _settings(tx, case, [f"campaign/{chosen.campaign_id}", f"team/{case.team_id}"])
    then = inboxes_of(told.get(f"campaign/{chosen.campaign_id}"))
    sight = await _sight(tx, case, lead, asked, besides=then)
    case = msgspec.structs.replace(case, lead=lead, sight=sight)
    case = await _with_events(tx, case, [*_inbox_ids(case, sight, chosen), *then])
    told |= await _settings(tx, case, [f"inbox/{inbox_id}" for inbox_id in sight.boxes])
    busy: dict[UUID, list[datetime]] = {}
    for record in await tx.fetch(BUSY_AT, case.team_id, case.at):
        busy.setdefault(record["inbox_id"], []).append(record["at"])
    return put_back(case, busy, told)


def _in_sequence(case: Case) -> Membership:
    assert case.chosen is not None  # noqa: S101 - the caller asks only then
    return case.chosen


async def _lead(tx: Tx, case: Case) -> DueLead:
    (lead,) = await queries.lead_facts(tx, case.team_id, [_in_sequence(case).id])
    return lead


def _freed(lead: DueLead, sends: Sequence[KnownSend]) -> DueLead:
    """The lead as it will wait for another slot, when a change has made its own void."""
    void = next((send for send in sends if send.is_void), None)
    if void is None:
        return lead
    away = lead.held_until if lead.held_gate == "out_of_office" else None
    due_at = max(void.due_again_at, away) if away else void.due_again_at
    return msgspec.structs.replace(lead, next_at=due_at, held_gate=None, held_until=None)


def _inbox_ids(case: Case, sight: Sight, chosen: Membership) -> list[UUID]:
    ours = [box.id for box in sight.boxes.values() if chosen.campaign_id in box.campaign_ids]
    return [*ours, *(send.inbox_id for send in case.sends)]


async def _sight(  # noqa: PLR0913 - whose, when, and what differs from now
    tx: Tx,
    case: Case,
    lead: DueLead,
    asked: Question,
    *,
    besides: Sequence[UUID] = (),
    changed: Sequence[UUID] = (),
) -> Sight:
    team_id, at = case.team_id, case.at
    team = await queries.team_day(tx, team_id, at, changed)
    boxes = await queries.planned_inboxes(tx, team_id, at, [lead], besides=besides, changed=changed)
    return Sight(
        now=at,
        team=team,
        boxes={box.id: box for box in boxes},
        versions={(one.campaign_id, one.version): one for one in await queries.sequences(tx, team_id, [lead])},
        domain_mails=await queries.domain_mails(tx, team, team_id, [lead], at, changed),
        public_url=asked.public_url,
    )


async def _settings(tx: Tx, case: Case, subjects: Sequence[str]) -> dict[str, Settings]:
    """What was set of these at the case's instant, as far as the journal tells it."""
    found = await tx.fetch(SETTINGS_AROUND, case.team_id, subjects, CHANGING, TELLING, case.at)
    told = {row["subject"]: settings_then(_event(row["last"]), _event(row["following"])) for row in found}
    return {subject: settings for subject, settings in told.items() if settings is not None}


async def _with_events(tx: Tx, case: Case, inbox_ids: Sequence[UUID]) -> Case:
    of_lead = [f"lead/{case.person.id}", *(f"email/{send.send_id}" for send in case.sends)]
    campaign_id = case.chosen.campaign_id if case.chosen else case.offer and case.offer.id
    others = [f"inbox/{inbox_id}" for inbox_id in set(inbox_ids)]
    others += [f"campaign/{campaign_id}"] if campaign_id else []
    until = min(case.at, case.now)
    stops = [stop.event_id for stop in case.stops]
    rows = await tx.fetch(EVENTS_OF_LEAD, case.team_id, of_lead, OF_LEAD, stops)
    rows += await tx.fetch(LAST_EVENTS, case.team_id, others, OF_CAMPAIGN_OR_INBOX, until)
    return msgspec.structs.replace(case, events=[_told(row) for row in rows if row["time"] <= until])


def _event(body: bytes | None) -> Event | None:
    return None if body is None else open_event(open_envelope(body))


def _told(row: Any) -> Told:
    return Told(
        id=row["event_id"],
        type=row["type"],
        subject=row["subject"],
        time=row["time"],
        event=open_event(open_envelope(row["body"])),
    )
