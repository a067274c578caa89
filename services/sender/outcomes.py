"""What the end of a send means for its lead: rows and events in the caller's transaction, once per end.

The caller has moved the ledger's row and asks here for all that follows. Never decides what an answer means: that is
rules/verdict.py.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from libs.planning.facts import DueLead
from libs.planning.schedule import went_at
from libs.planning.sequence import step_at
from libs.schema.events.base import Event
from libs.schema.events.email import (
    BounceBlocked,
    BounceHard,
    BounceSoft,
    EmailCancelled,
    EmailDelivered,
    EmailSent,
    Resolution,
)
from libs.schema.events.lead import LeadCompleted, LeadStopped, StopReason
from libs.schema.runtime import barrier
from libs.schema.runtime.clock import new_id
from libs.schema.runtime.db import Tx
from libs.schema.runtime.outbox import Fact, record, record_all
from services.sender.queries import fold, resolve, settle
from services.sender.queries.evidence import Evidence
from services.sender.queries.evidence import resolve_unknown as resolve_rows
from services.sender.queries.refusal import Refusal, softs_in_a_row
from services.sender.queries.sends import Send
from services.sender.rules.lifecycle import LEAD_STATUSES, STATUS_AFTER_STOP, email_status, is_lasting
from services.sender.rules.verdict import Bounced

BY = "sender"
# The states in which a person has had a step, or may have.
_HAD = frozenset(("queued", "claimed", "in_data", "accepted", "unknown"))
_BOUNCES = {"hard": BounceHard, "soft": BounceSoft, "blocked": BounceBlocked}


class Gone(msgspec.Struct, frozen=True, kw_only=True):
    """A mail that has gone and is shown so, with its enrollment, which is locked, and what the server answered."""

    send: Send
    enrollment: settle.Enrollment | None
    smtp_code: int | None = None
    smtp_status: str | None = None


async def sent(tx: Tx, mails: Sequence[Gone], at: datetime, *, resolved_by: Resolution = "smtp") -> None:
    """Tells of mails that have gone; the sequences of their enrollments go on from the sending."""
    facts: list[Fact] = []
    steps: list[Step] = []
    for mail in mails:
        send = mail.send
        event = EmailSent(
            **_dated(send, at),
            attempt=send.attempt,
            resolved_by=resolved_by,
            scheduled_at=send.slot_at,
            smtp_code=mail.smtp_code,
            smtp_status=mail.smtp_status,
        )
        facts.append(Fact(team_id=send.team_id, event=event))
        if mail.enrollment:
            sent_at = went_at(send.committed_at or at, send.not_before)
            steps.append(Step(team_id=send.team_id, enrollment=mail.enrollment, id=send.step_id, sent_at=sent_at))
    await record_all(tx, [*facts, *await go_on(tx, steps, at)], by=BY, at=at)


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """A step that an enrollment, which is locked, has had."""

    team_id: UUID
    enrollment: settle.Enrollment
    id: UUID | None
    sent_at: datetime


async def go_on(tx: Tx, steps: Sequence[Step], at: datetime) -> list[Fact]:
    """The enrollments wait for the steps after these, or have had their last; one that was stopped stays so.

    A step is found by its id in the enrollment's own version: an edit may have given it another number since.
    """
    waiting: list[tuple[UUID, int, datetime]] = []
    done: list[Step] = []
    for had in steps:
        enrollment = had.enrollment
        here = {step.step_number for step in enrollment.steps if step.step_id == had.id}
        if enrollment.state != "active" or enrollment.step_number not in here:
            continue
        following = step_at(enrollment.steps, enrollment.step_number + 1)
        if following is None:
            done.append(had)
        else:
            waiting.append((enrollment.id, following.step_number, had.sent_at + following.delay))
    await settle.next_steps(tx, waiting)
    end = settle.End(state="finished", reason=None, at=at, lead_status="sequence_complete")
    await settle.end_enrollments(tx, [had.enrollment.id for had in done], end, LEAD_STATUSES)
    return [Fact(team_id=had.team_id, event=_completed(had.enrollment)) for had in done]


def _completed(enrollment: settle.Enrollment) -> LeadCompleted:
    return LeadCompleted(lead_id=enrollment.lead_id, enrollment_id=enrollment.id, campaign_id=enrollment.campaign_id)


async def stop(tx: Tx, send: Send, at: datetime, reason: str, *, state: str = "stopped") -> list[Event]:
    """The enrollment of this send ends before its last step; empty when it had ended before."""
    if send.enrollment_id is None or send.lead_id is None or send.campaign_id is None:
        return []
    end = settle.End(state=state, reason=reason, at=at, lead_status=STATUS_AFTER_STOP.get(reason))
    if not await settle.end_enrollments(tx, [send.enrollment_id], end, LEAD_STATUSES):
        return []
    return [
        LeadStopped(lead_id=send.lead_id, enrollment_id=send.enrollment_id, campaign_id=send.campaign_id, reason=reason)
    ]


async def bounced(tx: Tx, send: Send, verdict: Bounced, at: datetime, recipient: str) -> None:
    """The server refused for good. A hard bounce stops the person everywhere: the caller holds barrier.stop_people."""
    event_id = new_id()
    event = _BOUNCES[verdict.kind](
        **_dated(send, at),
        source="smtp",
        reason=verdict.reason,
        smtp_code=verdict.code,
        smtp_status=verdict.status,
        diagnostic=verdict.diagnostic,
    )
    facts = [Fact(team_id=send.team_id, event=event, event_id=event_id)]
    if verdict.kind == "hard":
        stopping = settle.Stopping(
            id=new_id(),
            team_id=send.team_id,
            lead_key=send.lead_key,
            email=recipient,
            reason="hard_bounce",
            event_id=event_id,
            at=at,
        )
        await settle.stop_person(tx, stopping)
        await settle.suppress_person(tx, stopping)
    facts += [Fact(team_id=send.team_id, event=after) for after in await _after_bounce(tx, send, verdict, at)]
    await record_all(tx, facts, by=BY, at=at)


async def _after_bounce(tx: Tx, send: Send, verdict: Bounced, at: datetime) -> list[Event]:
    match verdict.kind:
        case "hard":
            return await stop(tx, send, at, "hard_bounce")
        case "soft":
            return await stop(tx, send, at, "soft_bounce")
        case "blocked":
            return await stop(tx, send, at, "blocked", state="failed")


async def stop_lasting(tx: Tx, refusal: Refusal, event_id: UUID) -> bool:
    """Stops a person whose server has not taken mail for long; nobody is suppressed. False: not yet."""
    seen = await softs_in_a_row(tx, refusal.team_id, refusal.lead_key)
    if not is_lasting(seen.softs, seen.span):
        return False
    because = Because(reason="soft_bounce", event_id=event_id, at=refusal.refused_at)
    await stop_only(tx, refusal.team_id, refusal.lead_key, because)
    return True


class Because(msgspec.Struct, frozen=True, kw_only=True):
    """Why a person is stopped: the reason, and the event that says so."""

    reason: StopReason
    event_id: UUID
    at: datetime


async def stop_only(tx: Tx, team_id: UUID, lead_key: bytes, because: Because) -> None:
    """Ends the person's sequences and suppresses nobody; a second call for the same event changes nothing."""
    await barrier.stop_people(tx, team_id, [lead_key])
    stopping = settle.Stopping(
        id=new_id(),
        team_id=team_id,
        lead_key=lead_key,
        email=None,
        reason=because.reason,
        event_id=because.event_id,
        at=because.at,
    )
    await settle.stop_person(tx, stopping)


async def end_lead(tx: Tx, team_id: UUID, lead: DueLead, reason: str | None, at: datetime) -> None:
    """The sequence of a lead that waits for no mail ends: stopped for a reason, or (None) it has had every step."""
    state, status = ("stopped", STATUS_AFTER_STOP.get(reason)) if reason else ("finished", "sequence_complete")
    end = settle.End(state=state, reason=reason, at=at, lead_status=status)
    if not await settle.end_enrollments(tx, [lead.enrollment_id], end, LEAD_STATUSES):
        return
    identity = {"lead_id": lead.lead_id, "enrollment_id": lead.enrollment_id, "campaign_id": lead.campaign_id}
    event = LeadStopped(**identity, reason=reason) if reason else LeadCompleted(**identity)
    await record(tx, team_id, event, by=BY, at=at)


async def step_over(tx: Tx, team_id: UUID, lead: DueLead, past: resolve.Past, at: datetime) -> None:
    """The ledger knows this step of this person, under an earlier row of the lead: it is not sent again."""
    if past.state in _HAD:
        sent_at = went_at(past.committed_at or at, past.not_before)
        enrollment = await settle.lock_enrollment(tx, lead.enrollment_id)
        if enrollment:
            had = Step(team_id=team_id, enrollment=enrollment, id=past.step_id, sent_at=sent_at)
            await record_all(tx, await go_on(tx, [had], at), by=BY, at=at)
    else:
        await end_lead(tx, team_id, lead, f"already_{past.state}", at)


async def resolve_unknown(
    tx: Tx, send_ids: Sequence[UUID], evidence: Evidence, at: datetime, resolved_by: Resolution
) -> int:
    """Settles those of the sends whose end was unknown as sent; returns how many. Harmless the second time."""
    settled = await resolve_rows(tx, send_ids, evidence, at, email_status("accepted"))
    for send in settled:
        enrollment = await settle.show_sent(tx, send, send.committed_at or at)
        await sent(tx, [Gone(send=send, enrollment=enrollment)], at, resolved_by=resolved_by)
    return len(settled)


async def delivered(tx: Tx, sends: Sequence[Send], at: datetime, *, by_dsn: bool) -> None:
    """Tells of emails that have just been marked as delivered."""
    facts = [Fact(team_id=send.team_id, event=EmailDelivered(**_dated(send, at), by_dsn=by_dsn)) for send in sends]
    await record_all(tx, facts, by=BY, at=at)


async def replan(tx: Tx, send_ids: Sequence[UUID], at: datetime, earliest: datetime | None, why: str) -> int:
    """Takes queued sends out of their slots; their leads are due when they were, and no earlier than `earliest`."""
    ends = [(send_id, "expired") for send_id in send_ids]
    expired = await fold.end_queued(tx, ends, at, email_status("expired"), why)
    await fold.due_again(tx, [send.send_id for send in expired], earliest)
    await record_all(tx, [_cancelled(send, "replanned") for send in expired], by=BY, at=at)
    return len(expired)


async def expire(tx: Tx, send_ids: Sequence[UUID], at: datetime, why: str) -> None:
    """Ends queued sends that nobody plans anew, and tells of it."""
    ends = [(send_id, "expired") for send_id in send_ids]
    expired = await fold.end_queued(tx, ends, at, email_status("expired"), why)
    await record_all(tx, [_cancelled(send, "expired") for send in expired], by=BY, at=at)


async def fold_stops(tx: Tx, team_id: UUID, stopped: Sequence[fold.Stopped], at: datetime) -> None:
    """Ends these enrollments and cancels their queued mail; what has ended already is left as it is."""
    queued = [(one.send_id, "stopped") for one in stopped if one.send_id]
    cancelled = await fold.end_queued(tx, queued, at, email_status("stopped"), "stopped")
    facts = [_cancelled(send, "stopped") for send in cancelled]
    for one in stopped:
        end = settle.End(state="stopped", reason=one.reason, at=at, lead_status=STATUS_AFTER_STOP.get(one.reason))
        if await settle.end_enrollments(tx, [one.id], end, LEAD_STATUSES):
            event = LeadStopped(
                lead_id=one.lead_id, enrollment_id=one.id, campaign_id=one.campaign_id, reason=one.reason
            )
            facts.append(Fact(team_id=team_id, event=event))
    await record_all(tx, facts, by=BY, at=at)


async def stop_person_here(tx: Tx, send: Send) -> None:
    """Locks the person's other sends out; call it first in a transaction that will stop them."""
    await barrier.stop_people(tx, send.team_id, [send.lead_key])


def _cancelled(send: Send, reason: Any) -> Fact:
    return Fact(team_id=send.team_id, event=EmailCancelled(**send.identity(), reason=reason))


def _dated(send: Send, at: datetime) -> dict[str, Any]:
    """An event's identity and the days on which its outcome counts; before T2 that is the day of the answer."""
    return send.identity() | {"sent_on": send.sent_on or at.date(), "inbox_sent_on": send.inbox_sent_on or at.date()}
