"""Claims under rivals and deaths: caps to the one, one in flight per inbox, no mail twice whenever a worker dies."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from functools import partial
from itertools import pairwise

import asyncpg
import pytest

from deploy.local.ca import Certificates, certificates
from libs.schema.runtime import barrier
from libs.schema.runtime.clock import new_id
from libs.schema.runtime.db import Connection, transaction
from services.sender.app import close
from services.sender.compose import Letter, compose
from services.sender.deps import Deps
from services.sender.jobs.mend import reap
from services.sender.jobs.send import claim_some, deliver, limits_of, pass_together, point_of, send_due
from services.sender.jobs.settle import accept_together, persistently, settle
from services.sender.queries import claim
from services.sender.queries.claim import Claimed
from services.sender.queries.point import pass_the_point
from services.sender.rules.verdict import Accepted, Answer
from tests.sender_world import World, another_sender, sender_world
from tests.support import eventually, insert

MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)


@pytest.fixture(scope="module")
def pem(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return certificates(tmp_path_factory.mktemp("ca"))


@pytest.fixture
async def world(database: str, owner: Connection, pem: Certificates) -> AsyncIterator[World]:
    async with sender_world(database, owner, pem, inboxes=6) as world:
        yield world


@pytest.fixture
async def rivals(world: World, pem: Certificates) -> AsyncIterator[list[Deps]]:
    rivals = [await another_sender(world, pem) for _ in range(4)]
    yield rivals
    for rival in rivals:
        await close(rival)
        await rival.pool.close()


async def all_at_once(rivals: list[Deps], rounds: int, world: World) -> None:
    for _ in range(rounds):
        await asyncio.gather(*(send_due(rival) for rival in rivals))
        await asyncio.gather(*(rival.deliveries.drain() for rival in rivals))
        world.clock.move(MINUTE)


async def test_four_rivals_keep_daily_hourly_and_gap_limits_to_the_one(world: World, rivals: list[Deps]) -> None:
    await world.leads(*(f"lead{n}" for n in range(60)))
    await world.campaign()
    await world.plan()
    # Smaller than when the slots were given: now the claim alone can keep them.
    await world.owner.execute(
        """UPDATE inbox_settings
        SET daily_send_limit = 5, hourly_limit = 3, min_delay_seconds = 90, max_delay_seconds = 90"""
    )
    await all_at_once(rivals, 110, world)
    per_inbox = await world.column(
        "SELECT array_agg(committed_at ORDER BY committed_at) FROM send_ledger"
        " WHERE committed_at IS NOT NULL GROUP BY inbox_id"
    )
    assert [len(times) for times in per_inbox] == [5] * 6
    for times in per_inbox:
        assert all(after - before >= timedelta(seconds=90) for before, after in pairwise(times))
        assert all(fourth - first >= HOUR for first, fourth in zip(times, times[3:], strict=False))
    assert len(world.script.accepted) == len(set(world.recipients())) == 30


async def test_four_rivals_keep_the_teams_limit_over_all_inboxes(world: World, rivals: list[Deps]) -> None:
    await world.leads(*(f"lead{n}" for n in range(30)))
    await world.campaign()
    await world.plan()
    await world.owner.execute("UPDATE teams SET daily_email_limit = 7")
    await all_at_once(rivals, 30, world)
    assert len(world.script.accepted) == 7


async def test_rivals_never_hold_two_mails_of_one_inbox(world: World, rivals: list[Deps]) -> None:
    await world.leads(*(f"lead{n}" for n in range(30)))
    await world.campaign()
    await world.plan()
    world.clock.move(HOUR)
    claimed = await asyncio.gather(*(claim_some(rival, 50) for rival in rivals))
    inboxes = [send.inbox_id for some, _ in claimed for send in some]
    assert sorted(inboxes) == sorted(inbox.id for inbox in world.inboxes)


async def test_a_claim_that_is_not_committed_yet_keeps_rivals_off_its_team(world: World, rivals: list[Deps]) -> None:
    await world.leads(*(f"lead{n}" for n in range(12)))
    await world.campaign()
    await world.plan()
    await world.owner.execute("UPDATE teams SET daily_email_limit = 1")
    world.clock.move(HOUR)
    async with transaction(rivals[0].pool) as tx:
        teams = await claim.lock_teams_with_due(tx, world.clock.now())
        limits = limits_of(rivals[0], world.clock.now(), 50)
        assert len(await claim.claim_due(tx, teams, world.clock.now(), limits, "sending")) == 1
        # Another mail is due before the claimed one now, so a rival that may look would take it.
        await world.owner.execute(
            """UPDATE send_ledger SET not_before = not_before - INTERVAL '30 minutes' WHERE send_id =
            (SELECT send_id FROM send_ledger WHERE state = 'queued' ORDER BY not_before DESC LIMIT 1)"""
        )
        assert await claim_some(rivals[1], 50) == ([], {})
    assert await claim_some(rivals[1], 50) == ([], {})


async def test_a_paused_installation_claims_nothing(world: World) -> None:
    await world.leads("bob")
    await world.campaign()
    await world.plan()
    await world.owner.execute("UPDATE installation SET paused = true")
    world.clock.move(MINUTE)
    await world.send()
    assert await world.ledger("state") == [("queued",)]


async def claimed_by(rival: Deps, world: World) -> tuple[Claimed, Letter]:
    """One due mail in the hands of a worker."""
    await world.leads("bob")
    await world.campaign()
    await world.plan()
    world.clock.move(10 * MINUTE)
    await rival.owner.hold()
    (send,), _ = await claim_some(rival, 10)
    letter = compose(rival.settings, send, [], rival.clock.now())
    assert isinstance(letter, Letter)
    return send, letter


async def four_claimed_by(rival: Deps, world: World) -> list[tuple[Claimed, Letter]]:
    """Four due mails in the hands of a worker."""
    await world.leads("ann", "bob", "cem", "dan")
    await world.campaign()
    await world.plan()
    world.clock.move(HOUR)
    await rival.owner.hold()
    claimed, _ = await claim_some(rival, 10)
    letters = [compose(rival.settings, send, [], rival.clock.now()) for send in claimed]
    return [(send, letter) for send, letter in zip(claimed, letters, strict=True) if isinstance(letter, Letter)]


async def test_of_mails_that_pass_t2_together_each_is_checked_on_its_own(world: World, rivals: list[Deps]) -> None:
    four = await four_claimed_by(rivals[0], world)
    late, stopped, suppressed, fine = (send for send, _ in four)
    await world.owner.execute("UPDATE send_ledger SET lease_until = now() WHERE send_id = $1", late.send_id)
    row = {"team_id": world.team.id, "lead_key": stopped.lead_key, "reason": "replied"}
    await insert(
        world.owner, "lead_stop", row | {"id": new_id(), "event_id": new_id(), "stopped_at": world.clock.now()}
    )
    row = {"team_id": world.team.id, "email": suppressed.email, "reason": "unsubscribe"}
    await insert(world.owner, "suppression_list", row | {"value_hash": suppressed.lead_key})
    asked = [(send, point_of(rivals[0], send, letter)) for send, letter in four]
    assert await pass_together(rivals[0].pool, asked) == [False, False, False, True]
    assert await world.column("SELECT send_id FROM send_ledger WHERE state = 'in_data'") == [fine.send_id]
    shown = await world.owner.fetch("SELECT id, body_text FROM emails WHERE sent_on IS NOT NULL")
    assert [tuple(row) for row in shown] == [(fine.send_id, asked[-1][1].text)]


async def test_a_stop_that_is_being_written_holds_its_own_person_and_nobody_else(
    world: World, rivals: list[Deps]
) -> None:
    four = await four_claimed_by(rivals[0], world)
    held = four[2][0]
    async with world.owner.transaction():
        await barrier.stop_people(world.owner, world.team.id, [held.lead_key])
        points = [rivals[0].points.ask((send, point_of(rivals[0], send, letter))) for send, letter in four]
        passed = await asyncio.gather(*points, return_exceptions=True)
    assert isinstance(passed.pop(2), asyncpg.LockNotAvailableError)
    assert passed == [True, True, True]
    assert await world.column("SELECT send_id FROM send_ledger WHERE state = 'claimed'") == [held.send_id]


async def test_of_mails_that_are_settled_together_each_claim_is_fenced_on_its_own(
    world: World, rivals: list[Deps]
) -> None:
    four = await four_claimed_by(rivals[0], world)
    passed = [send for send, _ in await asyncio.gather(*(deliver(rivals[0], *each) for each in four))]
    lost = passed[1]
    await world.owner.execute("UPDATE send_ledger SET fence = fence + 1 WHERE send_id = $1", lost.send_id)
    accepted = [(send, Accepted(code=250, status="2.0.0", queue_id=str(n))) for n, send in enumerate(passed)]
    ended = await accept_together(rivals[0].pool, world.clock, accepted)
    assert ended == [True, False, True, True]
    assert await accept_together(rivals[0].pool, world.clock, accepted) == [False, False, False, False]
    assert len(await world.events("email.sent")) == len(await world.events("lead.completed")) == 3
    assert await world.column("SELECT send_id FROM send_ledger WHERE state = 'in_data'") == [lost.send_id]


async def die(rival: Deps) -> None:
    """The process is gone: PostgreSQL frees its lock."""
    await rival.owner.release()


async def test_a_worker_that_dies_before_t2_gives_its_mail_back_at_once(world: World, rivals: list[Deps]) -> None:
    await claimed_by(rivals[0], world)
    await reap(world.deps)
    assert await world.ledger("state") == [("claimed",)]
    await die(rivals[0])
    await reap(world.deps)
    assert await world.ledger("state", "attempt", "committed_at") == [("queued", 1, None)]
    await world.send()
    assert len(world.script.accepted) == 1


async def test_a_worker_that_dies_between_t2_and_the_dot_leaves_an_unknown_end(
    world: World, rivals: list[Deps]
) -> None:
    send, letter = await claimed_by(rivals[0], world)
    async with transaction(rivals[0].pool) as tx:
        assert await pass_the_point(tx, [(send, point_of(rivals[0], send, letter))]) == [True]
    await die(rivals[0])
    await reap(world.deps)
    await world.go_on(HOUR)
    assert await world.ledger("state") == [("unknown",)]
    assert world.script.accepted == []
    assert (await world.types())[-1] == "email.unknown"


async def test_a_worker_that_dies_after_the_answer_leaves_an_unknown_end_and_no_second_mail(
    world: World, rivals: list[Deps]
) -> None:
    send, letter = await claimed_by(rivals[0], world)
    await deliver(rivals[0], send, letter)
    await die(rivals[0])
    await reap(world.deps)
    await world.go_on(2 * HOUR)
    assert await world.ledger("state") == [("unknown",)]
    assert len(world.script.accepted) == 1


async def test_an_answer_that_comes_after_the_reaper_is_still_the_truth(world: World, rivals: list[Deps]) -> None:
    send, letter = await claimed_by(rivals[0], world)
    passed, outcome = await deliver(rivals[0], send, letter)
    assert isinstance(outcome, Answer)
    await die(rivals[0])
    await reap(world.deps)
    write = partial(settle, send=passed, outcome=outcome, at=world.clock.now(), patience=HOUR)
    await persistently(rivals[0], write)
    await persistently(rivals[0], write)
    assert await world.ledger("state", "resolved_by") == [("accepted", "smtp")]
    assert (await world.types()).count("email.sent") == 1


async def test_a_lost_lease_lets_nothing_pass(world: World, rivals: list[Deps]) -> None:
    send, letter = await claimed_by(rivals[0], world)
    await world.owner.execute("UPDATE send_ledger SET lease_until = clock_timestamp() - INTERVAL '1 second'")
    _, outcome = await deliver(rivals[0], send, letter)
    assert world.script.accepted == []
    await reap(world.deps)
    await persistently(rivals[0], partial(settle, send=send, outcome=outcome, at=world.clock.now(), patience=HOUR))
    await world.send()
    assert len(world.script.accepted) == 1


async def test_a_restored_database_fences_out_claims_of_its_former_life(world: World, rivals: list[Deps]) -> None:
    send, letter = await claimed_by(rivals[0], world)
    await world.owner.execute("UPDATE installation SET epoch = epoch + 1")
    await deliver(rivals[0], send, letter)
    assert world.script.accepted == []


async def test_a_worker_that_is_told_to_stop_passes_no_more_points(world: World, rivals: list[Deps]) -> None:
    send, letter = await claimed_by(rivals[0], world)
    rivals[0].stopping.set()
    await deliver(rivals[0], send, letter)
    assert world.script.accepted == []


async def test_a_settlement_waits_for_a_database_that_comes_back(world: World, rivals: list[Deps]) -> None:
    send, letter = await claimed_by(rivals[0], world)
    passed, outcome = await deliver(rivals[0], send, letter)
    for backend in await world.column(
        "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'test-sender'"
    ):
        await world.owner.execute("SELECT pg_terminate_backend($1)", backend)
    write = partial(settle, send=passed, outcome=outcome, at=world.clock.now(), patience=HOUR)
    await persistently(rivals[0], write)
    assert await eventually(lambda: world.ledger("state")) == [("accepted",)]
