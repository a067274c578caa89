"""A person closes circuit breakers: whose they are, what is told, and what the audit trail keeps."""

from collections.abc import AsyncIterator
from uuid import UUID

import pytest

from libs.schema.events import open_envelope, open_event
from libs.schema.events.base import Event
from libs.schema.events.campaign import CampaignCircuitClosed
from libs.schema.events.inbox import InboxCircuitClosed
from tests.contract.http_rig import MONDAY, Caller, Rig, campaign_of, rig_on
from tests.support import insert


@pytest.fixture(scope="module")
async def rig(module_database: str) -> AsyncIterator[Rig]:
    async with rig_on(module_database) as rig:
        yield rig


async def open_breaker(rig: Rig, caller: Caller, spot: str, key: str, state: str = "open") -> None:
    kind, scope = spot.split()
    row = {"team_id": caller.team_id, "kind": kind, "scope": scope, "scope_key": key, "state": state, "failures": 4}
    await insert(rig.owner, "breaker", row | {"changed_at": MONDAY})


async def told(rig: Rig, caller: Caller) -> list[Event]:
    query = "SELECT body FROM event_log WHERE team_id = $1 AND type LIKE '%.circuit_closed' ORDER BY position"
    return [open_event(open_envelope(row["body"])) for row in await rig.owner.fetch(query, caller.team_id)]


async def test_an_inboxs_breakers_are_closed_with_its_hosts_and_audited(rig: Rig) -> None:
    caller = await rig.team()
    await campaign_of(caller)
    (inbox,) = (await caller.get("/v1/inboxes"))["data"]
    path = f"/v1/inboxes/{inbox['id']}/circuit/close"
    assert (await caller.refused("POST", path))["code"] == "wrong_state"
    await open_breaker(rig, caller, "complaint inbox", inbox["id"])
    await open_breaker(rig, caller, "reputation inbox", inbox["id"], "half-open")
    await open_breaker(rig, caller, "auth inbox", inbox["id"], "closed")
    await open_breaker(rig, caller, "transport smtp_host", "127.0.0.1")
    await open_breaker(rig, caller, "transport smtp_host", "elsewhere.test")
    done = await caller.post(path, status=202)
    inbox_id = UUID(inbox["id"])
    assert await told(rig, caller) == [
        InboxCircuitClosed(inbox_id=inbox_id, kind="complaint", by_person=True),
        InboxCircuitClosed(inbox_id=inbox_id, kind="reputation", by_person=True),
        InboxCircuitClosed(inbox_id=inbox_id, kind="transport", scope="smtp_host", by_person=True),
    ]
    assert (done["id"], done["status"]) == (inbox["id"], "closed")
    row = await rig.owner.fetchrow("SELECT action, target, detail FROM audit_log WHERE team_id = $1", caller.team_id)
    assert row is not None
    assert (row["action"], row["target"]) == ("circuit.close", f"inbox/{inbox['id']}")
    assert [one["kind"] for one in row["detail"]["open"]] == ["complaint", "reputation", "transport"]


async def test_a_campaigns_breaker_is_closed(rig: Rig) -> None:
    caller = await rig.team()
    campaign = await campaign_of(caller)
    await open_breaker(rig, caller, "reputation campaign", campaign["id"])
    await caller.post(f"/v1/campaigns/{campaign['id']}/circuit/close", status=202)
    assert await told(rig, caller) == [
        CampaignCircuitClosed(campaign_id=UUID(campaign["id"]), kind="reputation", by_person=True)
    ]


@pytest.mark.parametrize("what", ["inboxes", "campaigns"])
async def test_another_teams_breaker_is_not_there(rig: Rig, what: str) -> None:
    caller, stranger = await rig.team(), await rig.team()
    await campaign_of(caller)
    (owned,) = (await caller.get(f"/v1/{what}"))["data"]
    await open_breaker(rig, caller, f"reputation {what.removesuffix('es').removesuffix('s')}", owned["id"])
    refused = await stranger.ask("POST", f"/v1/{what}/{owned['id']}/circuit/close")
    assert (refused.status_code, refused.json()["code"]) == (404, "not_found")
    assert await told(rig, caller) == []


async def test_who_may_only_read_closes_nothing(rig: Rig) -> None:
    caller = await rig.team()
    campaign = await campaign_of(caller)
    reader = await rig.key_of(caller.team_id, role="viewer")
    refused = await reader.ask("POST", f"/v1/campaigns/{campaign['id']}/circuit/close")
    assert refused.status_code == 403
