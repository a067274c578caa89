"""Sorting what was stored: what each message is, and what follows from it: copy in Sent, report, complaint, own mail.

Never trusts a message: only what is about an email of ours, by an id that nobody can guess, or comes from a person whom
we wrote to (answer.py), changes anything (reliability.md B40).
"""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

from libs.schema.events.email import (
    BounceBlocked,
    BounceEvent,
    BounceHard,
    BounceSoft,
    EmailComplained,
    EmailConfirmed,
    EmailDelivered,
)
from libs.schema.runtime.barrier import stop_people
from libs.schema.runtime.db import is_outage, transaction
from services.replies.deps import Deps
from services.replies.jobs.answer import sort_answer
from services.replies.outcomes import IGNORED, Outcome, Sorting, ignored, told_of
from services.replies.queries import effects, messages, sent
from services.replies.queries.sent import SentEmail
from services.replies.rules.bounce import MARK_FIELD, NOT_COMPLAINTS, Recipient, Report, decisive, without_addresses
from services.replies.rules.inspection import read
from services.replies.rules.parse import message_ids, parse_headers

SORT_BATCH = 50
MAX_ATTEMPTS = 3  # then the message is unreadable; its bytes stay
KNOWN_DAYS = 60  # marks are looked for among the mailbox's sends of this time
MAX_ID_CHARS = 255
MAX_DIAGNOSTIC_CHARS = 200
MAX_FEEDBACK_CHARS = 50

OwnAddresses = frozenset[tuple[UUID, str]]  # (team, address in lower case)
_BOUNCES: dict[str, type[BounceEvent]] = {"hard": BounceHard, "soft": BounceSoft, "blocked": BounceBlocked}


async def sort_inbound(deps: Deps) -> bool:
    """Gives stored messages their one outcome, with all that follows from it; returns whether any got it.

    Each message is one transaction. One that fails MAX_ATTEMPTS times becomes unreadable and its bytes stay.
    """
    async with transaction(deps.pool) as tx:
        waiting = await messages.unsorted(tx, SORT_BATCH)
        own = await sent.own_addresses(tx, {each.team_id for each in waiting})
    done = [await sort_message(deps, each.id, own) for each in waiting if not deps.stopping.is_set()]
    return any(done)


async def sort_message(deps: Deps, raw_id: UUID, own: OwnAddresses) -> bool:
    """Sorts one stored message; False where it has its outcome already or another process works on it."""
    try:
        async with transaction(deps.pool) as tx:
            raw = await messages.take_raw(tx, raw_id)
            if raw is None:
                return False
            at = Sorting(tx=tx, team_id=raw.team_id, raw=raw, pepper=deps.settings.pepper, now=deps.clock.now())
            outcome = await sort(at, own)
            await messages.settle_raw(tx, raw.id, outcome.name, outcome.detail, at.now)
    except Exception as error:  # whatever a message does to us, it must not hold up the others
        if is_outage(error):
            raise  # the database's trouble, not the message's
        await _count_failure(deps, raw_id, error)
        return True
    if outcome.ignored:
        IGNORED.labels(outcome.ignored).inc()
    deps.log.info("message.sorted", raw_id=str(raw_id), inbox_id=str(raw.inbox_id), outcome=outcome.name)
    return True


async def _count_failure(deps: Deps, raw_id: UUID, error: Exception) -> None:
    async with transaction(deps.pool) as tx:
        attempts = await messages.count_attempt(tx, raw_id)
        if attempts >= MAX_ATTEMPTS:
            await messages.settle_raw(tx, raw_id, "unreadable", {"error": type(error).__name__}, deps.clock.now())
    deps.log.error("message.not_sorted", raw_id=str(raw_id), attempts=attempts, exc_info=error)


async def sort(at: Sorting, own: OwnAddresses) -> Outcome:
    """The message's outcome, after all its effects; the caller writes it in the same transaction.

    Run again after a rollback it does the same; a copy of a message that had its effects has none.

    Raises:
        asyncpg.LockNotAvailableError: a send to the person holds the barrier; the message must come again.

    """
    if not at.raw.raw:
        return Outcome(name="unreadable", detail={"why": "the server does not hand it out"})
    if at.raw.folder == "Sent":
        return await _sort_copy(at)
    inbound = read(at.raw.raw, at.raw.internal_date.date())
    if inbound.report:
        return await _sort_report(at, inbound.report)
    if (at.team_id, inbound.sender.address) in own:
        return Outcome(name="own")
    if inbound.kind == "other":
        return ignored("mailing")
    return await sort_answer(at, inbound)


async def _sort_copy(at: Sorting) -> Outcome:
    """A copy in Sent: proof of a send whose end is unknown, and the id that the provider gave it."""
    headers = parse_headers(at.raw.raw)
    ids = message_ids(headers.first("message-id"))
    email = await _find(at, ids, [value.strip() for value in headers.every(MARK_FIELD)])
    if email is None or email.sent_on is None:
        return ignored("foreign_copy")
    detail: dict[str, Any] = {"email_id": str(email.email_id)}
    rewritten = ids[0][:MAX_ID_CHARS] if ids and ids[0] not in email.message_ids else None
    event = EmailConfirmed(**told_of(email), provider_message_id=rewritten)
    if email.state != "unknown" and not rewritten:
        return Outcome(name="sent_copy", detail=detail)
    await stop_people(at.tx, at.team_id, [email.lead_key])
    if await effects.was_confirmed(at.tx, at.team_id, email.email_id, event.evidence):
        return Outcome(name="sent_copy", detail=detail)
    await at.record(event)
    return Outcome(name="sent_copy", detail=detail | {"confirmed": True})


async def _sort_report(at: Sorting, report: Report) -> Outcome:
    """A delivery report or a complaint; forged ones, and those about other people's mail, change nothing."""
    email = await _find(at, report.message_ids, report.tokens)
    if email is None or email.sent_on is None:
        return ignored("foreign_report")
    if report.feedback_type:
        return await _sort_complaint(at, report.feedback_type[:MAX_FEEDBACK_CHARS], email)
    recipient = decisive(report, email.lead_email)
    detail: dict[str, Any] = {"email_id": str(email.email_id), "action": recipient.action[:MAX_FEEDBACK_CHARS]}
    kind = _BOUNCES.get(recipient.bounce_class)
    if kind is None and recipient.action == "delivered":
        return await _sort_arrival(at, email, detail)
    if kind is None:
        return ignored("nothing_refused", **detail)
    event = _bounce(kind, recipient, email)
    # Also where nobody is stopped: two reports at once must not both be the first.
    await stop_people(at.tx, at.team_id, [email.lead_key])
    if await at.was_told(email, event.TYPE):
        return Outcome(name="bounce", detail=detail | {"repeated": True})
    (event_id,) = await at.record(event)
    if kind is BounceHard:
        await at.stop([email.lead_key], "hard_bounce", event_id)
        await at.suppress(email.lead_email, "hard_bounce")
    return Outcome(name="bounce", detail=detail | {"class": recipient.bounce_class, "reason": recipient.reason})


async def _sort_arrival(at: Sorting, email: SentEmail, detail: dict[str, Any]) -> Outcome:
    """Its server says that it put the mail into the mailbox (RFC 3464 §2.3.3); nobody asked it to, some do."""
    await stop_people(at.tx, at.team_id, [email.lead_key])
    event = EmailConfirmed(**told_of(email), evidence="dsn")
    told = await at.was_told(email, EmailDelivered.TYPE)
    if not (told or await effects.was_confirmed(at.tx, at.team_id, email.email_id, event.evidence)):
        await at.record(event)
    return ignored("nothing_refused", **detail)


async def _sort_complaint(at: Sorting, feedback_type: str, email: SentEmail) -> Outcome:
    detail: dict[str, Any] = {"email_id": str(email.email_id), "feedback_type": feedback_type}
    if feedback_type in NOT_COMPLAINTS:
        return ignored("nothing_refused", **detail)
    await stop_people(at.tx, at.team_id, [email.lead_key])
    event = EmailComplained(**told_of(email), feedback_type=feedback_type)
    if await at.was_told(email, event.TYPE):
        return Outcome(name="complaint", detail=detail | {"repeated": True})
    (event_id,) = await at.record(event)
    await at.stop([email.lead_key], "complaint", event_id)
    await at.suppress(email.lead_email, "spam_complaint")
    return Outcome(name="complaint", detail=detail)


async def _find(at: Sorting, ids: Sequence[str], tokens: Sequence[str]) -> SentEmail | None:
    """The team's newest email under one of the ids or marks; both are ours and cannot be guessed."""
    found = await sent.by_message_id(at.tx, at.team_id, ids)
    if not found and tokens:
        since = at.raw.internal_date - timedelta(days=KNOWN_DAYS)
        found = await sent.by_mark(at.tx, at.team_id, at.raw.inbox_id, tokens, since)
    return found[0] if found else None


def _bounce(kind: type[BounceEvent], recipient: Recipient, email: SentEmail) -> BounceEvent:
    return kind(
        **told_of(email),
        source="dsn",
        reason=recipient.reason,
        smtp_code=int(recipient.code) if recipient.code else None,
        smtp_status=recipient.status or None,
        diagnostic=without_addresses(recipient.diagnostic)[:MAX_DIAGNOSTIC_CHARS] or None,
    )
