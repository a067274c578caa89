"""What the sender's jobs and handlers work with: settings, SMTP courier, deliveries under way, owner's lock."""

import asyncio
import secrets
from collections.abc import Coroutine
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated, Any
from uuid import UUID

import asyncpg
import msgspec

from libs.schema.runtime.db import DATABASE_ERRORS, Connection
from libs.schema.runtime.service import Runtime
from libs.schema.runtime.settings import Settings
from services.sender.queries.claim import Claimed
from services.sender.queries.point import Point
from services.sender.rules.verdict import Accepted
from services.sender.smtp import Courier, Timeouts
from services.sender.together import Together

HOLD_OWNER = "SELECT pg_advisory_lock($1)"
STILL_THERE = "SELECT 1"


HANDFUL_SHARE = 4  # a quarter of all deliveries is claimed at once, where there is so much to do
HANDFUL_WAIT_S = 1.0  # slow servers may hold the others: what is due never waits for them longer than this


class SenderSettings(Settings, frozen=True, kw_only=True):
    """The sender's own settings beside those of every process."""

    max_deliveries: Annotated[int, msgspec.Meta(ge=1, le=500)] = 32  # SMTP conversations at once in this process
    delivered_after_hours: Annotated[float, msgspec.Meta(gt=0)] = 24.0  # without a bounce: then told as delivered
    unknown_patience_hours: Annotated[float, msgspec.Meta(gt=0)] = 72.0  # then an unknown end counts as sent
    smtp_dot_timeout_s: Annotated[float, msgspec.Meta(gt=0)] = 600.0  # RFC 5321 §4.5.3.2.6 asks for 10 minutes


@dataclass(frozen=True, kw_only=True)
class Deps(Runtime):
    """Everything a job or handler of the sender needs."""

    settings: SenderSettings
    courier: Courier
    deliveries: "Deliveries"
    owner: "Owner"
    scans: "Scans"
    books: "Books"
    points: Together[tuple[Claimed, Point], bool]  # T2
    acceptances: Together[tuple[Claimed, Accepted], bool]  # T3, as a mail usually ends

    @property
    def lease_s(self) -> float:
        """How long a claim is its worker's own: the longest wait for an answer, and a minute (design.md §9.14)."""
        return self.settings.smtp_dot_timeout_s + 60.0

    @property
    def delivered_after(self) -> timedelta:
        """The grace after which silence means delivered."""
        return timedelta(hours=self.settings.delivered_after_hours)

    @property
    def unknown_patience(self) -> timedelta:
        """How long evidence for an unknown end is waited for."""
        return timedelta(hours=self.settings.unknown_patience_hours)


def timeouts(settings: SenderSettings) -> Timeouts:
    """The SMTP waits that these settings ask for."""
    return Timeouts(dot=settings.smtp_dot_timeout_s)


class Deliveries:
    """The deliveries under way in this process, never more than `most`; a slow server holds up one and no loop."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._tasks: set[asyncio.Task[None]] = set()
        self._started_at = 0.0
        self._has_room = asyncio.Event()

    def room(self) -> int:
        """How many more may start; none until a handful may, or a second has passed: one claim costs as much as ten."""
        free = self._most - len(self._tasks)
        lately = asyncio.get_running_loop().time() - self._started_at < HANDFUL_WAIT_S
        return 0 if lately and free < self._most // HANDFUL_SHARE else free

    async def room_within(self, seconds: float) -> int:
        """The room as soon as there is some; none when there is none after so many seconds."""
        self._has_room.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._has_room.wait()
        return self.room()

    def start(self, delivery: Coroutine[Any, Any, None]) -> None:
        """Starts one; it reports its own errors."""
        loop = asyncio.get_running_loop()
        self._started_at = loop.time()
        task = loop.create_task(delivery)
        self._tasks.add(task)
        task.add_done_callback(self._end)

    def _end(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if self.room():
            self._has_room.set()

    async def drain(self) -> None:
        """Waits for all of them: a mail past the point of no return must hear its answer."""
        while self._tasks:
            await asyncio.wait(self._tasks)


class Scans:
    """Which lists this process has read to the end: one that has not changed since is read again only now and then."""

    def __init__(self, again_after: timedelta) -> None:
        self._again_after = again_after
        self._read: dict[UUID, tuple[object, datetime]] = {}

    def wants(self, campaign_id: UUID, state: object, now: datetime) -> bool:
        """Whether a campaign's list is to be read; `state` is whatever changes with the list."""
        known, at = self._read.get(campaign_id, (None, now))
        return known != state or now >= at + self._again_after

    def done(self, campaign_id: UUID, state: object, now: datetime) -> None:
        """It has been read, as it was in that state."""
        self._read[campaign_id] = state, now


class Books:
    """How far this process has compared the books, and what it has found already."""

    def __init__(self) -> None:
        self.after = UUID(int=0)
        self._found: set[UUID] = set()

    def is_news(self, found: UUID) -> bool:
        """Whether it is found for the first time; the second time it is not."""
        is_news = found not in self._found
        self._found.add(found)
        return is_news


class Owner:
    """This process's name on its claims: an advisory lock that PostgreSQL frees the moment the process is gone.

    When the line breaks while the process lives, others may take its claims back; fences keep that harmless.
    """

    def __init__(self, dsn: str) -> None:
        self.key = secrets.randbits(62)
        self._dsn = dsn
        self._connection: Connection | None = None
        self._seen_at = 0.0

    async def hold(self) -> None:
        """Takes the lock, again if its connection was lost; call it before claims, it looks once a second."""
        now = asyncio.get_running_loop().time()
        if self._connection is not None and now - self._seen_at < 1:
            return
        self._seen_at = now
        if self._connection is not None:
            try:
                await self._connection.execute(STILL_THERE, timeout=5)
            except DATABASE_ERRORS:
                self._connection.terminate()
            else:
                return
        self._connection = await asyncpg.connect(
            self._dsn, timeout=5, command_timeout=5, server_settings={"application_name": "coldstream-sender-owner"}
        )
        await self._connection.execute(HOLD_OWNER, self.key)

    async def release(self) -> None:
        """Frees the lock."""
        if self._connection is not None:
            await self._connection.close(timeout=5)
            self._connection = None
