"""A stop that is written while T2 waits wins; one that comes after T2 waits itself. The SMTP server is the judge."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from datetime import timedelta

import asyncpg
import pytest

from deploy.local.ca import Certificates, certificates
from libs.schema.runtime import barrier
from libs.schema.runtime.clock import new_id
from libs.schema.runtime.db import Connection, Tx, prepare_connection, transaction
from services.sender.jobs.send import send_due
from tests.sender_world import World, sender_world
from tests.support import Campaign, Lead, Step, eventually, insert

WAITING = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"


@pytest.fixture(scope="module")
def pem(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return certificates(tmp_path_factory.mktemp("ca"))


@pytest.fixture
async def world(database: str, owner: Connection, pem: Certificates) -> AsyncIterator[World]:
    async with sender_world(database, owner, pem) as world:
        yield world


@pytest.fixture
async def stopper(database: str) -> AsyncIterator[Connection]:
    """Another process's connection, which stops people."""
    connection = await asyncpg.connect(database)
    await prepare_connection(connection)
    yield connection
    await connection.close()


async def ready(world: World) -> tuple[Lead, Campaign]:
    """One person whose first mail is due now."""
    (bob,) = await world.leads("bob")
    campaign = await world.campaign(Step(), Step(subject="", delay_days=1))
    await world.plan()
    world.clock.move(timedelta(minutes=10))
    return bob, campaign


async def t2_waits(world: World) -> None:
    """Starts the delivery and returns when its T2 waits for a lock."""
    await send_due(world.deps)
    await eventually(lambda: world.owner.fetchval(WAITING), timeout_s=2)


async def stop_person(tx: Tx, world: World, bob: Lead, reason: str) -> None:
    row = {"id": new_id(), "team_id": world.team.id, "lead_key": bob.key, "reason": reason, "event_id": new_id()}
    await insert(tx, "lead_stop", row | {"stopped_at": world.clock.now()})


@pytest.mark.parametrize("reason", ["replied", "hard_bounce", "unsubscribe"])
async def test_a_stop_that_commits_while_t2_waits_keeps_the_mail_in(
    world: World, stopper: Connection, reason: str
) -> None:
    bob, _ = await ready(world)
    async with stopper.transaction():
        await barrier.stop_people(stopper, world.team.id, [bob.key])
        await t2_waits(world)
        await stop_person(stopper, world, bob, reason)
    await world.deps.deliveries.drain()
    await world.go_on(timedelta(days=2), step=timedelta(hours=6))
    assert world.script.accepted == []
    assert await world.ledger("state", "committed_at") == [("stopped", None)]
    assert await world.column("SELECT state FROM enrollments") == ["stopped"]


async def test_a_suppression_that_commits_while_t2_waits_keeps_the_mail_in(world: World, stopper: Connection) -> None:
    bob, _ = await ready(world)
    async with stopper.transaction():
        await barrier.stop_people(stopper, world.team.id, [bob.key])
        await t2_waits(world)
        row = {"team_id": world.team.id, "email": bob.email, "reason": "unsubscribe", "value_hash": bob.key}
        await insert(stopper, "suppression_list", row)
    await world.deps.deliveries.drain()
    await world.go_on(timedelta(hours=1))
    assert world.script.accepted == []
    assert await world.ledger("state") == [("suppressed",)]


async def test_a_pause_that_commits_while_t2_waits_keeps_the_mail_in_until_the_resume(
    world: World, stopper: Connection
) -> None:
    _, campaign = await ready(world)
    async with stopper.transaction():
        await barrier.stop_campaign(stopper, campaign.id)
        await t2_waits(world)
        await stopper.execute("UPDATE campaigns SET status = 'paused' WHERE id = $1", campaign.id)
    await world.deps.deliveries.drain()
    await world.go_on(timedelta(hours=1))
    assert world.script.accepted == []
    assert await world.ledger("state", "committed_at") == [("queued", None)]
    await stopper.execute("UPDATE campaigns SET status = 'active' WHERE id = $1", campaign.id)
    await world.go_on(timedelta(hours=1))
    assert len(world.script.accepted) == 1


async def test_the_kill_switch_that_commits_while_t2_waits_keeps_the_mail_in(world: World, stopper: Connection) -> None:
    await ready(world)
    async with stopper.transaction():
        await barrier.stop_everything(stopper)
        await t2_waits(world)
        await stopper.execute("UPDATE installation SET paused = true")
    await world.deps.deliveries.drain()
    await world.go_on(timedelta(hours=1))
    assert world.script.accepted == []


async def test_a_stop_that_takes_too_long_costs_a_delay_and_no_mail(world: World, stopper: Connection) -> None:
    bob, _ = await ready(world)
    async with stopper.transaction():
        await barrier.stop_people(stopper, world.team.id, [bob.key])
        await t2_waits(world)
        await world.deps.deliveries.drain()  # lock_timeout ends the wait
        assert await world.ledger("state") == [("queued",)]
    assert world.script.accepted == []
    await world.send()
    assert len(world.script.accepted) == 1


async def test_a_stop_that_comes_during_t2_waits_for_it_and_stops_the_next_mail(
    world: World, stopper: Connection
) -> None:
    bob, campaign = await ready(world)
    passing: AbstractAsyncContextManager[Tx] = transaction(world.deps.pool)
    async with passing as tx:
        await barrier.enter(tx, world.team.id, bob.key, campaign.id)

        async def stop() -> None:
            async with stopper.transaction():
                await barrier.stop_people(stopper, world.team.id, [bob.key])
                await stop_person(stopper, world, bob, "replied")

        stopping = asyncio.create_task(stop())
        await eventually(lambda: world.owner.fetchval(WAITING), timeout_s=2)
        assert not stopping.done()
    await stopping
    await world.go_on(timedelta(days=2), step=timedelta(hours=6))
    assert world.script.accepted == []
