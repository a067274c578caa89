"""What the clock starts in the API's process: forgetting answers whose time is over. Never decides for a request."""

from datetime import timedelta

from libs.schema.runtime.db import transaction
from libs.schema.runtime.service import Runtime
from services.api.queries import gate

KEEP_ANSWERS = timedelta(hours=24)
_AT_ONCE = 1000


async def forget_answers(runtime: Runtime) -> bool:
    """Deletes kept answers that are older than KEEP_ANSWERS, some at a time; True while there may be more."""
    async with transaction(runtime.pool) as tx:
        return await gate.forget_answers(tx, runtime.clock.now() - KEEP_ANSWERS, _AT_ONCE) == _AT_ONCE
