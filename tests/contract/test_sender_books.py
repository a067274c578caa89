"""Counts that never lie: rows and journal agree on every enrollment, and a campaign ends with its last lead."""

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from prometheus_client import REGISTRY

from deploy.local.ca import Certificates, certificates
from libs.schema.runtime.db import Connection
from services.sender.jobs.account import STATES, check_books
from services.sender.jobs.enrol import enrol
from tests.sender_world import World, sender_world
from tests.support import EPOCH, Step

DAY = timedelta(days=1)


@pytest.fixture(scope="module")
def pem(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return certificates(tmp_path_factory.mktemp("ca"))


@pytest.fixture
async def world(database: str, owner: Connection, pem: Certificates) -> AsyncIterator[World]:
    async with sender_world(database, owner, pem) as world:
        yield world


def violations(invariant: str) -> float:
    return REGISTRY.get_sample_value("coldstream_invariant_violations_total", {"invariant": invariant}) or 0.0


async def found(world: World, invariant: str) -> float:
    """How many more broken promises of this kind a look at the books finds."""
    before = violations(invariant)
    await check_books(world.deps)
    return violations(invariant) - before


async def test_every_enrollment_of_a_living_campaign_is_in_one_state_and_told_so(world: World) -> None:
    await world.leads("bob", "eve", "mia")
    await world.leads("nameless", first_name=None)
    await world.campaign(Step(), Step(delay_days=2))
    await world.go_on(timedelta(minutes=10))
    world.script.says["rcpt"] = "550 5.1.1 no such user"
    await world.leads("gone")
    await world.go_on(3 * DAY, step=timedelta(hours=6))
    assert await found(world, "enrolled") == 0
    states = {state: REGISTRY.get_sample_value("coldstream_enrollments", {"state": state}) for state in STATES}
    rows = await world.owner.fetchval("SELECT count(*) FROM enrollments")
    assert sum(count or 0 for count in states.values()) == rows == 5
    assert states["held"] == 1
    assert len(await world.events("lead.enrolled")) == rows


async def test_an_end_or_a_beginning_that_was_not_told_once_is_a_violation_and_counted_once(world: World) -> None:
    (bob, eve) = await world.leads("bob", "eve", created_at=EPOCH)
    await world.campaign()
    await world.go_on(timedelta(minutes=10))
    assert await found(world, "enrolled") == 0
    await world.owner.execute("DELETE FROM event_log WHERE type = 'lead.completed' AND subject = $1", f"lead/{bob.id}")
    assert await found(world, "enrolled") == 1
    assert await found(world, "enrolled") == 0
    await world.owner.execute("DELETE FROM event_log WHERE type = 'lead.enrolled' AND subject = $1", f"lead/{eve.id}")
    assert await found(world, "enrolled") == 1


async def test_a_completed_campaign_with_a_lead_on_its_way_is_a_violation(world: World) -> None:
    await world.leads("bob")
    campaign = await world.campaign(Step(), Step(delay_days=5))
    await world.go_on(timedelta(minutes=10))
    assert await found(world, "completed") == 0
    await world.owner.execute("UPDATE campaigns SET status = 'completed' WHERE id = $1", campaign.id)
    assert await found(world, "completed") == 1


async def test_a_campaign_is_completed_when_and_only_when_its_last_lead_is_at_its_end(world: World) -> None:
    """A lead that waits, one that a person must help, one in another sequence: none of them lets it end."""

    async def status() -> str:
        await enrol(world.deps)
        return await world.owner.fetchval("SELECT status FROM campaigns WHERE id = $1", campaign.id)

    await world.leads("bob")
    first = await world.campaign(Step(), Step(delay_days=9), name="First")
    await world.plan()
    await world.leads("eve")
    (nameless,) = await world.leads("nameless", first_name=None)
    campaign = await world.campaign(Step(), Step(delay_days=2), name="Second")
    await world.owner.execute("UPDATE campaigns SET lead_list_id = NULL WHERE id = $1", first.id)
    await world.go_on(timedelta(minutes=10))
    assert await status() == "active"  # eve waits for her second mail, nameless for a name, bob is in the first
    await world.go_on(3 * DAY, step=timedelta(hours=12))
    assert await status() == "active"  # eve is done
    await world.owner.execute("UPDATE leads SET first_name = 'Nell' WHERE id = $1", nameless.id)
    await world.go_on(4 * DAY, step=timedelta(hours=1))
    assert await status() == "active"  # nameless is done
    await world.go_on(6 * DAY, step=timedelta(hours=12))
    assert await status() == "completed"  # bob has left the first, and had every step of the second
    ended = await world.column("SELECT DISTINCT state FROM enrollments WHERE campaign_id = $1", campaign.id)
    assert ended == ["finished"]
    assert await world.owner.fetchval("SELECT count(*) FROM enrollments WHERE campaign_id = $1", campaign.id) == 3
    assert await found(world, "completed") == 0
