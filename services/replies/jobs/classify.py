"""What a reply means, told again: by a person (`ClassifyReply`), or by a plugged-in model, which is asked once.

Never takes back an opt-out for a model's word, never overrides a person, and never lifts a suppression: a person does
that where suppressions are kept.
"""

from datetime import timedelta
from typing import Any
from uuid import UUID

import msgspec

from libs.schema.commands import ClassifyReply
from libs.schema.events.base import Event
from libs.schema.events.lead import LeadUnsubscribed
from libs.schema.events.reply import Intent, ReplyClassified
from libs.schema.runtime.barrier import stop_people
from libs.schema.runtime.db import Tx, transaction
from libs.schema.runtime.jobs import Job, RefusedError
from services.replies.deps import Deps
from services.replies.outcomes import Effects
from services.replies.queries import classify as rows
from services.replies.queries import sent
from services.replies.queries.classify import Classified, NewReading
from services.replies.queries.sent import SentEmail
from services.replies.rules.text import new_text

BY_HAND = "manual"  # replies.intent_model of a person's word
ASKED_WITHIN = timedelta(days=1)  # an older reply has been answered or read: its rules' reading stays
BETTER_THAN = 0.60  # a model that is less sure than this is not believed (field.md 4.9)
# A machine's: the person has said nothing.
AUTOMATIC: frozenset[Intent | None] = frozenset(("out_of_office", "auto_reply", "bounce", None))


class Word(msgspec.Struct, frozen=True, kw_only=True):
    """What somebody says a reply means."""

    intent: Intent
    confidence: float
    model: str
    by_person: bool


async def classify_by_hand(deps: Deps, tx: Tx, job: Job, command: ClassifyReply) -> dict[str, Any]:
    """What was said before and is said now; a person's word stands against every rule and model, and may change.

    Raises:
        RefusedError: the team has no such reply.
        asyncpg.LockNotAvailableError: a send to the person holds the barrier; the command must come again.

    """
    reply = await rows.take_reply(tx, job.team_id, command.reply_id)
    if reply is None:
        raise RefusedError("there is no such reply: load the list again")
    word = Word(intent=command.intent, confidence=1.0, model=BY_HAND, by_person=True)
    if not (reply.by_hand and reply.intent == word.intent):
        at = Effects(tx=tx, team_id=job.team_id, pepper=deps.settings.pepper, now=deps.clock.now())
        await _tell(at, reply, word)
    return {"reply_id": str(reply.id), "previous": reply.intent, "intent": word.intent}


async def ask_model(deps: Deps) -> bool:
    """Asks the model about the newest reply that it has not seen; returns whether it was asked and answered.

    The rules have decided before and their effects stand; the model is asked in no transaction.

    Raises:
        OSError, asyncpg.PostgresError: the database is away or busy; a reply that was taken is not asked again.

    """
    now = deps.clock.now()
    if deps.model is None or not deps.model.may_be_asked(now):
        return False
    async with transaction(deps.pool) as tx:
        unasked = await rows.take_unasked(tx, now, now - ASKED_WITHIN)
    if unasked is None:
        return False
    text = new_text(unasked.body_text or "", unasked.ours or "", unasked.from_name or "")
    opinion = await deps.model.ask(text, unasked.subject or "", now)
    async with transaction(deps.pool) as tx:
        if opinion is None:
            await rows.give_back(tx, unasked.team_id, unasked.id)
            return False
        at = Effects(tx=tx, team_id=unasked.team_id, pepper=deps.settings.pepper, now=deps.clock.now())
        word = Word(intent=opinion.intent, confidence=opinion.confidence, model=deps.model.name, by_person=False)
        await _believe(at, unasked.id, word)
    return True


async def _believe(at: Effects, reply_id: UUID, word: Word) -> None:
    """Takes the model's word where it is sure and says something else; a person may have spoken meanwhile."""
    reply = await rows.take_reply(at.tx, at.team_id, reply_id)
    if reply is None or reply.by_hand or reply.intent in AUTOMATIC or reply.intent == "unsubscribe":
        return
    if word.intent != reply.intent and word.confidence >= max(BETTER_THAN, reply.confidence or 0):
        await _tell(at, reply, word)


async def _tell(at: Effects, reply: Classified, word: Word) -> None:
    """The row, the event, and what follows: an opt-out is carried out now, a person's answer stops the sequence."""
    email = next(iter(await sent.read_sent(at.tx, at.team_id, [reply.email_id])), None) if reply.email_id else None
    people = _people(at, reply, email)
    await stop_people(at.tx, at.team_id, people)
    reading = NewReading(
        team_id=at.team_id,
        reply_id=reply.id,
        intent=word.intent,
        confidence=round(word.confidence, 2),
        model=word.model,
        by_hand=word.by_person,
        at=at.now,
    )
    await rows.save_reading(at.tx, reading)
    opts_out = word.intent == "unsubscribe" != reply.intent
    events: list[Event] = [_classified(reply, word)]
    if opts_out:
        events.append(_unsubscribed(reply, email))
    event_ids = await at.record(*events)
    if reply.intent in AUTOMATIC and word.intent not in AUTOMATIC:
        await at.stop(people, "replied", event_ids[0])
    if opts_out:
        await at.stop(people, "unsubscribe", event_ids[1])
        for address in sorted({reply.from_email, reply.lead_email or reply.from_email}):
            await at.suppress(address, "unsubscribe")


def _people(at: Effects, reply: Classified, email: SentEmail | None) -> list[bytes]:
    """The lead, to whom the email went, and who wrote."""
    addresses = (reply.lead_email, reply.from_email, email and email.lead_email)
    keys = {at.person(address) for address in addresses if address} | {email.lead_key if email else None}
    return sorted(key for key in keys if key)


def _classified(reply: Classified, word: Word) -> ReplyClassified:
    return ReplyClassified(
        reply_id=reply.id,
        lead_id=reply.lead_id,
        inbox_id=reply.inbox_id,
        campaign_id=reply.campaign_id,
        email_id=reply.email_id,
        intent=word.intent,
        previous=reply.intent,
        confidence=word.confidence,
        model=word.model,
        by_person=word.by_person,
    )


def _unsubscribed(reply: Classified, email: SentEmail | None) -> LeadUnsubscribed:
    return LeadUnsubscribed(
        lead_id=reply.lead_id,
        method="reply",
        email_id=reply.email_id,
        campaign_id=reply.campaign_id,
        step_id=email.step_id if email else None,
        variant_id=email.variant_id if email else None,
        inbox_id=email.inbox_id if email else reply.inbox_id,
        sent_on=email.sent_on if email else None,
        inbox_sent_on=email.inbox_sent_on if email else None,
    )
