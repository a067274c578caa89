"""What will become of a campaign: everything that would go wrong with it, and its whole run on a virtual clock.

Decides nothing and changes nothing; the sender's own planner is asked.
"""

from functools import partial
from uuid import UUID

import msgspec
from fastapi import APIRouter
from starlette.responses import Response

from libs.planning.preflight.check import preflight
from libs.planning.preflight.findings import Report
from libs.planning.preflight.queries import read_plan, read_readers
from libs.planning.preflight.trial import MAX_LEADS
from libs.planning.simulate.outlook import outlook
from libs.planning.simulate.queries import Asked, read_team_world
from libs.planning.simulate.run import simulate
from libs.planning.simulate.simulation import NotSimulatedError, Simulation, World
from libs.schema.ids import lead_key
from services.api.alone import alone
from services.api.bodies.forecast import SimulationIn
from services.api.problems import Fault, Problem, not_found
from services.api.readiness import can_unsubscribe
from services.api.responses import answer, problems, shows
from services.api.routing import Here, Scope, ScopedRoute, needs

router = APIRouter(prefix="/v1/campaigns", tags=["forecast"], route_class=ScopedRoute, responses=problems())

# Of the planner at a lead, some 50 µs each: a request holds its transaction meanwhile. The command looks on for longer.
MOST_LOOKS = 100_000


@router.post("/{campaign_id}/preflight", responses=shows(Report), openapi_extra=needs("campaigns:read"))
async def preflight_campaign(campaign_id: UUID, at: Here) -> Response:
    """Everything that would go wrong, each with its mend; what is an error refuses activation too."""
    plan = await read_plan(at.tx, at.team_id, campaign_id, at.now)
    if plan is None:
        raise not_found("campaign", parameter="campaign_id")
    pepper = at.runtime.settings.pepper
    readers = [
        msgspec.structs.replace(reader, lead_key=lead_key(pepper, reader.email))
        for reader in await read_readers(at.tx, at.team_id, plan, MAX_LEADS)
    ]
    return answer(await alone(partial(preflight, plan, readers, can_unsubscribe=can_unsubscribe(at))))


@router.post("/{campaign_id}/simulation", responses=shows(Simulation), openapi_extra=needs("campaigns:read"))
async def simulate_campaign(campaign_id: UUID, at: Here, body: SimulationIn | None = None) -> Response:
    """The whole run by the planner's own rounds: when it ends, each inbox's days, the first mails, who gets none."""
    world = await _world(at, campaign_id, body or SimulationIn())
    if world is None:
        raise not_found("campaign", parameter="campaign_id")
    return answer(await alone(lambda: outlook(simulate(world, most_looks=MOST_LOOKS))))


async def _world(at: Scope, campaign_id: UUID, body: SimulationIn) -> World | None:
    settings = at.runtime.settings
    asked = Asked(campaign_id=campaign_id, now=at.now, pepper=settings.pepper, public_url=settings.public_url)
    try:
        return await read_team_world(at.tx, at.team_id, asked, body.start_at)
    except NotSimulatedError as error:
        if error.field is None:
            raise Problem("wrong_state", str(error)) from None
        mend = "name another instant, or leave it out"
        fault = Fault(code="start", detail=str(error), pointer=f"/{error.field}", mend=mend)
        raise Problem("invalid", errors=[fault]) from None
