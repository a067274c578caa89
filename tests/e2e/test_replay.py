"""Replay: journal, relay, stream and projection as they run, then everything counted again from the first event."""

import asyncio
import base64
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path

import pytest

from libs.schema.events import Event
from libs.schema.events.email import EmailOpened
from libs.schema.runtime.clock import FixedClock
from libs.schema.runtime.db import Connection, Pool, close_pool, open_pool, transaction
from libs.schema.runtime.outbox import Fact, record_all
from libs.schema.runtime.project import Projector
from libs.schema.runtime.relay import Relay
from libs.schema.runtime.streams import StreamLink
from services.analytics.handlers import Counting
from services.analytics.queries import shadow
from services.analytics.rebuild import Difference, RebuildRunningError, StreamCutError, rebuild
from tests.analytics_world import World, make_world, random_story
from tests.support import EPOCH, PEPPER, SECRET_KEY, Team, eventually, role_url

LENGTH = 700  # more than one batch


class Platform:
    """The parts between a service that records and a number on a dashboard, moved by hand."""

    def __init__(self, database: str, nats_url: str, owner: Connection, pool: Pool, link: StreamLink) -> None:
        clock = FixedClock(EPOCH)
        self.database_url = role_url(database, "analytics")
        self.nats_url = nats_url
        self._pool = pool
        self._relay = Relay(owner, link, clock)
        self._projector = Projector(projection=Counting(), pool=pool, link=link, clock=clock)

    async def happen(self, story: Sequence[tuple[Team, Event]]) -> None:
        """Records the events, publishes them and lets analytics count them."""
        await self.record(story)
        while await self._relay.relay():
            pass
        while await self._projector.tick():
            pass

    async def record(self, story: Sequence[tuple[Team, Event]]) -> None:
        """Records the events, and no more."""
        async with transaction(self._pool) as tx:
            facts = [Fact(team_id=team.id, event=event) for team, event in story]
            await record_all(tx, facts, by="sender", at=EPOCH)

    async def rebuild(self, *, apply: bool = False) -> Difference:
        return await rebuild(self.database_url, self.nats_url, apply=apply)


@pytest.fixture
async def world(owner: Connection) -> World:
    return await make_world(owner)


@pytest.fixture
async def platform(database: str, nats_streams: str, owner: Connection) -> AsyncIterator[Platform]:
    pool = await open_pool(role_url(database, "analytics"), application_name="test", max_size=3)
    link = StreamLink(nats_streams, "test")
    await link.open()
    yield Platform(database, nats_streams, owner, pool, link)
    await link.close()
    await close_pool(pool)


def wrong(difference: Difference) -> dict[str, tuple[int, int, int]]:
    return {each.table: (each.missing, each.extra, each.different) for each in difference.tables if not each.equal}


@pytest.mark.parametrize("seed", range(3))
async def test_a_rebuild_is_equal_row_for_row_after_whatever_happened(
    seed: int, platform: Platform, world: World
) -> None:
    for part in range(3):
        await platform.happen(random_story(world, seed=10 * seed + part, length=LENGTH // 3))
    difference = await platform.rebuild()
    assert wrong(difference) == {}
    assert difference.equal
    assert not difference.mended
    assert (difference.events, difference.until) == (LENGTH // 3 * 3, LENGTH // 3 * 3)
    assert {each.table: each.compared > 0 for each in difference.tables} == {m.table: True for m in shadow.MIRRORS}


async def test_two_teams_are_rebuilt_side_by_side_and_one_that_is_gone_is_not_missed(
    platform: Platform, world: World, owner: Connection
) -> None:
    other = await make_world(owner, slug="umbrella")
    pairs = zip(random_story(world, seed=1, length=150), random_story(other, seed=2, length=150), strict=True)
    await platform.happen([each for pair in pairs for each in pair])
    assert (await platform.rebuild()).equal
    await owner.execute("DELETE FROM inboxes WHERE id = $1", world.inboxes[1].id)
    await owner.execute("DELETE FROM teams WHERE id = $1", other.team.id)
    assert wrong(await platform.rebuild()) == {}


async def test_a_planted_difference_is_found_and_mended_and_nothing_else_is_touched(
    database: str, platform: Platform, world: World, owner: Connection
) -> None:
    await platform.happen(random_story(world, seed=3, length=LENGTH))
    untouched = await owner.fetchval("SELECT xmin FROM sequence_variants WHERE sent_count > 0")
    await owner.execute("UPDATE campaigns SET sent_count = sent_count + 1, name = 'Autumn'")
    await owner.execute("UPDATE emails SET open_count = 99 WHERE id = $1", world.emails[0])
    await owner.execute("DELETE FROM email_events WHERE id = (SELECT id FROM email_events LIMIT 1)")
    await owner.execute("UPDATE daily_stats SET id = gen_random_uuid() WHERE date = $1", EPOCH.date())
    await owner.execute("UPDATE email_outcome SET opened = NOT opened WHERE email_id = $1", world.emails[1])

    found = {
        "campaigns": (0, 0, 1),
        "emails": (0, 0, 1),
        "email_events": (1, 0, 0),
        "daily_stats": (1, 1, 0),
        "email_outcome": (0, 0, 1),
    }
    difference = await platform.rebuild()
    assert wrong(difference) == found
    assert [each.examples for each in difference.tables if each.table == "emails"] == [[str(world.emails[0])]]
    assert await owner.fetchval("SELECT open_count FROM emails WHERE id = $1", world.emails[0]) == 99

    mending = await rebuild(database, platform.nats_url, apply=True)  # as an operator with the owner's login would
    assert wrong(mending) == found
    assert mending.mended
    assert wrong(await platform.rebuild()) == {}
    assert await owner.fetchval("SELECT name FROM campaigns") == "Autumn"
    assert await owner.fetchval("SELECT xmin FROM sequence_variants WHERE sent_count > 0") == untouched


async def test_after_mending_the_projection_goes_on_where_it_was(platform: Platform, world: World) -> None:
    await platform.happen(random_story(world, seed=4, length=200))
    await platform.rebuild(apply=True)
    await platform.happen(random_story(world, seed=5, length=200))
    assert wrong(await platform.rebuild()) == {}


async def test_events_that_come_meanwhile_do_not_disturb_the_comparison(platform: Platform, world: World) -> None:
    await platform.happen(random_story(world, seed=9, length=LENGTH))

    async def traffic() -> None:
        for seed in range(20):
            await platform.happen(random_story(world, seed=seed, length=25))

    running = asyncio.create_task(traffic())
    differences: list[Difference] = []
    while not running.done():
        differences.append(await platform.rebuild())
    await running
    assert [wrong(each) for each in differences] == [{}] * len(differences)
    assert len({each.until for each in differences}) > 1


async def test_kills_of_analytics_in_the_middle_lose_and_double_nothing(
    platform: Platform, world: World, owner: Connection, tmp_path: Path
) -> None:
    wanted = 0
    environment = os.environ | {
        "COLDSTREAM_DATABASE_URL": platform.database_url,
        "COLDSTREAM_NATS_URL": platform.nats_url,
        "COLDSTREAM_SECRET_KEY": base64.b64encode(SECRET_KEY).decode(),
        "COLDSTREAM_PEPPER": base64.b64encode(PEPPER).decode(),
    }

    async def counted() -> int:
        return await owner.fetchval("SELECT coalesce(max(last_seq), 0) FROM projection_offset")

    for kill in range(4):
        before = await counted()
        await platform.record(random_story(world, seed=kill, length=2 * LENGTH))
        wanted += 2 * LENGTH
        with (tmp_path / "log").open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "services", "analytics", env=environment, stdout=log, stderr=log
            )
        enough = wanted if kill == 3 else before + 1
        await eventually(partial(_reached, counted, enough), timeout_s=30)
        process.kill()
        await process.wait()
    assert await counted() == wanted
    difference = await platform.rebuild()
    assert wrong(difference) == {}
    assert difference.events == wanted


async def _reached(counted: Callable[[], Awaitable[int]], enough: int) -> bool:
    return await counted() >= enough


async def test_an_event_that_could_not_be_counted_is_left_out_of_both(
    platform: Platform, world: World, owner: Connection
) -> None:
    poison = EmailOpened(**world.facts(0), user_agent="no text in a database may hold a \0")
    story = random_story(world, seed=7, length=40)
    await platform.happen([*story[:20], (world.team, world.sent(0)), (world.team, poison), *story[20:]])
    assert await owner.fetchval("SELECT count(*) FROM parked WHERE consumer = 'analytics'") == 1
    difference = await platform.rebuild()
    assert wrong(difference) == {}
    assert (difference.until, difference.events) == (42, 41)


async def test_there_is_one_rebuild_at_a_time(platform: Platform, world: World, owner: Connection) -> None:
    await platform.happen(random_story(world, seed=6, length=20))
    assert await shadow.try_lock(owner)
    with pytest.raises(RebuildRunningError):
        await platform.rebuild()


async def test_a_stream_that_is_not_the_counted_one_is_refused(
    platform: Platform, world: World, owner: Connection
) -> None:
    await platform.happen(random_story(world, seed=8, length=20))
    await owner.execute("UPDATE projection_offset SET last_seq = 25")
    with pytest.raises(StreamCutError, match="21"):
        await platform.rebuild()
    await owner.execute("UPDATE projection_offset SET last_seq = 19")
    with pytest.raises(StreamCutError, match="another event at 19"):
        await platform.rebuild()


async def test_a_rebuild_of_nothing_is_equal(platform: Platform, world: World) -> None:
    difference = await platform.rebuild()
    assert difference.equal
    assert difference.events == 0
    assert await platform.rebuild() == difference
    assert world.emails
