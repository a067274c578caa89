"""Replies: read, marked, understood otherwise, answered. What changes their meaning or sends is left to its service."""

from typing import Any
from uuid import UUID

from fastapi import APIRouter
from starlette.responses import Response

from libs.schema.commands import AnswerReply, ClassifyReply
from libs.schema.events.reply import Intent
from libs.schema.ids import lead_key
from services.api.bodies.unibox import AnswerIn, IntentIn, ReplyBatch, ReplyPatch
from services.api.commands import audit, leave
from services.api.listing import page, time_and_id_in
from services.api.paging import DEFAULT_LIMIT, Cursor, Limit
from services.api.problems import Fault, Problem, not_found
from services.api.queries import replies
from services.api.resources import Page
from services.api.responses import answer, problems, shows
from services.api.routing import Here, Scope, ScopedRoute, needs
from services.api.unibox import JobAccepted, MarkResult, MarkResults, Reply

router = APIRouter(prefix="/v1", tags=["replies"], route_class=ScopedRoute, responses=problems())


@router.get("/replies", responses=shows(Page[Reply]), openapi_extra=needs("results:read"))
async def list_replies(  # noqa: PLR0913, PLR0917  each argument is a documented filter
    at: Here,
    campaign_id: UUID | None = None,
    lead_id: UUID | None = None,
    inbox_id: UUID | None = None,
    intent: Intent | None = None,
    cursor: Cursor = None,
    limit: Limit = DEFAULT_LIMIT,
) -> Response:
    """The team's replies, newest first; as conversations they are at /v1/threads."""
    wanted = replies.ReplyFilter(campaign_id=campaign_id, lead_id=lead_id, inbox_id=inbox_id, intent=intent)

    async def fetch(before: list[str] | None, count: int) -> list[Reply]:
        return await replies.list_replies(at.tx, at.team_id, wanted, time_and_id_in(before), count)

    return answer(
        await page(
            at, f"replies/{wanted}", cursor, limit, fetch, lambda row: [row.received_at.isoformat(), str(row.id)]
        )
    )


@router.get("/replies/{reply_id}", responses=shows(Reply), openapi_extra=needs("results:read"))
async def get_reply(reply_id: UUID, at: Here) -> Response:
    """One reply, with its whole text."""
    return answer(await _reply(at, reply_id))


@router.patch("/replies/{reply_id}", responses=shows(Reply), openapi_extra=needs("replies:write"))
async def mark_reply(reply_id: UUID, body: ReplyPatch, at: Here) -> Response:
    """Marks the reply as read, archived, or looked at, or takes the mark off."""
    await replies.mark_replies(at.tx, at.team_id, [reply_id], body.marks(), at.now)
    return answer(await _reply(at, reply_id))


@router.post("/replies:batch", responses=shows(MarkResults), openapi_extra=needs("replies:write"))
async def mark_replies(body: ReplyBatch, at: Here) -> Response:
    """Marks up to 1,000 replies alike; an id that is none, or no reply's, is named and loses no other."""
    ids = [_id(value) for value in body.ids]
    known = await replies.mark_replies(at.tx, at.team_id, [each for each in ids if each], body.marks(), at.now)
    results = [
        MarkResult(
            index=index, id=each, outcome="rejected" if each is None else "updated" if each in known else "not_found"
        )
        for index, each in enumerate(ids)
    ]
    outcomes = [result.outcome for result in results]
    return answer(
        MarkResults(
            updated=outcomes.count("updated"),
            not_found=outcomes.count("not_found"),
            rejected=outcomes.count("rejected"),
            results=results,
        )
    )


@router.put(
    "/replies/{reply_id}/intent",
    status_code=202,
    responses=shows(JobAccepted, 202),
    openapi_extra=needs("replies:write"),
)
async def classify_reply(reply_id: UUID, body: IntentIn, at: Here) -> Response:
    """Says what the reply means; sequence, lead and suppressions follow, and no rule or model changes it again."""
    reply = await _reply(at, reply_id)
    await audit(at, "reply.classify", f"reply/{reply_id}", {"from": reply.intent, "to": body.intent})
    return await leave(at, ClassifyReply(reply_id=reply_id, intent=body.intent))


@router.post(
    "/replies/{reply_id}/answer",
    status_code=202,
    responses=shows(JobAccepted, 202),
    openapi_extra=needs("replies:send"),
)
async def answer_reply(reply_id: UUID, body: AnswerIn, at: Here) -> Response:
    """Answers the reply's writer from the mailbox that it came to, in its thread.

    It counts against the mailbox's limits and waits for them, and for no campaign's window or state. It goes once; give
    an Idempotency-Key, so that a repeated request is one answer too.
    """
    reply = await _reply(at, reply_id)
    await _check_answerable(at, reply)
    await audit(at, "reply.answer", f"reply/{reply_id}", {"inbox_id": str(reply.inbox_id)})
    return await leave(at, AnswerReply(reply_id=reply_id, body_text=body.body_text, body_html=body.body_html))


async def _check_answerable(at: Scope, reply: Reply) -> None:
    """What the sender would refuse anyway, told at once."""
    try:
        writer = lead_key(at.runtime.settings.pepper, reply.from_email)
    except UnicodeError:
        raise _unanswerable("address", "the reply came from no address that mail can be sent to", None) from None
    state = await replies.read_answerable(at.tx, at.team_id, reply.id, writer)
    if state is None:
        raise not_found("reply", parameter="reply_id")
    if state.inbox_is_gone:
        raise _unanswerable("inbox_deleted", "the mailbox was deleted: nothing can be sent from it any more", None)
    if state.inbox_status != "active":
        mend = f"resume or reconnect it, POST /v1/inboxes/{reply.inbox_id}/resume"
        raise _unanswerable("inbox_not_active", f"the mailbox is {state.inbox_status}", mend)
    if state.suppressed is not None:
        mend = "where that is wrong, take the address off the list, DELETE /v1/suppressions/{id}"
        raise _unanswerable("suppressed", f"the address is suppressed ({state.suppressed})", mend)


def _unanswerable(code: str, detail: str, mend: str | None) -> Problem:
    fault = Fault(code=code, detail=detail, mend=mend, parameter="reply_id")
    return Problem("wrong_state", detail, errors=[fault])


def _id(value: Any) -> UUID | None:
    try:
        return UUID(value) if isinstance(value, str) else None
    except ValueError:
        return None


async def _reply(at: Scope, reply_id: UUID) -> Reply:
    reply = await replies.get_reply(at.tx, at.team_id, reply_id)
    if reply is None:
        raise not_found("reply", parameter="reply_id")
    return reply
