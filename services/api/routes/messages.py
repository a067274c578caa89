"""Messages that came and matched nobody: looked at, given to a lead, put away."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query
from starlette.responses import Response

from libs.schema.commands import AssignMessage
from services.api.bodies.unibox import MessageAssignment, MessagePatch
from services.api.commands import audit, leave
from services.api.listing import page, time_and_id_in
from services.api.paging import DEFAULT_LIMIT, Cursor, Limit
from services.api.problems import Problem, not_found
from services.api.queries import leads, messages
from services.api.resources import Page
from services.api.responses import answer, problems, shows
from services.api.routing import Here, Scope, ScopedRoute, needs
from services.api.unibox import InboundMessage, JobAccepted

router = APIRouter(prefix="/v1/messages", tags=["messages"], route_class=ScopedRoute, responses=problems())

Dismissed = Annotated[bool, Query(description="those that were put away instead")]


@router.get("/unmatched", responses=shows(Page[InboundMessage]), openapi_extra=needs("results:read"))
async def list_unmatched_messages(
    at: Here,
    inbox_id: UUID | None = None,
    *,
    dismissed: Dismissed = False,
    cursor: Cursor = None,
    limit: Limit = DEFAULT_LIMIT,
) -> Response:
    """Messages of people that answer no email we know of, newest first, with the leads that they may come from."""

    async def fetch(before: list[str] | None, count: int) -> list[InboundMessage]:
        return await messages.list_unmatched(
            at.tx, at.team_id, inbox_id, time_and_id_in(before), count, dismissed=dismissed
        )

    def place(row: InboundMessage) -> list[str]:
        return [row.received_at.isoformat(), str(row.id)]

    return answer(await page(at, f"messages/{inbox_id}/{dismissed}", cursor, limit, fetch, place))


@router.get("/{message_id}", responses=shows(InboundMessage), openapi_extra=needs("results:read"))
async def get_message(message_id: UUID, at: Here) -> Response:
    """One message, and what it turned out to be."""
    return answer(await _message(at, message_id))


@router.patch("/{message_id}", responses=shows(InboundMessage), openapi_extra=needs("replies:write"))
async def update_message(message_id: UUID, body: MessagePatch, at: Here) -> Response:
    """Puts an unmatched message away, or back on the list."""
    _unmatched(await _message(at, message_id))
    await messages.dismiss(at.tx, at.team_id, message_id, at.now, dismissed=body.is_dismissed)
    return answer(await _message(at, message_id))


@router.post(
    "/{message_id}/assign",
    status_code=202,
    responses=shows(JobAccepted, 202),
    openapi_extra=needs("replies:write"),
)
async def assign_message(message_id: UUID, body: MessageAssignment, at: Here) -> Response:
    """Says whose answer it is: it becomes a reply of that lead, with all that follows from one."""
    _unmatched(await _message(at, message_id))
    if await leads.get_lead(at.tx, at.team_id, body.lead_id) is None:
        raise not_found("lead", pointer="/lead_id")
    if body.email_id and not await messages.email_is_of_lead(at.tx, at.team_id, body.email_id, body.lead_id):
        raise not_found("email to this lead", pointer="/email_id")
    await audit(at, "message.assign", f"message/{message_id}", {"lead_id": str(body.lead_id)})
    return await leave(at, AssignMessage(raw_id=message_id, lead_id=body.lead_id, email_id=body.email_id))


def _unmatched(message: InboundMessage) -> None:
    if message.outcome != "unmatched":
        raise Problem("wrong_state", f"it is known what the message is: {message.outcome or 'not sorted yet'}")


async def _message(at: Scope, message_id: UUID) -> InboundMessage:
    message = await messages.get_message(at.tx, at.team_id, message_id)
    if message is None:
        raise not_found("message", parameter="message_id")
    return message
