"""Preflight and simulation over HTTP: what they answer, whom, and that one list decides what may start."""

import asyncio
import base64
from collections.abc import AsyncIterator
from threading import Event
from uuid import UUID

import pytest

from libs.planning.explain.queries import Question, read_case
from libs.planning.preflight.queries import read_plan, read_readers
from libs.planning.simulate.queries import Asked, read_team_world
from libs.schema.runtime.clock import new_id
from services.api.alone import alone
from tests.command import coldstream
from tests.contract.http_rig import MONDAY, STEP, Rig, campaign_of, expect, rig_on
from tests.support import PEPPER


@pytest.fixture(scope="module")
async def rig(module_database: str) -> AsyncIterator[Rig]:
    async with rig_on(module_database) as rig:
        yield rig


async def test_a_preflight_names_every_finding_with_severity_place_and_mend(rig: Rig) -> None:
    caller = await rig.team()
    steps = [STEP | {"body": "Hi {{ first_name }}, https://a.test https://b.test https://c.test"}]
    campaign = await campaign_of(caller, sequences=steps)
    said = await caller.post(f"/v1/campaigns/{campaign['id']}/preflight", status=200)
    assert (said["ready"], said["leads"], said["leads_checked"]) == (True, 1, 1)
    codes = [finding["code"] for finding in said["findings"]]
    assert codes == ["many_links", "missing_variable", "domain_unchecked", "takes_days"]
    missing = said["findings"][1]
    assert (missing["severity"], missing["pointer"], missing["count"]) == ("warning", "/sequences/0", 1)
    assert all(finding["mend"] for finding in said["findings"])


async def test_what_a_preflight_calls_an_error_refuses_activation_in_the_same_words(rig: Rig) -> None:
    caller = await rig.team()
    await rig.owner.execute("UPDATE teams SET physical_address = NULL WHERE id = $1", caller.team_id)
    campaign = await campaign_of(caller, settings={"send_days": ["sat", "sun"]})
    said = await caller.post(f"/v1/campaigns/{campaign['id']}/preflight", status=200)
    errors = [finding for finding in said["findings"] if finding["severity"] == "error"]
    assert [finding["code"] for finding in errors] == ["no_physical_address", "empty_window"]
    problem = await caller.refused("POST", f"/v1/campaigns/{campaign['id']}/activate")
    assert (problem["status"], problem["code"]) == (409, "not_ready")
    assert [(fault["code"], fault["detail"], fault["mend"]) for fault in problem["errors"]] == [
        (finding["code"], finding["detail"], finding["mend"]) for finding in errors
    ]


async def test_a_campaign_whose_inboxes_are_all_paused_is_not_started(rig: Rig) -> None:
    caller = await rig.team()
    campaign = await campaign_of(caller)
    (inbox,) = (await caller.get(f"/v1/campaigns/{campaign['id']}/inboxes"))["data"]
    await caller.post(f"/v1/inboxes/{inbox['inbox_id']}/pause", status=202)
    problem = await caller.refused("POST", f"/v1/campaigns/{campaign['id']}/activate")
    assert [fault["code"] for fault in problem["errors"]] == ["inbox_closed"]


@pytest.mark.parametrize("what", ["preflight", "simulation"])
async def test_another_teams_campaign_is_unknown(rig: Rig, what: str) -> None:
    campaign = await campaign_of(await rig.team())
    stranger = await rig.team()
    for campaign_id in (campaign["id"], new_id()):
        problem = await stranger.refused("POST", f"/v1/campaigns/{campaign_id}/{what}")
        assert (problem["status"], problem["errors"][0]["parameter"]) == (404, "campaign_id")
    assert (await stranger.ask("POST", f"/v1/campaigns/not-an-id/{what}")).status_code == 422


async def test_a_viewer_may_look_but_a_key_without_the_scope_may_not(rig: Rig) -> None:
    owner = await rig.team()
    campaign = await campaign_of(owner)
    viewer = await rig.key_of(owner.team_id, role="viewer")
    path = f"/v1/campaigns/{campaign['id']}/preflight"
    expect(await viewer.ask("POST", path), 200)
    other = await rig.key_of(owner.team_id, scopes=("leads:read",))
    assert (await other.refused("POST", path))["code"] == "missing_scope"


async def test_how_many_statements_a_preflight_takes_does_not_depend_on_the_leads(rig: Rig) -> None:
    counts: list[int] = []
    for leads in (1, 300):
        caller = await rig.team()
        campaign = await campaign_of(caller)
        batch = [{"email": f"p{n}@{campaign['id']}.test"} for n in range(leads)]
        await caller.post("/v1/leads:batch", {"lead_list_id": campaign["lead_list_id"], "leads": batch}, 200)
        seen: list[str] = []
        async with rig.pool.acquire() as connection:
            await read_plan(connection, caller.team_id, UUID(campaign["id"]), MONDAY)  # a new connection asks for types
            with connection.query_logger(lambda record, seen=seen: seen.append(record.query)):
                plan = await read_plan(connection, caller.team_id, UUID(campaign["id"]), MONDAY)
                assert plan is not None
                assert len(await read_readers(connection, caller.team_id, plan, 2000)) == leads + 1
        counts.append(len(seen))
    assert counts[0] == counts[1]


async def test_heavy_work_is_done_one_at_a_time_and_the_second_is_told_when_to_come(rig: Rig) -> None:
    caller = await rig.team()
    campaign = await campaign_of(caller)
    go_on = Event()
    first = asyncio.create_task(alone(go_on.wait))
    await asyncio.sleep(0)
    answer = await caller.ask("POST", f"/v1/campaigns/{campaign['id']}/preflight")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "10")
    go_on.set()
    assert await first
    expect(await caller.ask("POST", f"/v1/campaigns/{campaign['id']}/preflight"), 200)


async def test_a_failure_of_heavy_work_leaves_room_for_the_next() -> None:
    with pytest.raises(ZeroDivisionError):
        await alone(lambda: 1 // 0)
    assert await alone(lambda: 1) == 1


async def test_a_simulation_names_its_end_its_days_and_its_mails_and_writes_nothing(rig: Rig) -> None:
    caller = await rig.team()
    steps = [STEP | {"body": "A word?", "subject": "Hello"}, {"body": "Again?", "delay_days": 2}]
    campaign = await campaign_of(caller, sequences=steps, settings={"timezone": "UTC", "send_in_lead_timezone": False})
    said = await caller.post(f"/v1/campaigns/{campaign['id']}/simulation", status=200)
    assert (said["complete"], said["leads"], said["mails"]) == (True, 1, 2)
    assert [step["mails"] for step in said["steps"]] == [1, 1]
    assert said["finishes_at"] == said["sends"][-1]["scheduled_at"]
    assert sum(day["mails"] for day in said["days"]) == 2
    assert said["assumptions"]
    assert await rig.owner.fetchval("SELECT count(*) FROM enrollments WHERE team_id = $1", caller.team_id) == 0


async def test_a_simulation_of_a_draft_starts_when_it_is_asked_to(rig: Rig) -> None:
    caller = await rig.team()
    campaign = await campaign_of(caller, sequences=[{"subject": "Hello", "body": "A word?"}])
    path = f"/v1/campaigns/{campaign['id']}/simulation"
    said = expect(await caller.ask("POST", path, {"start_at": "2026-04-06T00:00:00+00:00"}), 200)
    assert said["start_at"] == "2026-04-06T00:00:00Z"
    assert said["first_at"].startswith("2026-04-06")


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"start_at": "2020-01-01T00:00:00Z"}, "/start_at"),
        ({"start_at": "2090-01-01T00:00:00Z"}, "/start_at"),
        ({"start_at": "2026-02-30T00:00:00Z"}, "/start_at"),
        ({"start_at": 1772442000}, "/start_at"),
        ({"start": None}, "/start"),
    ],
)
async def test_a_start_that_is_none_is_refused_with_its_place(rig: Rig, body: dict[str, object], pointer: str) -> None:
    caller = await rig.team()
    campaign = await campaign_of(caller)
    problem = await caller.refused("POST", f"/v1/campaigns/{campaign['id']}/simulation", body)
    assert (problem["status"], problem["errors"][0]["pointer"]) == (422, pointer)


async def test_a_campaign_that_has_ended_is_not_simulated(rig: Rig) -> None:
    caller = await rig.team()
    campaign = await campaign_of(caller)
    await rig.owner.execute("UPDATE campaigns SET status = 'completed' WHERE id = $1", UUID(campaign["id"]))
    problem = await caller.refused("POST", f"/v1/campaigns/{campaign['id']}/simulation")
    assert (problem["status"], problem["code"]) == (409, "wrong_state")


async def test_the_command_line_says_what_the_api_says(rig: Rig, module_database: str) -> None:
    caller = await rig.team()
    campaign = await campaign_of(caller, sequences=[{"subject": "Hello", "body": "A word?"}])
    (lead,) = (await caller.get(f"/v1/leads?lead_list_id={campaign['lead_list_id']}"))["data"]
    pepper = base64.b64encode(PEPPER).decode()
    environ = {"COLDSTREAM_DATABASE_URL": module_database, "COLDSTREAM_PEPPER": pepper}
    environ["COLDSTREAM_PUBLIC_URL"] = "https://mail.acme.com"

    explained = await coldstream("explain", lead["email"], "--json", environ=environ)
    assert explained.code == 4, explained.err
    assert explained.json()["reason"] == "campaign"
    table = await coldstream("explain", lead["id"], "--at", "2026-03-02T09:00:00Z", environ=environ)
    assert table.out.startswith("Not in a sequence: the campaign Spring is draft.")
    assert (await coldstream("explain", "nobody@lead.test", environ=environ)).code == 1
    assert (await coldstream("explain", lead["id"], "--at", "soon", environ=environ)).code == 2

    run = await coldstream("simulate", campaign["id"], "--json", environ=environ)
    assert (run.code, run.json()["mails"]) == (0, 1), run.err
    assert "1 mails to 1 leads" in (await coldstream("simulate", campaign["id"], environ=environ)).out
    assert (await coldstream("simulate", campaign["id"], environ=environ | {"COLDSTREAM_PEPPER": "x"})).code == 2
    checked = await coldstream("preflight", campaign["id"], "--json", environ=environ)
    assert (checked.code, checked.json()["ready"]) == (0, True), checked.err
    lost = await coldstream(
        "preflight", campaign["id"], environ=environ | {"COLDSTREAM_PUBLIC_URL": "http://127.0.0.1"}
    )
    assert lost.code == 1
    assert "no_unsubscribe" in lost.out


async def test_how_many_statements_explain_and_simulate_take_does_not_depend_on_the_leads(rig: Rig) -> None:
    counts: list[tuple[int, int]] = []
    for leads in (1, 300):
        caller = await rig.team()
        campaign = await campaign_of(caller)
        batch = [{"email": f"q{n}@{campaign['id']}.test"} for n in range(leads)]
        await caller.post("/v1/leads:batch", {"lead_list_id": campaign["lead_list_id"], "leads": batch}, 200)
        lead_id = await rig.owner.fetchval("SELECT min(id::text)::uuid FROM leads WHERE team_id = $1", caller.team_id)
        question = Question(lead_id=lead_id, at=MONDAY, now=MONDAY, public_url="http://localhost")
        asked = Asked(campaign_id=UUID(campaign["id"]), now=MONDAY, pepper=PEPPER, public_url="http://localhost")
        explained: list[str] = []
        simulated: list[str] = []
        async with rig.pool.acquire() as connection:
            await read_case(connection, caller.team_id, question)  # a new connection asks for types at first
            await read_team_world(connection, caller.team_id, asked, None)
            with connection.query_logger(lambda record, seen=explained: seen.append(record.query)):
                assert not isinstance(await read_case(connection, caller.team_id, question), str)
            with connection.query_logger(lambda record, seen=simulated: seen.append(record.query)):
                world = await read_team_world(connection, caller.team_id, asked, None)
        assert world is not None
        assert len(world.newcomers) == leads + 1
        counts.append((len(explained), len(simulated)))
    assert counts[0] == counts[1]
