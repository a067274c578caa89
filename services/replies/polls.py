"""Which mailboxes are being asked just now: so many at once, of one host fewer.

Never lets a host that hangs hold up the mailboxes of others: what takes long goes on by itself.
"""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable
from uuid import UUID

from services.replies.queries.mailboxes import DueInbox

POLLS_AT_ONCE = 48
POLLS_OF_A_HOST = 4  # of one team, since anybody may name any host


class Polls:
    """The polls of this process, running or waiting for their turn."""

    def __init__(self) -> None:
        self._turns = asyncio.Semaphore(POLLS_AT_ONCE)
        self._turns_of: defaultdict[tuple[UUID, str], asyncio.Semaphore] = defaultdict(
            lambda: asyncio.Semaphore(POLLS_OF_A_HOST)
        )
        self._tasks: dict[asyncio.Task[bool], DueInbox] = {}

    def begun(self) -> dict[UUID, str]:
        """The mailboxes whose poll has not ended, with their way in."""
        return {inbox.id: inbox.way for inbox in self._tasks.values()}

    def begin(self, inbox: DueInbox, poll: Callable[[], Awaitable[bool]]) -> None:
        """Polls the mailbox as soon as it is its turn."""
        self._tasks[asyncio.create_task(self._in_turn(inbox, poll))] = inbox

    async def wait(self, patience_s: float) -> bool:
        """Waits until all have ended, but no longer than that; whether one of those that ended read its mailbox.

        Raises:
            BaseExceptionGroup: what those of them that failed have raised.

        """
        if not self._tasks:
            return False
        done, _ = await asyncio.wait(self._tasks, timeout=patience_s)
        for task in done:
            del self._tasks[task]
        errors = [error for task in done if (error := task.exception())]
        if errors:
            raise BaseExceptionGroup("polls failed", errors)
        return any(task.result() for task in done)

    async def close(self) -> None:
        """Ends them all where they are."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()

    async def _in_turn(self, inbox: DueInbox, poll: Callable[[], Awaitable[bool]]) -> bool:
        async with self._turns_of[inbox.team_id, inbox.host], self._turns:
            return await poll()
