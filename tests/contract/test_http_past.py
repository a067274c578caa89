"""The past over HTTP: a change tells what it leaves and what it found, and an earlier instant is explained by that."""

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest

from deploy.local.ca import Certificates, certificates
from libs.schema.events.campaign import CampaignActivated, CampaignChanged
from libs.schema.events.inbox import InboxChanged
from libs.schema.events.team import TeamChanged
from libs.schema.runtime.db import Connection
from tests.contract.stage import Stage, stage_on, stamp
from tests.support import Step, make_list

MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)


@pytest.fixture(scope="module")
def pem(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return certificates(tmp_path_factory.mktemp("ca"))


@pytest.fixture
async def stage(database: str, owner: Connection, pem: Certificates) -> AsyncIterator[Stage]:
    async with stage_on(database, owner, pem, inboxes=2) as stage:
        yield stage


async def settings_of(stage: Stage, number: int, **settings: Any) -> None:
    await stage.patch(f"/v1/inboxes/{stage.world.inboxes[number].id}/settings", settings)


async def test_a_change_is_told_with_what_differs_what_stands_and_what_was(stage: Stage) -> None:
    campaign = await stage.world.campaign()
    await stage.patch(f"/v1/campaigns/{campaign.id}", {"name": "New", "settings": {"min_health_score": 55}})
    await settings_of(stage, 0, send_window_start="10:30", daily_send_limit=7)
    await stage.patch("/v1/team", {"settings": {"timezone": "Europe/Berlin"}, "physical_address": None})
    (campaign_said,) = await stage.world.events("campaign.changed")
    (inbox_said,) = await stage.world.events("inbox.changed")
    (team_said,) = await stage.world.events("team.changed")
    assert isinstance(campaign_said, CampaignChanged)
    assert campaign_said.settings is not None
    assert campaign_said.changed == ["name", "min_health_score"]
    assert campaign_said.was is not None
    assert set(campaign_said.was) == {"min_health_score"}
    assert campaign_said.settings["inbox_ids"] == sorted(str(inbox.id) for inbox in stage.world.inboxes)
    assert isinstance(inbox_said, InboxChanged)
    assert inbox_said.settings["send_window_start"] == "10:30:00"
    assert set(inbox_said.was) == set(inbox_said.changed) == {"send_window_start", "daily_send_limit"}
    assert isinstance(team_said, TeamChanged)
    assert (team_said.settings["timezone"], team_said.settings["physical_address"]) == ("Europe/Berlin", False)
    assert team_said.was["physical_address"] is True


async def test_the_past_is_explained_with_the_settings_of_then_and_says_what_it_does_not_know(stage: Stage) -> None:
    (bob,) = await stage.world.leads("bob")
    one, two = stage.world.inboxes
    campaign = await stage.world.campaign(Step(), Step(subject="", delay_hours=1))
    await stage.put(f"/v1/campaigns/{campaign.id}/inboxes", {"inbox_ids": [str(one.id)]})
    await stage.world.go_on(20 * MINUTE)  # the first mail has gone, the second is due in an hour
    early = stage.world.clock.now()
    stage.world.clock.move(MINUTE)
    await settings_of(stage, 0, hourly_limit=9, send_window_start="12:00")
    await stage.patch(f"/v1/campaigns/{campaign.id}", {"settings": {"send_days": ["sat"]}})
    await stage.patch("/v1/team", {"settings": {"timezone": "Asia/Tokyo"}})
    await stage.world.plan()
    stage.world.clock.move(MINUTE)
    late = stage.world.clock.now()
    stage.world.clock.move(MINUTE)
    await stage.put(f"/v1/campaigns/{campaign.id}/inboxes", {"inbox_ids": [str(two.id)]})
    await settings_of(stage, 0, hourly_limit=20, send_window_start="09:00")
    await stage.patch(f"/v1/campaigns/{campaign.id}", {"settings": {"send_days": ["mon", "tue"]}})
    stage.world.clock.move(HOUR)

    then, later = await stage.explain(bob, at=stamp(early)), await stage.explain(bob, at=stamp(late))
    assert (then["answer"], later["answer"]) == ("will_send", "waiting")
    assert (later["reason"], later["until"]) == ("window", "2026-03-07T12:00:00Z")
    limits = [next(gate["limit"] for gate in said["inboxes"][0]["gates"] if gate["gate"] == "hourly_limit")
              for said in (then, later)]  # fmt: skip
    assert limits[1] == "9"
    assert limits[0] != "9"
    assert [each["inbox_id"] for each in later["inboxes"]] == [str(one.id)]
    # What changed later tells what was before; of an inbox whose settings nobody ever changed nothing is known.
    told = {"campaign_settings", "inbox_settings", "team_settings"}
    assert not told & set(then["assumes"])
    assert not told & set(later["assumes"])
    assert {"lead_fields", "given_up_slots", "campaign_status"} <= set(then["assumes"])
    now = await stage.explain(bob)
    assert now["assumes"] == []


async def test_without_a_word_about_them_the_settings_of_now_are_taken_and_named(stage: Stage) -> None:
    (bob,) = await stage.world.leads("bob")
    campaign = await stage.world.campaign(status="draft")
    await stage.world.owner.execute("UPDATE teams SET physical_address = '1 Main Street'")
    stage.world.clock.move(MINUTE)
    await stage.post(f"/v1/campaigns/{campaign.id}/activate")
    (activated,) = await stage.world.events("campaign.activated")
    assert isinstance(activated, CampaignActivated)
    assert activated.settings is not None
    await stage.world.plan()
    at = stage.world.clock.now()
    stage.world.clock.move(HOUR)
    said = await stage.explain(bob, at=stamp(at))
    assert {"team_settings", "inbox_settings"} <= set(said["assumes"])
    assert not {"campaign_settings", "campaign_status", "steps"} & set(said["assumes"])
    assert "the team's zone and limits" in said["notes"][0]


async def test_who_was_in_no_sequence_is_told_by_the_list_of_then(stage: Stage) -> None:
    (bob,) = await stage.world.leads("bob")
    other = await make_list(stage.world.owner, stage.world.team, name="other")
    campaign = await stage.world.campaign(status="paused")
    await stage.world.owner.execute("UPDATE campaigns SET lead_list_id = $1", other)
    before = stage.world.clock.now()
    stage.world.clock.move(MINUTE)
    await stage.patch(f"/v1/campaigns/{campaign.id}", {"lead_list_id": str(stage.world.list_id)})
    await stage.post(f"/v1/campaigns/{campaign.id}/resume")
    stage.world.clock.move(HOUR)
    assert (await stage.explain(bob, campaign_id=campaign.id))["reason"] == "next_round"
    then = await stage.explain(bob, campaign_id=campaign.id, at=stamp(before))
    assert "campaign_settings" not in then["assumes"]
    assert "campaign_status" in then["assumes"]
    assert then["reason"] == "not_in_list"


async def test_a_change_before_any_event_of_it_is_known_by_what_the_first_one_found(stage: Stage) -> None:
    (bob,) = await stage.world.leads("bob")
    await stage.world.campaign(Step(), Step(subject="", delay_days=1))
    await stage.world.go_on(20 * MINUTE)
    at = stage.world.clock.now()
    stage.world.clock.move(MINUTE)
    for number in (0, 1):
        await settings_of(stage, number, daily_send_limit=123)
    stage.world.clock.move(MINUTE)
    for said, limit in ((await stage.explain(bob, at=stamp(at)), False), (await stage.explain(bob), True)):
        found = [gate["limit"] for gate in said["inboxes"][0]["gates"] if gate["gate"] == "daily_limit"]
        assert (found == ["123"]) is limit
