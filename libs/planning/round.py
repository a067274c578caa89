"""One planning round: due leads in, slots, holds and ends out; the planner's job and a simulation call nothing else.

Never reads and never writes: the facts come in, and what is decided goes out as values.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from uuid import UUID

import msgspec

from libs.planning.choice import NO_INBOX
from libs.planning.conditions import Go, Goto, Skip, Stop, asks, decide
from libs.planning.facts import DueLead, PlannedInbox, SequenceVersion, TeamDay
from libs.planning.gates import (
    Hold,
    Mailbox,
    Reading,
    Recipient,
    mailbox_hold,
    mailbox_readings,
    recipient_hold,
    recipient_readings,
)
from libs.planning.hours.windows import hours_of, known_zone, recipient_windows
from libs.planning.limits.budget import band_of, banded_limit
from libs.planning.limits.diary import MIN_GAP_S, Inbox, Team
from libs.planning.limits.domains import company_domain
from libs.planning.schedule import Due, Held, Planner, Slot, plan, round_of
from libs.planning.sequence import Step, step_at, variant_of, words_of
from libs.planning.settings import CampaignRules, campaign_rules, team_rules
from libs.planning.words.letter import Writer
from libs.planning.words.rehearsal import Rehearsal
from libs.planning.words.render import CannotRenderError


class Sight(msgspec.Struct, frozen=True, kw_only=True):
    """What a team's batch is planned with: the team, its inboxes and the sequences that its leads are in."""

    now: datetime
    team: TeamDay
    boxes: Mapping[UUID, PlannedInbox]
    versions: Mapping[tuple[UUID, int], SequenceVersion]
    public_url: str
    # By the leads' company domains: which inbox wrote, or will write, to it of late, and when.
    domain_mails: Mapping[str, Sequence[tuple[UUID, datetime]]] = {}
    rehearsal: Rehearsal | None = None  # a simulation keeps one for all its rounds

    @property
    def round_at(self) -> datetime:
        """The instant of the grid that the round measures from (schedule.py)."""
        return round_of(self.now)


class Senders(msgspec.Struct, frozen=True, kw_only=True):
    """The inboxes that may send to a lead, and those that may only when none of these has a slot."""

    inbox_ids: tuple[UUID, ...]
    spill_ids: tuple[UUID, ...] = ()


class Ready(msgspec.Struct, frozen=True, kw_only=True):
    """A lead that every gate but the hour lets through, and what its mail will be."""

    lead: DueLead
    step: Step
    version: SequenceVersion
    senders: Senders
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
    desk = _Desk(sight)
    sorted_leads = [desk.sort(lead) for lead in leads]
    ready = {one.lead.enrollment_id: one for one in sorted_leads if isinstance(one, Ready)}
    placed = plan([desk.due(one) for one in ready.values()], _inboxes(sight), _team(sight), sight.now)
    holds = [(lead, one) for lead, one in zip(leads, sorted_leads, strict=True) if isinstance(one, Hold)]
    holds += [(ready[one.enrollment_id].lead, one.hold) for one in placed if isinstance(one, Held)]
    return Round(
        slots=[(ready[one.enrollment_id], one) for one in placed if isinstance(one, Slot)],
        holds=holds,
        moves=[one for one in sorted_leads if isinstance(one, Moved)],
        ends=[one for one in sorted_leads if isinstance(one, Ended)],
    )


def readings(person: Recipient, lead: DueLead, box: PlannedInbox, at: datetime, sight: Sight) -> list[Reading]:
    """What every gate but conditions and letter says about the lead's next mail from this inbox at that instant.

    In the gates' order; `at` is no earlier than the sight's now.
    """
    version = sight.versions[lead.campaign_id, lead.sequence_version]
    rules = campaign_rules(version.settings)
    step = step_at(version.steps, lead.step_number) or version.steps[-1]
    senders = Senders(inbox_ids=(box.id,))
    due = _due(lead, step, rules, senders)
    planner = Planner(_inboxes(sight), _team(sight), sight.now)
    return [
        *recipient_readings(person),
        *mailbox_readings(mailbox_of(box, rules.min_health_score)),
        esp_reading(lead, box, rules, sticky=_stays(lead, step, version)),
        *planner.readings(due, box.id, at),
    ]


def esp_reading(lead: DueLead, box: PlannedInbox, rules: CampaignRules, *, sticky: bool) -> Reading:
    """Whether the inbox's provider suits the recipient's; closed only where the campaign asks strictly."""
    value = None if lead.provider is None else f"{_provider(box)} to {lead.provider}"
    if not rules.esp_matching or sticky:
        return Reading(gate="esp", value=value)
    limit = rules.esp_matching_mode
    closed = limit == "strict" and not _matches(box, lead.provider)
    hold = Hold(gate="esp", value=value, limit=limit) if closed else None
    return Reading(gate="esp", value=value, limit=limit, hold=hold)


def mailbox_of(box: PlannedInbox, min_health_score: int) -> Mailbox:
    """What the gates about the inbox ask for."""
    return Mailbox(
        status=box.status,
        archived=box.archived,
        circuit=box.circuit,
        circuit_retry_at=box.circuit_retry_at,
        health_score=box.health_score,
        min_health_score=min_health_score,
        throttled=box.auto_throttle_enabled,
    )


class _Desk:
    """Sorts the leads of one round; what is the same for many of them is found out once."""

    def __init__(self, sight: Sight) -> None:
        self._sight = sight
        self._rules: dict[tuple[UUID, int], CampaignRules] = {}
        self._senders: dict[tuple[UUID, int, UUID | None, str | None], Senders | Hold] = {}
        self._rehearsal = sight.rehearsal or Rehearsal()

    def sort(self, lead: DueLead) -> Ready | Hold | Moved | Ended:
        """Asks the gates that need no hour, cheap before costly: person, conditions, inboxes, letter."""
        sight = self._sight
        version = sight.versions[lead.campaign_id, lead.sequence_version]
        step = step_at(version.steps, lead.step_number)
        if step is None:
            return Ended(lead=lead, reason=None)
        hold = recipient_hold(_recipient(lead, version, sight.now))
        if hold is not None and hold.effect == "wait":
            return hold
        if hold is not None:
            return Ended(lead=lead, reason="suppressed" if hold.gate == "suppression" else hold.value)
        elsewhere = _elsewhere(lead, step, version.steps, sight.now) if asks(step) else None
        if elsewhere is not None:
            return elsewhere
        senders = self._senders_of(lead, step, version)
        if isinstance(senders, Hold):
            return senders
        return self._written(lead, step, version, senders)

    def _written(self, lead: DueLead, step: Step, version: SequenceVersion, senders: Senders) -> Ready | Hold:
        box, team = self._sight.boxes[senders.inbox_ids[0]], self._sight.team
        writer = Writer(
            email=box.email, name=box.from_name, company=team.company_name, physical_address=team.physical_address
        )
        variant = variant_of(step, lead.lead_key, version.winners)
        variant_id = variant and variant.variant_id
        words = words_of(step, variant_id)
        try:
            subject = self._rehearsal.subject(words, lead, writer, self._sight.public_url, lead.thread_subject)
        except CannotRenderError as error:
            return Hold(gate=error.gate, value=error.value)
        return Ready(lead=lead, step=step, version=version, senders=senders, subject=subject, variant_id=variant_id)

    def due(self, ready: Ready) -> Due:
        """The lead as the planner places it."""
        return _due(ready.lead, ready.step, self._rules_of(ready.version), ready.senders)

    def _rules_of(self, version: SequenceVersion) -> CampaignRules:
        key = version.campaign_id, version.version
        if key not in self._rules:
            self._rules[key] = campaign_rules(version.settings)
        return self._rules[key]

    def _senders_of(self, lead: DueLead, step: Step, version: SequenceVersion) -> Senders | Hold:
        """The lead's own inbox once it has had a mail, else those of its campaign that may send and suit it."""
        own = lead.inbox_id if _stays(lead, step, version) else None
        rules = self._rules_of(version)
        provider = lead.provider if rules.esp_matching and own is None else None
        key = lead.campaign_id, lead.sequence_version, own, provider
        if key not in self._senders:
            boxes = [
                box
                for box in self._sight.boxes.values()
                if (lead.campaign_id in box.campaign_ids if own is None else box.id == own)
            ]
            self._senders[key] = _senders(boxes, rules, provider)
        return self._senders[key]


def _senders(boxes: Sequence[PlannedInbox], rules: CampaignRules, provider: str | None) -> Senders | Hold:
    """Those that are open, by provider where that matters (None: it does not)."""
    holds = {box.id: mailbox_hold(mailbox_of(box, rules.min_health_score)) for box in boxes}
    open_boxes = [box for box in boxes if holds[box.id] is None]
    if not open_boxes:
        return next((hold for hold in holds.values() if hold), NO_INBOX)
    matched = tuple(box.id for box in open_boxes if _matches(box, provider))
    others = tuple(box.id for box in open_boxes if not _matches(box, provider))
    if not others or rules.esp_matching_mode == "prefer":
        return Senders(inbox_ids=matched or others, spill_ids=others if matched else ())
    return Senders(inbox_ids=matched) if matched else Hold(gate="esp", value=provider, limit="strict")


def _provider(box: PlannedInbox) -> str:
    return "other" if box.provider == "smtp" else box.provider


def _matches(box: PlannedInbox, provider: str | None) -> bool:
    """An unknown provider suits every inbox, and an inbox that takes no part in matching suits every recipient."""
    return provider is None or not box.esp_matching_enabled or _provider(box) == provider


def _stays(lead: DueLead, step: Step, version: SequenceVersion) -> bool:
    """Whether the lead stays with its inbox: it has had a mail from it."""
    return step is not version.steps[0] and lead.inbox_id is not None


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


def _recipient(lead: DueLead, version: SequenceVersion, now: datetime) -> Recipient:
    """Only leads of active campaigns are read, and a paused installation plans on: it sends nothing."""
    until = version.circuit_until
    return Recipient(
        installation_paused=False,
        campaign_status="active",
        enrollment_state="active",
        archived=lead.archived,
        suppressed=lead.suppressed,
        stopped=lead.stopped,
        campaign_circuit_until=until if until is not None and until > now else None,
    )


def _due(lead: DueLead, step: Step, rules: CampaignRules, senders: Senders) -> Due:
    return Due(
        enrollment_id=lead.enrollment_id,
        lead_key=lead.lead_key,
        step_id=step.step_id,
        follows_up=lead.step_number > 1,
        due_at=lead.next_at,
        windows=recipient_windows(rules, known_zone(lead)),
        inbox_ids=senders.inbox_ids,
        spill_ids=senders.spill_ids,
        domain=company_domain(lead.email),
        contacted_at=lead.contacted_at,
    )


def _inboxes(sight: Sight) -> list[Inbox]:
    return [_inbox(box) for box in sight.boxes.values()]


def _inbox(box: PlannedInbox) -> Inbox:
    band = band_of(box.health_score if box.auto_throttle_enabled else None)
    return Inbox(
        inbox_id=box.id,
        window=hours_of(box),
        daily_limit=banded_limit(box.daily_send_limit // 2 if box.halved else box.daily_send_limit, band),
        hourly_limit=box.hourly_limit,
        min_delay_s=max(box.min_delay_seconds, MIN_GAP_S) * band.gap_factor,
        max_delay_s=box.max_delay_seconds * band.gap_factor,
        busy=box.busy,
        not_cold=box.not_cold,
        sending_days=box.sending_days if box.auto_throttle_enabled else None,
    )


def _team(sight: Sight) -> Team:
    team, rules = sight.team, team_rules(sight.team.settings)
    return Team(
        zone=team.zone,
        daily_limit=team.daily_limit,
        used=dict(zip(team.days, team.counts, strict=True)),
        follow_up_share=rules.follow_up_share,
        contact_gap=timedelta(hours=rules.contact_gap_hours),
        domain_daily_limit=rules.domain_daily_limit,
        domain_gap=timedelta(minutes=rules.domain_gap_minutes),
        domain_mails=sight.domain_mails,
    )
