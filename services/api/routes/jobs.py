"""Jobs: how far what was asked for has come, and how it ended. Nobody cancels one here."""

from typing import Literal
from uuid import UUID

from fastapi import APIRouter
from starlette.responses import Response

from services.api.listing import page, time_and_id_in
from services.api.paging import DEFAULT_LIMIT, Cursor, Limit
from services.api.problems import not_found
from services.api.queries import jobs
from services.api.resources import Page
from services.api.responses import answer, problems, shows
from services.api.routing import Here, ScopedRoute, needs
from services.api.unibox import Job

router = APIRouter(prefix="/v1/jobs", tags=["jobs"], route_class=ScopedRoute, responses=problems())

JobStatus = Literal["waiting", "active", "completed", "failed", "delayed"]


@router.get("", responses=shows(Page[Job]), openapi_extra=needs("results:read"))
async def list_jobs(
    at: Here, status: JobStatus | None = None, cursor: Cursor = None, limit: Limit = DEFAULT_LIMIT
) -> Response:
    """The team's jobs, newest first."""

    async def fetch(before: list[str] | None, count: int) -> list[Job]:
        return await jobs.list_jobs(at.tx, at.team_id, status, time_and_id_in(before), count)

    def place(row: Job) -> list[str]:
        return [row.created_at.isoformat(), str(row.id)]

    return answer(await page(at, f"jobs/{status}", cursor, limit, fetch, place))


@router.get("/{job_id}", responses=shows(Job), openapi_extra=needs("results:read"))
async def get_job(job_id: UUID, at: Here) -> Response:
    """One job: `completed` with its result, `failed` with what to do about it, or on its way."""
    job = await jobs.get_job(at.tx, at.team_id, job_id)
    if job is None:
        raise not_found("job", parameter="job_id")
    return answer(job)
