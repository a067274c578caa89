"""What several routes do alike: tell an event in the request's transaction."""

from uuid import UUID

from libs.schema.events.base import Event
from libs.schema.runtime.outbox import record
from services.api.routing import Scope


async def tell(at: Scope, event: Event) -> UUID:
    """Records the event in the request's transaction and returns its id; a second call records a second one."""
    (event_id,) = await record(at.tx, at.team_id, event, by="api", at=at.now)
    return event_id
