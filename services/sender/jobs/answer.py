"""Answers by hand: a person's words to somebody who replied become a mail of the ledger, at most one for each command.

Never lets a campaign's gates in the way, and never writes to somebody who wants no mail: T2 asks once more.
"""

import functools
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

from libs.planning.words.render import Content
from libs.schema.commands import AnswerReply
from libs.schema.events.email import EmailQueued
from libs.schema.ids import answer_send_id, lead_key, message_id, message_token
from libs.schema.runtime.db import Tx, transaction
from libs.schema.runtime.jobs import Job, RefusedError, carry_out
from libs.schema.runtime.outbox import record
from services.sender import outcomes
from services.sender.deps import Deps
from services.sender.outcomes import BY
from services.sender.queries import answer as queries
from services.sender.queries.answer import Answered, NewAnswer
from services.sender.rules.answer import answer_subject, free_slot
from services.sender.rules.lifecycle import email_status
from services.sender.rules.message import Headers, NotAnAddressError, build

# A breaker, a pause of everything or an inbox without a password: what has not gone by then is better written anew.
PATIENCE = timedelta(hours=72)


class Slot(NamedTuple):
    """Whom the answer goes to, when, and when that was decided."""

    lead_key: bytes
    at: datetime
    given_at: datetime


async def answer_replies(deps: Deps) -> bool:
    """Carries out the next command that people have left for the sender; True when there was one."""
    return await carry_out(deps, AnswerReply.QUEUE, {AnswerReply: functools.partial(queue_answer, deps)})


async def queue_answer(deps: Deps, tx: Tx, job: Job, command: AnswerReply) -> dict[str, Any]:
    """Queues the answer for the first free moment, which the result names (`scheduled_at`); the second time as well.

    Raises:
        RefusedError: nobody may be written to, or nothing can go from there.

    """
    now = deps.clock.now()
    reply = await queries.read_reply(tx, job.team_id, command.reply_id)
    if reply is None:
        raise RefusedError("The reply is gone: it was erased with its lead.")
    person = await _person(deps, tx, job.team_id, reply)
    slot = Slot(lead_key=person, at=await _free_slot(tx, reply.inbox_id, now), given_at=now)
    answer = _written(deps, job, command, reply, slot)
    _try_out(deps, answer)
    if await queries.queue_answer(tx, answer):
        event = EmailQueued(
            email_id=answer.send_id,
            kind="reply",
            lead_id=answer.lead_id,
            inbox_id=answer.inbox_id,
            scheduled_at=answer.slot_at,
        )
        await record(tx, job.team_id, event, by=BY, at=now)
    return {"email_id": answer.send_id, "scheduled_at": answer.slot_at}


async def give_up_answers(deps: Deps) -> bool:
    """Ends the answers that found no way out for three days, and tells of it; True when there were any."""
    now = deps.clock.now()
    async with transaction(deps.pool) as tx:
        overdue = await queries.overdue_answers(tx, now - PATIENCE)
        await outcomes.expire(tx, overdue, now, "no way out for three days")
    return bool(overdue)


async def _person(deps: Deps, tx: Tx, team_id: UUID, reply: Answered) -> bytes:
    """The key of the reply's writer, who may be written to from the inbox; raises RefusedError."""
    if reply.inbox_archived:
        raise RefusedError("The inbox was deleted: nothing can be sent from it any more.")
    if reply.inbox_status != "active":
        raise RefusedError(f"The inbox is {reply.inbox_status}: resume or reconnect it, then answer again.")
    try:
        person = lead_key(deps.settings.pepper, reply.from_email)
    except UnicodeError:
        raise RefusedError("The reply came from no address that mail can be sent to.") from None
    bars = await queries.read_bars(tx, team_id, person, reply)
    if bars.erased:
        raise RefusedError("The lead was erased: nothing is sent to them any more.")
    if bars.suppressed is not None:
        raise RefusedError(f"The address is suppressed ({bars.suppressed}): take it off the list, then answer again.")
    return person


async def _free_slot(tx: Tx, inbox_id: UUID, now: datetime) -> datetime:
    caps = await queries.read_caps(tx, inbox_id, now)
    slot = caps and free_slot(caps, now)
    if slot is None:
        raise RefusedError("A limit of the inbox or of the team is zero: raise it, then answer again.")
    return slot


def _written(deps: Deps, job: Job, command: AnswerReply, reply: Answered, slot: Slot) -> NewAnswer:
    send_id = answer_send_id(job.id)
    return NewAnswer(
        send_id=send_id,
        team_id=job.team_id,
        lead_id=reply.lead_id,
        lead_key=slot.lead_key,
        inbox_id=reply.inbox_id,
        message_id=message_id(deps.settings.secret_key, send_id, reply.inbox_email.rpartition("@")[2]),
        slot_at=slot.at,
        created_at=slot.given_at,
        email_status=email_status("queued"),
        campaign_id=reply.campaign_id,
        thread_id=reply.thread_id,
        in_reply_to=reply.message_id,
        from_email=reply.inbox_email,
        from_name=reply.from_name,
        to_email=reply.from_email.lower(),
        subject=answer_subject(reply.subject),
        text=command.body_text,
        html=command.body_html,
    )


def _try_out(deps: Deps, answer: NewAnswer) -> None:
    """Builds the message once, so that what cannot be sent is refused while somebody looks; raises RefusedError."""
    if not answer.text.strip():
        raise RefusedError("The answer is empty: write something.")
    headers = Headers(
        sender=answer.from_email,
        sender_name=answer.from_name,
        recipient=answer.to_email,
        date=answer.created_at,
        message_id=answer.message_id,
        reference=message_token(deps.settings.secret_key, answer.send_id),
        in_reply_to=answer.in_reply_to,
    )
    try:
        build(headers, Content(subject=answer.subject, text=answer.text, html=answer.html))
    except NotAnAddressError as error:
        raise RefusedError(f"The address of the {error.whose} is none that mail can be sent with.") from None
