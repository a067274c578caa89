"""Whom the team never mails: addresses and whole domains, put on the list by hand."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query
from starlette.responses import Response

from libs.schema.events.lead import LeadSuppressed
from libs.schema.ids import lead_key
from libs.schema.runtime import barrier
from libs.schema.runtime.outbox import record
from services.api.bodies.leads import SuppressionIn
from services.api.listing import id_in, page
from services.api.paging import DEFAULT_LIMIT, Cursor, Limit
from services.api.problems import Problem, not_found
from services.api.queries import suppressions, teams
from services.api.resources import Page, Suppression
from services.api.responses import answer, nothing, problems, shows
from services.api.routing import Here, Scope, ScopedRoute, needs

router = APIRouter(prefix="/v1/suppressions", tags=["suppressions"], route_class=ScopedRoute, responses=problems())


@router.get("", responses=shows(Page[Suppression]), openapi_extra=needs("leads:read"))
async def list_suppressions(
    at: Here,
    email: Annotated[str | None, Query(max_length=320, description="one address or domain")] = None,
    cursor: Cursor = None,
    limit: Limit = DEFAULT_LIMIT,
) -> Response:
    """The team's suppressions, newest first."""
    value = None if email is None else email.strip().lower().replace("\x00", "")

    async def fetch(before: list[str] | None, count: int) -> list[Suppression]:
        return await suppressions.list_suppressions(at.tx, at.team_id, value, id_in(before), count)

    return answer(await page(at, f"suppressions/{value}", cursor, limit, fetch, lambda row: [str(row.id)]))


@router.post("", status_code=201, responses=shows(Suppression, 201), openapi_extra=needs("leads:write"))
async def add_suppression(body: SuppressionIn, at: Here) -> Response:
    """Puts an address or a domain on the list: once this is answered, nothing more is sent there."""
    suppression_id = at.runtime.new_id()
    value = str(body.email or body.domain)
    scope = "email" if body.email else "domain"
    value_hash = lead_key(at.runtime.settings.pepper, body.email) if body.email else None
    if value_hash is None:
        await barrier.stop_everything(at.tx)  # a domain's people are not known one by one
    else:
        await barrier.stop_people(at.tx, at.team_id, [value_hash])
    if not await suppressions.add_suppression(at.tx, suppression_id, at.team_id, value, scope, value_hash, at.now):
        raise Problem("already_exists", "it is on the list already")
    known = await suppressions.leads_of(at.tx, at.team_id, value, is_domain=scope == "domain")
    events = [LeadSuppressed(lead_id=lead_id, scope=scope, reason="manual") for lead_id in known]
    await record(at.tx, at.team_id, *events, by="api", at=at.now)
    return answer(await _get(at, suppression_id), 201, location=f"/v1/suppressions/{suppression_id}")


@router.get("/{suppression_id}", responses=shows(Suppression), openapi_extra=needs("leads:read"))
async def get_suppression(suppression_id: UUID, at: Here) -> Response:
    """One suppression."""
    return answer(await _get(at, suppression_id))


@router.delete("/{suppression_id}", status_code=204, openapi_extra=needs("leads:write"))
async def remove_suppression(suppression_id: UUID, at: Here) -> Response:
    """Takes it off the list, which the audit trail remembers. Whoever opted out stays stopped where he was enrolled."""
    gone = await _get(at, suppression_id)
    await suppressions.remove_suppression(at.tx, at.team_id, suppression_id)
    detail = {"scope": gone.scope, "reason": gone.reason}
    actor = f"key/{at.caller.key_id}"
    target = f"suppression/{suppression_id}"
    await teams.add_audit(at.tx, at.team_id, actor, "suppression.remove", target, detail, at.now)
    return nothing()


async def _get(at: Scope, suppression_id: UUID) -> Suppression:
    suppression = await suppressions.get_suppression(at.tx, at.team_id, suppression_id)
    if suppression is None:
        raise not_found("suppression", parameter="suppression_id")
    return suppression
