"""A lead's case put back to an earlier instant, from what the journal told until then and from the rows' own times.

Never pretends: what the journal does not tell for that time is taken as it is now, and named in the case's `assumes`.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from typing import Any
from uuid import UUID

import msgspec

from libs.planning.explain.case import Case, KnownSend, Membership, Person, Stop, Told
from libs.planning.explain.explanation import Assumption
from libs.planning.facts import DueLead, PlannedInbox, SequenceVersion, TeamDay
from libs.planning.hours.windows import local_date
from libs.planning.round import Sight
from libs.planning.schedule import went_at
from libs.planning.sequence import Step, step_at
from libs.planning.terms import ADDRESS, INBOXES, LIMIT, LIST, inbox_rules
from libs.schema.events.base import Event, Settings
from libs.schema.events.campaign import CampaignCircuitOpened
from libs.schema.events.email import EmailDeferred, EmailEvent, EmailQueued
from libs.schema.events.inbox import InboxCircuitClosed, InboxCircuitOpened, InboxHealthChanged
from libs.schema.events.lead import LeadEnrolled

# No event tells of these at all.
_NEVER_TOLD: tuple[Assumption, ...] = ("lead_fields", "kill_switch", "lifted_suppressions", "given_up_slots")
_STOP_SETTINGS = {"replied": "stop_on_reply", "hard_bounce": "stop_on_bounce", "soft_bounce": "stop_on_bounce"}
_WITHOUT_ADDRESS = "-"  # the team had an address, and nobody knows any more which
CAMPAIGN_AFTER = {
    "campaign.scheduled": "scheduled",
    "campaign.activated": "active",
    "campaign.resumed": "active",
    "campaign.paused": "paused",
    "campaign.completed": "completed",
    "campaign.archived": "archived",
}
CAMPAIGN_CIRCUIT = ("campaign.circuit_opened", "campaign.circuit_closed")
INBOX_AFTER = {
    "inbox.connected": "active",
    "inbox.resumed": "active",
    "inbox.paused": "paused",
    "inbox.disconnected": "error",
}
_SEND_AFTER = {
    "email.queued": "queued",
    "email.deferred": "queued",
    "email.cancelled": "expired",
    "email.sent": "accepted",
    "email.unknown": "unknown",
    "email.failed": "rejected",
    "bounce.hard": "rejected",
    "bounce.soft": "rejected",
    "bounce.blocked": "rejected",
}


def last_of(events: Iterable[Told], subject: str, types: Iterable[str]) -> Told | None:
    """The latest of these events about this subject; log order decides between two of one instant."""
    found = [told for told in events if told.subject == subject and told.type in types]
    return max(found, key=lambda told: told.time) if found else None


def settings_then(last: Event | None, following: Event | None) -> Settings | None:
    """What stood between these two events of one aggregate, as they tell it; None when they do not.

    `last` is the last one until then that tells its settings, `following` the first later one that changed them.
    """
    known: Settings | None = getattr(last, "settings", None)
    if known is not None or following is None:
        return known
    after, was = getattr(following, "settings", None), getattr(following, "was", None)
    return None if after is None or was is None else after | was


def applying(stops: Sequence[Stop], settings: Mapping[str, Any]) -> list[Stop]:
    """The stops that end a sequence of a campaign with these settings (as queries.LEAD_FACTS says)."""
    return [stop for stop in stops if settings.get(_STOP_SETTINGS.get(stop.reason, "")) is not False]


def offer_then(case: Case, told: Mapping[str, Settings]) -> Case:
    """The case of a lead that was in no sequence: which list its campaign took leads out of, as far as it was told."""
    if case.offer is None:
        return msgspec.structs.replace(case, assumes=_NEVER_TOLD)
    subject, offer = f"campaign/{case.offer.id}", case.offer
    assumes: list[Assumption] = [*_NEVER_TOLD]
    if last_of(case.events, subject, CAMPAIGN_AFTER) is None:
        assumes.insert(0, "campaign_status")
    if subject not in told:
        assumes.insert(0, "campaign_settings")
    else:
        list_id = told[subject][LIST]
        offer = msgspec.structs.replace(offer, lead_list_id=UUID(str(list_id)) if list_id else None)
    return msgspec.structs.replace(case, offer=offer, assumes=assumes)


def inboxes_of(terms: Settings | None) -> list[UUID]:
    """The inboxes that a campaign had by these terms."""
    ids = terms.get(INBOXES) if terms else None
    return [UUID(each) for each in ids] if isinstance(ids, list) else []


def put_back(case: Case, busy: Mapping[UUID, Sequence[datetime]], told: Mapping[str, Settings]) -> Case:
    """The case as it was at its instant.

    `busy`: what each inbox had sent or held in a slot then; `told`: what was set then, by subject, as far as is known.
    """
    if case.chosen is None or case.lead is None or case.sight is None:
        return case
    case = _with_settings(case, case.chosen, case.sight, told)
    assert case.chosen is not None and case.lead is not None and case.sight is not None  # noqa: S101, PT018 - as above
    assumes = _assumed(case, case.chosen, case.sight, told)
    stopped = [stop for stop in applying(case.stops, case.chosen.campaign_settings) if stop.at <= case.at]
    suppressed = [entry for entry in case.suppressed if entry.at <= case.at]
    sends = [send for known in case.sends if (send := _send_then(known, case)) is not None]
    version = case.sight.versions[case.lead.campaign_id, case.lead.sequence_version]
    boxes = {box.id: _box_then(box, case, busy.get(box.id, ())) for box in case.sight.boxes.values()}
    chosen = _membership_then(case.chosen, case, sends, version.steps)
    lead = msgspec.structs.replace(
        case.lead,
        archived=case.person.archived_at is not None and case.person.archived_at <= case.at,
        suppressed=suppressed[0].reason if suppressed else None,
        stopped=stopped[0].reason if stopped else None,
    )
    return msgspec.structs.replace(
        case,
        person=_person_then(case),
        chosen=chosen,
        lead=_lead_then(lead, chosen, case.at),
        sight=msgspec.structs.replace(
            case.sight,
            boxes=boxes,
            versions={key: _version_then(one, case) for key, one in case.sight.versions.items()},
            team=_team_then(case.sight.team, busy),
            domain_mails={
                domain: [mail for mail in mails if mail[1] <= case.at]
                for domain, mails in case.sight.domain_mails.items()
            },
        ),
        sends=sends,
        stops=stopped,
        suppressed=suppressed,
        assumes=assumes,
    )


def _assumed(case: Case, chosen: Membership, sight: Sight, told: Mapping[str, Settings]) -> list[Assumption]:
    """What is not known for that time, of all that the answer asks about."""
    own = {send.inbox_id for send in case.sends}
    boxes = [box for box in sight.boxes.values() if chosen.campaign_id in box.campaign_ids or box.id in own]
    campaign = f"campaign/{chosen.campaign_id}"
    enrolled = [each.event for each in case.events if isinstance(each.event, LeadEnrolled)]
    versions = {event.sequence_version for event in enrolled if event.enrollment_id == chosen.id}
    lives = [last_of(case.events, f"inbox/{box.id}", INBOX_AFTER) for box in boxes]
    judged = [box for box in boxes if box.health_score is not None]
    healths = [last_of(case.events, f"inbox/{box.id}", ("inbox.health_changed",)) for box in judged]
    known: dict[Assumption, bool] = {
        "campaign_settings": campaign in told,
        "campaign_status": last_of(case.events, campaign, CAMPAIGN_AFTER) is not None,
        "team_settings": f"team/{case.team_id}" in told,
        "inbox_settings": all(f"inbox/{box.id}" in told for box in boxes),
        "inbox_status": all(lives),
        "inbox_health": all(healths),
        "steps": versions == {chosen.sequence_version},
    }
    return [*(each for each, is_known in known.items() if not is_known), *_NEVER_TOLD]


def _with_settings(case: Case, chosen: Membership, sight: Sight, told: Mapping[str, Settings]) -> Case:
    """The case with what was set then in the place of what is set now, as far as it is known."""
    campaign, team = told.get(f"campaign/{chosen.campaign_id}"), told.get(f"team/{case.team_id}")
    boxes = [_with_rules(box, told.get(f"inbox/{box.id}")) for box in sight.boxes.values()]
    versions = dict(sight.versions)
    if campaign is not None:
        chosen = msgspec.structs.replace(chosen, campaign_settings=chosen.campaign_settings | campaign)
        ids, own = inboxes_of(campaign), chosen.campaign_id
        boxes = [_with_campaign(box, own, takes_part=box.id in ids) for box in boxes]
        versions = {
            key: msgspec.structs.replace(one, settings=one.settings | campaign) if key[0] == own else one
            for key, one in versions.items()
        }
    sight = msgspec.structs.replace(
        sight,
        boxes={box.id: box for box in boxes},
        versions=versions,
        team=_with_terms(sight.team, team) if team is not None else sight.team,
    )
    return msgspec.structs.replace(case, chosen=chosen, sight=sight)


def _with_rules(box: PlannedInbox, terms: Settings | None) -> PlannedInbox:
    return box if terms is None else msgspec.structs.replace(box, **msgspec.structs.asdict(inbox_rules(terms)))


def _with_campaign(box: PlannedInbox, campaign_id: UUID, *, takes_part: bool) -> PlannedInbox:
    others = [each for each in box.campaign_ids if each != campaign_id]
    return msgspec.structs.replace(box, campaign_ids=[*others, campaign_id] if takes_part else others)


def _with_terms(team: TeamDay, terms: Settings) -> TeamDay:
    address = (team.physical_address or _WITHOUT_ADDRESS) if terms[ADDRESS] else None
    zone, limit = str(terms["timezone"]), int(str(terms[LIMIT]))
    return msgspec.structs.replace(
        team, zone=zone, daily_limit=limit, physical_address=address, settings=team.settings | terms
    )


def _person_then(case: Case) -> Person:
    paused = case.person.paused and (case.person.paused_at is None or case.person.paused_at <= case.at)
    return msgspec.structs.replace(case.person, paused=paused)


def _send_then(known: KnownSend, case: Case) -> KnownSend | None:
    """The send as the journal had told of it; None when it had not been planned yet."""
    told = [one for one in case.events if isinstance(one.event, EmailEvent) and one.event.email_id == known.send_id]
    told = [one for one in told if one.type in _SEND_AFTER and one.time <= case.at]
    gone = known.committed_at if known.committed_at is not None and known.committed_at <= case.at else None
    if not told:
        return msgspec.structs.replace(known, state="in_data") if gone else None
    last = told[-1]
    state = "accepted" if any(one.type == "email.sent" for one in told) else _SEND_AFTER[last.type]
    if state == "queued" and gone:
        state = "in_data"
    slots = [one.event for one in told if isinstance(one.event, EmailQueued)]
    slot_at = slots[-1].scheduled_at if slots else known.slot_at
    inbox_id = slots[-1].inbox_id if slots else known.inbox_id
    not_before = last.event.retry_at if isinstance(last.event, EmailDeferred) else slot_at
    return msgspec.structs.replace(
        known, state=state, slot_at=slot_at, not_before=not_before, inbox_id=inbox_id, committed_at=gone
    )


def _membership_then(chosen: Membership, case: Case, sends: Sequence[KnownSend], steps: Sequence[Step]) -> Membership:
    """The sequence as it stood: its state by its own dates, its next step by what had gone."""
    told = last_of(case.events, f"campaign/{chosen.campaign_id}", CAMPAIGN_AFTER)
    chosen = msgspec.structs.replace(
        chosen,
        campaign_status=CAMPAIGN_AFTER[told.type] if told else chosen.campaign_status,
        held_gate=None,
        held_until=None,
    )
    if chosen.ended_at is not None and chosen.ended_at <= case.at:
        return chosen
    number, next_at, inbox_id = _next_then(chosen, sends, steps)
    return msgspec.structs.replace(
        chosen,
        state="active",
        ended_reason=None,
        ended_at=None,
        step_number=number,
        next_at=next_at,
        inbox_id=inbox_id,
    )


def _next_then(
    chosen: Membership, sends: Sequence[KnownSend], steps: Sequence[Step]
) -> tuple[int, datetime | None, UUID | None]:
    """The step that was next, when it fell due (None: it had its slot or was under way), and the sticky inbox."""
    if not sends:
        first = step_at(steps, 1)
        return (first.step_number, chosen.enrolled_at + first.delay, None) if first else (1, chosen.enrolled_at, None)
    last = max(sends, key=lambda send: send.step_number)
    if last.state in ("queued", "in_data", "unknown"):
        return last.step_number, None, last.inbox_id
    following = step_at(steps, last.step_number + 1)
    if last.state != "accepted" or following is None:
        return last.step_number, last.due_at or last.slot_at, last.inbox_id
    return (
        following.step_number,
        went_at(last.committed_at or last.not_before, last.not_before) + following.delay,
        last.inbox_id,
    )


def _lead_then(lead: DueLead, chosen: Membership, at: datetime) -> DueLead:
    return msgspec.structs.replace(
        lead,
        step_number=chosen.step_number,
        next_at=chosen.next_at or lead.next_at,
        inbox_id=chosen.inbox_id,
        held_gate=None,
        held_until=None,
        contacted_at=lead.contacted_at if lead.contacted_at is not None and lead.contacted_at <= at else None,
    )


def _box_then(box: PlannedInbox, case: Case, busy: Sequence[datetime]) -> PlannedInbox:
    subject = f"inbox/{box.id}"
    life = last_of(case.events, subject, INBOX_AFTER)
    health = last_of(case.events, subject, ("inbox.health_changed",))
    opened = last_of(case.events, subject, ("inbox.circuit_opened",))
    closed = last_of(case.events, subject, ("inbox.circuit_closed",))
    breaker = _open_breaker(opened, closed, case.at)
    return msgspec.structs.replace(
        box,
        status=INBOX_AFTER[life.type] if life else box.status,
        archived=box.archived and (life is None or life.type == "inbox.disconnected"),
        health_score=health.event.health_score
        if health and isinstance(health.event, InboxHealthChanged)
        else box.health_score,
        not_cold=[at for at in box.not_cold if at <= case.at],
        sending_days=[day for day in box.sending_days if day <= local_date(case.at, box.send_window_timezone)],
        circuit=breaker and breaker.kind,
        circuit_retry_at=breaker.retry_at if breaker and breaker.kind != "complaint" else None,
        busy=list(busy),
    )


def _version_then(version: SequenceVersion, case: Case) -> SequenceVersion:
    told = last_of(case.events, f"campaign/{version.campaign_id}", CAMPAIGN_CIRCUIT)
    opened = told.event if told else None
    until = opened.retry_at if isinstance(opened, CampaignCircuitOpened) and opened.state == "open" else None
    return msgspec.structs.replace(version, circuit_until=until)


def _open_breaker(opened: Told | None, closed: Told | None, at: datetime) -> InboxCircuitOpened | None:
    if opened is None or not isinstance(opened.event, InboxCircuitOpened) or opened.event.state != "open":
        return None
    if opened.event.kind != "complaint" and opened.event.retry_at <= at:  # after complaints a person must close it
        return None
    is_closed = (
        closed is not None
        and closed.time >= opened.time
        and isinstance(closed.event, InboxCircuitClosed)
        and closed.event.kind == opened.event.kind
    )
    return None if is_closed else opened.event


def _team_then(team: TeamDay, busy: Mapping[UUID, Sequence[datetime]]) -> TeamDay:
    used: Counter[date] = Counter(local_date(at, team.zone) for inbox in busy.values() for at in inbox)
    return msgspec.structs.replace(team, days=list(used), counts=list(used.values()))
