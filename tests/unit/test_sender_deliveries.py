"""How many deliveries a process starts at once: claimed by the handful, never held up for long."""

import asyncio

import pytest

from services.sender import deps
from services.sender.deps import Deliveries


async def under_way(release: asyncio.Event, deliveries: Deliveries, count: int) -> None:
    for _ in range(count):
        deliveries.start(wait_for(release))
    await asyncio.sleep(0)


async def wait_for(release: asyncio.Event) -> None:
    await release.wait()


async def test_an_idle_process_has_all_its_room() -> None:
    assert Deliveries(32).room() == 32


async def test_a_claim_waits_until_a_handful_may_start_but_no_longer_than_a_second(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    release, deliveries = asyncio.Event(), Deliveries(32)
    await under_way(release, deliveries, 25)
    assert deliveries.room() == 0  # seven are less than a quarter
    monkeypatch.setattr(deps, "HANDFUL_WAIT_S", 0.0)
    assert deliveries.room() == 7
    release.set()
    await deliveries.drain()
    assert deliveries.room() == 32


async def test_who_waits_for_room_goes_on_as_soon_as_there_is_some() -> None:
    release, deliveries = asyncio.Event(), Deliveries(32)
    await under_way(release, deliveries, 32)
    waiting = asyncio.create_task(deliveries.room_within(600))
    await asyncio.sleep(0)
    release.set()
    async with asyncio.timeout(10):
        assert await waiting >= 8


async def test_who_waits_for_room_in_vain_is_told_so() -> None:
    release, deliveries = asyncio.Event(), Deliveries(32)
    await under_way(release, deliveries, 32)
    assert await deliveries.room_within(0) == 0
    release.set()
    await deliveries.drain()


async def test_a_quarter_that_is_free_may_start_at_once() -> None:
    release, deliveries = asyncio.Event(), Deliveries(32)
    await under_way(release, deliveries, 24)
    assert deliveries.room() == 8
    release.set()
    await deliveries.drain()
