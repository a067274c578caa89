"""Campaigns that start at an hour of their own: checked and frozen now, started by the sender then."""

from uuid import UUID

from fastapi import APIRouter
from starlette.responses import Response

from libs.schema.events.campaign import CampaignScheduled
from services.api.bodies.schedule import ScheduleIn
from services.api.changes import campaign_changed, terms_of
from services.api.commands import tell
from services.api.problems import Problem, refused
from services.api.queries import schedule
from services.api.readiness import check_ready
from services.api.resources import Accepted
from services.api.responses import answer, nothing, problems, shows
from services.api.routes.sequences import lock
from services.api.routing import Here, ScopedRoute, needs
from services.api.rules.start import start_time
from services.api.rules.text import Refused
from services.api.steps import save_version

router = APIRouter(prefix="/v1/campaigns", tags=["campaigns"], route_class=ScopedRoute, responses=problems())


@router.post(
    "/{campaign_id}/schedule", status_code=202, responses=shows(Accepted, 202), openapi_extra=needs("campaigns:send")
)
async def schedule_campaign(campaign_id: UUID, body: ScheduleIn, at: Here) -> Response:
    """Starts the campaign at the given hour, if nothing is missing now; a second call moves the hour."""
    campaign = await lock(at, campaign_id)
    try:
        start_at = start_time(body.start_at, at.now)
    except Refused as reason:
        raise refused(reason, pointer="/start_at") from None
    if not await schedule.schedule_campaign(at.tx, at.team_id, campaign_id, start_at):
        raise Problem("wrong_state", f"the campaign is {campaign.status}; only a draft can be scheduled")
    await check_ready(at, campaign_id)
    await save_version(at, campaign_id)  # what it starts with; later edits make newer ones
    event = CampaignScheduled(campaign_id=campaign_id, start_at=start_at, settings=await terms_of(at, campaign))
    event_id = await tell(at, event)
    return answer(Accepted(id=campaign_id, event_id=event_id, status="scheduled"), 202)


@router.delete("/{campaign_id}/schedule", status_code=204, openapi_extra=needs("campaigns:send"))
async def unschedule_campaign(campaign_id: UUID, at: Here) -> Response:
    """Makes it a draft again; a campaign that has started is paused instead."""
    campaign = await lock(at, campaign_id)
    if not await schedule.unschedule_campaign(at.tx, at.team_id, campaign_id):
        raise Problem("wrong_state", f"the campaign is {campaign.status}; only a scheduled one waits for its hour")
    await campaign_changed(at, campaign, await terms_of(at, campaign), ["status"])
    return nothing()
