"""What time does to breakers: a day's pause ends in a few probes, halved volume becomes whole. Never opens one."""

from libs.schema.runtime.db import transaction
from services.sender import circuits
from services.sender.deps import Deps
from services.sender.queries.breaker import over


async def turn_breakers(deps: Deps) -> bool:
    """Moves on the breakers of the good name whose time is over, each in a transaction of its own."""
    now = deps.clock.now()
    async with transaction(deps.pool) as tx:
        found = await over(tx, now)
    for one in found:
        async with transaction(deps.pool) as tx:
            await circuits.turn(tx, one, now)
    return bool(found)
