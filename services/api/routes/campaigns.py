"""Campaigns: their definition, and the commands that start, pause and end them."""

from datetime import time
from typing import Any, Literal
from uuid import UUID

from fastapi import APIRouter
from starlette.responses import Response

from libs.planning.settings import campaign_rules
from libs.schema.events.campaign import (
    CampaignActivated,
    CampaignArchived,
    CampaignPaused,
    CampaignResumed,
)
from libs.schema.runtime import barrier
from services.api.bodies.campaigns import CampaignIn, CampaignInboxesIn, CampaignPatch
from services.api.changes import campaign_changed, terms_of
from services.api.commands import tell
from services.api.listing import id_in, page
from services.api.paging import DEFAULT_LIMIT, Cursor, Limit
from services.api.positions import MinPosition
from services.api.problems import Problem, not_found, refused
from services.api.queries import campaigns, leads, teams
from services.api.readiness import check_ready
from services.api.resources import Accepted, Campaign, CampaignInboxes, Page
from services.api.responses import answer, etag, nothing, problems, shows
from services.api.routes.sequences import IfMatch, get_or_404, lock
from services.api.routing import Here, Scope, ScopedRoute, needs
from services.api.rules.text import Refused
from services.api.rules.windows import check_window
from services.api.steps import save_steps, save_version

router = APIRouter(prefix="/v1/campaigns", tags=["campaigns"], route_class=ScopedRoute, responses=problems())

CampaignStatus = Literal["draft", "scheduled", "active", "paused", "completed", "archived"]


@router.get("", responses=shows(Page[Campaign]), openapi_extra=needs("campaigns:read"))
async def list_campaigns(
    at: Here,
    status: CampaignStatus | None = None,
    cursor: Cursor = None,
    limit: Limit = DEFAULT_LIMIT,
    min_position: MinPosition = None,  # noqa: ARG001  waited for before the transaction (positions.py)
) -> Response:
    """The team's campaigns, newest first."""

    async def fetch(before: list[str] | None, count: int) -> list[Campaign]:
        return await campaigns.list_campaigns(at.tx, at.team_id, status, id_in(before), count)

    return answer(await page(at, f"campaigns/{status}", cursor, limit, fetch, lambda row: [str(row.id)]))


@router.post("", status_code=201, responses=shows(Campaign, 201), openapi_extra=needs("campaigns:write"))
async def add_campaign(body: CampaignIn, at: Here) -> Response:
    """Makes a draft, with its steps and inboxes where they are given."""
    await _check_room(at)
    await _check_list(at, body.lead_list_id)
    _check_lead_window(body.settings.model_dump())
    campaign_id = at.runtime.new_id()
    await campaigns.add_campaign(
        at.tx,
        campaign_id,
        at.team_id,
        body.lead_list_id,
        body.name,
        body.description,
        body.settings.model_dump(),
        at.now,
    )
    await save_steps(at, campaign_id, body.sequences)
    await _set_inboxes(at, campaign_id, body.inbox_ids)
    campaign = await get_or_404(at, campaign_id)
    return answer(campaign, 201, location=f"/v1/campaigns/{campaign_id}", etag=etag(campaign.revision))


@router.get("/{campaign_id}", responses=shows(Campaign), openapi_extra=needs("campaigns:read"))
async def get_campaign(
    campaign_id: UUID,
    at: Here,
    min_position: MinPosition = None,  # noqa: ARG001  waited for before the transaction (positions.py)
) -> Response:
    """One campaign, with its counters."""
    campaign = await get_or_404(at, campaign_id)
    return answer(campaign, etag=etag(campaign.revision))


@router.patch("/{campaign_id}", responses=shows(Campaign), openapi_extra=needs("campaigns:write"))
async def update_campaign(campaign_id: UUID, body: CampaignPatch, at: Here, if_match: IfMatch = None) -> Response:
    """Changes the named fields and settings; a running campaign goes on with them, its queued mails too.

    Mails that have their second get another one where what was changed decides about it. A new list is who may enter
    from now on: who is on the way stays, and who was stopped does not come back.
    """
    campaign = await lock(at, campaign_id, if_match)
    was = await terms_of(at, campaign)
    await _check_list(at, body.lead_list_id)
    changes = body.given()
    settings = body.settings.given() if "settings" in changes else {}
    _check_lead_window(campaign.settings | settings)
    changes.pop("settings", None)
    await campaigns.update_campaign(at.tx, at.team_id, campaign_id, changes, settings)
    saved = await get_or_404(at, campaign_id)
    also = [name for name in ("name", "description") if getattr(saved, name) != getattr(campaign, name)]
    also += [name for name in settings if name not in was and saved.settings.get(name) != campaign.settings.get(name)]
    await campaign_changed(at, saved, was, also)
    return answer(saved, etag=etag(saved.revision))


@router.delete("/{campaign_id}", status_code=204, openapi_extra=needs("campaigns:write"))
async def archive_campaign(campaign_id: UUID, at: Here) -> Response:
    """Puts the campaign away for good: nothing more is sent from it, its history stays."""
    await get_or_404(at, campaign_id)  # before the lock: nobody holds up another team's campaign
    await barrier.stop_campaign(at.tx, campaign_id)
    await lock(at, campaign_id)
    await campaigns.archive_campaign(at.tx, at.team_id, campaign_id, at.now)
    await tell(at, CampaignArchived(campaign_id=campaign_id))
    return nothing()


@router.get("/{campaign_id}/inboxes", responses=shows(CampaignInboxes), openapi_extra=needs("campaigns:read"))
async def get_campaign_inboxes(campaign_id: UUID, at: Here) -> Response:
    """The inboxes that it sends from."""
    await get_or_404(at, campaign_id)
    return answer(CampaignInboxes(data=await campaigns.list_campaign_inboxes(at.tx, at.team_id, campaign_id)))


@router.put("/{campaign_id}/inboxes", responses=shows(CampaignInboxes), openapi_extra=needs("campaigns:write"))
async def put_campaign_inboxes(campaign_id: UUID, body: CampaignInboxesIn, at: Here) -> Response:
    """Makes these the campaign's inboxes: first mails that wait are shared out anew, follow-ups stay where they are."""
    campaign = await lock(at, campaign_id)
    was = await terms_of(at, campaign)
    await _set_inboxes(at, campaign_id, body.inbox_ids)
    await campaign_changed(at, campaign, was)
    return answer(CampaignInboxes(data=await campaigns.list_campaign_inboxes(at.tx, at.team_id, campaign_id)))


@router.post(
    "/{campaign_id}/activate",
    status_code=202,
    responses=shows(Accepted, 202),
    openapi_extra=needs("campaigns:send"),
)
async def activate_campaign(campaign_id: UUID, at: Here) -> Response:
    """Starts a draft: its leads are enrolled and mailed from now on. Refuses with everything that is missing."""
    campaign = await lock(at, campaign_id)
    if campaign.status not in {"draft", "scheduled"}:
        raise Problem("wrong_state", f"the campaign is {campaign.status}; only a draft can be activated")
    version = await save_version(at, campaign_id)
    await check_ready(at, campaign_id)
    await campaigns.activate_campaign(at.tx, at.team_id, campaign_id, at.now)
    event_id = await tell(
        at,
        CampaignActivated(campaign_id=campaign_id, sequence_version=version, settings=await terms_of(at, campaign)),
    )
    return answer(Accepted(id=campaign_id, event_id=event_id, status="active"), 202)


@router.post(
    "/{campaign_id}/pause", status_code=202, responses=shows(Accepted, 202), openapi_extra=needs("campaigns:send")
)
async def pause_campaign(campaign_id: UUID, at: Here) -> Response:
    """Stops sending: once this is answered, no message of the campaign passes its point of no return."""
    campaign = await get_or_404(at, campaign_id)
    await barrier.stop_campaign(at.tx, campaign_id)
    if not await campaigns.pause_campaign(at.tx, at.team_id, campaign_id, at.now):
        raise Problem("wrong_state", f"the campaign is {campaign.status}; only an active one can be paused")
    event_id = await tell(at, CampaignPaused(campaign_id=campaign_id))
    return answer(Accepted(id=campaign_id, event_id=event_id, status="paused"), 202)


@router.post(
    "/{campaign_id}/resume", status_code=202, responses=shows(Accepted, 202), openapi_extra=needs("campaigns:send")
)
async def resume_campaign(campaign_id: UUID, at: Here) -> Response:
    """Goes on where the campaign was; slots that passed meanwhile are planned anew."""
    campaign = await lock(at, campaign_id)
    if campaign.status != "paused":
        raise Problem("wrong_state", f"the campaign is {campaign.status}; only a paused one can be resumed")
    await check_ready(at, campaign_id)
    await campaigns.activate_campaign(at.tx, at.team_id, campaign_id, at.now)
    event_id = await tell(at, CampaignResumed(campaign_id=campaign_id))
    return answer(Accepted(id=campaign_id, event_id=event_id, status="active"), 202)


async def _check_room(at: Scope) -> None:
    await teams.lock_team(at.tx, at.team_id)
    team = await teams.get_team(at.tx, at.team_id)
    if team is not None and await campaigns.count_campaigns(at.tx, at.team_id) >= team.max_campaigns:
        raise Problem("plan_limit", f"the team may have {team.max_campaigns} campaigns")


async def _check_list(at: Scope, lead_list_id: UUID | None) -> None:
    if lead_list_id is not None and await leads.get_lead_list(at.tx, at.team_id, lead_list_id) is None:
        raise not_found("lead list", pointer="/lead_list_id")


def _check_lead_window(settings: dict[str, Any]) -> None:
    """Looks at the whole: a change of the start alone may meet the end that was there."""
    rules = campaign_rules(settings)
    try:
        check_window(time.fromisoformat(rules.lead_window_start), time.fromisoformat(rules.lead_window_end))
    except Refused as reason:
        raise refused(reason, pointer="/settings/lead_window_end") from None


async def _set_inboxes(at: Scope, campaign_id: UUID, inbox_ids: list[UUID]) -> None:
    known = await campaigns.find_inboxes(at.tx, at.team_id, inbox_ids)
    for place, inbox_id in enumerate(inbox_ids):
        if inbox_id not in known:
            raise not_found("inbox", pointer=f"/inbox_ids/{place}")
    await campaigns.set_campaign_inboxes(at.tx, at.team_id, campaign_id, inbox_ids)
