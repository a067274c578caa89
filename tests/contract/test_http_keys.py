"""Who may ask for what: keys, scopes and roles; and no team sees, names or touches what is another's."""

import asyncio
import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from services.api.app import api_app
from services.api.limits import Limiter
from services.api.openapi import document
from services.api.routing import ScopedRoute
from tests.contract.http_rig import MONDAY, STEP, Caller, Rig, campaign_of, inbox_body, rig_on


@pytest.fixture(scope="module")
async def rig(module_database: str) -> AsyncIterator[Rig]:
    async with rig_on(module_database) as rig:
        yield rig


@pytest.mark.parametrize("header", [None, "", "Basic eDp5", "Bearer", "Bearer cs_", "Bearer cs_é", "Bearer other"])
async def test_without_a_key_nothing_is_answered(rig: Rig, header: str | None) -> None:
    headers = [] if header is None else [(b"Authorization", header.encode("latin-1"))]
    answer = await rig.api.get("/v1/team", headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated")
    assert answer.headers["www-authenticate"] == "Bearer"


async def test_a_key_is_good_only_whole_unexpired_and_unrevoked(rig: Rig) -> None:
    caller = await rig.team()
    wrong = Caller(team_id=caller.team_id, key=caller.key[:-1] + "~", client=rig.api)
    assert (await wrong.refused("GET", "/v1/team"))["code"] == "unauthenticated"
    await caller.get("/v1/team")
    for column in ("expires_at", "revoked_at"):
        await rig.owner.execute(f"UPDATE api_keys SET {column} = $2 WHERE team_id = $1", caller.team_id, MONDAY)  # noqa: S608
        assert (await caller.refused("GET", "/v1/team"))["code"] == "unauthenticated"
        await rig.owner.execute(f"UPDATE api_keys SET {column} = NULL WHERE team_id = $1", caller.team_id)  # noqa: S608


async def test_only_the_hash_of_a_key_is_kept_and_its_use_is_noted(rig: Rig) -> None:
    caller = await rig.team()
    await caller.get("/v1/team")
    row = await rig.owner.fetchrow("SELECT * FROM api_keys WHERE team_id = $1", caller.team_id)
    assert row is not None
    assert caller.key not in str(dict(row))
    assert len(row["key_hash"]) == 32
    assert datetime.now(UTC) - row["last_used_at"] < timedelta(minutes=1)


async def test_a_scope_allows_its_noun_and_a_viewer_only_reads(rig: Rig) -> None:
    reader = await rig.team(scopes=("leads:read",))
    await reader.get("/v1/leads")
    assert (await reader.refused("POST", "/v1/leads:batch", {"leads": [{"email": "a@b.test"}]}))["status"] == 403
    assert (await reader.refused("GET", "/v1/campaigns"))["code"] == "missing_scope"
    worker = await rig.key_of(reader.team_id, scopes=("leads:*", "campaigns:write"))
    await worker.post("/v1/lead-lists", {"name": "x"})
    campaign = await worker.post("/v1/campaigns", {"name": "x"})
    assert (await worker.refused("POST", f"/v1/campaigns/{campaign['id']}/activate"))["status"] == 403
    viewer = await rig.key_of(reader.team_id, role="viewer")
    assert len((await viewer.get("/v1/lead-lists"))["data"]) == 1
    assert (await viewer.refused("POST", "/v1/lead-lists", {"name": "x"}))["status"] == 403
    member = await rig.key_of(reader.team_id, role="member")
    assert (await member.refused("PATCH", "/v1/team", {"name": "x"}))["status"] == 403


async def test_no_operation_is_open_without_a_key_or_without_its_scope(rig: Rig) -> None:
    stranger = await rig.team(scopes=("nothing:read",))
    described = document(api_app(rig.runtime, Limiter(per_second=1, burst=1)))
    asked = 0
    for path, operations in described["paths"].items():
        for method in operations:
            address = re.sub(r"\{\w+\}", str(uuid4()), path)
            assert (await rig.api.request(method, address)).status_code == 401, (method, path)
            assert (await stranger.ask(method, address)).status_code == 403, (method, path)
            asked += 1
    assert asked > 40


def test_a_route_without_a_permission_cannot_be_made() -> None:
    async def endpoint() -> None: ...

    with pytest.raises(TypeError, match="openapi_extra"):
        ScopedRoute("/open", endpoint)


async def test_another_teams_ids_are_as_unknown_as_any(rig: Rig) -> None:
    theirs, ours = await rig.team(), await rig.team()
    campaign = await campaign_of(theirs)
    lead = (await theirs.get("/v1/leads"))["data"][0]
    inbox = (await theirs.get("/v1/inboxes"))["data"][0]
    suppression = await theirs.post("/v1/suppressions", {"email": "no@no.test"})
    paths = {
        f"/v1/campaigns/{campaign['id']}": ("GET", "PATCH", "DELETE"),
        f"/v1/campaigns/{campaign['id']}/sequences": ("GET", "PUT"),
        f"/v1/campaigns/{campaign['id']}/inboxes": ("GET", "PUT"),
        f"/v1/campaigns/{campaign['id']}/activate": ("POST",),
        f"/v1/campaigns/{campaign['id']}/pause": ("POST",),
        f"/v1/campaigns/{campaign['id']}/resume": ("POST",),
        f"/v1/leads/{lead['id']}": ("GET", "PATCH", "DELETE"),
        f"/v1/leads/{lead['id']}/events": ("GET",),
        f"/v1/lead-lists/{campaign['lead_list_id']}": ("GET", "PATCH", "DELETE"),
        f"/v1/inboxes/{inbox['id']}": ("GET", "PATCH", "DELETE"),
        f"/v1/inboxes/{inbox['id']}/settings": ("GET", "PATCH"),
        f"/v1/inboxes/{inbox['id']}/pause": ("POST",),
        f"/v1/inboxes/{inbox['id']}/resume": ("POST",),
        f"/v1/domains/{inbox['domain_id']}": ("GET",),
        f"/v1/suppressions/{suppression['id']}": ("GET", "DELETE"),
    }
    bodies: dict[str, Any] = {"sequences": {"sequences": [STEP]}, "inboxes": {"inbox_ids": []}}
    for path, methods in paths.items():
        for method in methods:
            body = bodies.get(path.rpartition("/")[2], {}) if method in {"PUT", "PATCH"} else None
            problem = await ours.refused(method, path, body)
            unknown = await ours.refused(method, path.replace(path.split("/")[3], str(uuid4())), body)
            assert problem == unknown, (method, path)
            assert problem["status"] == 404, (method, path, problem)
    for path in (
        "leads",
        "lead-lists",
        "campaigns",
        "inboxes",
        "domains",
        "suppressions",
        "emails",
        "replies",
        "events",
    ):
        assert (await ours.get(f"/v1/{path}"))["data"] == [], path


async def test_another_teams_ids_in_a_body_are_unknown_too(rig: Rig) -> None:
    theirs, ours = await rig.team(), await rig.team()
    campaign = await campaign_of(theirs)
    inbox = (await theirs.get("/v1/inboxes"))["data"][0]
    step = (await theirs.get(f"/v1/campaigns/{campaign['id']}/sequences"))["data"][0]
    mine = await ours.post("/v1/campaigns", {"name": "Mine"})
    lead_list_id = campaign["lead_list_id"]
    requests: list[tuple[str, str, dict[str, Any], str]] = [
        ("POST", "/v1/campaigns", {"name": "x", "lead_list_id": lead_list_id}, "/lead_list_id"),
        ("POST", "/v1/campaigns", {"name": "x", "inbox_ids": [inbox["id"]]}, "/inbox_ids/0"),
        ("PATCH", f"/v1/campaigns/{mine['id']}", {"lead_list_id": lead_list_id}, "/lead_list_id"),
        ("PUT", f"/v1/campaigns/{mine['id']}/inboxes", {"inbox_ids": [inbox["id"]]}, "/inbox_ids/0"),
        ("PUT", f"/v1/campaigns/{mine['id']}/sequences", {"sequences": [STEP | {"id": step["id"]}]}, "/sequences/0/id"),
        ("POST", "/v1/leads:batch", {"lead_list_id": lead_list_id, "leads": [{"email": "a@b.test"}]}, "/lead_list_id"),
    ]
    for method, path, body, pointer in requests:
        problem = await ours.refused(method, path, body)
        assert (problem["status"], problem["errors"][0]["pointer"]) == (404, pointer), (method, path)
    assert (await ours.get("/v1/campaigns"))["data"] == [mine]


async def test_an_address_that_another_team_connected_is_refused_without_saying_whose_it_is(rig: Rig) -> None:
    theirs, ours = await rig.team(), await rig.team()
    await theirs.post("/v1/inboxes", inbox_body("shared@inbox.test"))
    mine = await ours.refused("POST", "/v1/inboxes", inbox_body("shared@inbox.test"))
    own = await theirs.refused("POST", "/v1/inboxes", inbox_body("shared@inbox.test"))
    assert mine == own
    assert mine["code"] == "already_exists"


async def test_no_role_or_team_is_left_on_a_connection_after_a_request_an_error_or_a_cancel(rig: Rig) -> None:
    caller = await rig.team()
    await caller.get("/v1/team")
    await caller.refused("POST", "/v1/campaigns", {})
    cancelled = asyncio.create_task(caller.get("/v1/leads"))
    await asyncio.sleep(0)
    cancelled.cancel()
    await asyncio.gather(cancelled, return_exceptions=True)
    for _ in range(rig.pool.get_size()):
        row = await rig.pool.fetchrow("SELECT current_user, current_setting('app.team_id', true) AS team_id")
        assert row is not None
        assert (row["current_user"], row["team_id"] or None) == ("coldstream_api", None)


async def test_the_plans_limits_hold(rig: Rig) -> None:
    caller = await rig.team()
    await rig.owner.execute("UPDATE teams SET max_inboxes = 1, max_campaigns = 1 WHERE id = $1", caller.team_id)
    await caller.post("/v1/inboxes", inbox_body("one@limit.test"))
    assert (await caller.refused("POST", "/v1/inboxes", inbox_body("two@limit.test")))["code"] == "plan_limit"
    await caller.post("/v1/campaigns", {"name": "one"})
    assert (await caller.refused("POST", "/v1/campaigns", {"name": "two"}))["code"] == "plan_limit"
