"""What several routes do alike in the request's transaction: tell an event, leave a command, write the audit trail."""

from typing import Any
from uuid import UUID

from starlette.responses import Response

from libs.schema.commands import Command
from libs.schema.events.base import Event
from libs.schema.runtime.jobs import enqueue
from libs.schema.runtime.outbox import record
from services.api.queries import teams
from services.api.responses import answer
from services.api.routing import Scope
from services.api.unibox import JobAccepted


async def tell(at: Scope, event: Event) -> UUID:
    """Records the event in the request's transaction and returns its id; a second call records a second one."""
    (event_id,) = await record(at.tx, at.team_id, event, by="api", at=at.now)
    return event_id


async def leave(at: Scope, command: Command) -> Response:
    """Leaves the command for its service, and the answer that says where to look for its end; each call leaves one."""
    job_id = await enqueue(at.tx, at.team_id, command, at.now)
    return answer(JobAccepted(job_id=job_id), 202, location=f"/v1/jobs/{job_id}")


async def audit(at: Scope, action: str, target: str, detail: dict[str, Any]) -> None:
    """Writes into the team's audit trail that the caller did this; each call writes a row."""
    await teams.add_audit(at.tx, at.team_id, f"key/{at.caller.key_id}", action, target, detail, at.now)
