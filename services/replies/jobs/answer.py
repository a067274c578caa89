"""A person's reply, or a machine's: matched, understood, stored and told; a person's stops the sequence.

Never stops anybody for an automatic answer that does not say that its owner has left, and never tells the same message
twice. What is nobody's answer is kept for people to assign (assign.py); who opts out in it is left alone at once.
"""

from datetime import UTC, datetime, time
from typing import Any
from uuid import UUID

import msgspec

from libs.schema.events.base import Event
from libs.schema.events.lead import LeadUnsubscribed
from libs.schema.events.reply import ReplyReceived
from libs.schema.ids import normalise_address
from libs.schema.runtime.barrier import stop_people
from libs.schema.runtime.clock import new_id
from services.replies.jobs.matching import find
from services.replies.outcomes import Outcome, Sorting, ignored
from services.replies.queries import effects as rows
from services.replies.queries import sent
from services.replies.queries.sent import SentEmail
from services.replies.rules.inspection import Inbound, classify, own_words
from services.replies.rules.intent import MODEL, Reading
from services.replies.rules.match import Match

# The columns' sizes (seed §6.3), and as much of a body as is worth showing.
MAX_ID_CHARS, MAX_SUBJECT_CHARS, MAX_PREVIEW_CHARS, MAX_NAME_CHARS, MAX_BODY_CHARS = 255, 500, 500, 255, 100_000
MAX_ANSWERS = 20  # ids that an unmatched message is found by again
MAX_SHOWN_CHARS = 20_000  # of an unmatched message, for whoever is to say whose it is


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """A message that answers a lead's email, or at least comes from a lead, understood."""

    id: UUID
    inbound: Inbound
    match: Match
    email: SentEmail | None
    reading: Reading
    people: frozenset[bytes]  # the lead, to whom the email went, and who wrote, unless that is a machine
    addresses: frozenset[str]  # theirs
    is_alias: bool


async def sort_answer(at: Sorting, inbound: Inbound) -> Outcome:
    """The outcome of a reply or an automatic answer, after its effects.

    Raises:
        asyncpg.LockNotAvailableError: a send to the person holds the barrier; the message must come again.

    """
    found = await find(at, inbound, at.person(inbound.sender.address))
    outcome = await tell_answer(at, inbound, found.match) if found.match else None
    return outcome or await _sort_unmatched(at, inbound, [str(each) for each in found.candidates])


async def tell_answer(at: Sorting, inbound: Inbound, match: Match) -> Outcome | None:
    """The outcome of a message whose lead is known, after its effects; None where that lead is gone.

    Raises:
        asyncpg.LockNotAvailableError: as above.

    """
    answer = await _understood(at, inbound, match)
    if answer is None:
        return None
    people = sorted(answer.people)
    await stop_people(at.tx, at.team_id, people)
    row = _row(at, answer)
    detail: dict[str, Any] = {"email_id": row.email_id and str(row.email_id), "intent": row.intent}
    if answer.reading.because:
        detail["because"] = list(answer.reading.because)
    name = row.intent if inbound.auto else "reply"
    if inbound.auto and await rows.is_noted(at.tx, row, datetime.combine(row.received_at, time(), UTC)):
        return Outcome(name=name, detail=detail | {"repeated": True})
    if not await rows.insert_reply(at.tx, row):
        copies = await rows.find_copies(at.tx, at.team_id, row.message_id)
        return ignored("copy", **detail, reply_id=str(copies.reply_id))
    await _record(at, answer, row, people)
    return Outcome(name=name, detail=detail | {"reply_id": str(row.id), "match": row.match_method})


async def _record(at: Sorting, answer: Answer, row: rows.NewReply, people: list[bytes]) -> None:
    """Events, stops and suppressions of an answer that has just been stored."""
    # Who asks to be left alone is left alone, also where they wrote from another address than the lead's.
    opts_out = answer.reading.intent == "unsubscribe"
    events: list[Event] = [_received(answer, row)]
    if opts_out:
        events.append(_unsubscribed(row, answer.email))
    event_ids = await at.record(*events)
    if row.left_company:
        await at.stop(people, "left_company", event_ids[0])
    if not answer.inbound.auto:
        await at.stop(people, "replied", event_ids[0])
    if opts_out:
        await at.stop(people, "unsubscribe", event_ids[1])
        for address in sorted(answer.addresses):
            await at.suppress(address, "unsubscribe")


async def _understood(at: Sorting, inbound: Inbound, match: Match) -> Answer | None:
    email = next(iter(await sent.read_sent(at.tx, at.team_id, [match.email_id])), None) if match.email_id else None
    lead = None if email else await sent.find_lead(at.tx, at.team_id, match.lead_id)
    if email is None and lead is None:
        return None
    address = email.own_email if email else lead and lead.email
    writer = at.person(inbound.sender.address)
    own = {at.person(address) if address else None}
    if email and email.kind == "campaign":
        own.add(email.lead_key)  # the ledger knows them also when their address is erased
    people = own | {email.lead_key if email else None, None if inbound.auto else writer}
    addresses = (address, email and email.lead_email, None if inbound.auto else inbound.sender.address)
    return Answer(
        id=new_id(),
        inbound=inbound,
        match=match,
        email=email,
        reading=classify(inbound, (email.body_text if email else None) or ""),
        people=frozenset(each for each in people if each),
        addresses=frozenset(each for each in addresses if each),
        is_alias=writer not in own,
    )


async def _sort_unmatched(at: Sorting, inbound: Inbound, leads: list[str]) -> Outcome:
    """Nobody's answer: shown to people with whom it might come from; a machine's is nobody's business."""
    if inbound.auto:
        return ignored("foreign_automatic")
    writer, reading, known_as = at.person(inbound.sender.address), classify(inbound), _known_as(at, inbound)
    await stop_people(at.tx, at.team_id, [writer] if writer else [])
    copies = await rows.find_copies(at.tx, at.team_id, known_as)
    if copies.reply_id or copies.raw_id:
        found = {"reply_id": copies.reply_id} if copies.reply_id else {"raw_id": copies.raw_id}
        return ignored("copy", **{name: str(each) for name, each in found.items()})
    if reading.intent == "unsubscribe" and writer:
        await _leave_alone(at, inbound.sender.address, writer)
    answers = [*inbound.references, *inbound.in_reply_to][-MAX_ANSWERS:]
    if at.raw.folder == "Junk" and not leads and not answers:
        return ignored("junk")
    detail = {
        "candidates": leads,
        "from": inbound.sender.address[:MAX_NAME_CHARS],
        "from_name": inbound.sender.name[:MAX_NAME_CHARS] or None,
        "subject": inbound.subject[:MAX_SUBJECT_CHARS],
        "preview": inbound.text[:MAX_PREVIEW_CHARS],
        "text": inbound.body[:MAX_SHOWN_CHARS],
        "intent": reading.intent,
        "confidence": reading.confidence,
        "message_id": known_as,
        "answers": answers,
    }
    return Outcome(name="unmatched", detail=detail)


async def _leave_alone(at: Sorting, address: str, writer: bytes) -> None:
    """Somebody to whom no email of late is known opts out: the team does not write there again."""
    lead_id = await sent.lead_by_address(at.tx, at.team_id, normalise_address(address))
    if lead_id:
        (event_id,) = await at.record(LeadUnsubscribed(lead_id=lead_id, method="reply", inbox_id=at.raw.inbox_id))
        await at.stop([writer], "unsubscribe", event_id)
    await at.suppress(address, "unsubscribe")


def _known_as(at: Sorting, inbound: Inbound) -> str:
    """The message's id; without one of its own, or with one that does not fit, it is known by what it is (B36)."""
    message_id = inbound.message_id or ""
    return message_id if 0 < len(message_id) <= MAX_ID_CHARS else f"sha256:{at.raw.dedupe.hex()}"


def _row(at: Sorting, answer: Answer) -> rows.NewReply:
    inbound, email, auto = answer.inbound, answer.email, answer.inbound.auto
    message_id = _known_as(at, inbound)
    ours = (email.body_text if email else None) or ""
    return rows.NewReply(
        id=answer.id,
        team_id=at.team_id,
        email_id=email.email_id if email else None,
        lead_id=answer.match.lead_id,
        inbox_id=at.raw.inbox_id,
        campaign_id=email.campaign_id if email else None,
        message_id=message_id,
        thread_id=(email.thread_id if email else answer.match.thread_id) or message_id,
        in_reply_to=next((each for each in inbound.in_reply_to if len(each) <= MAX_ID_CHARS), None),
        from_email=inbound.sender.address[:MAX_NAME_CHARS],
        from_name=inbound.sender.name[:MAX_NAME_CHARS] or None,
        subject=inbound.subject[:MAX_SUBJECT_CHARS],
        body_text=inbound.body[:MAX_BODY_CHARS],
        body_preview=own_words(inbound, ours)[:MAX_PREVIEW_CHARS],
        intent=answer.reading.intent,
        intent_confidence=answer.reading.confidence,
        intent_model=MODEL,
        received_at=at.raw.internal_date,
        created_at=at.now,
        match_method=answer.match.method,
        match_confidence=answer.match.confidence,
        needs_review=answer.reading.needs_review or answer.match.method == "colleague",
        is_alias=answer.is_alias,
        left_company=auto.left_company if auto else False,
        replacement=auto.replacement if auto else None,
        raw_id=at.raw.id,
        return_date=auto.return_date if auto else None,
    )


def _received(answer: Answer, row: rows.NewReply) -> ReplyReceived:
    email = answer.email
    return ReplyReceived(
        reply_id=row.id,
        lead_id=row.lead_id,
        inbox_id=row.inbox_id,
        campaign_id=row.campaign_id,
        intent=answer.reading.intent,
        confidence=row.intent_confidence,
        model=row.intent_model,
        match_method=row.match_method,
        match_confidence=row.match_confidence,
        needs_review=row.needs_review,
        is_alias=row.is_alias,
        left_company=row.left_company,
        email_id=row.email_id,
        step_id=email.step_id if email else None,
        variant_id=email.variant_id if email else None,
        return_date=row.return_date,
        sent_on=email.sent_on if email else None,
        inbox_sent_on=email.inbox_sent_on if email else None,
    )


def _unsubscribed(row: rows.NewReply, email: SentEmail | None) -> LeadUnsubscribed:
    return LeadUnsubscribed(
        lead_id=row.lead_id,
        method="reply",
        email_id=row.email_id,
        campaign_id=row.campaign_id,
        step_id=email.step_id if email else None,
        variant_id=email.variant_id if email else None,
        inbox_id=email.inbox_id if email else row.inbox_id,
        sent_on=email.sent_on if email else None,
        inbox_sent_on=email.inbox_sent_on if email else None,
    )
