"""`coldstream demo`: a whole campaign in a sandbox world, its sender killed on the way, and the receipt at the end.

Must never take a shortcut around the platform: what a user would do goes through the API, what time would do through
the clock, and only the promises are looked up in the tables.
"""

import asyncio
import time
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeAlias

import msgspec

from deploy.local.campaign import build_campaign
from deploy.local.driver import Driver
from deploy.local.platform import Platform, Sandbox, Say
from deploy.local.receipt import Counted, count
from deploy.local.stream import opened
from deploy.local.verify import verify_sends
from libs.schema.runtime.db import Pool, close_pool, open_pool
from services.analytics.rebuild import rebuild

# When the sender is killed: accepted messages, as shares of the leads.
KILL_AT = (0.2, 0.7, 1.3)
KILL_LOOK_S = 0.02
IS_FLYING = """
SELECT (SELECT count(*) FROM send_ledger WHERE state = 'accepted') >= $1
    AND EXISTS (SELECT FROM send_ledger WHERE state IN ('claimed', 'in_data'))
"""
LOOK = """
SELECT
    (SELECT count(*) FROM enrollments WHERE state IN ('active', 'held')) AS in_sequence,
    (SELECT count(*) FROM enrollments WHERE state = 'finished') AS finished,
    (SELECT count(*) FROM enrollments WHERE state IN ('stopped', 'failed')) AS stopped,
    (SELECT count(*) FROM send_ledger WHERE state = 'accepted') AS accepted,
    (SELECT count(*) FROM send_ledger WHERE state = 'unknown') AS unknown,
    (SELECT count(*) FROM replies) AS answers,
    (SELECT count(*) FROM event_log) AS events
"""


Chaos: TypeAlias = Callable[[Platform, Pool], Coroutine[Any, Any, None]]


class Scene(msgspec.Struct, frozen=True, kw_only=True):
    """What the live table shows."""

    business_time: datetime
    in_sequence: int
    finished: int
    stopped: int
    accepted: int
    unknown: int
    answers: int
    events: int
    restarts: int


class Play:
    """One demo, from an empty directory to its receipt; `chaos` breaks things while it runs."""

    def __init__(self, directory: Path, *, leads: int, say: Say, chaos: "Chaos | None" = None) -> None:
        self._directory = directory
        self._leads = leads
        self._say = say
        self._chaos = chaos or self._kill_the_sender
        self._driver: Driver | None = None
        self._pool: Pool | None = None
        self._platform: Platform | None = None

    async def run(self) -> Counted:
        """Plays it to the end and stops everything.

        Raises:
            ServerError, ProcessError: something did not start.
            StuckError: the campaign does not come to its end.

        """
        began = time.monotonic()
        async with AsyncExitStack() as stack:
            platform = self._platform = await Platform.start(self._directory, say=self._say, sandbox=_sandbox())
            stack.push_async_callback(platform.stop)
            self._pool = await open_pool(platform.ready.database_url, application_name="coldstream-demo", max_size=4)
            stack.push_async_callback(close_pool, self._pool)
            link = await stack.enter_async_context(opened(platform.ready.nats_url))
            world = await platform.world()
            stack.push_async_callback(world.close)
            self._driver = await Driver.open(self._pool, link, world)
            await build_campaign(platform.ready, leads=self._leads)
            self._say(f"a campaign to {self._leads} people is active; from now on the clock jumps")
            await self._play(platform, self._driver, self._pool)
            self._say(
                f"everybody is at their end, on {self._driver.now():%d %B %Y}, after {platform.restarts} restarts"
            )
            return await self._count(platform, self._pool, began)

    async def look(self) -> Scene | None:
        """What the live table shows; None before there is a campaign."""
        if self._driver is None or self._pool is None or self._platform is None:
            return None
        row = await self._pool.fetchrow(LOOK)
        assert row is not None  # noqa: S101 - a SELECT without FROM has one row
        return Scene(**row, business_time=self._driver.now(), restarts=self._platform.restarts)

    async def _count(self, platform: Platform, pool: Pool, began: float) -> Counted:
        """The receipt, and what verify-sends finds beside it."""
        nats_url = platform.ready.nats_url
        difference = await rebuild(platform.url_of("analytics"), nats_url)
        verdict = await verify_sends(platform.ready.database_url, nats_url, platform.mail_access())
        counted = await count(pool, nats_url, platform.smtp_log, verdict, rebuild_equal=difference.equal)
        receipt = msgspec.structs.replace(counted.receipt, seconds=round(time.monotonic() - began, 1))
        return msgspec.structs.replace(counted, receipt=receipt)

    async def _play(self, platform: Platform, driver: Driver, pool: Pool) -> None:
        breaking = asyncio.create_task(self._chaos(platform, pool))
        try:
            await driver.play()
        finally:
            breaking.cancel()
            with suppress(asyncio.CancelledError):
                await breaking

    async def _kill_the_sender(self, platform: Platform, pool: Pool) -> None:
        """SIGKILL, each time while it has a mail in its hands."""
        for share in KILL_AT:
            while not await pool.fetchval(IS_FLYING, int(share * self._leads)):  # noqa: ASYNC110 - rows have no Event
                await asyncio.sleep(KILL_LOOK_S)
            platform.children["sender"].kill()


def _sandbox() -> Sandbox:
    """Begins next Monday, before anybody's window opens."""
    today = datetime.now(UTC).replace(hour=6, minute=0, second=0, microsecond=0)
    return Sandbox(
        begins=today + timedelta(days=7 - today.weekday()),
        answers_within=timedelta(hours=3),
        idle_factor=0.4,
        tarpit_s=0.4,
    )
