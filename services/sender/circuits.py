"""What ends, bounces and complaints do to the breakers: rows, events with their numbers, and the inbox that shows them.

The last thing in its caller's transaction, after ledger, email, enrollment and lead. Never decides when one opens: that
is rules/breaker.py and rules/reputation.py.
"""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from libs.schema.events.base import Envelope, Event
from libs.schema.events.campaign import CampaignCircuitClosed, CampaignCircuitOpened
from libs.schema.events.inbox import InboxCircuitClosed, InboxCircuitOpened, InboxDisconnected
from libs.schema.runtime.db import Tx
from libs.schema.runtime.outbox import record
from services.sender.queries import breaker as queries
from services.sender.queries import refusal as refusals
from services.sender.queries.breaker import Over
from services.sender.queries.claim import Claimed
from services.sender.queries.refusal import Refusal
from services.sender.rules import breaker as rules
from services.sender.rules import reputation
from services.sender.rules.breaker import LINE_KINDS, Breaker
from services.sender.rules.verdict import Answer, NoAnswer

BY = "sender"
Spot = tuple[str, str, str]


async def after_conversation(tx: Tx, send: Claimed, outcome: Answer | NoAnswer, at: datetime) -> None:
    """Charges the breakers of the line, or closes those that this conversation has proved wrong."""
    kind = rules.failure_kind(outcome)
    if kind is None:
        await _line_works(tx, send, at)
        return
    spots: list[Spot] = [(kind, "inbox", str(send.inbox_id))]
    if kind == "transport" and send.smtp_host:
        spots.append((kind, "smtp_host", send.smtp_host.lower()))
    since = at - rules.ROLLING_WINDOW
    first = await refusals.first_sent_since(tx, send.inbox_id, since) if kind == "provider_limit" else None

    def charged(breaker: Breaker) -> Breaker:
        if kind == "provider_limit":
            return rules.after_send_limit(breaker, _reason(outcome), at, first)
        return rules.after_failure(breaker, _reason(outcome), at)

    for breaker in await _change(tx, send.team_id, send.inbox_id, spots, charged, at):
        if rules.gives_up(breaker):
            await queries.disconnect_inbox(tx, send.team_id, send.inbox_id, breaker.reason or "")
            gone = InboxDisconnected(inbox_id=send.inbox_id, reason=breaker.reason or "")
            await record(tx, send.team_id, gone, by=BY, at=at)


async def _line_works(tx: Tx, send: Claimed, at: datetime) -> None:
    line = [breaker.spot for breaker in send.breakers if breaker.kind in LINE_KINDS]
    if line:
        await _change(tx, send.team_id, send.inbox_id, line, rules.closed, at)
    for breaker in send.breakers:
        if breaker.kind == "reputation" and breaker.state == "closed":
            await _judge(tx, send.team_id, send.inbox_id, breaker.spot, at)
        elif breaker.kind == "reputation" and breaker.retry_at is not None and breaker.retry_at <= at:
            await _probed(tx, send, breaker, at)


async def _judge(tx: Tx, team_id: UUID, inbox_id: UUID, spot: Spot, at: datetime) -> None:
    """Bounces enough there were; now there may be mails enough to judge by."""
    for breaker in await queries.lock_breakers(tx, team_id, inbox_id, [spot], at):
        if breaker.state == "closed":
            changed = reputation.judged(breaker, await _bounces(tx, breaker, at), at)
            await _save(tx, team_id, inbox_id, (breaker, changed), at)
    await queries.show_circuit(tx, team_id, inbox_id)


async def _bounces(tx: Tx, breaker: Breaker, at: datetime) -> reputation.Bounces:
    """The window's mails and bounces of the inbox or campaign, without what has had its verdict."""
    since = at - reputation.BOUNCE_WINDOW
    count = refusals.bounces_of_inbox if breaker.scope == "inbox" else refusals.bounces_of_campaign
    return await count(tx, UUID(breaker.key), max(since, breaker.counted_from or since))


async def _probed(tx: Tx, send: Claimed, breaker: Breaker, at: datetime) -> None:
    """A mail went while the breaker let a few through; when they have all been accepted it closes."""
    since = breaker.retry_at or at
    if breaker.scope == "inbox":
        probes = await refusals.probes_of_inbox(tx, send.inbox_id, since)
    else:
        probes = await refusals.probes_of_campaign(tx, UUID(breaker.key), since)

    def seen(now: Breaker) -> Breaker:
        return reputation.after_probe(now, probes) if now.retry_at == breaker.retry_at else now

    await _change(tx, send.team_id, send.inbox_id, [breaker.spot], seen, at)


async def refused(
    tx: Tx, team_id: UUID, email_id: UUID, what: tuple[refusals.Class, refusals.Source], at: datetime
) -> Refusal | None:
    """Writes down (class, source) and charges who is to blame; None when it was known, and was charged then."""
    refusal = await refusals.add_refusal(tx, team_id, email_id, what, at)
    if refusal is not None:
        await charge(tx, refusal, what[0], at)
    return refusal


async def charge(tx: Tx, refusal: Refusal, kind: refusals.Class, at: datetime) -> None:
    """What a refusal that was not known before does to the good name."""
    if kind == "hard":
        await _after_hard_bounce(tx, refusal, at)
    elif kind == "complaint":
        await _after_complaint(tx, refusal, at)


async def _after_hard_bounce(tx: Tx, refusal: Refusal, at: datetime) -> None:
    """Charges the inbox's and the campaign's good name; a mail of a person's own charges nobody."""
    if refusal.campaign_id is None:
        return
    spots: list[Spot] = [
        ("reputation", "inbox", str(refusal.inbox_id)),
        ("reputation", "campaign", str(refusal.campaign_id)),
    ]
    for breaker in await queries.lock_breakers(tx, refusal.team_id, refusal.inbox_id, spots, at):
        changed = reputation.after_bounce(breaker, await _bounces(tx, breaker, at), refusal.tried_at, at)
        await _save(tx, refusal.team_id, refusal.inbox_id, (breaker, changed), at)
    await queries.show_circuit(tx, refusal.team_id, refusal.inbox_id)


async def _after_complaint(tx: Tx, refusal: Refusal, at: datetime) -> None:
    """Charges the inbox that the mail came from."""
    spot = ("complaint", "inbox", str(refusal.inbox_id))
    spans = reputation.COMPLAINT_WEEK, reputation.COMPLAINT_MONTH
    for breaker in await queries.lock_breakers(tx, refusal.team_id, refusal.inbox_id, [spot], at):
        seen = await refusals.complaints_of_inbox(tx, refusal.inbox_id, at, spans, breaker.counted_from)
        changed = reputation.after_complaint(breaker, seen, at)
        await _save(tx, refusal.team_id, refusal.inbox_id, (breaker, changed), at)
    await queries.show_circuit(tx, refusal.team_id, refusal.inbox_id)


async def turn(tx: Tx, over: Over, at: datetime) -> None:
    """Time has gone by: cold mail that was stopped may send its probes, and halved volume is whole again."""
    inbox_id = UUID(over.key) if over.scope == "inbox" else None

    def turned(breaker: Breaker) -> Breaker:
        if breaker.state != over.state or breaker.retry_at != over.retry_at:
            return breaker  # something happened since it was found
        return reputation.after_pause(breaker) if breaker.kind == "reputation" else rules.closed(breaker)

    await _change(tx, over.team_id, inbox_id, [over.spot], turned, at)


async def credentials_renewed(tx: Tx, team_id: UUID, inbox_id: UUID, at: datetime) -> None:
    """The password that was refused is another one now."""
    await _change(tx, team_id, inbox_id, [("auth", "inbox", str(inbox_id))], rules.closed, at)


async def closed_by_person(
    tx: Tx, envelope: Envelope, event: InboxCircuitClosed | CampaignCircuitClosed, inbox_id: UUID | None
) -> None:
    """Carries out what a person has closed; what lies before that has had its verdict."""
    key: str | None
    if isinstance(event, CampaignCircuitClosed):
        scope, key = "campaign", str(event.campaign_id)
    elif event.scope == "smtp_host":
        scope, key = event.scope, await queries.smtp_host(tx, envelope.teamid, event.inbox_id)
    else:
        scope, key = event.scope, str(event.inbox_id)
    if key is None:
        return
    await queries.close_by_person(tx, envelope.teamid, (event.kind, scope, key), envelope.time)
    if inbox_id is not None:
        await queries.show_circuit(tx, envelope.teamid, inbox_id)


async def _change(  # noqa: PLR0913, PLR0917 - whose, which, how and when
    tx: Tx,
    team_id: UUID,
    inbox_id: UUID | None,
    spots: Sequence[Spot],
    rule: Callable[[Breaker], Breaker],
    at: datetime,
) -> list[Breaker]:
    """The breakers as the rule leaves them, written and told."""
    changed: list[Breaker] = []
    for breaker in await queries.lock_breakers(tx, team_id, inbox_id, spots, at):
        changed.append(rule(breaker))
        await _save(tx, team_id, inbox_id, (breaker, changed[-1]), at)
    if inbox_id is not None:
        await queries.show_circuit(tx, team_id, inbox_id)
    return changed


async def _save(tx: Tx, team_id: UUID, inbox_id: UUID | None, change: tuple[Breaker, Breaker], at: datetime) -> None:
    before, after = change
    if after == before:
        return
    await queries.save_breaker(tx, team_id, after, at)
    if after.state != "closed" and (after.state, after.retry_at) != (before.state, before.retry_at):
        await record(tx, team_id, _opened(inbox_id, after, at), by=BY, at=at)
    if after.state == "closed" and before.state != "closed":
        await record(tx, team_id, _closed(inbox_id, after), by=BY, at=at)


def _opened(inbox_id: UUID | None, breaker: Breaker, at: datetime) -> Event:
    numbers: dict[str, Any] = {
        "kind": breaker.kind,
        "state": breaker.state,
        "failures": breaker.failures,
        "sends": breaker.sends,
        "limit": breaker.threshold or 1,
        "retry_at": breaker.retry_at or at,
        "reason": breaker.reason or "",
    }
    if breaker.scope == "campaign" or inbox_id is None:
        return CampaignCircuitOpened(campaign_id=UUID(breaker.key), **numbers)
    return InboxCircuitOpened(inbox_id=inbox_id, scope=breaker.scope, **numbers)


def _closed(inbox_id: UUID | None, breaker: Breaker) -> Event:
    if breaker.scope == "campaign" or inbox_id is None:
        return CampaignCircuitClosed(campaign_id=UUID(breaker.key), kind=breaker.kind)
    return InboxCircuitClosed(inbox_id=inbox_id, kind=breaker.kind, scope=breaker.scope)


def _reason(outcome: Answer | NoAnswer) -> str:
    return f"{outcome.phase} {outcome.code}" if isinstance(outcome, Answer) else f"{outcome.phase} {outcome.reason}"
