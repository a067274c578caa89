"""What a simulation says is what happens: the sender's own jobs, on a clock that moves, give every simulated second.

A world is simulated first; then enrolment, planning and sending run in it, mail by mail, to the end.
"""

import random
from collections.abc import AsyncIterator
from datetime import datetime, time, timedelta
from itertools import count as counter
from typing import Any
from uuid import UUID

import pytest

from deploy.local.ca import Certificates, certificates
from libs.planning.schedule import ready_from
from libs.planning.simulate.outlook import outlook
from libs.planning.simulate.queries import Asked, read_runners, read_world
from libs.planning.simulate.run import Run, simulate
from libs.schema.runtime.clock import new_id
from libs.schema.runtime.db import Connection
from services.sender.jobs.enrol import enrol
from services.sender.jobs.plan import plan_slots
from tests.contract.http_rig import expect, rig_on
from tests.sender_world import MONDAY, World, sender_world
from tests.support import PEPPER, Campaign, Step, insert, make_campaign, make_lead, make_list

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
WORKDAYS = ["mon", "tue", "wed", "thu", "fri"]
_NUMBERS = counter()  # addresses of leads differ in all worlds
Sent = tuple[UUID, int, UUID, datetime]  # lead, step, inbox, second


@pytest.fixture(scope="module")
def pem(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return certificates(tmp_path_factory.mktemp("ca"))


@pytest.fixture
async def world(database: str, owner: Connection, pem: Certificates) -> AsyncIterator[World]:
    async with sender_world(database, owner, pem, inboxes=4) as world:
        yield world


async def simulated(world: World, campaign_id: UUID, start_at: datetime | None = None) -> Run:
    asked = Asked(campaign_id=campaign_id, now=world.clock.now(), pepper=PEPPER, public_url="http://127.0.0.1:8081")
    rows = await read_runners(world.owner, world.team.id, campaign_id)
    return simulate(await read_world(world.owner, world.team.id, asked, rows, start_at or world.clock.now()))


def seconds(run: Run, campaign_id: UUID) -> list[Sent]:
    ours = [send for campaign, send in run.sends if campaign == campaign_id]
    return sorted((send.lead_id, send.step_number, send.inbox_id, send.scheduled_at) for send in ours)


async def happened(world: World, campaign: Campaign) -> list[Sent]:
    rows = await world.owner.fetch(
        "SELECT lead_id, step_id, inbox_id, slot_at FROM send_ledger WHERE campaign_id = $1 AND state = 'accepted'",
        campaign.id,
    )
    return sorted(
        (row["lead_id"], campaign.step_ids.index(row["step_id"]) + 1, row["inbox_id"], row["slot_at"]) for row in rows
    )


async def live(world: World, campaign: Campaign) -> None:
    """Lets the jobs work to the campaign's end: in every slot's second, every full hour, whenever a round may look."""
    for _ in range(20_000):
        await world.send()
        await enrol(world.deps)
        while await plan_slots(world.deps):
            pass
        if await world.owner.fetchval("SELECT status <> 'active' FROM campaigns WHERE id = $1", campaign.id):
            return
        world.clock.move(await _next(world) - world.clock.now())
    raise AssertionError("the campaign does not end")


async def _next(world: World) -> datetime:
    now = world.clock.now()
    slots = await world.column("SELECT not_before FROM send_ledger WHERE state = 'queued'")
    waiting = await world.owner.fetch(
        """SELECT e.next_at, e.held_gate, e.held_until FROM enrollments AS e JOIN campaigns AS c ON c.id = e.campaign_id
        WHERE e.state = 'active' AND e.next_at IS NOT NULL AND c.status = 'active'"""
    )
    rounds = [ready_from(row["next_at"], row["held_gate"], row["held_until"], now) for row in waiting]
    later = [at for at in rounds if at > now]
    hour = now.replace(minute=0, second=0, microsecond=0) + HOUR
    return max(now, min([*slots, *later, hour]))


async def settle_inbox(world: World, number: int, **settings: Any) -> None:
    names = ", ".join(f"{name} = ${place}" for place, name in enumerate(settings, start=2))
    await world.owner.execute(
        f"UPDATE inbox_settings SET {names} WHERE inbox_id = $1",  # noqa: S608 - the test's own words
        world.inboxes[number].id,
        *settings.values(),
    )


async def people(world: World, list_id: UUID, count: int, **columns: Any) -> None:
    for _ in range(count):
        number = next(_NUMBERS)
        email = f"p{number}@company{number % 7}.test"
        await make_lead(world.owner, world.team, email=email, list_id=list_id, **columns)


def settings_of(**changes: Any) -> dict[str, Any]:
    return {"timezone": "America/New_York", "send_days": WORKDAYS, "min_health_score": 0} | changes


async def test_every_second_of_two_campaigns_over_two_zones_and_a_change_to_summer_time_is_as_simulated(
    world: World,
) -> None:
    """New York's clocks change on 8 March 2026, within the six working days that the caps force."""
    for number, zone in enumerate(("America/New_York", "Europe/Berlin", "America/New_York", "Europe/Berlin")):
        await settle_inbox(
            world,
            number,
            daily_send_limit=7,
            hourly_limit=3,
            min_delay_seconds=300,
            max_delay_seconds=900,
            send_window_start=time(9),
            send_window_end=time(16),
            send_window_timezone=zone,
            send_days=WORKDAYS,
            weekends_enabled=False,
        )
    steps = (Step(), Step(subject="", body="Still there?", delay_days=2), Step(body="Goodbye", delay_days=1))
    await people(world, world.list_id, 32)
    await people(world, world.list_id, 1, first_name=None)
    asked = await world.campaign(*steps, settings=settings_of())
    rivals = await make_list(world.owner, world.team, name="rivals")
    await people(world, rivals, 12)
    rival = await make_campaign(
        world.owner, world.team, inboxes=world.inboxes[:2], list_id=rivals, steps=steps[:2], settings=settings_of()
    )
    run = await simulated(world, asked.id)
    said = outlook(run)
    assert said.complete
    assert said.finishes_at is not None
    assert (said.finishes_at - MONDAY) > 6 * DAY
    assert [(reason.reason, reason.leads) for reason in said.never_mailed] == [("variable", 1)]

    await world.owner.execute("DELETE FROM leads WHERE first_name IS NULL")
    await live(world, asked)
    assert await happened(world, asked) == seconds(run, asked.id)
    gone = [sent for sent in await happened(world, rival) if sent[3] <= said.finishes_at]
    assert gone == [sent for sent in seconds(run, rival.id) if sent[3] <= said.finishes_at]
    assert said.mails == 32 * 3


async def test_a_draft_is_simulated_as_it_then_runs_when_it_is_started(world: World) -> None:
    await people(world, world.list_id, 9)
    draft = await world.campaign(Step(), Step(delay_days=1), status="draft", settings=settings_of(timezone="UTC"))
    run = await simulated(world, draft.id, MONDAY + 2 * HOUR)
    world.clock.move(2 * HOUR)
    await world.owner.execute("UPDATE campaigns SET status = 'active' WHERE id = $1", draft.id)
    await live(world, draft)
    assert await happened(world, draft) == seconds(run, draft.id)


async def test_a_simulation_in_the_middle_goes_on_from_the_slots_that_stand(world: World) -> None:
    for number in range(4):
        await settle_inbox(world, number, daily_send_limit=4, min_delay_seconds=600, max_delay_seconds=1200)
    await people(world, world.list_id, 30)
    campaign = await world.campaign(Step(), Step(delay_days=1), settings=settings_of(timezone="UTC"))
    await world.plan()
    world.clock.move(2 * HOUR)
    for _ in range(3):
        await world.send()
        await world.plan()
        world.clock.move(11 * timedelta(minutes=1))
    before = await happened(world, campaign)
    run = await simulated(world, campaign.id)
    await live(world, campaign)
    # What stands late in its slot goes at once; in which second, the inboxes' gaps decide as they send.
    said = seconds(run, campaign.id)
    late = {sent[:2] for sent in said if sent[3] == run.world.now}
    told = [sent for sent in said if sent[:2] not in late]
    assert len(told) > 30
    assert [sent for sent in await happened(world, campaign) if sent not in before and sent[:2] not in late] == told


@pytest.mark.parametrize("seed", [2, 3])
async def test_random_worlds_are_simulated_to_the_second(world: World, seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311 - nothing secret
    for number in range(4):
        start = chance.randrange(6, 12)
        await settle_inbox(
            world,
            number,
            daily_send_limit=chance.randrange(3, 12),
            hourly_limit=chance.randrange(1, 5),
            min_delay_seconds=chance.randrange(60, 900),
            max_delay_seconds=chance.randrange(900, 2000),
            send_window_start=time(start),
            send_window_end=time(start + chance.randrange(3, 9)),
            send_window_timezone=chance.choice(["UTC", "America/New_York", "Asia/Tokyo", "Europe/Berlin"]),
            auto_throttle_enabled=chance.random() < 0.5,
        )
    limits = {"domain_daily_limit": chance.randrange(0, 4), "domain_gap_minutes": chance.choice([0, 10, 60])}
    await world.owner.execute("UPDATE teams SET settings = $2 WHERE id = $1", world.team.id, limits)
    await people(world, world.list_id, chance.randrange(10, 30), city=chance.choice([None, "Berlin", "Tokyo"]))
    asks: list[list[dict[str, Any]]] = [
        [],
        [],
        [{"type": "no_reply", "action": "continue"}],
        [{"type": "not_opened", "action": "skip"}],
    ]
    steps = [
        Step(
            delay_days=chance.randrange(3),
            delay_hours=chance.randrange(24),
            conditions=chance.choice(asks) if number else [],
        )
        for number in range(chance.randrange(1, 4))
    ]
    first = await world.campaign(*steps, name="First", settings=settings_of(timezone="UTC"))
    # The same people: they enter the second when the first is over, and two days of silence lie between.
    second = await world.campaign(Step(delay_hours=1), name="Second", settings=settings_of(timezone="UTC"))
    run = await simulated(world, second.id)
    await live(world, second)
    assert await happened(world, first) == seconds(run, first.id)
    assert await happened(world, second) == seconds(run, second.id) != []
    assert run.stopped_by is None


async def test_who_is_never_mailed_is_counted_by_what_keeps_him(world: World) -> None:
    await make_lead(world.owner, world.team, email="gone@lead.test", list_id=world.list_id, status="bounced")
    await make_lead(world.owner, world.team, email="no@lead.test", list_id=world.list_id)
    row = {"id": new_id(), "team_id": world.team.id, "email": "no@lead.test", "reason": "manual"}
    await insert(world.owner, "suppression_list", row)
    await make_lead(world.owner, world.team, email="nameless@lead.test", list_id=world.list_id, first_name=None)
    await make_lead(world.owner, world.team, email="bob@lead.test", list_id=world.list_id)
    campaign = await world.campaign()
    said = outlook(await simulated(world, campaign.id))
    found = {(reason.reason, reason.value): reason.leads for reason in said.never_mailed}
    assert found == {("left", "bounced"): 1, ("suppressed", "manual"): 1, ("variable", "first_name"): 1}
    assert (said.leads, said.mails, said.complete) == (4, 1, True)


async def test_a_paused_inbox_keeps_its_leads_and_the_simulation_says_so(world: World) -> None:
    await people(world, world.list_id, 3)
    await world.owner.execute("UPDATE inboxes SET status = 'paused'")
    campaign = await world.campaign()
    said = outlook(await simulated(world, campaign.id))
    assert [(reason.reason, reason.value, reason.leads) for reason in said.never_mailed] == [("inbox", "paused", 3)]
    assert said.complete


async def test_after_a_change_in_the_middle_every_second_is_as_simulated_before_the_sender_has_looked(
    world: World, database: str
) -> None:
    for number in range(4):
        await settle_inbox(world, number, daily_send_limit=4, min_delay_seconds=300, max_delay_seconds=900)
    await people(world, world.list_id, 30, city="Berlin")
    campaign = await world.campaign(Step(), Step(delay_days=1), settings=settings_of(timezone="UTC"))
    await world.plan()
    for _ in range(20):
        await world.send()
        await world.plan()
        world.clock.move(max(timedelta(seconds=1), await _next(world) - world.clock.now()))
    before = await happened(world, campaign)
    assert before
    async with rig_on(database) as rig:
        caller = await rig.key_of(world.team.id)
        rig.clock.move(world.clock.now() - rig.clock.now())
        wider = {"daily_send_limit": 9, "send_window_start": "10:00", "send_window_timezone": "Europe/Berlin"}
        for inbox in world.inboxes[:3]:
            expect(await caller.ask("PATCH", f"/v1/inboxes/{inbox.id}/settings", wider), 200)
        expect(await caller.ask("POST", f"/v1/inboxes/{world.inboxes[3].id}/pause"), 202)
        expect(await caller.ask("POST", f"/v1/inboxes/{world.inboxes[3].id}/resume"), 202)
        hours = {"settings": {"lead_window_start": "11:30", "skip_dates": ["2026-03-05"]}}
        expect(await caller.ask("PATCH", f"/v1/campaigns/{campaign.id}", hours), 200)
        limits = {"settings": {"timezone": "Asia/Tokyo", "domain_daily_limit": 2, "domain_gap_minutes": 20}}
        expect(await caller.ask("PATCH", "/v1/team", limits), 200)
    run = await simulated(world, campaign.id)
    await live(world, campaign)
    after = [sent for sent in await happened(world, campaign) if sent not in before]
    assert after == seconds(run, campaign.id)
    assert len(before) + len(after) == 60
