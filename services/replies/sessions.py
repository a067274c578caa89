"""Which mailboxes this process speaks for: one lock and one session each, kept between polls; a pause after failures.

Never two sessions on a mailbox, in this or another process, and never a login sooner than `login_gap_s` after the last
one. Sockets and pauses are real time (design.md §9.1).
"""

import asyncio
import random
import time
from collections import OrderedDict
from uuid import UUID

import asyncpg
from asyncpg.pool import PoolConnectionProxy

from libs.schema.runtime.db import ACQUIRE_TIMEOUT_S, CLOSE_TIMEOUT_S, Pool
from services.replies import imap
from services.replies.queries import mailboxes

FIRST_PAUSE_S = 5.0
LONGEST_PAUSE_S = 15 * 60.0
REFUSED_PAUSE_S = 120.0  # a refused login is asked again at most 3 times in 5 minutes (reliability.md B51)
BUSY_PAUSE_S = 5.0  # another process speaks for it


class Sessions:
    """The sessions of this process. `most` bounds them; above it the one that was used longest ago is closed."""

    def __init__(self, pool: Pool, network: imap.Network, *, most: int, login_gap_s: float) -> None:
        self._pool = pool
        self._network = network
        self._most = most
        self._login_gap_s = login_gap_s
        self._open: OrderedDict[UUID, imap.Session] = OrderedDict()
        self._failures: dict[UUID, int] = {}
        self._not_before: dict[UUID, float] = {}
        self._last_login: dict[UUID, float] = {}
        self._locks: PoolConnectionProxy[asyncpg.Record] | None = None
        self._locked: set[UUID] = set()
        self._turn = asyncio.Lock()  # one statement at a time on the connection that holds the locks

    def __len__(self) -> int:
        return len(self._open)

    def pausing(self) -> list[UUID]:
        """The mailboxes that are not to be asked now."""
        now = time.monotonic()
        self._not_before = {inbox_id: until for inbox_id, until in self._not_before.items() if until > now}
        return list(self._not_before)

    async def enter(self, inbox_id: UUID, account: imap.Account) -> imap.Session | None:
        """The mailbox's session; None where another process has it or a new login would come too soon.

        Raises:
            ImapError, ForbiddenAddressError: there is no way in; tell `fail`.

        """
        if not await self._lock(inbox_id):
            self._not_before[inbox_id] = time.monotonic() + BUSY_PAUSE_S
            return None
        session = self._open.get(inbox_id)
        if session is None:
            soonest = self._last_login.get(inbox_id, float("-inf")) + self._login_gap_s
            if soonest > time.monotonic():
                self._not_before[inbox_id] = soonest
                return None
            self._last_login[inbox_id] = time.monotonic()
            session = await imap.connect(account, self._network)
        self._open[inbox_id] = session
        self._open.move_to_end(inbox_id)
        return session

    async def leave(self, inbox_id: UUID) -> None:
        """Tells that a poll went well; closes what is above the bound."""
        self._failures.pop(inbox_id, None)
        while len(self._open) > self._most:
            await self._give_up(next(iter(self._open)))

    async def fail(self, inbox_id: UUID, *, refused: bool) -> float:
        """Throws the session away; returns for how many seconds the mailbox is left alone."""
        failures = self._failures[inbox_id] = self._failures.get(inbox_id, 0) + 1
        first = REFUSED_PAUSE_S if refused else FIRST_PAUSE_S
        longest = min(first * 2 ** min(failures - 1, 10), LONGEST_PAUSE_S)
        # Half of it is chance, so that mailboxes of one host do not come back together.
        pause_s = longest * (0.5 + random.random() / 2)  # noqa: S311 - spreads load, guards nothing
        self._not_before[inbox_id] = time.monotonic() + pause_s
        await self._give_up(inbox_id)
        return pause_s

    def forget(self, inbox_id: UUID) -> None:
        """Hangs up on the mailbox because its session was left in the midst of a command; nobody is to blame."""
        session = self._open.pop(inbox_id, None)
        if session is not None:
            session.drop()

    async def close(self) -> None:
        """Logs out everywhere and lets others speak."""
        for inbox_id in list(self._open):
            await self._give_up(inbox_id)
        if self._locks is not None:
            if not self._locks.is_closed():
                await self._locks.reset(timeout=CLOSE_TIMEOUT_S)  # the pool would keep its locks
            await self._pool.release(self._locks)
            self._locks = None

    async def _give_up(self, inbox_id: UUID) -> None:
        session = self._open.pop(inbox_id, None)
        if session is not None:
            await session.close()
        async with self._turn:
            if inbox_id in self._locked and self._locks is not None and not self._locks.is_closed():
                await mailboxes.unlock(self._locks, inbox_id)
            self._locked.discard(inbox_id)

    async def _lock(self, inbox_id: UUID) -> bool:
        """Whether this process speaks for the mailbox. A lost connection loses all locks, so all sessions end, too."""
        if self._locks is None or self._locks.is_closed():
            for each in list(self._open):
                await self._give_up(each)
        async with self._turn:
            if self._locks is None or self._locks.is_closed():
                self._locked.clear()
                self._locks = await self._pool.acquire(timeout=ACQUIRE_TIMEOUT_S)
            if inbox_id not in self._locked and await mailboxes.try_lock(self._locks, inbox_id):
                self._locked.add(inbox_id)
            return inbox_id in self._locked
