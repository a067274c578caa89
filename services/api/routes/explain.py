"""Answers about what will happen and why: for one lead, at any instant. Decides nothing and changes nothing."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query
from pydantic import BeforeValidator
from starlette.responses import Response

from libs.planning.explain.answer import explain
from libs.planning.explain.explanation import Explanation
from libs.planning.explain.queries import Question, read_case
from services.api.bodies.fields import by
from services.api.problems import not_found
from services.api.responses import answer, problems, shows
from services.api.routing import Here, ScopedRoute, needs
from services.api.rules.instants import written_instant

router = APIRouter(prefix="/v1", tags=["explain"], route_class=ScopedRoute, responses=problems())

Instant = Annotated[
    datetime | None,
    BeforeValidator(by(written_instant)),
    Query(alias="at", description="RFC 3339: how it was at an earlier instant, what the gates will say at a later one"),
]


@router.get("/leads/{lead_id}/explanation", responses=shows(Explanation), openapi_extra=needs("leads:read"))
async def explain_lead(
    lead_id: UUID,
    at: Here,
    campaign_id: Annotated[UUID | None, Query(description="the open sequence, when it is left out")] = None,
    instant: Instant = None,
) -> Response:
    """Why the lead is mailed, is not mailed, or when: every gate, what it saw, what set it, when it clears."""
    settings = at.runtime.settings
    asked = Question(
        lead_id=lead_id,
        campaign_id=campaign_id,
        pepper=settings.pepper,
        at=instant or at.now,
        now=at.now,
        public_url=settings.public_url,
    )
    case = await read_case(at.tx, at.team_id, asked)
    if isinstance(case, str):
        raise not_found(case, parameter=f"{case}_id")
    return answer(explain(case))
