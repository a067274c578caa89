"""Lead lists and leads, one by one; many at once come through leads:batch."""

from typing import Annotated, Literal
from uuid import UUID

from fastapi import APIRouter, Query
from starlette.responses import Response

from libs.schema.events.lead import LeadImported, LeadMarked
from libs.schema.ids import lead_key
from libs.schema.runtime import barrier
from services.api.bodies.leads import LeadListIn, LeadListPatch, LeadPatch
from services.api.commands import tell
from services.api.listing import id_in, page
from services.api.paging import DEFAULT_LIMIT, Cursor, Limit
from services.api.problems import not_found, refused
from services.api.queries import leads
from services.api.resources import Lead, LeadList, Page
from services.api.responses import answer, nothing, problems, shows
from services.api.routing import Here, Scope, ScopedRoute, needs
from services.api.rules.addresses import address
from services.api.rules.text import Refused, line

router = APIRouter(prefix="/v1", tags=["leads"], route_class=ScopedRoute, responses=problems())

LeadStatus = Literal[
    "pending",
    "in_sequence",
    "contacted",
    "replied",
    "interested",
    "not_interested",
    "meeting_booked",
    "bounced",
    "soft_bounced",
    "unsubscribed",
    "spam_reported",
    "sequence_complete",
]


@router.get("/lead-lists", responses=shows(Page[LeadList]), openapi_extra=needs("leads:read"))
async def list_lead_lists(at: Here, cursor: Cursor = None, limit: Limit = DEFAULT_LIMIT) -> Response:
    """The team's lists, newest first."""

    async def fetch(before: list[str] | None, count: int) -> list[LeadList]:
        return await leads.list_lead_lists(at.tx, at.team_id, id_in(before), count)

    return answer(await page(at, "lead-lists", cursor, limit, fetch, lambda row: [str(row.id)]))


@router.post("/lead-lists", status_code=201, responses=shows(LeadList, 201), openapi_extra=needs("leads:write"))
async def add_lead_list(body: LeadListIn, at: Here) -> Response:
    """Makes an empty list."""
    list_id = at.runtime.new_id()
    await leads.add_lead_list(at.tx, list_id, at.team_id, body.name, body.description, body.source, at.now)
    return answer(await _list(at, list_id), 201, location=f"/v1/lead-lists/{list_id}")


@router.get("/lead-lists/{lead_list_id}", responses=shows(LeadList), openapi_extra=needs("leads:read"))
async def get_lead_list(lead_list_id: UUID, at: Here) -> Response:
    """One list."""
    return answer(await _list(at, lead_list_id))


@router.patch("/lead-lists/{lead_list_id}", responses=shows(LeadList), openapi_extra=needs("leads:write"))
async def update_lead_list(lead_list_id: UUID, body: LeadListPatch, at: Here) -> Response:
    """Changes the named fields."""
    await _list(at, lead_list_id)
    await leads.update_lead_list(at.tx, at.team_id, lead_list_id, body.given())
    return answer(await _list(at, lead_list_id))


@router.delete("/lead-lists/{lead_list_id}", status_code=204, openapi_extra=needs("leads:write"))
async def archive_lead_list(lead_list_id: UUID, at: Here) -> Response:
    """Puts the list away; its leads stay."""
    if not await leads.archive_lead_list(at.tx, at.team_id, lead_list_id, at.now):
        raise not_found("lead list", parameter="lead_list_id")
    return nothing()


@router.get("/leads", responses=shows(Page[Lead]), openapi_extra=needs("leads:read"))
async def list_leads(  # noqa: PLR0913, PLR0917  each argument is a documented filter
    at: Here,
    lead_list_id: UUID | None = None,
    status: LeadStatus | None = None,
    email: Annotated[str | None, Query(max_length=320)] = None,
    search: Annotated[str | None, Query(max_length=200, description="words of name, company or address")] = None,
    cursor: Cursor = None,
    limit: Limit = DEFAULT_LIMIT,
) -> Response:
    """The team's leads, newest first."""
    wanted = leads.LeadFilter(
        lead_list_id=lead_list_id, status=status, email=_clean(email, "email"), search=_clean(search, "search")
    )

    async def fetch(before: list[str] | None, count: int) -> list[Lead]:
        return await leads.list_leads(at.tx, at.team_id, wanted, id_in(before), count)

    return answer(await page(at, f"leads/{wanted}", cursor, limit, fetch, lambda row: [str(row.id)]))


@router.get("/leads/{lead_id}", responses=shows(Lead), openapi_extra=needs("leads:read"))
async def get_lead(lead_id: UUID, at: Here) -> Response:
    """One lead."""
    return answer(await _lead(at, lead_id))


@router.patch("/leads/{lead_id}", responses=shows(Lead), openapi_extra=needs("leads:write"))
async def update_lead(lead_id: UUID, body: LeadPatch, at: Here) -> Response:
    """Changes the named fields; mail that is rendered later uses them, and mail that missed one goes on."""
    await _lead(at, lead_id)
    changes = body.given()
    if body.lead_list_id is not None and await leads.get_lead_list(at.tx, at.team_id, body.lead_list_id) is None:
        raise not_found("lead list", pointer="/lead_list_id")
    custom_fields = changes.pop("custom_fields", {})
    await leads.update_lead(at.tx, at.team_id, lead_id, changes, custom_fields)
    lead = await _lead(at, lead_id)
    await tell(at, LeadImported(lead_id=lead_id, lead_list_id=lead.lead_list_id, source="edit"))
    return answer(lead)


@router.delete("/leads/{lead_id}", status_code=204, openapi_extra=needs("leads:write"))
async def archive_lead(lead_id: UUID, at: Here) -> Response:
    """Puts the lead away: nothing more is sent to it, its history stays, and importing the address brings it back."""
    lead = await _lead(at, lead_id)
    key = lead_key(at.runtime.settings.pepper, lead.email)
    await barrier.stop_people(at.tx, at.team_id, [key])
    event_id = await tell(at, LeadMarked(lead_id=lead_id, status=lead.status))
    await leads.add_stop(at.tx, at.runtime.new_id(), at.team_id, key, "marked", event_id, at.now)
    await leads.archive_lead(at.tx, at.team_id, lead_id, at.now)
    return nothing()


def _clean(value: str | None, parameter: Literal["email", "search"]) -> str | None:
    if value is None:
        return None
    try:
        return address(value) if parameter == "email" else line(value)
    except Refused as reason:
        raise refused(reason, parameter=parameter) from None


async def _list(at: Scope, lead_list_id: UUID) -> LeadList:
    lead_list = await leads.get_lead_list(at.tx, at.team_id, lead_list_id)
    if lead_list is None:
        raise not_found("lead list", parameter="lead_list_id")
    return lead_list


async def _lead(at: Scope, lead_id: UUID) -> Lead:
    lead = await leads.get_lead(at.tx, at.team_id, lead_id)
    if lead is None:
        raise not_found("lead", parameter="lead_id")
    return lead
