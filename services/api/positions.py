"""Read your writes: a read may name the event of a write and waits until projections have seen it (design.md §9.11)."""

import asyncio
import time
from typing import Annotated
from uuid import UUID

from fastapi import Query
from starlette.requests import Request

from libs.schema.runtime.db import ACQUIRE_TIMEOUT_S
from libs.schema.runtime.service import Runtime
from services.api.problems import Problem, not_found
from services.api.queries import gate

WAIT_S = 2.0
_PAUSE_S = 0.05
_PARAMETER = "min_position"

MinPosition = Annotated[
    UUID | None,
    Query(description="the `event_id` of a command: wait up to 2 s until what it caused is counted, else 503"),
]


async def wait_for(runtime: Runtime, team_id: UUID, request: Request) -> None:
    """Waits, without holding a connection, until the event that the request names has been projected.

    Raises:
        Problem: not_found where the team has no such event; position_not_reached after WAIT_S.

    """
    named = request.query_params.get(_PARAMETER)
    if named is None:
        return
    try:
        event_id = UUID(named)
    except ValueError:
        raise not_found("event", parameter=_PARAMETER) from None
    deadline = time.monotonic() + WAIT_S
    while True:
        async with runtime.pool.acquire(timeout=ACQUIRE_TIMEOUT_S) as connection:
            reached = await gate.position_reached(connection, team_id, event_id)
        if reached is None:
            raise not_found("event", parameter=_PARAMETER)
        if reached:
            return
        if time.monotonic() > deadline:
            raise Problem("position_not_reached", "leave min_position out to read what is there", retry_after_s=1)
        await asyncio.sleep(_PAUSE_S)
