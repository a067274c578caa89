"""What will become of a campaign: everything that would go wrong with it, and its whole run on a virtual clock.

Decides nothing and changes nothing; the sender's own planner is asked.
"""

from functools import partial
from uuid import UUID

import msgspec
from fastapi import APIRouter
from starlette.responses import Response

from libs.planning.findings import Report
from libs.planning.preflight import preflight
from libs.planning.preflight_queries import read_plan, read_readers
from libs.planning.trial import MAX_LEADS
from libs.schema.ids import lead_key
from services.api.alone import alone
from services.api.problems import not_found
from services.api.readiness import can_unsubscribe
from services.api.responses import answer, problems, shows
from services.api.routing import Here, ScopedRoute, needs

router = APIRouter(prefix="/v1/campaigns", tags=["forecast"], route_class=ScopedRoute, responses=problems())


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
