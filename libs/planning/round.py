"""One planning round: due leads in, slots, holds and ends out; the planner's job and a simulation call nothing else.

Never reads and never writes: the facts come in, and what is decided goes out as values.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from uuid import UUID

import msgspec

from libs.planning.conditions import Go, Goto, Skip, Stop, asks, decide
from libs.planning.facts import DueLead, PlannedInbox, SequenceVersion, TeamDay
from libs.planning.gates import Hold, Mailbox, Recipient, mailbox_hold, recipient_hold
from libs.planning.letter import Writer, write
from libs.planning.render import CannotRenderError
from libs.planning.schedule import NO_INBOX, Due, Held, Inbox, Slot, Team, plan
from libs.planning.sequence import Step, step_at, variant_of, words_of
from libs.planning.windows import campaign_window, inbox_window


class Sight(msgspec.Struct, frozen=True, kw_only=True):
    """What a team's batch is planned with: the team, its inboxes and the sequences that its leads are in."""

    now: datetime
    team: TeamDay
    boxes: Mapping[UUID, PlannedInbox]
    versions: Mapping[tuple[UUID, int], SequenceVersion]
    public_url: str


class Ready(msgspec.Struct, frozen=True, kw_only=True):
    """A lead that every gate but the hour lets through, and what its mail will be."""

    lead: DueLead
    step: Step
    version: SequenceVersion
    inbox_ids: tuple[UUID, ...]
    subject: str
    variant_id: UUID | None


class Moved(msgspec.Struct, frozen=True, kw_only=True):
    """A lead that a condition has sent on to another step, which falls due then."""

    lead: DueLead
    step_number: int
    next_at: datetime


class Ended(msgspec.Struct, frozen=True, kw_only=True):
    """A lead whose sequence is over: stopped for that reason, or (None) it has had every step."""

    lead: DueLead
    reason: str | None


class Round(msgspec.Struct, frozen=True, kw_only=True):
    """What became of each lead: it has its second, or a gate holds it, or it goes on elsewhere, or it is at its end."""

    slots: Sequence[tuple[Ready, Slot]]
    holds: Sequence[tuple[DueLead, Hold]]
    moves: Sequence[Moved]
    ends: Sequence[Ended]


def plan_round(leads: Sequence[DueLead], sight: Sight) -> Round:
    """Each lead's slot, hold or end; the same facts give the same answer, always."""
    sorted_leads = [sort_lead(lead, sight) for lead in leads]
    ready = {one.lead.enrollment_id: one for one in sorted_leads if isinstance(one, Ready)}
    placed = plan([_due(one) for one in ready.values()], _inboxes(sight), _team(sight.team), sight.now)
    holds = [(lead, one) for lead, one in zip(leads, sorted_leads, strict=True) if isinstance(one, Hold)]
    holds += [(ready[one.enrollment_id].lead, one.hold) for one in placed if isinstance(one, Held)]
    return Round(
        slots=[(ready[one.enrollment_id], one) for one in placed if isinstance(one, Slot)],
        holds=holds,
        moves=[one for one in sorted_leads if isinstance(one, Moved)],
        ends=[one for one in sorted_leads if isinstance(one, Ended)],
    )


def sort_lead(lead: DueLead, sight: Sight) -> Ready | Hold | Moved | Ended:
    """Asks the gates that need no hour, cheap before costly: the person, the conditions, the inboxes, the letter."""
    version = sight.versions[lead.campaign_id, lead.sequence_version]
    step = step_at(version.steps, lead.step_number)
    if step is None:
        return Ended(lead=lead, reason=None)
    hold = recipient_hold(_recipient(lead))
    if hold is not None:
        return Ended(lead=lead, reason="suppressed" if hold.gate == "suppression" else hold.value)
    elsewhere = _elsewhere(lead, step, version.steps, sight.now) if asks(step) else None
    if elsewhere is not None:
        return elsewhere
    open_ids = _open_inboxes(lead, step, version, sight)
    if isinstance(open_ids, Hold):
        return open_ids
    box = sight.boxes[open_ids[0]]
    writer = Writer(
        email=box.email,
        name=box.from_name,
        company=sight.team.company_name,
        physical_address=sight.team.physical_address,
    )
    variant = variant_of(step, lead.lead_key, version.winners)
    variant_id = variant and variant.variant_id
    try:
        content = write(words_of(step, variant_id), lead, writer, sight.public_url, lead.thread_subject)
    except CannotRenderError as error:
        return Hold(gate=error.gate, value=error.value)
    return Ready(
        lead=lead, step=step, version=version, inbox_ids=open_ids, subject=content.subject, variant_id=variant_id
    )


def _elsewhere(lead: DueLead, step: Step, steps: Sequence[Step], now: datetime) -> Hold | Moved | Ended | None:
    """What the step's conditions, asked when it falls due and not before, do with the lead; None: its mail goes."""
    if lead.next_at > now:
        return Hold(gate="condition", value="not due", retry_at=lead.next_at)
    match decide(step, lead):
        case Go():
            return None
        case Stop():
            return Ended(lead=lead, reason="condition")
        case Skip():
            following, since = step_at(steps, step.step_number + 1), lead.next_at
        case Goto(number):
            following, since = step_at(steps, max(number, step.step_number + 1)), now  # never back
    if following is None:
        return Ended(lead=lead, reason=None)
    return Moved(lead=lead, step_number=following.step_number, next_at=since + following.delay)


def _open_inboxes(lead: DueLead, step: Step, version: SequenceVersion, sight: Sight) -> tuple[UUID, ...] | Hold:
    """The inboxes that may send to this lead: its own once it has had a mail, else all of its campaign."""
    own = step is not version.steps[0] and lead.inbox_id is not None
    boxes = [
        box
        for box in sight.boxes.values()
        if (box.id == lead.inbox_id if own else lead.campaign_id in box.campaign_ids)
    ]
    least = int(version.settings.get("min_health_score", 0))
    holds = {box.id: mailbox_hold(_mailbox(box, least)) for box in boxes}
    open_ids = tuple(box_id for box_id, hold in holds.items() if hold is None)
    return open_ids or next((hold for hold in holds.values() if hold), NO_INBOX)


def _recipient(lead: DueLead) -> Recipient:
    """Only leads of active campaigns are read, and a paused installation plans on: it sends nothing."""
    return Recipient(
        installation_paused=False,
        campaign_status="active",
        enrollment_state="active",
        archived=lead.archived,
        suppressed=lead.suppressed,
        stopped=lead.stopped,
    )


def _mailbox(box: PlannedInbox, min_health_score: int) -> Mailbox:
    return Mailbox(
        status=box.status,
        archived=box.archived,
        circuit=box.circuit,
        circuit_retry_at=box.circuit_retry_at,
        health_score=box.health_score,
        min_health_score=min_health_score,
    )


def _due(ready: Ready) -> Due:
    return Due(
        enrollment_id=ready.lead.enrollment_id,
        lead_key=ready.lead.lead_key,
        step_id=ready.step.step_id,
        step_number=ready.step.step_number,
        due_at=ready.lead.next_at,
        campaign_id=ready.lead.campaign_id,
        campaign_window=campaign_window(ready.version.settings),
        inbox_ids=ready.inbox_ids,
    )


def _inboxes(sight: Sight) -> list[Inbox]:
    return [
        Inbox(
            inbox_id=box.id,
            window=inbox_window(
                box.send_days,
                weekends=box.weekends_enabled,
                start=box.send_window_start,
                end=box.send_window_end,
                zone=box.send_window_timezone,
            ),
            daily_limit=box.daily_send_limit,
            hourly_limit=box.hourly_limit,
            min_delay_s=box.min_delay_seconds,
            max_delay_s=box.max_delay_seconds,
            busy=tuple(box.busy),
        )
        for box in sight.boxes.values()
    ]


def _team(team: TeamDay) -> Team:
    return Team(zone=team.zone, daily_limit=team.daily_limit, used=dict(zip(team.days, team.counts, strict=True)))
