"""How due leads get the second of their next mail: read, sort by the gates, plan, write; team by team, batch by batch.

A fixed number of statements per batch, however many leads. Never sends.
"""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from libs.planning import queries as planning_queries
from libs.planning.facts import DueLead
from libs.planning.gates import Hold
from libs.planning.hours.windows import local_date
from libs.planning.round import Ready, Sight, plan_round
from libs.planning.schedule import BATCH, HORIZON, LATE, SLOT_GATES, Slot, choose_batch, look_again_at, round_of
from libs.planning.settings import team_rules
from libs.schema.events.email import EmailQueued
from libs.schema.events.lead import LeadHeld
from libs.schema.ids import campaign_send_id, message_id
from libs.schema.runtime.db import Tx, transaction
from libs.schema.runtime.outbox import Fact, record_all
from services.sender import outcomes
from services.sender.deps import Deps
from services.sender.jobs.changes import free_changed
from services.sender.outcomes import BY
from services.sender.queries import moves as move_queries
from services.sender.queries import plan as plan_queries
from services.sender.queries import resolve as resolve_queries
from services.sender.queries import slots as slot_queries
from services.sender.queries.plan import Ahead
from services.sender.queries.slots import NewSend
from services.sender.rules.lifecycle import email_status


async def plan_slots(deps: Deps) -> bool:
    """Takes sends out of slots that are late, or of settings that have changed, and gives due leads theirs.

    True when there is more to do at once: a team has more than one batch, or a change has.
    """
    now = deps.clock.now()
    ahead = Ahead(round_at=round_of(now), until=round_of(now) + HORIZON, slot_gates=SLOT_GATES)
    async with transaction(deps.pool) as tx:
        if not await plan_queries.lock_planning(tx):
            return False
        more = await free_changed(tx, now)
        await plan_queries.wake_held(tx, ahead.round_at)
        await outcomes.replan(tx, await slot_queries.late_sends(tx, now - LATE), now, now, "late")
        teams = await plan_queries.teams_to_plan(tx, ahead)
    for team_id in teams:
        async with transaction(deps.pool) as tx:
            if not await plan_queries.lock_planning(tx):
                return False
            more |= await plan_team(deps, tx, team_id, now, ahead) == BATCH
    return more


async def plan_team(deps: Deps, tx: Tx, team_id: UUID, now: datetime, ahead: Ahead) -> int:
    """One batch of the team's due leads, each with a slot, a hold or an end; returns how many there were."""
    team = await planning_queries.team_day(tx, team_id, now)
    due = await _choose(tx, team_id, ahead, team_rules(team.settings).follow_up_share)
    if not due:
        return 0
    leads = await planning_queries.lead_facts(tx, team_id, due)
    sight = Sight(
        now=now,
        team=team,
        boxes={box.id: box for box in await planning_queries.planned_inboxes(tx, team_id, now, leads)},
        versions={(one.campaign_id, one.version): one for one in await planning_queries.sequences(tx, team_id, leads)},
        domain_mails=await planning_queries.domain_mails(tx, team, team_id, leads, now),
        public_url=deps.settings.public_url,
    )
    decided = plan_round(leads, sight)
    sends = [(ready, _new_send(deps, sight, ready, slot)) for ready, slot in decided.slots]
    await _write_slots(tx, team_id, sends, now)
    await _write_holds(tx, team_id, decided.holds, sight)
    moves = [(one.lead.enrollment_id, one.step_number, one.next_at) for one in decided.moves]
    await move_queries.move(tx, team_id, moves)
    for one in decided.ends:
        await outcomes.end_lead(tx, team_id, one.lead, one.reason, now)
    return len(leads)


async def _choose(tx: Tx, team_id: UUID, ahead: Ahead, share: int) -> list[UUID]:
    """The leads of a batch, locked: follow-ups and new ones by the team's share."""
    waiting = await plan_queries.waiting(tx, team_id, ahead, BATCH)
    follow_ups = [one.id for one in waiting if one.follows_up]
    new = [one.id for one in waiting if not one.follows_up]
    return await plan_queries.lock_waiting(tx, choose_batch(follow_ups, new, share, BATCH))


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


async def _write_holds(tx: Tx, team_id: UUID, holds: Sequence[tuple[DueLead, Hold]], sight: Sight) -> None:
    """A hold that nobody but a person can end is looked at again hourly; it is told when gate or day change."""
    if not holds:
        return
    rows = [
        (
            lead.enrollment_id,
            "active" if hold.retry_at else "held",
            hold.gate,
            look_again_at(hold, sight.round_at),
        )
        for lead, hold in holds
    ]
    await slot_queries.hold(tx, rows)
    told = [_held(lead, hold) for lead, hold in holds if _is_news(lead, hold)]
    await record_all(tx, [Fact(team_id=team_id, event=event) for event in told], by=BY, at=sight.now)


def _is_news(lead: DueLead, hold: Hold) -> bool:
    if lead.held_gate != hold.gate:
        return True
    if hold.retry_at is None or lead.held_until is None:
        return False
    return local_date(lead.held_until, "UTC") != local_date(hold.retry_at, "UTC")


def _new_send(deps: Deps, sight: Sight, ready: Ready, slot: Slot) -> NewSend:
    lead, box = ready.lead, sight.boxes[slot.inbox_id]
    send_id = campaign_send_id(lead.campaign_id, ready.step.step_id, lead.lead_key)
    return NewSend(
        send_id=send_id,
        campaign_id=lead.campaign_id,
        step_id=ready.step.step_id,
        step_number=ready.step.step_number,
        lead_id=lead.lead_id,
        lead_key=lead.lead_key,
        enrollment_id=lead.enrollment_id,
        inbox_id=box.id,
        variant_id=ready.variant_id,
        message_id=message_id(deps.settings.secret_key, send_id, box.email.rpartition("@")[2]),
        slot_at=slot.at,
        due_at=lead.next_at,
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
