"""The unibox: conversations of all mailboxes, listed, searched, read, handed to somebody, archived."""

from typing import Annotated, Literal
from uuid import UUID

from fastapi import APIRouter, Header, Query
from starlette.responses import Response

from libs.schema.events.reply import Intent
from services.api.bodies.unibox import ThreadPatch
from services.api.commands import audit
from services.api.listing import page, time_and_id_in
from services.api.paging import DEFAULT_LIMIT, Cursor, Limit
from services.api.problems import Problem, not_found, refused
from services.api.queries import replies, threads
from services.api.resources import Page
from services.api.responses import answer, etag, problems, shows
from services.api.routes.leads import LeadStatus
from services.api.routing import Here, Scope, ScopedRoute, needs
from services.api.rules.search import words_query
from services.api.rules.text import Refused, line
from services.api.unibox import Thread, ThreadContent, ThreadMessage, UnreadCounts

router = APIRouter(prefix="/v1/threads", tags=["threads"], route_class=ScopedRoute, responses=problems())

Unread = Annotated[bool | None, Query(description="only those with, or without, an unread reply of a person")]
Archived = Annotated[bool | Literal["any"], Query(description="only those that are archived, or `any`")]
NeedsReview = Annotated[bool | None, Query(description="only those with, or without, a reply that a person should see")]
AssignedTo = Annotated[
    UUID | Literal["anybody", "none"] | None, Query(description="a member's id; `anybody`; or `none` for nobody's")
]
Search = Annotated[
    str | None,
    Query(
        max_length=200,
        description="words, or beginnings of words: of a reply's writer, subject and text, and of answers by hand",
    ),
]
IfMatch = Annotated[str | None, Header(description="the ETag of what was seen; 412 when another reply has come")]


@router.get("", responses=shows(Page[Thread]), openapi_extra=needs("results:read"))
async def list_threads(  # noqa: PLR0913, PLR0917  each argument is a documented filter
    at: Here,
    inbox_id: UUID | None = None,
    campaign_id: UUID | None = None,
    lead_id: UUID | None = None,
    lead_status: LeadStatus | None = None,
    intent: Intent | None = None,
    unread: Unread = None,
    *,
    archived: Archived = False,
    needs_review: NeedsReview = None,
    assigned_to: AssignedTo = None,
    q: Search = None,
    cursor: Cursor = None,
    limit: Limit = DEFAULT_LIMIT,
) -> Response:
    """Conversations in which the lead's side has answered, the newest reply first."""
    wanted = threads.ThreadFilter(
        inbox_id=inbox_id,
        campaign_id=campaign_id,
        lead_id=lead_id,
        lead_status=lead_status,
        intent=intent,
        archived=None if archived == "any" else archived,
        unread=unread,
        needs_review=needs_review,
        assigned=None if assigned_to is None else assigned_to != "none",
        assigned_to=assigned_to if isinstance(assigned_to, UUID) else None,
        words=_words(q),
    )

    async def fetch(before: list[str] | None, count: int) -> list[Thread]:
        return await threads.list_threads(at.tx, at.team_id, wanted, time_and_id_in(before), count)

    def place(row: Thread) -> list[str]:
        return [row.last_reply_at.isoformat(), str(row.last_reply_id)]

    return answer(await page(at, f"threads/{wanted}", cursor, limit, fetch, place))


@router.get("/counts", responses=shows(UnreadCounts), openapi_extra=needs("results:read"))
async def count_unread(at: Here) -> Response:
    """How many replies of people are unread, in all, by mailbox, by campaign and by intent. Automatic notes are not."""
    counts = await replies.count_unread(at.tx, at.team_id)
    return answer(
        UnreadCounts(
            total=sum(each.unread for each in counts["total"]),
            by_inbox=counts["inbox"],
            by_campaign=counts["campaign"],
            by_intent=counts["intent"],
        )
    )


@router.get("/{conversation_id}", responses=shows(ThreadContent), openapi_extra=needs("results:read"))
async def get_thread(conversation_id: UUID, at: Here, cursor: Cursor = None, limit: Limit = DEFAULT_LIMIT) -> Response:
    """A conversation: what both sides wrote, oldest first, with answers that are still on their way."""
    thread = await _thread(at, conversation_id)

    async def fetch(after: list[str] | None, count: int) -> list[ThreadMessage]:
        return await threads.list_messages(at.tx, at.team_id, conversation_id, time_and_id_in(after), count)

    def place(row: ThreadMessage) -> list[str]:
        return [row.at.isoformat(), str(row.id)]

    found = await page(at, f"threads/{conversation_id}", cursor, limit, fetch, place)
    content = ThreadContent(thread=thread, messages=found.data, next_cursor=found.next_cursor)
    return answer(content, etag=etag(thread.reply_count))


@router.patch("/{conversation_id}", responses=shows(Thread), openapi_extra=needs("replies:write"))
async def update_thread(conversation_id: UUID, body: ThreadPatch, at: Here, *, if_match: IfMatch = None) -> Response:
    """Marks all its replies as read or archived, and says whose it is. A later reply is unread and not archived."""
    before = await _thread(at, conversation_id)
    await replies.mark_conversation(at.tx, at.team_id, conversation_id, body.marks(), at.now)
    if "assigned_to" in body.given():
        await _assign(at, before, body.assigned_to)
    after = await _thread(at, conversation_id)
    tag = etag(after.reply_count)
    # Read after they were marked: whatever was marked is counted.
    if if_match not in {None, "*", tag}:
        raise Problem("stale_revision", "another reply has come; read the conversation again")
    return answer(after, etag=tag)


async def _assign(at: Scope, thread: Thread, user_id: UUID | None) -> None:
    had = thread.assigned_to and thread.assigned_to.id
    if user_id == had:
        return
    if user_id is None:
        await threads.unassign(at.tx, at.team_id, thread.id)
    elif not await threads.assign(at.tx, at.team_id, thread.id, user_id, at.now):
        raise not_found("member", pointer="/assigned_to")
    detail = {"from": had and str(had), "to": user_id and str(user_id)}
    await audit(at, "thread.assign", f"thread/{thread.id}", detail)


def _words(typed: str | None) -> str | None:
    if typed is None:
        return None
    try:
        query = words_query(line(typed))
    except Refused as reason:
        raise refused(reason, parameter="q") from None
    if query is None:
        blank = Refused("blank", "there is no word in it", "type letters or digits, or leave it out")
        raise refused(blank, parameter="q")
    return query


async def _thread(at: Scope, conversation_id: UUID) -> Thread:
    thread = await threads.get_thread(at.tx, at.team_id, conversation_id)
    if thread is None:
        raise not_found("thread", parameter="conversation_id")
    return thread
