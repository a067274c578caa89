"""A sending domain over HTTP: what its DNS lacks, what mends it, a look asked for, and what preflight says of it."""

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest

from services.api.rules.records.verdict import SOON
from tests.contract.domains_world import LATER, added, codes, due_in, good, look, told, verdicts
from tests.contract.fake_dns import zone
from tests.contract.http_rig import Rig, campaign_of, expect, inbox_body, rig_on


@pytest.fixture(scope="module")
async def rig(module_database: str) -> AsyncIterator[Rig]:
    async with rig_on(module_database) as rig:
        yield rig


@pytest.fixture(autouse=True)
async def no_domains(rig: Rig) -> None:
    await rig.owner.execute("DELETE FROM domains")


async def test_what_is_missing_is_shown_with_the_record_to_add(rig: Rig) -> None:
    caller = await rig.team()
    await caller.post("/v1/inboxes", inbox_body("ann@acme.test", smtp_host="192.0.2.7"), 422)
    inbox = await caller.post("/v1/inboxes", inbox_body("ann@acme.test"))
    path = f"/v1/domains/{inbox['domain_id']}"
    record = expect(await caller.ask("PUT", f"{path}/dkim", {"selector": "s1", "algorithm": "ed25519"}), 200)
    async with zone({"acme.test": ["10 mx.acme.test."]}) as served:
        await look(rig, served)
    spf, dkim, dmarc = (await caller.get(path))["checks"]
    assert spf["publish"] == {"name": "acme.test", "type": "TXT", "value": "v=spf1 ip4:127.0.0.1 ~all"}
    assert dkim["publish"] == record
    assert dmarc["publish"] == {"name": "_dmarc.acme.test", "type": "TXT", "value": "v=DMARC1; p=none"}
    assert [check["valid"] for check in (spf, dkim, dmarc)] == [False] * 3
    assert await codes(caller, inbox["domain_id"]) == {
        "spf": ["spf_missing"], "dkim": ["dkim_missing"], "dmarc": ["dmarc_missing"],
    }  # fmt: skip
    published = {f"TXT {each['name']}": [each["value"]] for each in (spf["publish"], record, dmarc["publish"])}
    async with zone(published) as served:
        rig.clock.move(SOON * LATER)
        await look(rig, served)
    assert await verdicts(caller, inbox["domain_id"]) == [True, True, True]
    assert [(each["spf_valid"], each.get("dmarc_policy")) for each in await told(rig, caller)] == [
        (False, None),
        (True, "none"),
    ]


async def test_a_selector_goes_with_its_key(rig: Rig) -> None:
    caller, other = await rig.team(), await rig.team()
    path = f"/v1/domains/{await added(caller)}"
    expect(await caller.ask("PUT", f"{path}/dkim", {"selector": "s1", "algorithm": "ed25519"}), 200)
    assert (await caller.refused("PATCH", path, {"dkim_selector": "s2"}))["status"] == 409
    assert (await caller.get(path))["dkim_selector"] == "s1"
    assert (await caller.refused("PATCH", path, {"dkim_selector": "a b"}))["status"] == 422
    assert (await other.refused("PATCH", path, {"dkim_selector": "s2"}))["status"] == 404


async def test_a_check_is_asked_for_and_a_second_call_changes_nothing(rig: Rig) -> None:
    caller = await rig.team()
    domain_id = await added(caller)
    path = f"/v1/domains/{domain_id}"
    async with zone(good("acme.test")) as served:
        await look(rig, served)
        rig.clock.move(timedelta(hours=1))
        answer = await caller.ask("POST", f"{path}/check")
        assert expect(answer, 202)["id"] == domain_id
        assert answer.headers["location"] == path
        due = await due_in(rig, domain_id)
        rig.clock.move(timedelta(seconds=20))
        expect(await caller.ask("POST", f"{path}/check"), 202)
        assert await due_in(rig, domain_id) == due - timedelta(seconds=20)
        assert len(served.asked) == 3
        await look(rig, served)
        await look(rig, served)
        assert len(served.asked) == 6


async def test_name_servers_are_asked_once_a_minute_at_most(rig: Rig) -> None:
    caller = await rig.team()
    domain_id = await added(caller)
    async with zone(good("acme.test")) as served:
        for _ in range(3):
            await caller.post(f"/v1/domains/{domain_id}/check", None, 202)
            await look(rig, served)
        assert len(served.asked) == 3
        rig.clock.move(timedelta(minutes=1))
        await look(rig, served)
        assert len(served.asked) == 6


async def test_only_who_manages_inboxes_asks_for_a_check_of_an_own_domain(rig: Rig) -> None:
    caller, other = await rig.team(), await rig.team()
    path = f"/v1/domains/{await added(caller)}/check"
    assert (await other.refused("POST", path))["status"] == 404
    member = await rig.key_of(caller.team_id, role="member")
    reader = await rig.key_of(caller.team_id, scopes=("inboxes:read",))
    for each in (member, reader):
        assert (await each.refused("POST", path))["status"] == 403
    assert (await reader.get(path.removesuffix("/check")))["checks"]


async def test_preflight_says_what_the_dns_said(rig: Rig) -> None:
    caller = await rig.team()
    campaign = await campaign_of(caller)
    domain = f"{caller.team_id}.test"

    async def findings() -> dict[str, dict[str, Any]]:
        report = await caller.post(f"/v1/campaigns/{campaign['id']}/preflight", None, 200)
        return {each["code"]: each for each in report["findings"] if each["code"].startswith("domain_")}

    unchecked = (await findings())["domain_unchecked"]
    assert (unchecked["severity"], f"{domain} (SPF, DKIM, DMARC)" in unchecked["detail"]) == ("notice", True)
    async with zone({f"TXT {domain}": ["v=spf1 +all"], f"TXT _dmarc.{domain}": ["v=DMARC1; p=none"]}) as served:
        await look(rig, served)
        found = await findings()
        assert "+all" in found["domain_unauthenticated"]["detail"]
        assert "DMARC" not in found["domain_unauthenticated"]["detail"]
        assert f"{domain} (DKIM)" in found["domain_unchecked"]["detail"]
        served.records.update(good(domain, "default"))
        rig.clock.move(SOON * LATER)
        await look(rig, served)
        assert await findings() == {}
