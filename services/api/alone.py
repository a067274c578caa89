"""Work that keeps a processor busy for seconds, one piece at a time in a process, beside the loop that answers others.

Never queues: who comes second is told when to come again.
"""

import asyncio
from collections.abc import Callable
from threading import Lock
from typing import Final, TypeVar

from services.api.problems import Problem

COME_AGAIN_S: Final = 10
_working: Final = Lock()
Result = TypeVar("Result")


async def alone(work: Callable[[], Result]) -> Result:
    """What `work` returns, worked out in a thread of its own; it is worked out to its end though nobody may wait.

    Raises:
        Problem: unavailable, when this process is at work on another.

    """
    if not _working.acquire(blocking=False):
        detail = "another campaign is being worked out just now; try again soon"
        raise Problem("unavailable", detail, retry_after_s=COME_AGAIN_S)

    def carried_out() -> Result:
        try:
            return work()
        finally:
            _working.release()

    return await asyncio.shield(asyncio.to_thread(carried_out))
