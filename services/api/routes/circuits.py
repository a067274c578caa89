"""Circuit breakers, closed by a person who knows better; the sender carries it out when it hears of it."""

from collections.abc import Sequence
from uuid import UUID

from fastapi import APIRouter
from starlette.responses import Response

from libs.schema.events.base import Event
from libs.schema.events.campaign import CampaignCircuitClosed
from libs.schema.events.inbox import InboxCircuitClosed
from services.api.commands import tell
from services.api.problems import Problem, not_found
from services.api.queries import circuits, inboxes, teams
from services.api.queries.circuits import OpenCircuit
from services.api.resources import Accepted
from services.api.responses import answer, problems, shows
from services.api.routes.sequences import get_or_404
from services.api.routing import Here, Scope, ScopedRoute, needs

router = APIRouter(prefix="/v1", tags=["circuits"], route_class=ScopedRoute, responses=problems())


@router.post(
    "/inboxes/{inbox_id}/circuit/close",
    status_code=202,
    responses=shows(Accepted, 202),
    openapi_extra=needs("inboxes:write"),
)
async def close_inbox_circuit(inbox_id: UUID, at: Here) -> Response:
    """Closes every breaker of the inbox and of its SMTP host: mail goes on, and what lies before counts no more."""
    if await inboxes.get_inbox(at.tx, at.team_id, inbox_id) is None:
        raise not_found("inbox", parameter="inbox_id")
    found = await circuits.open_of_inbox(at.tx, at.team_id, inbox_id)
    closed = [InboxCircuitClosed(inbox_id=inbox_id, kind=one.kind, scope=one.scope, by_person=True) for one in found]
    return await _close(at, f"inbox/{inbox_id}", inbox_id, found, closed)


@router.post(
    "/campaigns/{campaign_id}/circuit/close",
    status_code=202,
    responses=shows(Accepted, 202),
    openapi_extra=needs("campaigns:send"),
)
async def close_campaign_circuit(campaign_id: UUID, at: Here) -> Response:
    """Closes the campaign's breaker: its mail goes on, and the bounces so far are not counted again."""
    await get_or_404(at, campaign_id)
    found = await circuits.open_of_campaign(at.tx, at.team_id, campaign_id)
    closed = [CampaignCircuitClosed(campaign_id=campaign_id, kind=one.kind, by_person=True) for one in found]
    return await _close(at, f"campaign/{campaign_id}", campaign_id, found, closed)


async def _close(
    at: Scope, target: str, target_id: UUID, found: Sequence[OpenCircuit], closed: Sequence[Event]
) -> Response:
    if not found:
        raise Problem("wrong_state", "no circuit breaker is open here")
    event_ids = [await tell(at, event) for event in closed]
    detail = {"open": [{"kind": one.kind, "scope": one.scope, "failures": one.failures} for one in found]}
    await teams.add_audit(at.tx, at.team_id, f"key/{at.caller.key_id}", "circuit.close", target, detail, at.now)
    return answer(Accepted(id=target_id, event_id=event_ids[-1], status="closed"), 202)
