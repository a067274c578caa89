"""T3: what a conversation's end does to the send, in one transaction fenced by its claim.

Never queues again what may have been accepted, and never settles a claim that is not its own any more.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import TypeVar

from libs.planning.gates import Hold
from libs.planning.hours.windows import Window, hours_of, next_open, windows_for
from libs.schema.events.email import EmailCancelled, EmailDeferred, EmailFailed, EmailUnknown
from libs.schema.runtime.clock import Clock
from libs.schema.runtime.db import OUTAGES, Pool, Tx, transaction
from libs.schema.runtime.outbox import record
from services.sender import circuits, outcomes
from services.sender.deps import Deps
from services.sender.outcomes import BY, Gone
from services.sender.queries import fold
from services.sender.queries import settle as settle_queries
from services.sender.queries.claim import Claimed
from services.sender.queries.settle import Acceptance, Return, Settlement
from services.sender.rules.lifecycle import email_status
from services.sender.rules.settling import first_look
from services.sender.rules.verdict import (
    Accepted,
    Bounced,
    Deferred,
    Failed,
    Outcome,
    Unknown,
    Verdict,
    Withheld,
    judge,
)

# How long a settlement is tried again when the database is away; then the reaper calls the end unknown.
SETTLE_FOR_S = 60.0
LOOK_AGAIN = timedelta(minutes=1)  # at a gate that says nothing of when it opens
# Before the dot's answer a send is in one of these; a late answer may find that the reaper has been there.
_NOT_SENT = ("claimed", "in_data")
_ANSWERED = ("claimed", "in_data", "unknown")

T = TypeVar("T")


async def persistently(deps: Deps, write: Callable[[Tx], Awaitable[T]]) -> T:
    """Runs `write` in a transaction, as often as `again` does."""

    async def once() -> T:
        async with transaction(deps.pool) as tx:
            return await write(tx)

    return await again(once)


async def again(write: Callable[[], Awaitable[T]]) -> T:
    """Runs `write`, again while the database is away: what SMTP said must not be forgotten.

    `write` is fenced, so a commit whose answer was lost changes nothing the second time.
    """
    give_up_at = asyncio.get_running_loop().time() + SETTLE_FOR_S
    pause_s = 0.1
    while True:
        try:
            return await write()
        except OUTAGES:
            if asyncio.get_running_loop().time() > give_up_at:
                raise
        await asyncio.sleep(pause_s)
        pause_s = min(pause_s * 2, 5.0)


async def put_off(tx: Tx, send: Claimed, hold: Hold, at: datetime) -> None:
    """A gate closed after the slot was given: the mail is cancelled, and its lead stopped or planned anew.

    An answer by hand waits at a gate that will open again.
    """
    if hold.effect == "wait" and send.kind == "reply":  # nobody would plan it anew
        back = Return(
            not_before=hold.retry_at or at + LOOK_AGAIN, try_counts=False, email_status=email_status("queued")
        )
        await settle_queries.give_back(tx, _claim(send), ["claimed"], back)
        return
    state = "expired" if hold.effect == "wait" else "suppressed" if hold.gate == "suppression" else "stopped"
    why = f"{hold.gate}: {hold.value}"
    end = Settlement(state=state, email_status=email_status(state), error=why)
    if not await settle_queries.settle_claim(tx, _claim(send), ["claimed"], end, at):
        return
    if hold.effect == "wait":
        await settle_queries.uncount_try(tx, send.send_id)
        await fold.due_again(tx, [send.send_id], at)
        await record(tx, send.team_id, EmailCancelled(**send.identity(), reason="replanned"), by=BY, at=at)
        return
    reason = "suppressed" if hold.gate == "suppression" else hold.value or hold.gate
    cancelled = EmailCancelled(**send.identity(), reason="suppressed" if hold.gate == "suppression" else "stopped")
    await record(tx, send.team_id, cancelled, *await outcomes.stop(tx, send, at, reason), by=BY, at=at)


async def settled(deps: Deps, send: Claimed, outcome: Outcome) -> str:
    """Writes down how the conversation ended, with others that end at this moment; returns its name for the log."""
    at = deps.clock.now()
    if not isinstance(outcome, Withheld) and not send.breakers:
        verdict = judge(outcome, send_id=send.send_id, attempt=send.attempt, previous_code=send.previous_code, now=at)
        if isinstance(verdict, Accepted):
            await again(partial(deps.acceptances.ask, (send, verdict)))
            return "accepted"
    return await persistently(deps, partial(settle, send=send, outcome=outcome, at=at, patience=deps.unknown_patience))


async def accept_together(pool: Pool, clock: Clock, accepted: Sequence[tuple[Claimed, Accepted]]) -> list[bool]:
    """T3 of mails that were accepted; False for those whose claims were lost."""
    async with transaction(pool) as tx:
        return await _accept(tx, accepted, clock.now())


async def settle(tx: Tx, send: Claimed, outcome: Outcome, at: datetime, patience: timedelta) -> str:
    """Writes the outcome down and all that follows from it; returns its name for the log. Nothing happens twice."""
    if isinstance(outcome, Withheld):
        back = Return(not_before=at, try_counts=False, email_status=email_status("queued"))
        await settle_queries.give_back(tx, _claim(send), _NOT_SENT, back)
        return outcome.reason
    verdict = judge(outcome, send_id=send.send_id, attempt=send.attempt, previous_code=send.previous_code, now=at)
    if await _settle_verdict(tx, send, verdict, at, patience):
        if isinstance(verdict, Bounced):
            await circuits.refused(tx, send.team_id, send.send_id, (verdict.kind, "smtp"), at)
        await circuits.after_conversation(tx, send, outcome, at)
    return type(verdict).__name__.lower()


async def _settle_verdict(tx: Tx, send: Claimed, verdict: Verdict, at: datetime, patience: timedelta) -> bool:
    """False when the claim was lost: then somebody else has settled it, or will."""
    match verdict:
        case Accepted():
            return all(await _accept(tx, [(send, verdict)], at))
        case Deferred():
            return await _deferred(tx, send, verdict, at)
        case Bounced():
            return await _bounced(tx, send, verdict, at)
        case Failed():
            return await _failed(tx, send, verdict, at)
        case Unknown():
            return await _unknown(tx, send, verdict, at, patience)


async def _accept(tx: Tx, accepted: Sequence[tuple[Claimed, Accepted]], at: datetime) -> list[bool]:
    ends = [
        Acceptance(claim=_claim(send), smtp_code=verdict.code, smtp_status=verdict.status, queue_id=verdict.queue_id)
        for send, verdict in accepted
    ]
    ended = await settle_queries.accept_claims(tx, ends, _ANSWERED, email_status("accepted"), at)
    gone = [
        Gone(send=send, enrollment=ended[send.send_id], smtp_code=verdict.code, smtp_status=verdict.status)
        for send, verdict in accepted
        if send.send_id in ended
    ]
    await outcomes.sent(tx, gone, at)
    return [send.send_id in ended for send, _ in accepted]


async def _deferred(tx: Tx, send: Claimed, verdict: Deferred, at: datetime) -> bool:
    """Back into the queue, for the first moment after the pause at which the windows are open."""
    retry_at = next_open(windows_of(send), verdict.until) or verdict.until
    back = Return(
        not_before=retry_at,
        try_counts=not verdict.own,
        email_status=email_status("queued"),
        # What our own mailbox is told says nothing about the mail.
        smtp_code=None if verdict.own else verdict.code,
        smtp_status=verdict.status,
        smtp_reply=verdict.diagnostic,
    )
    if not await settle_queries.give_back(tx, _claim(send), _NOT_SENT, back):
        return False
    event = EmailDeferred(
        **send.identity(),
        attempt=send.attempt,
        phase=verdict.phase,
        retry_at=retry_at,
        smtp_code=verdict.code,
        smtp_status=verdict.status,
        diagnostic=verdict.diagnostic,
    )
    await record(tx, send.team_id, event, by=BY, at=at)
    if verdict.replan and send.kind == "campaign":
        await outcomes.replan(tx, [send.send_id], at, retry_at, "blocked")
    return True


async def _bounced(tx: Tx, send: Claimed, verdict: Bounced, at: datetime) -> bool:
    if verdict.kind == "hard":
        await outcomes.stop_person_here(tx, send)
    end = _refusal(verdict, email_status("rejected", bounced=True))
    if not await settle_queries.settle_claim(tx, _claim(send), _NOT_SENT, end, at):
        return False
    await outcomes.bounced(tx, send, verdict, at, send.email)
    if verdict.kind == "hard" and send.lead_id:
        others = await fold.stopped_enrollments(tx, send.team_id, send.lead_id)
        await outcomes.fold_stops(tx, send.team_id, others, at)
    return True


async def _failed(tx: Tx, send: Claimed, verdict: Failed, at: datetime) -> bool:
    if not await settle_queries.settle_claim(
        tx, _claim(send), _NOT_SENT, _refusal(verdict, email_status("rejected")), at
    ):
        return False
    event = EmailFailed(
        **send.identity(),
        reason=verdict.reason,
        smtp_code=verdict.code,
        smtp_status=verdict.status,
        diagnostic=verdict.diagnostic,
    )
    await record(tx, send.team_id, event, *await outcomes.stop(tx, send, at, "failed", state="failed"), by=BY, at=at)
    return True


async def _unknown(tx: Tx, send: Claimed, verdict: Unknown, at: datetime, patience: timedelta) -> bool:
    """The sequence waits: the enrollment has no next date until the end is settled."""
    end = Settlement(
        state="unknown",
        email_status=email_status("unknown"),
        next_settle_at=(send.committed_at or at) + first_look(patience),
        error=verdict.reason,
    )
    if not await settle_queries.settle_claim(tx, _claim(send), ["in_data"], end, at):
        return False
    event = EmailUnknown(
        **send.identity(),
        sent_on=send.sent_on or at.date(),
        inbox_sent_on=send.inbox_sent_on or at.date(),
        reason=verdict.reason,
    )
    await record(tx, send.team_id, event, by=BY, at=at)
    return True


def windows_of(send: Claimed) -> tuple[Window, ...]:
    """The windows that must all be open when it goes."""
    if send.kind == "reply":
        return ()
    return windows_for(send.campaign_settings, send, send) if send.kind == "campaign" else (hours_of(send),)


def _claim(send: Claimed) -> settle_queries.Claim:
    return send.send_id, send.fence, send.epoch


def _refusal(verdict: Bounced | Failed, status: str) -> Settlement:
    return Settlement(
        state="rejected",
        email_status=status,
        smtp_code=verdict.code,
        smtp_status=verdict.status,
        smtp_reply=verdict.diagnostic,
        resolved_by="smtp",
        error=verdict.diagnostic,
    )
