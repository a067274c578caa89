"""Commands that a request leaves for another service: carried out, and answered, in one transaction.

Never carries a command out twice: its effects and the end of its row commit together. Never loses one: what fails is
tried again with growing pauses, and after the last try it is shown as failed. Never lets one hold up the others.
"""

from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec

from libs.schema.commands import Command
from libs.schema.runtime.clock import new_id
from libs.schema.runtime.db import Tx, fetch_one, is_outage, transaction
from libs.schema.runtime.service import Runtime

FIRST_PAUSE = timedelta(seconds=5)  # after the first failure; doubled after each

ENQUEUE = """
INSERT INTO job_queue (id, team_id, queue_name, job_type, payload, scheduled_at, created_at)
VALUES ($1, $2, $3, $4, $5, $6, $6)
"""
TAKE = """
SELECT id, team_id, job_type, payload, attempts, max_attempts, created_at
FROM job_queue
WHERE queue_name = $1
    AND team_id IS NOT NULL
    AND status IN ('waiting', 'delayed')
    AND scheduled_at <= $2
ORDER BY priority, scheduled_at, id
LIMIT 1
FOR UPDATE SKIP LOCKED
"""
END = """
UPDATE job_queue
SET status = $2::job_status, attempts = attempts + 1, started_at = coalesce(started_at, $3), completed_at = $3,
    result = $4, last_error = $5
WHERE id = $1
"""
# $5 is 0 where the try does not count: then there is always another one.
DELAY = """
UPDATE job_queue
SET status = CASE WHEN attempts + $5::int < max_attempts THEN 'delayed' ELSE 'failed' END::job_status,
    completed_at = CASE WHEN attempts + $5::int < max_attempts THEN NULL ELSE $2::timestamptz END,
    attempts = attempts + $5::int, started_at = coalesce(started_at, $2),
    scheduled_at = $2 + $3::interval * power(2, attempts), last_error = $4
WHERE id = $1 AND status IN ('waiting', 'delayed')
"""


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """A command on its way; the payload is the command's fields."""

    id: UUID
    team_id: UUID
    job_type: str
    payload: Any
    attempts: int
    max_attempts: int
    created_at: datetime


class RefusedError(Exception):
    """The command cannot be carried out, now or later; the text tells the person who gave it why, and the mend."""


class UnknownCommandError(LookupError):
    """No command of this release's; a newer process that shares the queue may know it."""


# Carries a command out in the transaction and returns what `GET /v1/jobs/{id}` shows as its result.
Carry = Callable[[Tx, Job, Any], Awaitable[dict[str, Any]]]


async def enqueue(tx: Tx, team_id: UUID, command: Command, at: datetime) -> UUID:
    """Leaves the command for its queue's service, in the request's transaction, and returns the job's id."""
    job_id = new_id()
    await tx.execute(ENQUEUE, job_id, team_id, command.QUEUE, command.TYPE, msgspec.to_builtins(command), at)
    return job_id


async def carry_out(runtime: Runtime, queue: str, carriers: Mapping[type[Command], Carry]) -> bool:
    """Carries out the queue's next command; returns whether there was one.

    Other processes take others at the same time. A command that is refused has no effect and fails at once.

    Raises:
        OSError, asyncpg.PostgresError: the database is away; the command waits.

    """
    job: Job | None = None
    now = runtime.clock.now()
    try:
        async with transaction(runtime.pool) as tx:
            job = await fetch_one(tx, Job, TAKE, queue, now)
            if job is None:
                return False
            await _carry_out(tx, job, carriers, now)
    except Exception as error:
        if job is None:
            raise
        log = runtime.log.bind(job_id=str(job.id), job_type=job.job_type, attempt=job.attempts + 1)
        outage = is_outage(error)
        if not outage:
            log.exception("job.failed")
        async with transaction(runtime.pool) as tx:
            await tx.execute(DELAY, job.id, now, FIRST_PAUSE, type(error).__name__, 0 if outage else 1)
    return True


async def _carry_out(tx: Tx, job: Job, carriers: Mapping[type[Command], Carry], now: datetime) -> None:
    """The command's effects and the end of its row; a refused one's effects are taken back.

    Raises:
        UnknownCommandError: see there.
        msgspec.ValidationError: the payload is not the command's.

    """
    kind = {kind.TYPE: kind for kind in carriers}.get(job.job_type)
    if kind is None:
        raise UnknownCommandError(job.job_type)
    try:
        async with tx.transaction():
            result = await carriers[kind](tx, job, msgspec.convert(job.payload, kind))
    except RefusedError as error:
        await tx.execute(END, job.id, "failed", now, None, str(error))
    else:
        await tx.execute(END, job.id, "completed", now, result, None)
