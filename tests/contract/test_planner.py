"""The planner on real rows: what limits, hours and providers do to slots that the sender then keeps to."""

from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any
from uuid import UUID

import pytest

from deploy.local.ca import Certificates, certificates
from libs.schema.events import open_envelope
from libs.schema.events.base import seal
from libs.schema.events.email import EmailQueued
from libs.schema.events.inbox import InboxHealthChanged
from libs.schema.events.lead import LeadHeld
from libs.schema.runtime.clock import new_id
from libs.schema.runtime.db import Connection, transaction
from services.sender.app import HEARS
from tests.sender_world import MONDAY, World, sender_world
from tests.support import Step, insert, make_list

MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
SETTINGS = {"timezone": "UTC", "send_days": ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]}


@pytest.fixture(scope="module")
def pem(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return certificates(tmp_path_factory.mktemp("ca"))


@pytest.fixture
async def world(database: str, owner: Connection, pem: Certificates) -> AsyncIterator[World]:
    async with sender_world(database, owner, pem, inboxes=2) as world:
        yield world


async def team_settings(world: World, **settings: Any) -> None:
    await world.owner.execute("UPDATE teams SET settings = settings || $1", settings)


async def queued(world: World) -> list[EmailQueued]:
    return [event for event in await world.events("email.queued") if isinstance(event, EmailQueued)]


async def held(world: World) -> Counter[str]:
    return Counter(event.gate for event in await world.events("lead.held") if isinstance(event, LeadHeld))


async def sent_on(world: World) -> Counter[int]:
    """How many mails went on which day of March."""
    days = await world.column(
        "SELECT extract(day FROM committed_at)::int FROM send_ledger WHERE committed_at IS NOT NULL"
    )
    return Counter(days)


async def provider(world: World, domain: str, name: str) -> None:
    await insert(world.owner, "recipient_domain", {"domain": domain, "provider": name, "resolved_at": MONDAY})


async def inbox_provider(world: World, number: int, name: str) -> UUID:
    inbox = world.inboxes[number]
    await world.owner.execute("UPDATE inboxes SET provider = $2::text::inbox_provider WHERE id = $1", inbox.id, name)
    return inbox.id


async def test_a_new_inbox_sends_five_on_its_first_day_and_eight_on_its_second(world: World) -> None:
    await world.owner.execute("UPDATE inbox_settings SET auto_throttle_enabled = true")
    await world.owner.execute("DELETE FROM inboxes WHERE id = $1", world.inboxes.pop().id)
    await world.leads(*(f"lead{n}" for n in range(30)))
    await world.campaign()
    await world.go_on(3 * DAY - 10 * HOUR, step=10 * MINUTE)
    assert await sent_on(world) == {2: 5, 3: 8, 4: 11}
    assert set(await held(world)) == {"ramp"}


async def test_a_company_hears_from_the_team_three_times_a_day_whichever_inbox_is_free(world: World) -> None:
    await team_settings(world, domain_daily_limit=3, domain_gap_minutes=10)
    await world.leads(*(f"lead{n}" for n in range(8)))
    await world.campaign()
    await world.go_on(2 * DAY - 10 * HOUR, step=10 * MINUTE)
    assert await sent_on(world) == {2: 3, 3: 3}
    by_inbox = await world.owner.fetch("SELECT inbox_id, committed_at FROM send_ledger WHERE committed_at IS NOT NULL")
    for inbox in world.inboxes:
        times = sorted(row["committed_at"] for row in by_inbox if row["inbox_id"] == inbox.id)
        assert all(after - before >= 10 * MINUTE for before, after in pairwise(times))


async def test_a_person_hears_from_two_campaigns_no_sooner_than_two_days_apart(world: World) -> None:
    await team_settings(world, contact_gap_hours=48)
    await world.leads("bob")
    await world.campaign(Step(), Step(subject="", delay_days=1))
    second = await world.campaign()
    await world.go_on(5 * DAY, step=HOUR)
    times = await world.column("SELECT slot_at FROM send_ledger ORDER BY slot_at")
    assert [times[1] - times[0], times[2] - times[1]] == [DAY, 2 * DAY]  # the author's delay, then the gap
    assert await world.column("SELECT campaign_id FROM send_ledger ORDER BY slot_at DESC LIMIT 1") == [second.id]


@pytest.mark.parametrize("mode", ["prefer", "strict"])
async def test_an_inbox_of_the_recipients_own_provider_is_asked_first(world: World, mode: str) -> None:
    google = await inbox_provider(world, 1, "google")
    await provider(world, "lead.test", "google")
    await world.leads(*(f"lead{n}" for n in range(6)))
    await world.campaign(settings=SETTINGS | {"esp_matching": True, "esp_matching_mode": mode})
    await world.plan()
    assert {event.inbox_id for event in await queued(world)} == {google}


async def test_without_an_inbox_of_its_provider_a_lead_waits_only_where_matching_is_strict(world: World) -> None:
    await provider(world, "lead.test", "microsoft")
    await world.leads("bob")
    await world.campaign(settings=SETTINGS | {"esp_matching": True, "esp_matching_mode": "strict"})
    await world.plan()
    (event,) = await world.events("lead.held")
    assert isinstance(event, LeadHeld)
    assert (event.gate, event.value, event.limit, event.retry_at) == ("esp", "microsoft", "strict", None)
    await world.owner.execute('UPDATE campaigns SET settings = settings || \'{"esp_matching_mode": "prefer"}\'')
    await world.go_on(HOUR + 5 * MINUTE, step=HOUR)
    assert len(world.script.accepted) == 1


async def test_a_follow_up_stays_with_its_inbox_whatever_the_provider(world: World) -> None:
    await world.leads("bob")
    campaign = await world.campaign(Step(), Step(subject="", delay_days=1), settings=SETTINGS | {"esp_matching": True})
    await world.go_on(HOUR, step=5 * MINUTE)
    await provider(world, "lead.test", "google")
    (first,) = await world.column("SELECT DISTINCT inbox_id FROM send_ledger")
    other = next(number for number, inbox in enumerate(world.inboxes) if inbox.id != first)
    await inbox_provider(world, other, "google")
    await world.go_on(2 * DAY, step=HOUR)
    assert await world.column("SELECT DISTINCT inbox_id FROM send_ledger") == [first]
    assert await world.column("SELECT count(*) FROM send_ledger WHERE campaign_id = $1", campaign.id) == [2]


async def test_a_lead_is_mailed_in_its_own_office_hours_and_the_claim_keeps_to_them(world: World) -> None:
    await world.leads("new_yorker", timezone="America/New_York")
    await world.leads("berliner", city="Berlin")
    await world.leads("nowhere")
    await world.campaign()
    await world.go_on(12 * HOUR, step=5 * MINUTE)
    rows = await world.owner.fetch(
        """SELECT split_part(m.to_email, '@', 1) AS who, l.committed_at
        FROM send_ledger l JOIN emails m ON m.id = l.send_id"""
    )
    hours = {row["who"]: row["committed_at"].hour for row in rows}
    assert hours == {"nowhere": 9, "berliner": 9, "new_yorker": 14}


async def test_a_slot_outside_the_leads_new_hours_is_given_up_at_the_claim(world: World) -> None:
    await world.leads("bob")
    await world.campaign()
    await world.plan()
    await world.owner.execute("UPDATE leads SET timezone = 'America/Los_Angeles'")
    await world.go_on(HOUR, step=5 * MINUTE)
    assert world.script.accepted == []
    (slot,) = await world.column("SELECT not_before FROM send_ledger WHERE state = 'queued'")
    assert slot >= datetime(2026, 3, 2, 17, tzinfo=UTC)


async def test_a_skipped_date_is_told_with_the_next_opening(world: World) -> None:
    await world.leads("bob")
    await world.campaign(settings=SETTINGS | {"skip_dates": ["2026-03-02", "2026-03-03"]})
    await world.plan()
    (event,) = await world.events("lead.held")
    assert isinstance(event, LeadHeld)
    assert (event.gate, event.retry_at) == ("window", datetime(2026, 3, 4, tzinfo=UTC))


async def test_a_follow_up_falls_due_in_the_planned_second_of_the_mail_before(world: World) -> None:
    await world.leads("bob")
    await world.campaign(Step(), Step(subject="", delay_days=1))
    await world.plan()
    (slot,) = await world.column("SELECT slot_at FROM send_ledger")
    world.clock.move(slot - world.clock.now() + timedelta(seconds=40))  # a little late, as a busy sender is
    await world.send()
    await world.plan()
    assert await world.column("SELECT slot_at FROM send_ledger ORDER BY slot_at") == [slot, slot + DAY]


async def test_a_late_mail_puts_its_follow_up_off(world: World) -> None:
    await world.leads("bob")
    await world.campaign(Step(), Step(subject="", delay_days=1))
    await world.plan()
    (slot,) = await world.column("SELECT slot_at FROM send_ledger")
    world.clock.move(slot - world.clock.now() + HOUR)
    await world.send()
    await world.plan()
    assert await world.column("SELECT slot_at FROM send_ledger ORDER BY slot_at") == [slot, slot + HOUR + DAY]


@pytest.mark.parametrize(("share", "steps"), [(100, [2, 2, 1, 1]), (0, [1, 1, 2, 2]), (50, [2, 1, 2, 1])])
async def test_follow_ups_and_new_leads_share_an_inbox_as_the_team_says(
    world: World, share: int, steps: list[int]
) -> None:
    await team_settings(world, follow_up_share=share)
    await world.owner.execute("DELETE FROM inboxes WHERE id = $1", world.inboxes.pop().id)
    await world.leads("ann", "bob")
    await world.campaign(Step(), Step(subject="", delay_days=3))
    await world.go_on(HOUR, step=5 * MINUTE)
    other = await make_list(world.owner, world.team, name="others")
    world.clock.move(4 * DAY)
    world.list_id = other
    await world.leads("cat", "dan")
    await world.campaign()
    await world.plan()
    rows = await world.owner.fetch(
        """SELECT q.step_number FROM send_ledger l JOIN sequences q ON q.id = l.step_id
        WHERE l.state = 'queued' ORDER BY l.slot_at"""
    )
    assert [row["step_number"] for row in rows] == steps


async def test_when_an_inboxs_health_falls_its_slots_are_given_anew_within_its_new_limit(world: World) -> None:
    await world.owner.execute("DELETE FROM inboxes WHERE id = $1", world.inboxes.pop().id)
    await world.owner.execute("UPDATE inbox_settings SET auto_throttle_enabled = true, daily_send_limit = 5")
    await world.owner.execute("UPDATE inboxes SET health_score = 90, health_known = true")
    await world.leads(*(f"lead{n}" for n in range(5)))
    await world.campaign()
    await world.plan()
    assert await world.column("SELECT count(*) FROM send_ledger WHERE slot_at < $1", MONDAY + 15 * HOUR) == [5]
    await world.owner.execute("UPDATE inboxes SET health_score = 60")
    event = InboxHealthChanged(inbox_id=world.inboxes[0].id, health_score=60, previous=90)
    body = seal(event, event_id=new_id(), team_id=world.team.id, time=MONDAY, by="test")
    for _ in range(2):
        async with transaction(world.deps.pool) as tx:
            await HEARS[InboxHealthChanged](world.deps, tx, open_envelope(body), event)
    await world.plan()
    today = await world.column(
        "SELECT slot_at FROM send_ledger WHERE state = 'queued' AND slot_at < $1", MONDAY + 15 * HOUR
    )
    assert len(today) == 2
    assert abs(today[1] - today[0]) >= 2 * MINUTE  # its least gap of a minute counts twice
    assert (await world.types()).count("email.cancelled") == 5


async def test_many_late_slots_are_planned_anew_at_the_inboxes_own_pace(world: World) -> None:
    await world.leads(*(f"lead{n}" for n in range(60)))
    await world.campaign()
    await world.plan()
    world.clock.move(6 * HOUR)
    await world.plan()
    await world.send()
    assert len(world.script.accepted) <= 2  # one of each inbox
    await world.go_on(2 * HOUR, step=MINUTE)
    rows = await world.owner.fetch("SELECT inbox_id, committed_at FROM send_ledger ORDER BY committed_at")
    assert len(rows) == 60
    for inbox in world.inboxes:
        times = [row["committed_at"] for row in rows if row["inbox_id"] == inbox.id]
        assert all(after - before >= MINUTE for before, after in pairwise(times))


async def test_one_teams_nonsense_in_its_settings_holds_up_nobody(world: World) -> None:
    await team_settings(world, follow_up_share="many", domain_daily_limit=0)
    await world.leads("bob")
    await world.campaign(settings=SETTINGS | {"min_health_score": "low", "lead_window_start": 9})
    await world.plan()
    assert len(await queued(world)) == 1


async def test_a_list_is_read_again_when_a_lead_comes_and_now_and_then_without(world: World) -> None:
    await world.leads("ann")
    await world.campaign()
    await world.plan()
    await world.leads("bob")
    await world.plan()
    assert await world.column("SELECT count(*) FROM enrollments") == [2]
    suppressed = {"team_id": world.team.id, "email": "cat@lead.test", "reason": "manual", "scope": "email"}
    await insert(world.owner, "suppression_list", suppressed)
    await world.leads("cat")
    await world.plan()
    await world.owner.execute("DELETE FROM suppression_list")  # nothing of the list has changed
    await world.plan()
    assert await world.column("SELECT count(*) FROM enrollments") == [2]
    world.clock.move(MINUTE)
    await world.plan()
    assert await world.column("SELECT count(*) FROM enrollments") == [3]
