"""How due leads get the second of their next mail: read, sort by the gates, plan, write; team by team, batch by batch.

A fixed number of statements per batch, however many leads. Never sends.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from uuid import UUID

import msgspec

from libs.schema.events.email import EmailQueued
from libs.schema.events.lead import LeadHeld
from libs.schema.ids import campaign_send_id, message_id
from libs.schema.runtime.db import Tx, transaction
from libs.schema.runtime.outbox import Fact, record_all
from services.sender import outcomes
from services.sender.deps import Deps
from services.sender.outcomes import BY
from services.sender.queries import plan as plan_queries
from services.sender.queries import resolve as resolve_queries
from services.sender.queries import slots as slot_queries
from services.sender.queries.plan import Ahead, DueLead, PlannedInbox, SequenceVersion, TeamDay
from services.sender.queries.slots import NewSend
from services.sender.rules.gates import Hold, Mailbox, Recipient, mailbox_hold, recipient_hold
from services.sender.rules.letter import Writer, write
from services.sender.rules.lifecycle import Step, email_status, step_at, variant_of
from services.sender.rules.render import CannotRenderError
from services.sender.rules.schedule import (
    HORIZON,
    LATE,
    NO_INBOX,
    SLOT_GATES,
    Due,
    Held,
    Inbox,
    Slot,
    Team,
    plan,
)
from services.sender.rules.windows import campaign_window, inbox_window, local_date

BATCH = 500  # leads in one transaction: enough to plan fairly, few enough for handlers to wait for their rows
LOOK_AGAIN = timedelta(hours=1)  # at what only a person can mend: not every mend is told as an event


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


class Ended(msgspec.Struct, frozen=True, kw_only=True):
    """A lead whose sequence is over: stopped for that reason, or (None) it has had every step."""

    lead: DueLead
    reason: str | None


async def plan_slots(deps: Deps) -> bool:
    """Takes late sends out of their slots and gives due leads theirs; True when a team has more than one batch."""
    now = deps.clock.now()
    ahead = Ahead(now=now, until=now + HORIZON, slot_gates=SLOT_GATES)
    async with transaction(deps.pool) as tx:
        if not await plan_queries.lock_planning(tx):
            return False
        await plan_queries.wake_held(tx, now)
        await outcomes.replan(tx, await slot_queries.late_sends(tx, now - LATE), now, now, "late")
        teams = await plan_queries.teams_to_plan(tx, ahead)
    more = False
    for team_id in teams:
        async with transaction(deps.pool) as tx:
            if not await plan_queries.lock_planning(tx):
                return False
            more |= await plan_team(deps, tx, team_id, ahead) == BATCH
    return more


async def plan_team(deps: Deps, tx: Tx, team_id: UUID, ahead: Ahead) -> int:
    """One batch of the team's due leads, each with a slot, a hold or an end; returns how many there were."""
    leads = await plan_queries.due_leads(tx, team_id, ahead, BATCH)
    team = await plan_queries.team_days(tx, team_id, ahead.now)
    if not leads or team is None:
        return 0
    sight = Sight(
        now=ahead.now,
        team=team,
        boxes={box.id: box for box in await plan_queries.planned_inboxes(tx, team_id, ahead.now)},
        versions={(one.campaign_id, one.version): one for one in await plan_queries.sequences(tx, team_id)},
        public_url=deps.settings.public_url,
    )
    sorted_leads = [sort_lead(lead, sight) for lead in leads]
    ready = {one.lead.enrollment_id: one for one in sorted_leads if isinstance(one, Ready)}
    placed = plan([_due(one) for one in ready.values()], _inboxes(sight), _team(team), ahead.now)
    held = {
        lead.enrollment_id: (lead, one) for lead, one in zip(leads, sorted_leads, strict=True) if isinstance(one, Hold)
    }
    held |= {one.enrollment_id: (ready[one.enrollment_id].lead, one.hold) for one in placed if isinstance(one, Held)}
    slots = [(ready[one.enrollment_id], one) for one in placed if isinstance(one, Slot)]
    sends = [(lead, _new_send(deps, sight, lead, slot)) for lead, slot in slots]
    await _write_slots(tx, team_id, sends, ahead.now)
    await _write_holds(tx, team_id, list(held.values()), ahead.now)
    for one in sorted_leads:
        if isinstance(one, Ended):
            await outcomes.end_lead(tx, team_id, one.lead, one.reason, ahead.now)
    return len(leads)


def sort_lead(lead: DueLead, sight: Sight) -> Ready | Hold | Ended:
    """Asks the gates that need no hour, cheap before costly: the person, the inboxes, the letter."""
    version = sight.versions[lead.campaign_id, lead.sequence_version]
    step = step_at(version.steps, lead.step_number)
    if step is None:
        return Ended(lead=lead, reason=None)
    hold = recipient_hold(_recipient(lead))
    if hold is not None:
        return Ended(lead=lead, reason="suppressed" if hold.gate == "suppression" else hold.value)
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
    try:
        content = write(step, lead, writer, sight.public_url, lead.thread_subject)
    except CannotRenderError as error:
        return Hold(gate=error.gate, value=error.value)
    return Ready(lead=lead, step=step, version=version, inbox_ids=open_ids, subject=content.subject)


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


async def _write_slots(tx: Tx, team_id: UUID, sends: Sequence[tuple[Ready, NewSend]], now: datetime) -> None:
    """The ledger decides: a step that it knows already is stepped over, the others get email, slot and event."""
    if not sends:
        return
    queued = await slot_queries.insert_ledger(tx, team_id, [send for _, send in sends], now)
    fresh = [send for _, send in sends if send.send_id in queued]
    await slot_queries.insert_emails(tx, team_id, fresh, email_status("queued"), now)
    await slot_queries.take_slots(tx, fresh)
    await record_all(tx, [Fact(team_id=team_id, event=_queued(send)) for send in fresh], by=BY, at=now)
    known = {send.send_id: ready for ready, send in sends if send.send_id not in queued}
    for past in await resolve_queries.past_sends(tx, list(known)):
        await outcomes.step_over(tx, team_id, known[past.send_id].lead, past, now)


async def _write_holds(tx: Tx, team_id: UUID, holds: Sequence[tuple[DueLead, Hold]], now: datetime) -> None:
    """A hold that nobody but a person can end is looked at again hourly; it is told when gate or day change."""
    if not holds:
        return
    rows = [
        (
            lead.enrollment_id,
            "active" if hold.retry_at else "held",
            hold.gate,
            max(hold.retry_at or now + LOOK_AGAIN, now + timedelta(minutes=1)),
        )
        for lead, hold in holds
    ]
    await slot_queries.hold(tx, rows)
    told = [_held(lead, hold) for lead, hold in holds if _is_news(lead, hold)]
    await record_all(tx, [Fact(team_id=team_id, event=event) for event in told], by=BY, at=now)


def _is_news(lead: DueLead, hold: Hold) -> bool:
    if lead.held_gate != hold.gate:
        return True
    if hold.retry_at is None or lead.held_until is None:
        return False
    return local_date(lead.held_until, "UTC") != local_date(hold.retry_at, "UTC")


def _new_send(deps: Deps, sight: Sight, ready: Ready, slot: Slot) -> NewSend:
    lead, box = ready.lead, sight.boxes[slot.inbox_id]
    send_id = campaign_send_id(lead.campaign_id, ready.step.step_id, lead.lead_key)
    variant = variant_of(ready.step, lead.lead_key)
    return NewSend(
        send_id=send_id,
        campaign_id=lead.campaign_id,
        step_id=ready.step.step_id,
        step_number=ready.step.step_number,
        lead_id=lead.lead_id,
        lead_key=lead.lead_key,
        enrollment_id=lead.enrollment_id,
        inbox_id=box.id,
        variant_id=variant and variant.variant_id,
        message_id=message_id(deps.settings.secret_key, send_id, box.email.rpartition("@")[2]),
        slot_at=slot.at,
        from_email=box.email,
        from_name=box.from_name,
        to_email=lead.email,
        subject=ready.subject,
        sequence_version=lead.sequence_version,
    )


def _queued(send: NewSend) -> EmailQueued:
    return EmailQueued(
        email_id=send.send_id,
        lead_id=send.lead_id,
        inbox_id=send.inbox_id,
        campaign_id=send.campaign_id,
        enrollment_id=send.enrollment_id,
        step_id=send.step_id,
        step_number=send.step_number,
        variant_id=send.variant_id,
        scheduled_at=send.slot_at,
        sequence_version=send.sequence_version,
    )


def _held(lead: DueLead, hold: Hold) -> LeadHeld:
    return LeadHeld(
        lead_id=lead.lead_id,
        enrollment_id=lead.enrollment_id,
        campaign_id=lead.campaign_id,
        gate=hold.gate,
        value=hold.value,
        limit=hold.limit,
        retry_at=hold.retry_at,
    )


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
