"""A campaign that starts at an hour of its own: whole when it is scheduled, startable when the hour comes."""

from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import Any

import msgspec
import pytest

from libs.schema.events import open_envelope
from services.sender.queries.enrol import activate_scheduled
from tests.contract.http_rig import MONDAY, Caller, Rig, campaign_of, expect, rig_on

START = MONDAY + timedelta(days=2)


@pytest.fixture(scope="module")
async def rig(module_database: str) -> AsyncIterator[Rig]:
    async with rig_on(module_database) as rig:
        yield rig


@pytest.fixture
async def caller(rig: Rig) -> Caller:
    return await rig.team()


async def scheduled(caller: Caller, start_at: str = START.isoformat()) -> str:
    campaign = await campaign_of(caller)
    await caller.post(f"/v1/campaigns/{campaign['id']}/schedule", {"start_at": start_at}, 202)
    return campaign["id"]


async def started_at(rig: Rig, campaign_id: str, now: datetime) -> list[int]:
    """The version with which the sender would start this campaign at this time; none when it would not."""
    return [each.version for each in await activate_scheduled(rig.owner, now) if str(each.id) == campaign_id]


async def events_of(rig: Rig, caller: Caller) -> list[tuple[str, Any]]:
    rows = await rig.owner.fetch(
        "SELECT type, body FROM event_log WHERE team_id = $1 AND type LIKE 'campaign.%' ORDER BY position",
        caller.team_id,
    )
    return [(row["type"], msgspec.json.decode(open_envelope(row["body"]).data)) for row in rows]


async def test_a_scheduled_campaign_waits_and_the_sender_finds_it_whole_at_its_hour(rig: Rig, caller: Caller) -> None:
    campaign_id = await scheduled(caller, "2026-03-04T12:00:00+02:00")
    shown = await caller.get(f"/v1/campaigns/{campaign_id}")
    assert (shown["status"], shown["scheduled_start_at"]) == ("scheduled", "2026-03-04T10:00:00Z")
    ((kind, told),) = await events_of(rig, caller)
    assert told.pop("settings")["lead_list_id"] == shown["lead_list_id"]
    assert (kind, told) == ("campaign.scheduled", {"campaign_id": campaign_id, "start_at": "2026-03-04T10:00:00Z"})
    assert await started_at(rig, campaign_id, START - timedelta(seconds=1)) == []
    assert await started_at(rig, campaign_id, START) == [1]
    assert (await caller.get(f"/v1/campaigns/{campaign_id}"))["status"] == "active"


async def test_its_hour_can_be_moved_and_taken_back(rig: Rig, caller: Caller) -> None:
    campaign_id = await scheduled(caller)
    later = (START + timedelta(days=1)).isoformat()
    await caller.post(f"/v1/campaigns/{campaign_id}/schedule", {"start_at": later}, 202)
    assert await started_at(rig, campaign_id, START) == []
    expect(await caller.ask("DELETE", f"/v1/campaigns/{campaign_id}/schedule"), 204)
    shown = await caller.get(f"/v1/campaigns/{campaign_id}")
    assert (shown["status"], shown["scheduled_start_at"]) == ("draft", None)
    assert await started_at(rig, campaign_id, START + timedelta(days=9)) == []
    assert [kind for kind, _ in await events_of(rig, caller)] == [
        "campaign.scheduled",
        "campaign.scheduled",
        "campaign.changed",
    ]


async def test_it_starts_with_the_steps_as_they_were_saved_last(rig: Rig, caller: Caller) -> None:
    campaign_id = await scheduled(caller)
    steps = {"sequences": [{"subject": "Newer", "body": "Newer words"}]}
    expect(await caller.ask("PUT", f"/v1/campaigns/{campaign_id}/sequences", steps), 200)
    assert await started_at(rig, campaign_id, START) == [2]


async def test_a_scheduled_campaign_cannot_lose_its_steps(caller: Caller) -> None:
    campaign_id = await scheduled(caller)
    problem = await caller.refused("PUT", f"/v1/campaigns/{campaign_id}/sequences", {"sequences": []})
    assert problem["code"] == "wrong_state"


async def test_it_can_be_started_by_hand_before_its_hour(caller: Caller) -> None:
    campaign_id = await scheduled(caller)
    await caller.post(f"/v1/campaigns/{campaign_id}/activate", status=202)
    for method in ("POST", "DELETE"):
        body = {"start_at": START.isoformat()} if method == "POST" else None
        problem = await caller.refused(method, f"/v1/campaigns/{campaign_id}/schedule", body)
        assert problem["code"] == "wrong_state"


async def test_what_is_missing_is_said_when_it_is_scheduled_and_nothing_is_written(rig: Rig, caller: Caller) -> None:
    campaign = await campaign_of(caller, sequences=[])
    problem = await caller.refused("POST", f"/v1/campaigns/{campaign['id']}/schedule", {"start_at": START.isoformat()})
    assert (problem["code"], bool(problem["errors"])) == ("not_ready", True)
    assert (await caller.get(f"/v1/campaigns/{campaign['id']}"))["status"] == "draft"
    assert await events_of(rig, caller) == []


@pytest.mark.parametrize(
    ("start_at", "code"),
    [
        ("2026-03-02T09:59:59Z", "past"),
        ("2027-03-04T10:00:00Z", "too_far"),
        (1_772_442_000_000, "instant"),
        ("1772442000000", "instant"),
        ("2026-03-04T10:00:00", "instant"),
        ("2026-03-04", "instant"),
        ("2026-02-30T10:00:00Z", "instant"),
        ("0001-01-01T00:00:00+23:59", "instant"),
        ("tomorrow", "instant"),
        ("", "instant"),
        (None, "instant"),
        ([], "instant"),
        (True, "instant"),
    ],
)
async def test_an_hour_that_is_none_is_refused(caller: Caller, start_at: Any, code: str) -> None:
    campaign = await campaign_of(caller)
    problem = await caller.refused("POST", f"/v1/campaigns/{campaign['id']}/schedule", {"start_at": start_at})
    assert (problem["status"], problem["errors"][0]["code"]) == (422, code)
    assert problem["errors"][0]["pointer"] == "/start_at"
    assert (await caller.get(f"/v1/campaigns/{campaign['id']}"))["status"] == "draft"


async def test_another_teams_campaign_is_not_there(rig: Rig, caller: Caller) -> None:
    campaign_id, stranger = await scheduled(caller), await rig.team()
    for method, body in (("POST", {"start_at": START.isoformat()}), ("DELETE", None)):
        problem = await stranger.refused(method, f"/v1/campaigns/{campaign_id}/schedule", body)
        assert problem["status"] == 404
