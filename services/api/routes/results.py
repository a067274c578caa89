"""What came of it: emails, days and events. Read only; nothing here changes anything."""

from datetime import date
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
from fastapi import APIRouter, Query
from pydantic import BeforeValidator
from starlette.responses import Response

from services.api.bodies.fields import by
from services.api.listing import id_in, page, time_and_id_in
from services.api.paging import DEFAULT_LIMIT, Cursor, Limit
from services.api.positions import MinPosition
from services.api.problems import not_found
from services.api.queries import leads, results
from services.api.resources import CloudEvent, DailyStats, Email, EmailContent, Page
from services.api.responses import answer, problems, shows
from services.api.routing import Here, Scope, ScopedRoute, needs
from services.api.rules.windows import written_date

router = APIRouter(prefix="/v1", tags=["results"], route_class=ScopedRoute, responses=problems())

EmailStatus = Literal[
    "queued", "sending", "sent", "delivered", "opened", "clicked", "bounced", "failed", "cancelled", "unknown"
]
Day = Annotated[date | None, BeforeValidator(by(written_date)), Query(description="YYYY-MM-DD, in the team's zone")]
EventType = Annotated[str, Query(pattern=r"^[a-z_]+\.[a-z_]+$", max_length=100)]
After = Annotated[UUID | None, Query(description="an event's id: only what stands behind it in the log")]


@router.get("/emails", responses=shows(Page[Email]), openapi_extra=needs("results:read"))
async def list_emails(  # noqa: PLR0913, PLR0917  each argument is a documented filter
    at: Here,
    campaign_id: UUID | None = None,
    lead_id: UUID | None = None,
    inbox_id: UUID | None = None,
    status: EmailStatus | None = None,
    cursor: Cursor = None,
    limit: Limit = DEFAULT_LIMIT,
    min_position: MinPosition = None,  # noqa: ARG001  waited for before the transaction (positions.py)
) -> Response:
    """The team's emails, newest first, without their texts."""
    wanted = results.EmailFilter(campaign_id=campaign_id, lead_id=lead_id, inbox_id=inbox_id, status=status)

    async def fetch(before: list[str] | None, count: int) -> list[Email]:
        return await results.list_emails(at.tx, at.team_id, wanted, time_and_id_in(before), count)

    return answer(
        await page(at, f"emails/{wanted}", cursor, limit, fetch, lambda row: [row.created_at.isoformat(), str(row.id)])
    )


@router.get("/emails/{email_id}", responses=shows(EmailContent), openapi_extra=needs("results:read"))
async def get_email(
    email_id: UUID,
    at: Here,
    min_position: MinPosition = None,  # noqa: ARG001  waited for before the transaction (positions.py)
) -> Response:
    """One email, with its text."""
    email = await results.get_email(at.tx, at.team_id, email_id)
    if email is None:
        raise not_found("email", parameter="email_id")
    return answer(email)


@router.get("/daily-stats", responses=shows(Page[DailyStats]), openapi_extra=needs("results:read"))
async def list_daily_stats(  # noqa: PLR0913, PLR0917  each argument is a documented filter
    at: Here,
    first: Day = None,
    last: Day = None,
    cursor: Cursor = None,
    limit: Limit = DEFAULT_LIMIT,
    min_position: MinPosition = None,  # noqa: ARG001  waited for before the transaction (positions.py)
) -> Response:
    """The team's days from `first` to `last`, newest first; everything counts on the day of its sending."""

    async def fetch(before: list[str] | None, count: int) -> list[DailyStats]:
        earlier = None if before is None else date.fromisoformat(before[0])
        return await results.list_daily_stats(at.tx, at.team_id, first, last, earlier, count)

    return answer(
        await page(at, f"daily-stats/{first}/{last}", cursor, limit, fetch, lambda row: [row.date.isoformat()])
    )


@router.get("/events", responses=shows(Page[CloudEvent]), openapi_extra=needs("results:read"))
async def list_events(  # noqa: PLR0913, PLR0917  each argument is a documented filter
    at: Here,
    type: Annotated[list[EventType] | None, Query(description="only these types")] = None,  # noqa: A002  CloudEvents' word
    after: After = None,
    cursor: Cursor = None,
    limit: Limit = DEFAULT_LIMIT,
    min_position: MinPosition = None,  # noqa: ARG001  waited for before the transaction (positions.py)
) -> Response:
    """The team's events as they stand on the stream, oldest first; `after` the last one seen tails the log."""
    return await _events(at, f"events/{type}/{after}", type, None, after, cursor, limit)


@router.get("/leads/{lead_id}/events", responses=shows(Page[CloudEvent]), openapi_extra=needs("results:read"))
async def list_events_of_lead(
    lead_id: UUID, at: Here, after: After = None, cursor: Cursor = None, limit: Limit = DEFAULT_LIMIT
) -> Response:
    """What happened to one lead, its emails and its replies, oldest first."""
    if await leads.get_lead(at.tx, at.team_id, lead_id) is None:
        raise not_found("lead", parameter="lead_id")
    subjects = await results.subjects_of_lead(at.tx, at.team_id, lead_id)
    return await _events(at, f"events/{lead_id}/{after}", None, subjects, after, cursor, limit)


async def _events(  # noqa: PLR0913, PLR0917  two routes' filters in one
    at: Scope,
    listing: str,
    types: list[str] | None,
    subjects: list[str] | None,
    after: UUID | None,
    cursor: str | None,
    limit: int,
) -> Response:
    if after is not None and not await results.knows_event(at.tx, at.team_id, after):
        raise not_found("event", parameter="after")

    async def fetch(before: list[str] | None, count: int) -> list[results.LoggedEvent]:
        return await results.list_events(at.tx, at.team_id, id_in(before) or after, types, subjects, count)

    found = await page(at, listing, cursor, limit, fetch, lambda row: [str(row.event_id)])
    # The bytes as they were written and published: they are not decoded and encoded again.
    data: list[Any] = [msgspec.Raw(row.body) for row in found.data]
    return answer({"data": data, "next_cursor": found.next_cursor})
