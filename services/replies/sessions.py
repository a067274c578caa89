"""Which mailboxes this process speaks for: one lock and one session each, kept between polls; a pause after failures.

Never two sessions on a mailbox, in this or another process, and never a login sooner than `login_gap_s` after the last
one. Sockets and pauses are real time (design.md §9.1).
"""

import asyncio
import random
import time
from collections import Counter, OrderedDict
from collections.abc import Callable
from functools import partial
from typing import TypeAlias
from uuid import UUID

import asyncpg
from asyncpg.pool import PoolConnectionProxy

from libs.schema.runtime.db import ACQUIRE_TIMEOUT_S, CLOSE_TIMEOUT_S, Pool
from services.replies import imap
from services.replies.queries import mailboxes
from services.replies.queries.mailboxes import DueInbox, Place

FIRST_PAUSE_S = 5.0
LONGEST_PAUSE_S = 15 * 60.0
REFUSED_PAUSE_S = 120.0  # at most: a refused login is asked again at most 3 times in 5 minutes (reliability.md B51)
BUSY_PAUSE_S = 5.0  # another process speaks for it
CALL_GAP_S = 2.0  # how soon after a poll the server may call for the next one
LOST_RESTS = 3  # in a row; a server that hangs up on those who rest is not asked to call any more
CLOSES_AT_ONCE = 20

Entrance: TypeAlias = tuple[str, int, str, str]  # host, port, TLS, user
Suspects: TypeAlias = dict[int, int]  # UIDs on which a fetch has failed, and how often


class Sessions:
    """The sessions of this process. `most` bounds them; above it the one that was used longest ago is closed.

    With `rests` a mailbox's server may call between polls (IMAP's IDLE).
    """

    def __init__(self, pool: Pool, network: imap.Network, *, most: int, login_gap_s: float, rests: bool = True) -> None:
        self._pool = pool
        self._network = network
        self._most = most
        self._login_gap_s = login_gap_s
        self._rests = rests
        self._open: OrderedDict[UUID, tuple[imap.Session, Entrance]] = OrderedDict()
        self._ways: dict[UUID, str] = {}
        self._failures: Counter[UUID] = Counter()
        self._refusals: Counter[UUID] = Counter()
        self._lost_rests: Counter[UUID] = Counter()
        self._not_before: dict[UUID, float] = {}
        self._last_login: dict[UUID, float] = {}
        self._calls: dict[UUID, float] = {}  # who called, and when it may be heard
        self._suspects: dict[Place, Suspects] = {}
        self._locks: PoolConnectionProxy[asyncpg.Record] | None = None
        self._locked: set[UUID] = set()
        self._turn = asyncio.Lock()  # one statement at a time on the connection that holds the locks

    def __len__(self) -> int:
        return len(self._open)

    def pausing(self) -> dict[UUID, str]:
        """The mailboxes that are not to be asked now, as long as the way in is this one."""
        now = time.monotonic()
        self._not_before = {inbox_id: until for inbox_id, until in self._not_before.items() if until > now}
        return {inbox_id: self._ways.get(inbox_id, "") for inbox_id in self._not_before}

    def called(self) -> list[UUID]:
        """The mailboxes whose server has called since they were last asked; each is named once."""
        now = time.monotonic()
        heard = [inbox_id for inbox_id, at in self._calls.items() if at <= now]
        for inbox_id in heard:
            del self._calls[inbox_id]
        return heard

    def suspects(self, place: Place) -> Suspects:
        """The messages of the place on which a fetch has failed: the caller's to keep."""
        self._suspects = {each: found for each, found in self._suspects.items() if found}
        return self._suspects.setdefault(place, {})

    async def enter(self, inbox: DueInbox, account_of: Callable[[], imap.Account]) -> imap.Session | None:
        """The mailbox's session; None where another process has it or a new login would come too soon.

        Raises:
            ImapError, ForbiddenAddressError, and what `account_of` does: there is no way in; tell `fail`.

        """
        inbox_id, entrance = inbox.id, (inbox.host, inbox.port, inbox.tls, inbox.username)
        self._ways[inbox_id] = inbox.way  # a pause holds for this one alone
        if not await self._lock(inbox_id):
            self._not_before[inbox_id] = time.monotonic() + BUSY_PAUSE_S
            return None
        session = await self._kept(inbox_id, entrance)
        if session is None:
            soonest = self._last_login.get(inbox_id, float("-inf")) + self._login_gap_s
            if soonest > time.monotonic():
                self._not_before[inbox_id] = soonest
                return None
            account = account_of()
            self._last_login[inbox_id] = time.monotonic()
            session = await imap.connect(account, self._network)
            self._refusals.pop(inbox_id, None)
        self._open[inbox_id] = session, entrance
        self._open.move_to_end(inbox_id)
        return session

    async def leave(self, inbox_id: UUID) -> None:
        """Tells that a poll went well; the server may call from now on. Closes what is above the bound."""
        self._failures.pop(inbox_id, None)
        session, _ = self._open.get(inbox_id, (None, None))
        if session is not None and self._rests and self._lost_rests[inbox_id] < LOST_RESTS:
            earliest = time.monotonic() + CALL_GAP_S
            session.rest(partial(self._call, inbox_id, earliest))
        while len(self._open) > self._most:
            await self._give_up(next(iter(self._open)))

    async def fail(self, inbox_id: UUID, *, refused: bool) -> float:
        """Throws the session away; returns for how many seconds the mailbox is left alone."""
        self._failures[inbox_id] += 1
        self._refusals[inbox_id] += refused
        growing = min(FIRST_PAUSE_S * 2 ** min(self._failures[inbox_id] - 1, 10), LONGEST_PAUSE_S)
        return await self._pause(inbox_id, REFUSED_PAUSE_S if refused else growing)

    def failures(self, inbox_id: UUID) -> int:
        """How many attempts have failed since one went well."""
        return self._failures[inbox_id]

    def refusals(self, inbox_id: UUID) -> int:
        """How many logins the mailbox's server has refused since one went well or `despair` was told."""
        return self._refusals[inbox_id]

    async def despair(self, inbox_id: UUID) -> None:
        """Leaves the mailbox alone for as long as it goes: what it refuses again and again will not mend by itself."""
        self._refusals.pop(inbox_id, None)
        await self._pause(inbox_id, LONGEST_PAUSE_S)

    def forget(self, inbox_id: UUID) -> None:
        """Hangs up on the mailbox because its session was left in the midst of a command; nobody is to blame."""
        if inbox_id in self._open:
            self._open.pop(inbox_id)[0].drop()

    async def close(self) -> None:
        """Logs out everywhere and lets others speak."""
        turns = asyncio.Semaphore(CLOSES_AT_ONCE)

        async def close_one(inbox_id: UUID) -> None:
            async with turns:
                await self._give_up(inbox_id)

        await asyncio.gather(*(close_one(inbox_id) for inbox_id in list(self._open)))
        if self._locks is not None:
            if not self._locks.is_closed():
                await self._locks.reset(timeout=CLOSE_TIMEOUT_S)  # the pool would keep its locks
            await self._pool.release(self._locks)
            self._locks = None

    async def _kept(self, inbox_id: UUID, entrance: Entrance) -> imap.Session | None:
        """The session of the last poll, awake; None where it went meanwhile, or led to another mailbox."""
        if inbox_id not in self._open:
            return None
        session, entered = self._open[inbox_id]
        if session.is_lost:
            self._lost_rests[inbox_id] += session.is_resting
            self.forget(inbox_id)
            return None
        if entered != entrance:
            self._open.pop(inbox_id)
            await session.close()
            return None
        if session.is_resting:
            await session.wake()
            self._lost_rests.pop(inbox_id, None)
        return session

    def _call(self, inbox_id: UUID, earliest: float) -> None:
        self._calls[inbox_id] = earliest

    async def _pause(self, inbox_id: UUID, longest_s: float) -> float:
        # Half of it is chance, so that mailboxes of one host do not come back together.
        pause_s = longest_s * (0.5 + random.random() / 2)  # noqa: S311 - spreads load, guards nothing
        self._not_before[inbox_id] = time.monotonic() + pause_s
        await self._give_up(inbox_id)
        return pause_s

    async def _give_up(self, inbox_id: UUID) -> None:
        session, _ = self._open.pop(inbox_id, (None, None))
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
