"""The projection on a real database, under its own login: every event once in every number, whatever the order."""

from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from decimal import Decimal
from random import Random
from typing import Any

import pytest

from libs.schema.events.email import BounceHard, EmailDelivered, EmailOpened
from libs.schema.runtime.db import Connection, Pool, close_pool, open_pool, transaction
from libs.schema.runtime.project import Projected
from services.analytics.handlers import Counting
from services.analytics.queries.shadow import MIRRORS
from tests.analytics_world import World, make_world, projected, random_story
from tests.support import EPOCH, role_url


@pytest.fixture
async def pool(database: str) -> AsyncIterator[Pool]:
    pool = await open_pool(role_url(database, "analytics"), application_name="test", max_size=2)
    yield pool
    await close_pool(pool)


@pytest.fixture
async def world(owner: Connection) -> World:
    return await make_world(owner)


async def apply(pool: Pool, batch: Sequence[Projected]) -> None:
    async with transaction(pool) as tx:
        await Counting().apply(tx, batch)


async def numbers(owner: Connection) -> dict[str, list[Any]]:
    """Every row and column that the projection writes, but for the times, which follow the order of events."""
    found: dict[str, list[Any]] = {}
    for mirror in MIRRORS:
        names = ", ".join(name for name in (*mirror.key, *mirror.columns) if name not in {"created_at", "updated_at"})
        records = await owner.fetch(f"SELECT {names} FROM {mirror.table} ORDER BY {mirror.key[0]}")  # noqa: S608 - our own names
        found[mirror.table] = [tuple(record) for record in records]
    return found


async def test_a_way_through_the_funnel_is_counted_in_every_table(world: World, owner: Connection, pool: Pool) -> None:
    happenings = world.happenings(0)
    await apply(pool, projected([(world.team, event) for event in happenings]))

    campaign = await owner.fetchrow("SELECT * FROM campaigns WHERE id = $1", world.campaign.id)
    assert campaign is not None
    names = ("lead", "sent", "delivered", "opened", "clicked", "replied", "bounced", "unsubscribed")
    assert [campaign[f"{name}_count"] for name in names] == [1, 1, 0, 1, 1, 1, 1, 1]
    day = await owner.fetchrow("SELECT * FROM daily_stats")
    assert day is not None
    assert (day["team_id"], day["date"]) == (world.team.id, EPOCH.date())
    assert (day["emails_sent"], day["bounce_rate"], day["delivery_rate"]) == (1, Decimal(1), Decimal(0))
    inbox_day = await owner.fetchrow("SELECT * FROM inbox_daily_stats")
    assert inbox_day is not None
    assert (inbox_day["inbox_id"], inbox_day["campaign_sent"]) == (world.inboxes[0].id, 1)
    for table in ("sequences", "sequence_variants"):
        row = await owner.fetchrow(f"SELECT * FROM {table} WHERE sent_count = 1")  # noqa: S608 - our own names
        assert row is not None
        assert (row["opened_count"], row["replied_count"]) == (1, 1)
    assert await owner.fetchval("SELECT sent_total FROM inboxes WHERE id = $1", world.inboxes[0].id) == 1
    assert await owner.fetchval("SELECT sum(sent_count) FROM campaign_inboxes") == 1
    assert await owner.fetchval("SELECT sum(open_count + 10 * click_count) FROM emails") == 11
    history = await owner.fetch("SELECT event_type, count(*) AS n FROM email_events GROUP BY event_type")
    assert {row["event_type"]: row["n"] for row in history} == {
        **dict.fromkeys(("queued", "deferred", "sent", "delivered", "opened", "clicked", "spam_reported"), 1),
        "bounced": 1,
        "soft_bounced": 2,
        "unsubscribed": 1,
    }


async def test_the_same_batch_twice_counts_once(world: World, owner: Connection, pool: Pool) -> None:
    batch = projected(random_story(world, seed=1, length=300))
    await apply(pool, batch)
    once = await numbers(owner)
    await apply(pool, batch)
    await apply(pool, [*batch[:50], *batch[:50]])
    assert await numbers(owner) == once


@pytest.mark.parametrize("seed", range(5))
async def test_any_order_in_any_batches_comes_to_the_same_numbers(
    seed: int, world: World, owner: Connection, pool: Pool
) -> None:
    batch = projected(random_story(world, seed=seed, length=200))
    shuffled = list(batch)
    Random(seed).shuffle(shuffled)  # noqa: S311 - a test's choice, repeatable by its seed
    async with owner.transaction():
        transaction_of_owner = owner.transaction()
        await transaction_of_owner.start()
        await Counting().apply(owner, batch)
        in_order = await numbers(owner)
        await transaction_of_owner.rollback()
    for start in range(0, len(shuffled), 37):
        await apply(pool, shuffled[start : start + 37])
    assert await numbers(owner) == in_order


async def test_a_late_bounce_corrects_the_day_of_sending(world: World, owner: Connection, pool: Pool) -> None:
    facts = world.facts(0)
    await apply(pool, projected([(world.team, world.sent(0)), (world.team, EmailDelivered(**facts, by_dsn=False))]))
    later = EPOCH + timedelta(days=20)
    bounce = BounceHard(**facts, source="dsn", reason="no such user")
    await apply(pool, projected([(world.team, bounce)], start=later))

    [day] = await owner.fetch("SELECT * FROM daily_stats")
    assert (day["date"], day["emails_delivered"], day["emails_bounced"]) == (EPOCH.date(), 0, 1)
    assert (day["created_at"], day["updated_at"]) == (EPOCH, later)


@pytest.mark.parametrize("seed", range(5))
async def test_rates_stay_between_zero_and_one_at_every_moment(
    seed: int, world: World, owner: Connection, pool: Pool
) -> None:
    batch = projected(random_story(world, seed=seed, length=120))
    for start in range(0, len(batch), 10):
        await apply(pool, batch[start : start + 10])  # the checks of daily_stats refuse any other rate
    [day, *_] = await owner.fetch("SELECT * FROM daily_stats ORDER BY date")
    assert day["open_rate"] == (Decimal(day["emails_opened"]) / day["emails_sent"]).quantize(Decimal("0.0001"))


async def test_an_email_that_is_gone_leaves_its_campaign_its_numbers(
    world: World, owner: Connection, pool: Pool
) -> None:
    await owner.execute("DELETE FROM inboxes WHERE id = $1", world.inboxes[0].id)
    opened = EmailOpened(**world.facts(0))
    await apply(pool, projected([(world.team, world.sent(0)), (world.team, opened)]))
    assert await owner.fetchval("SELECT count(*) FROM email_events") == 0
    assert await owner.fetchval("SELECT count(*) FROM inbox_daily_stats") == 0
    assert await owner.fetchval("SELECT opened_count FROM campaigns") == 1
    assert await owner.fetchval("SELECT emails_opened FROM daily_stats") == 1


async def test_events_of_a_team_that_is_gone_are_counted_nowhere(world: World, owner: Connection, pool: Pool) -> None:
    batch = projected(random_story(world, seed=7, length=100))
    await owner.execute("DELETE FROM teams WHERE id = $1", world.team.id)
    await apply(pool, batch)
    assert all(not rows for rows in (await numbers(owner)).values())


async def test_the_shadow_tables_have_the_columns_of_the_live_ones(owner: Connection) -> None:
    shape = """
        SELECT column_name, data_type, udt_name FROM information_schema.columns
        WHERE table_schema = $1 AND table_name = $2 AND (column_name = ANY ($3) OR $4) ORDER BY column_name"""
    for mirror in MIRRORS:
        wanted = [*mirror.key, *mirror.columns, *mirror.seed]
        live = await owner.fetch(shape, "public", mirror.table, wanted, mirror.parent is not None)
        made = await owner.fetch(shape, "shadow", mirror.table, wanted, True)
        assert live == made, mirror.table
