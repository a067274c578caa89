"""SQL of jobs: what requests left for other services, and what became of it. Their payloads are not shown."""

from datetime import datetime
from uuid import UUID

from libs.schema.runtime.db import Tx, fetch_all
from services.api.unibox import Job

LIST_JOBS = """
SELECT id, job_type AS type, status::text, attempts, result, last_error AS error,
    (payload ->> 'reply_id')::uuid AS reply_id, (payload ->> 'raw_id')::uuid AS message_id, created_at, scheduled_at,
    started_at, completed_at
FROM job_queue
WHERE team_id = $1
    AND ($2::uuid IS NULL OR id = $2)
    AND ($3::job_status IS NULL OR status = $3)
    AND ($4::timestamptz IS NULL OR (created_at, id) < ($4, $5::uuid))
ORDER BY created_at DESC, id DESC
LIMIT $6
"""


async def list_jobs(
    tx: Tx, team_id: UUID, status: str | None, before: tuple[datetime, UUID] | None, limit: int
) -> list[Job]:
    """The team's jobs, newest first, those after the given place."""
    at, after_id = before or (None, None)
    return await fetch_all(tx, Job, LIST_JOBS, team_id, None, status, at, after_id, limit)


async def get_job(tx: Tx, team_id: UUID, job_id: UUID) -> Job | None:
    """One job of the team."""
    found = await fetch_all(tx, Job, LIST_JOBS, team_id, job_id, None, None, None, 1)
    return found[0] if found else None
