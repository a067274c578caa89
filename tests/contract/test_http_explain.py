"""Why a lead is mailed or not, over HTTP: each answer, the event behind it, and that it is what happens."""

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest

from deploy.local.ca import Certificates, certificates
from libs.schema.runtime.clock import new_id
from libs.schema.runtime.db import Connection
from tests.contract.stage import Stage, stage_on, stamp
from tests.scripted_smtp import DROP
from tests.sender_world import MONDAY
from tests.support import Step, insert, make_lead

MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)


@pytest.fixture(scope="module")
def pem(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return certificates(tmp_path_factory.mktemp("ca"))


@pytest.fixture
async def stage(database: str, owner: Connection, pem: Certificates) -> AsyncIterator[Stage]:
    async with stage_on(database, owner, pem) as stage:
        yield stage


def gate_of(said: dict[str, Any], name: str) -> dict[str, Any]:
    return next(gate for gate in said["gates"] if gate["gate"] == name)


async def test_a_lead_with_a_slot_will_be_sent_then_and_is(stage: Stage) -> None:
    (bob,) = await stage.world.leads("bob")
    await stage.world.campaign()
    await stage.world.plan()
    said = await stage.explain(bob)
    ((slot_at, inbox_id),) = await stage.world.ledger("slot_at", "inbox_id")
    assert (said["answer"], said["scheduled_at"]) == ("will_send", stamp(slot_at))
    assert said["inbox_id"] == str(inbox_id)
    assert said["set_by"]["type"] == "email.queued"
    assert said["sentence"].startswith("Step 1 of Spring goes at Mon 02 Mar 2026 09:0")
    assert {gate["verdict"] for gate in said["gates"]} <= {"open", "not_asked"}


async def test_before_its_round_the_planner_itself_is_asked_and_says_what_it_then_does(stage: Stage) -> None:
    (bob,) = await stage.world.leads("bob")
    await stage.world.campaign(Step(), Step(subject="", body="Still there?", delay_days=2))
    await stage.world.go_on(5 * MINUTE)
    stage.world.clock.move(2 * DAY - HOUR)
    said = await stage.explain(bob)
    assert (said["answer"], said["step_number"]) == ("will_send", 2)
    assert "not given yet" in said["notes"][0]
    await stage.world.plan()
    assert said["scheduled_at"] == stamp((await stage.world.ledger("slot_at"))[1][0])


async def test_a_paused_campaign_waits_for_a_person_and_names_the_pause(stage: Stage) -> None:
    (bob,) = await stage.world.leads("bob")
    campaign = await stage.world.campaign()
    await stage.world.plan()
    paused = await stage.post(f"/v1/campaigns/{campaign.id}/pause")
    said = await stage.explain(bob)
    assert (said["answer"], said["reason"]) == ("held", "campaign")
    assert said["set_by"] == {"id": paused["event_id"], "type": "campaign.paused", "time": stamp(MONDAY)}
    assert gate_of(said, "campaign")["verdict"] == "closed"
    assert said["sentence"] == "Step 1 of Spring waits for a person: its campaign is paused."


async def test_a_paused_inbox_an_open_circuit_and_bad_health_are_told_with_their_numbers(stage: Stage) -> None:
    (bob,) = await stage.world.leads("bob")
    await stage.world.campaign()
    await stage.world.plan()
    inbox = stage.world.inboxes[0]
    await stage.post(f"/v1/inboxes/{inbox.id}/pause")
    said = await stage.explain(bob)
    assert (said["answer"], said["reason"], gate_of(said, "inbox")["value"]) == ("held", "inbox", "paused")
    assert said["set_by"]["type"] == "inbox.paused"
    await stage.post(f"/v1/inboxes/{inbox.id}/resume")
    opened = MONDAY + HOUR
    breaker = {"team_id": stage.world.team.id, "kind": "transport", "scope": "inbox", "scope_key": str(inbox.id)}
    await insert(stage.world.owner, "breaker", breaker | {"state": "open", "retry_at": opened, "changed_at": MONDAY})
    said = await stage.explain(bob)
    assert (said["answer"], said["reason"], said["until"]) == ("waiting", "circuit", stamp(opened))


async def test_a_stopped_lead_never_gets_more_and_the_stop_is_named(stage: Stage) -> None:
    (bob,) = await stage.world.leads("bob")
    await stage.world.campaign()
    await stage.world.plan()
    await stage.post("/v1/suppressions", {"email": bob.email}, 201)
    said = await stage.explain(bob)
    assert (said["answer"], said["reason"]) == ("never", "suppression")
    assert said["set_by"]["type"] == "lead.suppressed"
    assert said["sentence"].startswith("Nothing more goes to this lead from Spring: the address is on the suppression")


async def test_an_operators_suppression_of_everybody_is_seen_by_the_team_too(stage: Stage) -> None:
    (bob,) = await stage.world.leads("bob")
    await stage.world.campaign()
    await stage.world.plan()
    row = {"id": new_id(), "team_id": None, "email": bob.email, "reason": "manual", "value_hash": bob.key}
    await insert(stage.world.owner, "suppression_list", row)
    assert (await stage.explain(bob))["reason"] == "suppression"


async def test_a_finished_sequence_is_done_and_stays_in_the_history(stage: Stage) -> None:
    (bob,) = await stage.world.leads("bob")
    campaign = await stage.world.campaign()
    await stage.world.go_on(10 * MINUTE)
    said = await stage.explain(bob, campaign_id=campaign.id)
    assert (said["answer"], said["set_by"]["type"]) == ("done", "lead.completed")
    (past,) = said["sequences"]
    assert (past["campaign_id"], past["state"]) == (str(campaign.id), "finished")


async def test_a_missing_variable_waits_for_a_person_who_fills_it_in(stage: Stage) -> None:
    (bob,) = await stage.world.leads("bob")
    await stage.world.campaign(Step(body="About your {{ plan }}"))
    await stage.world.plan()
    said = await stage.explain(bob)
    assert (said["answer"], said["reason"], gate_of(said, "variable")["value"]) == ("held", "variable", "plan")
    assert said["set_by"]["type"] == "lead.held"


async def test_a_step_that_is_not_due_waits_until_it_is(stage: Stage) -> None:
    (bob,) = await stage.world.leads("bob")
    await stage.world.campaign(Step(), Step(delay_days=4))
    await stage.world.go_on(10 * MINUTE)
    said = await stage.explain(bob)
    ((slot_at,),) = await stage.world.ledger("slot_at")
    assert (said["answer"], said["reason"]) == ("waiting", "due")
    assert said["until"] == stamp(slot_at + 4 * DAY)


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        ({"campaign": {"status": "draft"}}, "campaign"),
        ({"lead": {"lead_list_id": None}}, "not_in_list"),
        ({"lead": {"status": "bounced"}}, "left"),
        ({"lead": {"deleted_at": MONDAY}}, "archived"),
        ({}, "next_round"),
    ],
)
async def test_who_is_in_no_sequence_is_told_why(stage: Stage, state: dict[str, Any], reason: str) -> None:
    columns: dict[str, Any] = {"list_id": stage.world.list_id} | listed(state.get("lead", {}))
    bob = await make_lead(stage.world.owner, stage.world.team, **columns)
    campaign = await stage.world.campaign(**state.get("campaign", {}))
    said = await stage.explain(bob, campaign_id=campaign.id)
    assert (said["answer"], said["reason"]) == ("not_enrolled", reason)
    assert said["sentence"].endswith(".")
    assert said["gates"] == []


async def test_who_is_in_another_sequence_waits_and_the_other_is_named(stage: Stage) -> None:
    (bob,) = await stage.world.leads("bob")
    await stage.world.campaign(name="First")
    await stage.world.plan()
    second = await stage.world.campaign(name="Second")
    await stage.world.plan()
    said = await stage.explain(bob, campaign_id=second.id)
    assert (said["answer"], said["reason"]) == ("not_enrolled", "in_other_campaign")
    assert "now in First" in said["sentence"]
    assert (await stage.explain(bob))["campaign_id"] != str(second.id)


async def test_a_lead_of_no_campaign_is_told_so(stage: Stage) -> None:
    bob = await make_lead(stage.world.owner, stage.world.team)
    said = await stage.explain(bob)
    assert (said["answer"], said["reason"], said["campaign_id"]) == ("not_enrolled", "no_campaign", None)


async def test_the_past_is_told_as_it_was(stage: Stage) -> None:
    (bob,) = await stage.world.leads("bob")
    campaign = await stage.world.campaign(Step(), Step(delay_days=2))
    await stage.world.plan()
    ((slot_at,),) = await stage.world.ledger("slot_at")
    stage.world.clock.move(MINUTE)
    await stage.post(f"/v1/campaigns/{campaign.id}/pause")
    stage.world.clock.move(HOUR)
    await stage.post(f"/v1/campaigns/{campaign.id}/resume")
    await stage.world.go_on(HOUR)
    await stage.post("/v1/suppressions", {"email": bob.email}, 201)
    stage.world.clock.move(HOUR)

    planned = await stage.explain(bob, at=stamp(MONDAY))
    assert (planned["answer"], planned["scheduled_at"]) == ("will_send", stamp(slot_at))
    paused = await stage.explain(bob, at=stamp(MONDAY + 30 * MINUTE))
    assert (paused["answer"], paused["reason"], paused["set_by"]["type"]) == ("held", "campaign", "campaign.paused")
    sent = await stage.explain(bob, at=stamp(MONDAY + 2 * HOUR))
    assert (sent["answer"], sent["step_number"], sent["reason"]) == ("waiting", 2, "due")
    now = await stage.explain(bob)
    assert (now["answer"], now["reason"]) == ("never", "suppression")
    assert any("as they are now" in note for note in planned["notes"])
    before = await stage.explain(bob, at=stamp(MONDAY - DAY))
    assert before["answer"] == "not_enrolled"


async def test_an_end_that_nobody_knows_waits_for_evidence_until_it_counts_as_sent(stage: Stage) -> None:
    (bob,) = await stage.world.leads("bob")
    await stage.world.campaign(Step(), Step(delay_days=1))
    stage.world.script.says["dot"] = DROP
    await stage.world.go_on(10 * MINUTE)
    said = await stage.explain(bob)
    assert (said["answer"], said["reason"]) == ("waiting", "due")
    assert said["sentence"].startswith("Nobody knows yet whether the last mail arrived")


async def test_the_future_is_what_the_gates_will_say_then(stage: Stage) -> None:
    (bob,) = await stage.world.leads("bob")
    await stage.world.campaign(Step(), Step(delay_days=4))
    await stage.world.go_on(10 * MINUTE)
    said = await stage.explain(bob, at=stamp(MONDAY + 4 * DAY))
    assert (said["answer"], said["step_number"]) == ("will_send", 2)


async def test_another_teams_lead_and_campaign_are_unknown(stage: Stage) -> None:
    (bob,) = await stage.world.leads("bob")
    campaign = await stage.world.campaign()
    stranger = await stage.rig.team()
    for path in (f"/v1/leads/{bob.id}/explanation", f"/v1/leads/{new_id()}/explanation"):
        assert (await stranger.refused("GET", path))["code"] == "not_found"
    own = await make_lead(stage.world.owner, stage.world.team, email="eve@lead.test")
    problem = await stage.caller.refused("GET", f"/v1/leads/{own.id}/explanation?campaign_id={new_id()}")
    assert problem["errors"][0]["parameter"] == "campaign_id"
    assert campaign.id


@pytest.mark.parametrize("at", ["yesterday", "2026-02-30T00:00:00Z", "1772442000", "9999-01-01T00:00:00Z", "2026-3-2"])
async def test_an_instant_that_is_none_is_refused_with_its_mend(stage: Stage, at: str) -> None:
    (bob,) = await stage.world.leads("bob")
    problem = await stage.caller.refused("GET", f"/v1/leads/{bob.id}/explanation?at={at}")
    assert (problem["status"], problem["errors"][0]["parameter"]) == (422, "at")
    assert problem["errors"][0]["mend"]


def listed(columns: dict[str, Any]) -> dict[str, Any]:
    """Columns of a lead, in the words of make_lead."""
    return {"list_id" if name == "lead_list_id" else name: value for name, value in columns.items()}
