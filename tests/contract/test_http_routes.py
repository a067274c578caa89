"""Each route of the API does what it says, for one team, over a real database."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from libs.schema.secrets import open_secret
from tests.contract.http_rig import STEP, Rig, campaign_of, expect, inbox_body, rig_on
from tests.support import SECRET_KEY


@pytest.fixture(scope="module")
async def rig(module_database: str) -> AsyncIterator[Rig]:
    async with rig_on(module_database) as rig:
        yield rig


async def events_of(rig: Rig, team_id: Any) -> list[str]:
    rows = await rig.owner.fetch("SELECT type FROM event_log WHERE team_id = $1 ORDER BY position", team_id)
    return [row["type"] for row in rows]


async def test_a_team_reads_and_changes_its_address_and_zone(rig: Rig) -> None:
    caller = await rig.team()
    before = await caller.get("/v1/team")
    changes = {"physical_address": "2 Side Street\nSpringfield", "settings": {"timezone": "Europe/Paris"}}
    after = expect(await caller.ask("PATCH", "/v1/team", changes), 200)
    assert (after["physical_address"], after["settings"]) == (
        "2 Side Street\nSpringfield",
        {"timezone": "Europe/Paris"},
    )
    assert after["name"] == before["name"]


@pytest.mark.parametrize(("days", "status"), [(2, 422), (3, 200), (14, 200), (15, 422), ("7", 422)])
async def test_a_team_says_how_long_an_absence_without_a_date_lasts(rig: Rig, days: object, status: int) -> None:
    caller = await rig.team()
    expect(await caller.ask("PATCH", "/v1/team", {"settings": {"out_of_office_days": days}}), status)


async def test_a_domain_is_added_once(rig: Rig) -> None:
    caller = await rig.team()
    first = await caller.post("/v1/domains", {"domain": "Example.COM."})
    second = await caller.post("/v1/domains", {"domain": "example.com"})
    assert first == second
    assert first["domain"] == "example.com"
    assert await caller.get(f"/v1/domains/{first['id']}") == first
    assert (await caller.get("/v1/domains"))["data"] == [first]


async def test_an_inbox_is_connected_with_its_domain_settings_and_event(rig: Rig) -> None:
    caller = await rig.team()
    body = inbox_body("Ann@Inbox.Test", from_name="Ann", imap_password="imap-canary", settings={"daily_send_limit": 40})
    answer = await caller.ask("POST", "/v1/inboxes", body)
    inbox = expect(answer, 201)
    assert answer.headers["location"] == f"/v1/inboxes/{inbox['id']}"
    assert (inbox["email"], inbox["smtp_username"], inbox["status"]) == ("ann@inbox.test", "ann@inbox.test", "active")
    domain = await caller.get(f"/v1/domains/{inbox['domain_id']}")
    assert domain["domain"] == "inbox.test"
    settings = await caller.get(f"/v1/inboxes/{inbox['id']}/settings")
    assert (settings["daily_send_limit"], settings["min_delay_seconds"], settings["max_delay_seconds"]) == (
        40,
        300,
        600,
    )
    assert await events_of(rig, caller.team_id) == ["inbox.connected"]
    assert (await caller.get("/v1/inboxes"))["data"] == [inbox]


async def test_a_password_is_sealed_to_its_row_and_replaced_by_a_patch(rig: Rig) -> None:
    caller = await rig.team()
    inbox = await caller.post("/v1/inboxes", inbox_body("sealed@inbox.test"))
    row = await rig.owner.fetchrow(
        "SELECT id, smtp_password, imap_password FROM inboxes WHERE email = $1", inbox["email"]
    )
    assert row is not None
    opened = open_secret(SECRET_KEY, row["smtp_password"], row_id=row["id"], column="smtp_password")
    assert (opened, row["imap_password"]) == ("s3cret-canary", None)
    expect(await caller.ask("PATCH", f"/v1/inboxes/{inbox['id']}", {"smtp_password": "another"}), 200)
    sealed = await rig.owner.fetchval("SELECT smtp_password FROM inboxes WHERE id = $1", row["id"])
    assert open_secret(SECRET_KEY, sealed, row_id=row["id"], column="smtp_password") == "another"
    assert await events_of(rig, caller.team_id) == ["inbox.connected", "inbox.connected"]


async def test_an_inbox_is_changed_paused_resumed_and_archived(rig: Rig) -> None:
    caller = await rig.team()
    inbox = await caller.post("/v1/inboxes", inbox_body("life@inbox.test"))
    path = f"/v1/inboxes/{inbox['id']}"
    server = {"smtp_host": "127.0.0.2", "smtp_port": 587, "smtp_tls": "implicit"}
    changed = expect(await caller.ask("PATCH", path, {"from_name": "Ann", **server}), 200)
    assert changed.items() >= {"from_name": "Ann", **server, "imap_host": "127.0.0.1"}.items()
    assert (await caller.post(f"{path}/pause", status=202))["status"] == "paused"
    assert (await caller.refused("POST", f"{path}/pause"))["code"] == "wrong_state"
    assert (await caller.get(path))["status"] == "paused"
    assert (await caller.post(f"{path}/resume", status=202))["status"] == "active"
    expect(await caller.ask("DELETE", path), 204)
    assert (await caller.refused("GET", path))["code"] == "not_found"
    revived = await caller.post("/v1/inboxes", inbox_body("life@inbox.test", from_name="New"))
    assert (revived["id"], revived["from_name"], revived["status"]) == (inbox["id"], "New", "active")
    told = ["inbox.connected", "inbox.paused", "inbox.resumed", "inbox.disconnected", "inbox.connected"]
    assert await events_of(rig, caller.team_id) == told


async def test_inbox_settings_are_changed_field_by_field(rig: Rig) -> None:
    caller = await rig.team()
    inbox = await caller.post("/v1/inboxes", inbox_body("settings@inbox.test"))
    path = f"/v1/inboxes/{inbox['id']}/settings"
    changes = {"send_window_start": "08:30", "send_days": ["tue", "mon"], "send_window_timezone": "Europe/Berlin"}
    after = expect(await caller.ask("PATCH", path, changes), 200)
    assert (after["send_window_start"], after["send_days"], after["send_window_end"]) == (
        "08:30:00",
        ["mon", "tue"],
        "17:00:00",
    )
    assert after == await caller.get(path)


async def test_a_lead_list_is_made_changed_and_archived(rig: Rig) -> None:
    caller = await rig.team()
    made = await caller.post("/v1/lead-lists", {"name": " Spring ", "description": "two\nlines", "source": "api"})
    assert (made["name"], made["lead_count"]) == ("Spring", 0)
    path = f"/v1/lead-lists/{made['id']}"
    changed = expect(await caller.ask("PATCH", path, {"name": "Summer", "description": None}), 200)
    assert (changed["name"], changed["description"], changed["source"]) == ("Summer", None, "api")
    expect(await caller.ask("DELETE", path), 204)
    assert (await caller.get("/v1/lead-lists"))["data"] == []


async def test_a_lead_is_found_changed_and_archived(rig: Rig) -> None:
    caller = await rig.team()
    lead_list = await caller.post("/v1/lead-lists", {"name": "People"})
    row = {
        "email": "Bob@Lead.Test",
        "first_name": "Bob",
        "company": "Acme",
        "custom_fields": {"icebreaker": "Hi", "n": 1},
    }
    result = await caller.post("/v1/leads:batch", {"lead_list_id": lead_list["id"], "leads": [row]}, 200)
    path = f"/v1/leads/{result['results'][0]['id']}"
    lead = await caller.get(path)
    assert (lead["email"], lead["status"], lead["lead_list_id"]) == ("bob@lead.test", "pending", lead_list["id"])
    for query in ("email=BOB@lead.test", "search=acme", "status=pending", f"lead_list_id={lead_list['id']}"):
        assert (await caller.get(f"/v1/leads?{query}"))["data"] == [lead]
    changes = {"first_name": None, "title": "CEO", "custom_fields": {"icebreaker": None, "m": True}}
    changed = expect(await caller.ask("PATCH", path, changes), 200)
    assert (changed["first_name"], changed["title"], changed["company"]) == (None, "CEO", "Acme")
    assert changed["custom_fields"] == {"n": 1, "m": True}
    expect(await caller.ask("DELETE", path), 204)
    assert (await caller.get("/v1/leads"))["data"] == []
    assert (await caller.get("/v1/lead-lists"))["data"][0]["lead_count"] == 0
    stop = await rig.owner.fetchrow("SELECT reason, campaign_id FROM lead_stop WHERE team_id = $1", caller.team_id)
    assert stop is not None
    assert (stop["reason"], stop["campaign_id"]) == ("marked", None)
    again = await caller.post("/v1/leads:batch", {"leads": [{"email": "bob@lead.test"}]}, 200)
    assert again["results"][0] == result["results"][0] | {"outcome": "updated"}


async def test_a_suppressed_address_or_domain_keeps_people_out(rig: Rig) -> None:
    caller = await rig.team()
    await caller.post("/v1/leads:batch", {"leads": [{"email": "x@no.test"}, {"email": "y@stop.test"}]}, 200)
    one = await caller.post("/v1/suppressions", {"email": "X@no.test"})
    all_of_it = await caller.post("/v1/suppressions", {"domain": "stop.test"})
    assert (one["email"], one["scope"], all_of_it["scope"]) == ("x@no.test", "email", "domain")
    assert (await caller.refused("POST", "/v1/suppressions", {"email": "x@no.test"}))["code"] == "already_exists"
    batch = {"leads": [{"email": "x@no.test"}, {"email": "z@stop.test"}, {"email": "z@go.test"}]}
    result = await caller.post("/v1/leads:batch", batch, 200)
    assert [row["outcome"] for row in result["results"]] == ["skipped", "skipped", "created"]
    assert (await caller.get("/v1/suppressions?email=stop.test"))["data"] == [all_of_it]
    expect(await caller.ask("DELETE", f"/v1/suppressions/{one['id']}"), 204)
    assert [row["id"] for row in (await caller.get("/v1/suppressions"))["data"]] == [all_of_it["id"]]
    told = await events_of(rig, caller.team_id)
    assert told.count("lead.suppressed") == 2
    audit = await rig.owner.fetchrow("SELECT action, detail FROM audit_log WHERE team_id = $1", caller.team_id)
    assert audit is not None
    assert (audit["action"], audit["detail"]) == ("suppression.remove", {"scope": "email", "reason": "manual"})


async def test_a_campaign_with_everything_inline_is_activated_paused_and_resumed(rig: Rig) -> None:
    caller = await rig.team()
    campaign = await campaign_of(caller, settings={"timezone": "UTC"})
    assert (campaign["status"], campaign["settings"]["track_opens"]) == ("draft", False)
    path = f"/v1/campaigns/{campaign['id']}"
    assert len((await caller.get(f"{path}/inboxes"))["data"]) == 1
    activated = await caller.post(f"{path}/activate", status=202)
    assert (activated["id"], activated["status"]) == (campaign["id"], "active")
    running = await caller.get(path)
    assert (running["status"], running["started_at"]) == ("active", "2026-03-02T10:00:00Z")
    assert (await caller.refused("POST", f"{path}/activate"))["code"] == "wrong_state"
    assert (await caller.post(f"{path}/pause", status=202))["status"] == "paused"
    assert (await caller.refused("POST", f"{path}/pause"))["code"] == "wrong_state"
    assert (await caller.post(f"{path}/resume", status=202))["status"] == "active"
    assert (await caller.get(path))["paused_at"] is None
    expect(await caller.ask("DELETE", path), 204)
    told = await events_of(rig, caller.team_id)
    assert told[-4:] == ["campaign.activated", "campaign.paused", "campaign.resumed", "campaign.archived"]
    kept = await rig.owner.fetchrow("SELECT version, steps FROM sequence_version WHERE team_id = $1", caller.team_id)
    assert kept is not None
    assert (kept["version"], [step["subject"] for step in kept["steps"]]) == (1, [STEP["subject"]])


async def test_activation_names_everything_that_is_missing(rig: Rig) -> None:
    caller = await rig.team()
    await rig.owner.execute("UPDATE teams SET physical_address = ' ' WHERE id = $1", caller.team_id)
    campaign = await caller.post("/v1/campaigns", {"name": "Empty"})
    problem = await caller.refused("POST", f"/v1/campaigns/{campaign['id']}/activate")
    assert (problem["status"], problem["code"]) == (409, "not_ready")
    assert [fault["code"] for fault in problem["errors"]] == ["no_steps", "no_leads", "no_physical_address", "no_inbox"]


async def test_activation_refuses_windows_that_never_meet(rig: Rig) -> None:
    caller = await rig.team()
    campaign = await campaign_of(caller, settings={"send_days": ["sat", "sun"]})
    problem = await caller.refused("POST", f"/v1/campaigns/{campaign['id']}/activate")
    assert [fault["code"] for fault in problem["errors"]] == ["empty_window"]


async def test_steps_keep_their_ids_over_edits_and_those_left_out_are_archived(rig: Rig) -> None:
    caller = await rig.team()
    campaign = await campaign_of(caller)
    path = f"/v1/campaigns/{campaign['id']}/sequences"
    variants = [{"subject": "A", "body": "a", "weight": 20}, {"subject": "B", "body": "b"}]
    steps = [STEP | {"variants": variants}, {"body": "Second", "delay_days": 2}, {"body": "Third", "delay_hours": 5}]
    written = expect(await caller.ask("PUT", path, {"sequences": steps}), 200)["data"]
    assert [step["step_number"] for step in written] == [1, 2, 3]
    assert [variant["weight"] for variant in written[0]["variants"]] == [20, 50]
    first, second, third = (step["id"] for step in written)
    swapped = [STEP | {"id": third, "variants": variants[:1]}, {"id": first, "body": "Now second"}]
    after = expect(await caller.ask("PUT", path, {"sequences": swapped}), 200)["data"]
    assert [(step["id"], step["step_number"]) for step in after] == [(third, 1), (first, 2)]
    assert [len(step["variants"]) for step in after] == [1, 0]
    gone = await rig.owner.fetchval("SELECT deleted_at FROM sequences WHERE id = $1", second)
    assert gone is not None
    assert (await caller.get(path))["data"] == after


async def test_an_edit_of_a_running_campaign_is_a_new_version_and_the_same_text_is_none(rig: Rig) -> None:
    caller = await rig.team()
    campaign = await campaign_of(caller)
    path = f"/v1/campaigns/{campaign['id']}"
    await caller.post(f"{path}/activate", status=202)
    steps = (await caller.get(f"{path}/sequences"))["data"]
    same = [{"id": steps[0]["id"], **STEP}]
    expect(await caller.ask("PUT", f"{path}/sequences", {"sequences": same}), 200)
    expect(await caller.ask("PUT", f"{path}/sequences", {"sequences": [*same, {"body": "More", "delay_days": 1}]}), 200)
    versions = await rig.owner.fetch("SELECT version FROM sequence_version WHERE team_id = $1", caller.team_id)
    assert sorted(row["version"] for row in versions) == [1, 2]
    assert (await caller.refused("PUT", f"{path}/sequences", {"sequences": []}))["code"] == "wrong_state"


async def test_an_unknown_variable_is_saved_with_a_warning_and_its_place(rig: Rig) -> None:
    caller = await rig.team()
    await caller.post("/v1/leads:batch", {"leads": [{"email": "a@b.test", "custom_fields": {"mine": "x"}}]}, 200)
    campaign = await caller.post("/v1/campaigns", {"name": "Warned"})
    steps = [{"subject": "{{ mine }}", "body": "Hi\n{{ frist_name }}"}]
    saved = expect(await caller.ask("PUT", f"/v1/campaigns/{campaign['id']}/sequences", {"sequences": steps}), 200)
    assert [(notice["code"], notice["pointer"]) for notice in saved["warnings"]] == [
        ("unknown_variable", "/sequences/0/body")
    ]
    assert "line 2, column 4" in saved["warnings"][0]["detail"]


async def test_a_change_based_on_an_older_revision_is_refused(rig: Rig) -> None:
    caller = await rig.team()
    campaign = await campaign_of(caller)
    path = f"/v1/campaigns/{campaign['id']}"
    old = (await caller.ask("GET", path)).headers["etag"]
    changed = await caller.ask("PATCH", path, {"name": "New", "settings": {"stop_on_bounce": False}}, if_match=old)
    after = expect(changed, 200)
    assert (after["name"], after["settings"]["stop_on_bounce"], after["settings"]["stop_on_reply"]) == (
        "New",
        False,
        True,
    )
    stale = await caller.ask("PUT", f"{path}/sequences", {"sequences": [STEP]}, if_match=old)
    assert (stale.status_code, stale.json()["code"]) == (412, "stale_revision")
    expect(await caller.ask("PUT", f"{path}/sequences", {"sequences": [STEP]}, if_match=changed.headers["etag"]), 200)


async def test_the_inboxes_of_a_campaign_are_replaced_and_those_that_stay_keep_their_counters(rig: Rig) -> None:
    caller = await rig.team()
    campaign = await campaign_of(caller)
    path = f"/v1/campaigns/{campaign['id']}/inboxes"
    (kept,) = (await caller.get(path))["data"]
    await rig.owner.execute("UPDATE campaign_inboxes SET sent_count = 7 WHERE inbox_id = $1", kept["inbox_id"])
    new = await caller.post("/v1/inboxes", inbox_body(f"zoe@{caller.team_id}.test"))
    both = expect(await caller.ask("PUT", path, {"inbox_ids": [new["id"], kept["inbox_id"]]}), 200)["data"]
    assert [(row["email"][:3], row["sent_count"]) for row in both] == [("ann", 7), ("zoe", 0)]
    assert len(expect(await caller.ask("PUT", path, {"inbox_ids": [new["id"]]}), 200)["data"]) == 1
