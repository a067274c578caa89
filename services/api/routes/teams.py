"""The team itself: its address and zone; plan and limits are the operator's."""

from fastapi import APIRouter
from starlette.responses import Response

from services.api.bodies.inboxes import TeamPatch
from services.api.changes import team_changed
from services.api.problems import not_found
from services.api.queries import teams
from services.api.resources import Team
from services.api.responses import answer, problems, shows
from services.api.routing import Here, ScopedRoute, needs
from services.api.unibox import Members

router = APIRouter(prefix="/v1/team", tags=["team"], route_class=ScopedRoute, responses=problems())


@router.get("", responses=shows(Team), openapi_extra=needs("team:read"))
async def get_team(at: Here) -> Response:
    """The key's team."""
    return answer(await _team(at))


@router.patch("", responses=shows(Team), openapi_extra=needs("team:write"))
async def update_team(body: TeamPatch, at: Here) -> Response:
    """Changes the named fields. The address stands under every email; without one no campaign can be activated.

    A new zone or limit moves all queued mails of the team at once.
    """
    await teams.lock_team(at.tx, at.team_id)
    changes, before = body.given(), await _team(at)
    if "settings" in changes:
        changes["settings"] = before.settings | body.settings.given()
    await teams.update_team(at.tx, at.team_id, changes)
    after = await _team(at)
    await team_changed(at, before, after)
    return answer(after)


@router.get("/members", responses=shows(Members), openapi_extra=needs("team:read"))
async def list_members(at: Here) -> Response:
    """The team's people: to whom a conversation can be handed (PATCH /v1/threads/{conversation_id})."""
    return answer(Members(data=await teams.list_members(at.tx, at.team_id)))


async def _team(at: Here) -> Team:
    team = await teams.get_team(at.tx, at.team_id)
    if team is None:
        raise not_found("team")
    return team
