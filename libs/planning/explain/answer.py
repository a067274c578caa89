"""Why one lead is mailed, or is not, or when: every gate with what it saw, what set it and when it clears.

Asks the gates and the planner that the sender asks, and nothing else, so that what is said is what happens. Never
reads and never writes; sayings.py finds the words.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from uuid import UUID

import msgspec

from libs.planning.explain.case import Case, KnownSend, Membership, Told
from libs.planning.explain.explanation import (
    GATES,
    INBOX_GATES,
    LETTER_GATES,
    Answer,
    Explanation,
    GateAnswer,
    InboxAnswer,
    PastSequence,
    SetBy,
)
from libs.planning.explain.past import CAMPAIGN_AFTER, CAMPAIGN_CIRCUIT, INBOX_AFTER, last_of
from libs.planning.explain.sayings import Finding, notes_of, sentence_of
from libs.planning.facts import DueLead, PlannedInbox, SequenceVersion
from libs.planning.gates import Hold, Mailbox, Reading, Recipient, first_hold, mailbox_readings, recipient_readings
from libs.planning.hours.windows import local_date
from libs.planning.limits.domains import company_domain
from libs.planning.preflight.findings import LEFT
from libs.planning.round import Round, Sight, mailbox_of, plan_round, readings
from libs.planning.settings import campaign_rules


class _Headline(msgspec.Struct, frozen=True, kw_only=True):
    """The answer before it is put into words."""

    answer: Answer
    reason: str | None = None
    value: str | None = None
    limit: str | None = None
    until: datetime | None = None
    scheduled_at: datetime | None = None
    box: PlannedInbox | None = None
    set_by: SetBy | None = None
    planned: bool = True  # False: the second is the planner's, but it has not been given yet


def explain(case: Case) -> Explanation:
    """The answer for one lead at one instant; the same case gives the same answer, always."""
    if case.chosen is None or case.lead is None or case.sight is None:
        return _told(case, _outside(case), [], [])
    if case.chosen.state in ("finished", "stopped", "failed"):
        return _told(case, _ended(case, case.chosen), [], [])
    send = _standing(case.sends)
    lead = msgspec.structs.replace(case.lead, next_at=send.not_before) if send else case.lead
    recipient = _recipient(case, case.chosen, lead)
    person = recipient_readings(recipient)
    sight = _without(send, lead, case.sight) if send else case.sight
    inboxes = [_inbox(case, recipient, lead, box, sight) for box in _boxes(case, sight, lead, send)]
    decided = plan_round([lead], sight)
    headline = _slot_stands(case, person, send) if send else _no_slot(case, person, decided)
    box_id = headline.box.id if headline.box else _soonest(inboxes)
    gates = _gates(case, person, decided, next((one for one in inboxes if one.inbox_id == box_id), None), headline)
    return _told(case, headline, gates, inboxes)


def _outside(case: Case) -> _Headline:
    """Why the lead is in no sequence, or not in the one that was asked about."""
    person, offer = case.person, case.offer
    suppressed = next((entry for entry in case.suppressed if entry.at <= case.at), None)
    elsewhere = next((one for one in case.memberships if one.ended_at is None or one.ended_at > case.at), None)
    status = offer and _campaign_status(case, offer.id, offer.status)
    reason, value, set_by = "next_round", None, None
    if person.archived_at is not None and person.archived_at <= case.at:
        reason = "archived"
    elif suppressed:
        reason, value, set_by = "suppressed", suppressed.reason, _set_by("suppression", case)
    elif person.status in LEFT:
        reason, value = "left", person.status
    elif offer is None:
        reason = "no_campaign"
    elif status != "active":
        reason, value, set_by = "campaign", status, _campaign_event(case, offer.id)
    elif offer.lead_list_id is None or offer.lead_list_id != person.lead_list_id:
        reason = "not_in_list"
    elif elsewhere:
        reason, value = "in_other_campaign", elsewhere.campaign_name
    elif not offer.steps:
        reason = "no_steps"
    return _Headline(answer="not_enrolled", reason=reason, value=value, set_by=set_by)


def _ended(case: Case, chosen: Membership) -> _Headline:
    done = chosen.state == "finished"
    told = _of_enrollment(case, ("lead.completed",) if done else ("lead.stopped",))
    return _Headline(
        answer="done" if done else "never",
        reason="finished" if done else chosen.ended_reason or chosen.state,
        until=None,
        set_by=_as_set_by(told),
    )


def _slot_stands(case: Case, person: Sequence[Reading], send: KnownSend) -> _Headline:
    """The mail has its second: what would still keep it from going."""
    assert case.sight is not None  # noqa: S101 - asked only with one
    box = case.sight.boxes.get(send.inbox_id)
    event = _as_set_by(last_of(case.events, f"email/{send.send_id}", ("email.queued", "email.deferred")))
    if send.state == "unknown":
        told = _as_set_by(last_of(case.events, f"email/{send.send_id}", ("email.unknown",)))
        return _Headline(
            answer="waiting", reason="due", value="unknown", until=send.next_settle_at, set_by=told, box=box
        )
    if send.state == "queued":
        hold = first_hold([*person, *(mailbox_readings(_mailbox(case, box)) if box else ())])
        if hold is not None:
            return _held(case, hold, box)
    return _Headline(answer="will_send", scheduled_at=send.not_before, box=box, set_by=event)


def _no_slot(case: Case, person: Sequence[Reading], decided: Round) -> _Headline:
    """The mail has no second yet: the first gate that keeps it from getting one, else the one that it would get."""
    assert case.sight is not None  # noqa: S101 - asked only with one
    hold = first_hold(person)
    if hold is not None:
        return _held(case, hold, None)
    if decided.ends:
        reason = decided.ends[0].reason
        return _Headline(answer="never" if reason else "done", reason=reason or "finished")
    if decided.holds:
        hold = decided.holds[0][1]
        return _held(case, hold, _closed_by(case, hold))
    _, slot = decided.slots[0]
    return _Headline(answer="will_send", scheduled_at=slot.at, box=case.sight.boxes[slot.inbox_id], planned=False)


def _closed_by(case: Case, hold: Hold) -> PlannedInbox | None:
    """The inbox of which the hold speaks; None when it speaks of the lead, or of no inbox in particular."""
    assert case.sight is not None and case.lead is not None  # noqa: S101, PT018 - asked only with both
    boxes = _boxes(case, case.sight, case.lead, None)
    return next((box for box in boxes if first_hold(mailbox_readings(_mailbox(case, box))) == hold), None)


def _held(case: Case, hold: Hold, box: PlannedInbox | None) -> _Headline:
    """A closed gate as an answer: over for good, until an instant, or until somebody acts."""
    until = hold.retry_at
    if hold.gate == "campaign" and hold.value == "scheduled" and case.chosen:
        until = case.chosen.scheduled_start_at
    answer: Answer = "never" if hold.effect == "stop" else "waiting" if until else "held"
    return _Headline(
        answer=answer,
        reason=hold.gate,
        value=hold.value,
        limit=hold.limit,
        until=until,
        box=box,
        set_by=_set_by(hold.gate, case, box.id if box else None) or _as_set_by(_held_event(case, hold.gate)),
    )


def _recipient(case: Case, chosen: Membership, lead: DueLead) -> Recipient:
    until = _version(case).circuit_until
    return Recipient(
        installation_paused=case.person.paused,
        campaign_status=chosen.campaign_status,
        enrollment_state=chosen.state,
        archived=lead.archived,
        suppressed=lead.suppressed,
        stopped=lead.stopped,
        campaign_circuit_until=until if until is not None and until > case.at else None,
    )


def _mailbox(case: Case, box: PlannedInbox) -> Mailbox:
    return mailbox_of(box, campaign_rules(_version(case).settings).min_health_score)


def _version(case: Case) -> SequenceVersion:
    assert case.sight is not None and case.lead is not None  # noqa: S101, PT018 - asked only with both
    return case.sight.versions[case.lead.campaign_id, case.lead.sequence_version]


def _standing(sends: Sequence[KnownSend]) -> KnownSend | None:
    """The send that the sequence waits for: in its slot, under way, or with an end that nobody knows."""
    open_sends = [send for send in sends if send.state in ("queued", "claimed", "in_data", "unknown")]
    return next((send for send in reversed(open_sends) if not send.is_void), None)


def _boxes(case: Case, sight: Sight, lead: DueLead, send: KnownSend | None) -> list[PlannedInbox]:
    """The inboxes that may send it: that of its slot or of the mails before, else all of the campaign."""
    own = send.inbox_id if send else lead.inbox_id if any(one.committed_at for one in case.sends) else None
    return [box for box in sight.boxes.values() if (box.id == own if own else lead.campaign_id in box.campaign_ids)]


def _without(send: KnownSend, lead: DueLead, sight: Sight) -> Sight:
    """The sight as if the mail had no slot yet: no limit may count the very mail that it is asked about."""
    box, day = sight.boxes.get(send.inbox_id), local_date(send.not_before, sight.team.zone)
    if box is None or send.not_before not in box.busy:
        return sight
    busy, counts = list(box.busy), list(sight.team.counts)
    busy.remove(send.not_before)
    if day in sight.team.days:
        counts[sight.team.days.index(day)] -= 1
    domain = company_domain(lead.email)
    mails = {
        name: [mail for mail in mails if name != domain or mail != (send.inbox_id, send.not_before)]
        for name, mails in sight.domain_mails.items()
    }
    return msgspec.structs.replace(
        sight,
        boxes={**sight.boxes, box.id: msgspec.structs.replace(box, busy=busy)},
        team=msgspec.structs.replace(sight.team, counts=counts),
        domain_mails=mails,
    )


def _inbox(case: Case, person: Recipient, lead: DueLead, box: PlannedInbox, sight: Sight) -> InboxAnswer:
    """What this inbox alone does with the mail, at the earliest instant at which the mail may go."""
    sight = msgspec.structs.replace(sight, boxes={box.id: box})
    alone = plan_round([lead], sight)
    said = {one.gate: one for one in readings(person, lead, box, max(lead.next_at, case.at), sight)}
    return InboxAnswer(
        inbox_id=box.id,
        email=box.email,
        scheduled_at=alone.slots[0][1].at if alone.slots else None,
        gates=[_gate(case, gate, said.get(gate), box.id) for gate in INBOX_GATES],
    )


def _soonest(inboxes: Sequence[InboxAnswer]) -> UUID | None:
    """The inbox whose gates are shown beside the person's: the one that could send first."""
    able = [(one.scheduled_at, one.inbox_id) for one in inboxes if one.scheduled_at is not None]
    return min(able)[1] if able else None


def _gates(
    case: Case, person: Sequence[Reading], decided: Round, inbox: InboxAnswer | None, headline: _Headline
) -> list[GateAnswer]:
    """All gates in their order, those of the inbox among them."""
    said = {reading.gate: reading for reading in person}
    of_inbox = {gate.gate: gate for gate in inbox.gates} if inbox else {}
    hold = decided.holds[0][1] if decided.holds else None
    if hold is not None:
        said.setdefault(hold.gate, Reading(gate=hold.gate, value=hold.value, limit=hold.limit, hold=hold))
    if decided.slots or headline.scheduled_at:
        said |= {gate: Reading(gate=gate) for gate in (*LETTER_GATES, "due", "out_of_office")}
    return [of_inbox.get(gate) or _gate(case, gate, said.get(gate), None) for gate in GATES]


def _gate(case: Case, gate: str, reading: Reading | None, inbox_id: UUID | None) -> GateAnswer:
    if reading is None:
        return GateAnswer(gate=gate, verdict="not_asked")
    return GateAnswer(
        gate=gate,
        verdict="closed" if reading.hold else "open",
        value=reading.value,
        limit=reading.limit,
        clears_at=reading.hold.retry_at if reading.hold else None,
        set_by=_set_by(gate, case, inbox_id),
    )


# -- which event made it so -------------------------------------------------------------------------------------------


_OF_INBOX = {
    "inbox": tuple(INBOX_AFTER),
    "circuit": ("inbox.circuit_opened", "inbox.circuit_closed"),
    "health": ("inbox.health_changed",),
}
_OF_SEQUENCE = ("lead.enrolled", "lead.stopped", "lead.completed")
_SUPPRESSING = ("lead.suppressed", "lead.unsubscribed", "bounce.hard", "email.complained")


def _set_by(gate: str, case: Case, inbox_id: UUID | None = None) -> SetBy | None:
    """The event that put a gate into its state, where the journal has one."""
    told: Told | None = None
    if gate == "campaign" and case.chosen:
        return _campaign_event(case, case.chosen.campaign_id)
    if gate in _OF_INBOX:
        told = last_of(case.events, f"inbox/{inbox_id}", _OF_INBOX[gate])
    elif gate == "lead":
        told = _of_enrollment(case, _OF_SEQUENCE)
    elif gate == "suppression":
        told = _latest(case, _SUPPRESSING)
    elif gate == "stop":
        ids = [stop.event_id for stop in case.stops]
        told = next((one for one in case.events if one.id in ids), None)
    elif gate == "due":
        told = _latest(case, ("email.sent",)) or _of_enrollment(case, ("lead.enrolled",))
    return _as_set_by(told)


def _campaign_event(case: Case, campaign_id: UUID) -> SetBy | None:
    return _as_set_by(last_of(case.events, f"campaign/{campaign_id}", (*CAMPAIGN_AFTER, *CAMPAIGN_CIRCUIT)))


def _campaign_status(case: Case, campaign_id: UUID, now: str) -> str:
    """The campaign's status at the instant asked about, for a past one as the journal told it."""
    told = last_of(case.events, f"campaign/{campaign_id}", CAMPAIGN_AFTER) if case.is_past else None
    return CAMPAIGN_AFTER[told.type] if told else now


def _held_event(case: Case, gate: str) -> Told | None:
    told = _of_enrollment(case, ("lead.held",))
    return told if told is not None and getattr(told.event, "gate", None) == gate else None


def _of_enrollment(case: Case, types: Iterable[str]) -> Told | None:
    """The latest of these events that names the sequence asked about."""
    found = [told for told in case.events if told.type in types]
    ours = [told for told in found if case.chosen and getattr(told.event, "enrollment_id", None) == case.chosen.id]
    return ours[-1] if ours else None


def _latest(case: Case, types: Iterable[str]) -> Told | None:
    found = [told for told in case.events if told.type in types]
    return max(found, key=lambda told: told.time) if found else None


def _as_set_by(told: Told | None) -> SetBy | None:
    return told and SetBy(id=told.id, type=told.type, time=told.time)


# -- the answer -------------------------------------------------------------------------------------------------------


def _told(case: Case, headline: _Headline, gates: Sequence[GateAnswer], inboxes: Sequence[InboxAnswer]) -> Explanation:
    chosen = case.chosen
    zone = case.sight.team.zone if case.sight else "UTC"
    finding = Finding(
        answer=headline.answer,
        reason=headline.reason,
        value=headline.value,
        limit=headline.limit,
        until=headline.until,
        scheduled_at=headline.scheduled_at,
        inbox=headline.box.email if headline.box else None,
        step_number=chosen.step_number if chosen else None,
        campaign=chosen.campaign_name if chosen else case.offer and case.offer.name,
    )
    return Explanation(
        lead_id=case.person.id,
        at=case.at,
        answer=headline.answer,
        sentence=sentence_of(finding, zone),
        reason=headline.reason,
        until=headline.until,
        scheduled_at=headline.scheduled_at,
        inbox_id=headline.box.id if headline.box else None,
        step_number=chosen.step_number if chosen else None,
        campaign_id=chosen.campaign_id if chosen else case.offer and case.offer.id,
        enrollment_id=chosen and chosen.id,
        set_by=headline.set_by,
        gates=list(gates),
        inboxes=list(inboxes),
        sequences=[_past_sequence(one) for one in case.memberships],
        notes=_notes(case, headline),
        assumes=list(case.assumes),
    )


def _past_sequence(one: Membership) -> PastSequence:
    return PastSequence(
        campaign_id=one.campaign_id,
        campaign_name=one.campaign_name,
        enrollment_id=one.id,
        state=one.state,
        reason=one.ended_reason,
        enrolled_at=one.enrolled_at,
        ended_at=one.ended_at,
    )


def _notes(case: Case, headline: _Headline) -> list[str]:
    notes = notes_of(case.assumes)
    if case.at > case.now:
        notes.append("the facts are those of now: who replies, bounces or is paused until then is not foreseen")
    if headline.scheduled_at is not None and not headline.planned:
        notes.append("the slot is not given yet: other leads may be given this second in the same round")
    return notes
