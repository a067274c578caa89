"""A person's reply, or a machine's: matched, understood, stored and told; a person's stops the sequence.

Never stops anybody for an automatic answer, and never tells the same message twice.
"""

from datetime import timedelta
from typing import Any
from uuid import UUID

import msgspec

from libs.schema.events.base import Event
from libs.schema.events.lead import LeadUnsubscribed
from libs.schema.events.reply import ReplyReceived
from libs.schema.runtime.barrier import stop_people
from libs.schema.runtime.clock import new_id
from services.replies.outcomes import Outcome, Sorting
from services.replies.queries import effects as rows
from services.replies.queries import sent
from services.replies.queries.sent import SentEmail
from services.replies.rules.inspection import Inbound, classify
from services.replies.rules.intent import MODEL, Reading
from services.replies.rules.match import ADDRESS_DAYS, Candidate, Match, is_freemail, match_by_address, match_by_id
from services.replies.rules.text import new_text

ONE_NOTE_PER = timedelta(days=1)  # an automatic answer is told once a day and lead (reliability.md B41)
CANDIDATE_DAYS = 30
# The columns' sizes (seed §6.3), and as much of a body as is worth showing.
MAX_ID_CHARS, MAX_SUBJECT_CHARS, MAX_PREVIEW_CHARS, MAX_NAME_CHARS, MAX_BODY_CHARS = 255, 500, 500, 255, 100_000


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """A message that answers an email of ours, understood."""

    id: UUID
    inbound: Inbound
    email: SentEmail
    lead_id: UUID
    match: Match
    reading: Reading


async def sort_answer(at: Sorting, inbound: Inbound) -> Outcome:
    """The outcome of a reply or an automatic answer, after its effects.

    Raises:
        asyncpg.LockNotAvailableError: a send to the person holds the barrier; the message must come again.

    """
    writer = at.person(inbound.sender.address)
    answer = await _understood(at, inbound, writer)
    if answer is None:
        return await _unmatched(at, inbound)
    detail: dict[str, Any] = {"email_id": str(answer.email.email_id), "intent": answer.reading.intent}
    if inbound.auto:
        return await _tell_note(at, answer, detail)
    # Who asks to be left alone is left alone, also where they wrote from another address than the lead's.
    opts_out = answer.reading.intent == "unsubscribe"
    people = sorted({answer.email.lead_key} | ({writer} if opts_out and writer else set()))
    await stop_people(at.tx, at.team_id, people)
    if not await rows.insert_reply(at.tx, _row(at, answer)):
        return _known(detail)
    events: list[Event] = [_received(at, answer)]
    if opts_out:
        events.append(_unsubscribed(answer))
    event_ids = await at.record(*events)
    await at.stop([answer.email.lead_key], "replied", event_ids[0])
    if opts_out:
        await at.stop(people, "unsubscribe", event_ids[1])
        await at.suppress(answer.email.lead_email, "unsubscribe")
        await at.suppress(inbound.sender.address, "unsubscribe")
    return Outcome(name="reply", detail=detail | {"reply_id": str(answer.id), "match": answer.match.method})


async def _tell_note(at: Sorting, answer: Answer, detail: dict[str, Any]) -> Outcome:
    """An automatic answer: stored and told, at most one a day and lead; it stops nobody."""
    name = answer.reading.intent
    since = at.raw.internal_date - ONE_NOTE_PER
    if await rows.has_recent_note(at.tx, at.team_id, answer.lead_id, since):
        return Outcome(name=name, detail=detail | {"repeated": True})
    if not await rows.insert_reply(at.tx, _row(at, answer)):
        return _known(detail)
    await at.record(_received(at, answer))
    return Outcome(name=name, detail=detail | {"reply_id": str(answer.id), "match": answer.match.method})


def _known(detail: dict[str, Any]) -> Outcome:
    return Outcome(name="ignored", detail=detail | {"why": "the same message came before"})


async def _understood(at: Sorting, inbound: Inbound, writer: bytes | None) -> Answer | None:
    """The answer with its email: by the ids that the message names, else by its writer's address."""
    since = at.raw.internal_date - timedelta(days=ADDRESS_DAYS)
    named = [*inbound.in_reply_to, *inbound.references]
    known = await sent.by_message_id(at.tx, at.team_id, named)
    by_id = {id_: email.email_id for email in known for id_ in email.message_ids}
    match = match_by_id(inbound.in_reply_to, inbound.references, by_id)
    if match is None and writer is not None:
        known = await sent.by_person(at.tx, at.team_id, writer, since)
        candidates = [
            Candidate(email_id=each.email_id, inbox_id=each.inbox_id, committed_at=each.committed_at) for each in known
        ]
        match = match_by_address(candidates, at.raw.inbox_id, at.raw.internal_date)
    email = next((each for each in known if match and each.email_id == match.email_id), None)
    if match is None or email is None or email.lead_id is None:
        return None
    reading = classify(inbound, email.body_text or "")
    return Answer(id=new_id(), inbound=inbound, email=email, lead_id=email.lead_id, match=match, reading=reading)


async def _unmatched(at: Sorting, inbound: Inbound) -> Outcome:
    """Nobody's answer: shown to people with whom it might come from; a machine's is nobody's business."""
    if inbound.auto:
        return Outcome(name="ignored", detail={"why": "automatic, and answers no email of ours"})
    domain = inbound.sender.address.rpartition("@")[2]
    leads: list[UUID] = []
    if not is_freemail(domain):
        since = at.raw.internal_date - timedelta(days=CANDIDATE_DAYS)
        leads = await sent.leads_at_domain(at.tx, at.team_id, at.raw.inbox_id, domain, since)
    return Outcome(name="unmatched", detail={"candidates": [str(each) for each in leads]})


def _row(at: Sorting, answer: Answer) -> rows.NewReply:
    inbound = answer.inbound
    # Without an id of its own, or with one that does not fit, a message is known by what it is (B36).
    message_id = inbound.message_id or ""
    if not 0 < len(message_id) <= MAX_ID_CHARS:
        message_id = f"sha256:{at.raw.dedupe.hex()}"
    return rows.NewReply(
        id=answer.id,
        team_id=at.team_id,
        email_id=answer.email.email_id,
        lead_id=answer.lead_id,
        inbox_id=at.raw.inbox_id,
        campaign_id=answer.email.campaign_id,
        message_id=message_id,
        in_reply_to=next((each for each in inbound.in_reply_to if len(each) <= MAX_ID_CHARS), None),
        from_email=inbound.sender.address[:MAX_NAME_CHARS],
        from_name=inbound.sender.name[:MAX_NAME_CHARS] or None,
        subject=inbound.subject[:MAX_SUBJECT_CHARS],
        body_text=inbound.body[:MAX_BODY_CHARS],
        body_preview=new_text(inbound.body, answer.email.body_text or "")[:MAX_PREVIEW_CHARS],
        intent=answer.reading.intent,
        intent_confidence=answer.reading.confidence,
        intent_model=MODEL,
        received_at=at.raw.internal_date,
        created_at=at.now,
        match_method=answer.match.method,
        match_confidence=answer.match.confidence,
        needs_review=answer.reading.needs_review,
        raw_id=at.raw.id,
        return_date=inbound.auto.return_date if inbound.auto else None,
    )


def _received(at: Sorting, answer: Answer) -> ReplyReceived:
    email = answer.email
    return ReplyReceived(
        reply_id=answer.id,
        lead_id=answer.lead_id,
        inbox_id=at.raw.inbox_id,
        campaign_id=email.campaign_id,
        intent=answer.reading.intent,
        confidence=answer.reading.confidence,
        model=MODEL,
        match_method=answer.match.method,
        match_confidence=answer.match.confidence,
        needs_review=answer.reading.needs_review,
        email_id=email.email_id,
        step_id=email.step_id,
        variant_id=email.variant_id,
        return_date=answer.inbound.auto.return_date if answer.inbound.auto else None,
        sent_on=email.sent_on,
        inbox_sent_on=email.inbox_sent_on,
    )


def _unsubscribed(answer: Answer) -> LeadUnsubscribed:
    email = answer.email
    return LeadUnsubscribed(
        lead_id=answer.lead_id,
        method="reply",
        email_id=email.email_id,
        campaign_id=email.campaign_id,
        step_id=email.step_id,
        variant_id=email.variant_id,
        inbox_id=email.inbox_id,
        sent_on=email.sent_on,
        inbox_sent_on=email.inbox_sent_on,
    )
