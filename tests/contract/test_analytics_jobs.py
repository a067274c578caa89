"""What moves with the calendar: the counters of an inbox's own day and week, its 7-day rates, and months made ahead."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import asyncpg
import pytest

from libs.schema.events.email import BounceHard, EmailOpened
from libs.schema.runtime.clock import FixedClock, new_id
from libs.schema.runtime.db import Connection, close_pool, open_pool, transaction
from libs.schema.runtime.service import Runtime
from libs.schema.runtime.settings import Settings
from libs.schema.runtime.telemetry import logger
from services.analytics import app, jobs
from services.analytics.handlers import Counting
from services.warmup import app as warmup
from tests.analytics_world import World, make_world, projected
from tests.support import EPOCH, PEPPER, SECRET_KEY, role_url

NOON = EPOCH + timedelta(hours=4)  # of a Monday


@dataclass(frozen=True, kw_only=True)
class Office:
    """Analytics with a clock that the test moves."""

    runtime: Runtime
    clock: FixedClock

    async def refresh(self, at: datetime) -> None:
        self.clock.move(at - self.clock.now())
        await jobs.refresh_inboxes(self.runtime)


@pytest.fixture
async def office(database: str) -> AsyncIterator[Office]:
    url = role_url(database, "analytics")
    pool = await open_pool(url, application_name="test", max_size=2)
    settings = Settings(database_url=url, nats_url="nats://unused", secret_key=SECRET_KEY, pepper=PEPPER)
    clock = FixedClock(NOON)
    yield Office(
        runtime=Runtime(
            settings=settings, pool=pool, clock=clock, new_id=new_id, log=logger(), stopping=asyncio.Event()
        ),
        clock=clock,
    )
    await close_pool(pool)


@pytest.fixture
async def world(owner: Connection, office: Office) -> World:
    """Ann's inbox has sent three on Monday, of which one was opened and one came back."""
    world = await make_world(owner)
    events = [world.sent(0), world.sent(2), world.sent(4), EmailOpened(**world.facts(0))]
    events.append(BounceHard(**world.facts(2), source="dsn", reason="no such user"))
    async with transaction(office.runtime.pool) as tx:
        await Counting().apply(tx, projected([(world.team, event) for event in events]))
    return world


async def inbox(owner: Connection, world: World) -> asyncpg.Record:
    row = await owner.fetchrow("SELECT * FROM inboxes WHERE id = $1", world.inboxes[0].id)
    assert row is not None
    return row


async def test_counters_and_rates_are_those_of_the_inboxs_own_day(
    world: World, office: Office, owner: Connection
) -> None:
    await office.refresh(NOON)
    row = await inbox(owner, world)
    assert (row["counters_date"], row["sent_today"], row["sent_this_week"]) == (EPOCH.date(), 3, 3)
    third = Decimal("0.3333")
    assert (row["bounce_rate_7d"], row["open_rate_7d"], row["reply_rate_7d"]) == (third, third, 0)


async def test_a_day_ends_at_the_inboxs_own_midnight(world: World, office: Office, owner: Connection) -> None:
    sydney = "UPDATE inbox_settings SET send_window_timezone = 'Australia/Sydney' WHERE inbox_id = $1"
    await owner.execute(sydney, world.inboxes[0].id)
    await office.refresh(NOON)
    assert (await inbox(owner, world))["sent_today"] == 3
    await office.refresh(datetime(2026, 3, 2, 13, 0, tzinfo=UTC))  # midnight in Sydney
    row = await inbox(owner, world)
    assert (row["sent_today"], row["sent_this_week"]) == (0, 3)


async def test_a_week_ends_with_sunday_and_rates_after_seven_days(
    world: World, office: Office, owner: Connection
) -> None:
    await office.refresh(NOON + timedelta(days=6))
    row = await inbox(owner, world)
    assert (row["sent_today"], row["sent_this_week"], row["bounce_rate_7d"]) == (0, 3, Decimal("0.3333"))
    await office.refresh(NOON + timedelta(days=7))
    row = await inbox(owner, world)
    assert (row["sent_this_week"], row["bounce_rate_7d"], row["open_rate_7d"], row["sent_total"]) == (0, 0, 0, 3)


async def test_a_refresh_that_changes_nothing_writes_nothing(world: World, office: Office, owner: Connection) -> None:
    await office.refresh(NOON)
    before = await owner.fetch("SELECT xmin FROM inboxes ORDER BY id")
    await office.refresh(NOON + timedelta(seconds=5))
    assert await owner.fetch("SELECT xmin FROM inboxes ORDER BY id") == before
    assert world.inboxes


async def test_months_are_made_before_they_begin(office: Office, owner: Connection) -> None:
    office.clock.move(timedelta(days=3650))
    await jobs.make_months(office.runtime)
    await jobs.make_months(office.runtime)
    months = "SELECT count(*) FROM pg_inherits WHERE inhrelid::regclass::text ~ '^email_events_y2036m0[2345]$'"
    assert office.clock.now().strftime("%Y-%m") == "2036-02"
    assert await owner.fetchval(months) == 3


async def test_every_loop_of_the_service_as_it_is_wired_runs(database: str, owner: Connection, world: World) -> None:
    url = role_url(database, "analytics")
    settings = Settings(database_url=url, nats_url="nats://unused", secret_key=SECRET_KEY, pepper=PEPPER)
    service = await app.build(settings)
    assert [projection.name for projection in service.projections] == ["analytics"]
    assert [await loop.tick() for loop in service.loops] == [False, False, False]
    await close_pool(service.runtime.pool)
    assert (await inbox(owner, world))["counters_date"] is not None


async def test_warmup_runs_and_does_nothing_yet(database: str) -> None:
    url = role_url(database, "warmup")
    service = await warmup.build(
        Settings(database_url=url, nats_url="nats://unused", secret_key=SECRET_KEY, pepper=PEPPER)
    )
    await close_pool(service.runtime.pool)
    assert [service.loops, service.handlers, service.consumer, service.projections, service.servers] == [
        (),
        {},
        None,
        (),
        (),
    ]
