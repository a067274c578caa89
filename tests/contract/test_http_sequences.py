"""Sequences over HTTP: conditions, variants as arms, and what an edit of a running campaign does before it is done."""

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import msgspec
import pytest

from libs.planning.sequence import Condition
from libs.schema.events import open_envelope, open_event
from libs.schema.events.campaign import CampaignChanged
from libs.schema.runtime.clock import new_id
from tests.contract.http_rig import MONDAY, STEP, Caller, Rig, campaign_of, expect, rig_on
from tests.support import insert

DAY = timedelta(days=1)
DEFAULT = [{"type": "no_reply", "action": "continue"}]


@pytest.fixture(scope="module")
async def rig(module_database: str) -> AsyncIterator[Rig]:
    async with rig_on(module_database) as rig:
        yield rig


async def put(caller: Caller, path: str, steps: list[dict[str, Any]], **more: Any) -> list[dict[str, Any]]:
    return expect(await caller.ask("PUT", f"{path}/sequences", {"sequences": steps} | more), 200)["data"]


def again(step: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """The step as it was shown, written back with changes."""
    names = ("id", "delay_days", "delay_hours", "subject", "body", "conditions")
    arms = [{name: arm[name] for name in ("subject", "body", "weight")} for arm in step["variants"]]
    return {name: step[name] for name in names} | {"variants": arms} | changes


# -- conditions -------------------------------------------------------------------------------------------------------


async def test_conditions_are_kept_shown_and_frozen_and_by_default_the_seeds(rig: Rig) -> None:
    caller = await rig.team()
    campaign = await campaign_of(caller)
    path = f"/v1/campaigns/{campaign['id']}"
    asked: list[dict[str, Any]] = [
        {"type": "intent_is", "action": "goto", "step": 3, "intent": "question"},
        {"type": "opened", "action": "skip"},
        {"type": "intent_is", "action": "stop", "intent": ["not_interested", "unsubscribe"]},
    ]
    saved = await put(caller, path, [STEP, {"body": "Two", "conditions": asked}, {"body": "Three"}])
    asked[0]["intent"] = ["question"]
    assert [step["conditions"] for step in saved] == [DEFAULT, asked, DEFAULT]
    assert [step["conditions"] for step in (await caller.get(f"{path}/sequences"))["data"]] == [DEFAULT, asked, DEFAULT]
    await caller.post(f"{path}/activate", status=202)
    kept = await rig.owner.fetchval("SELECT steps FROM sequence_version WHERE campaign_id = $1", UUID(campaign["id"]))
    assert [step["conditions"] for step in kept] == [DEFAULT, asked, DEFAULT]


KNOWN: list[Any] = [
    [],
    DEFAULT,
    [{"type": "opened", "action": "goto", "step": 3}],
    [{"type": "intent_is", "action": "stop", "intent": ["neutral", "question"]}],
]
UNKNOWN: list[Any] = [
    [1],
    [DEFAULT],
    [{"type": "full_moon", "action": "stop"}],
    [{"type": ["opened"], "action": "stop"}],
    [{"action": "stop"}],
    [{"type": "opened"}],
    [{"type": "opened", "action": "goto", "step": "3"}],
    [{"type": "opened", "action": "goto", "step": 1.5}],
    [{"type": "opened", "action": "goto", "step": 2.0}],
    [{"type": "opened", "action": "goto", "step": None}],
    [{"type": "intent_is", "action": "stop", "intent": [1]}],
    [{"type": "intent_is", "action": "stop", "intent": {}}],
]


async def test_the_database_itself_takes_only_conditions_that_the_sender_can_read(rig: Rig) -> None:
    caller = await rig.team()
    campaign_id = UUID((await campaign_of(caller))["id"])
    write = "UPDATE sequences SET conditions = $2 WHERE campaign_id = $1"
    for conditions in KNOWN:
        await rig.owner.execute(write, campaign_id, conditions)
        assert msgspec.convert(conditions, tuple[Condition, ...]) is not None
    for conditions in UNKNOWN:
        with pytest.raises(asyncpg.CheckViolationError):
            await rig.owner.execute(write, campaign_id, conditions)


async def test_conditions_that_lead_nowhere_keep_a_campaign_from_starting_however_they_were_written(rig: Rig) -> None:
    caller = await rig.team()
    campaign = await campaign_of(caller)
    nowhere = [{"type": "opened", "action": "goto", "step": 3}]
    await rig.owner.execute(
        "UPDATE sequences SET conditions = $2 WHERE campaign_id = $1", UUID(campaign["id"]), nowhere
    )
    problem = await caller.refused("POST", f"/v1/campaigns/{campaign['id']}/activate")
    assert (problem["status"], problem["errors"][0]["pointer"]) == (422, "/sequences/0/conditions/0/step")


# -- variants ---------------------------------------------------------------------------------------------------------


async def test_an_arm_is_its_words_wherever_it_stands_and_other_words_are_another_arm(rig: Rig) -> None:
    caller = await rig.team()
    campaign = await campaign_of(caller)
    path = f"/v1/campaigns/{campaign['id']}"
    one, two = {"subject": "A", "body": "a"}, {"subject": "B", "body": "b"}
    (step,) = await put(caller, path, [STEP | {"variants": [one, two]}])
    first, second = (arm["id"] for arm in step["variants"])
    await rig.owner.execute("UPDATE sequence_variants SET sent_count = 7 WHERE id = $1", UUID(second))
    changed = [two | {"weight": 90}, one | {"body": "a!"}, one]
    (step,) = await put(caller, path, [STEP | {"id": step["id"], "variants": changed}])
    kept, new, moved = step["variants"]
    assert (kept["id"], kept["weight"], kept["sent_count"]) == (second, 90, 7)
    assert moved["id"] == first
    assert new["id"] not in {first, second}
    await put(caller, path, [STEP | {"id": step["id"], "variants": []}])
    left = await rig.owner.fetchval(
        "SELECT count(*) FROM sequence_variants WHERE sequence_id = $1 AND deleted_at IS NOT NULL", UUID(step["id"])
    )
    assert left == 3  # versions and emails go on naming them


# -- editing a running campaign ---------------------------------------------------------------------------------------


async def running(caller: Caller) -> tuple[str, list[dict[str, Any]]]:
    """An active campaign of three steps: its path and its steps."""
    campaign = await campaign_of(caller, settings={"timezone": "UTC"})
    path = f"/v1/campaigns/{campaign['id']}"
    steps = await put(caller, path, [STEP, {"body": "Two", "delay_days": 2}, {"body": "Three", "delay_days": 2}])
    await caller.post(f"{path}/activate", status=202)
    return path, steps


async def enrol(rig: Rig, caller: Caller, path: str, step: dict[str, Any], *, queued_in: timedelta | None) -> None:
    """A lead on its way in version 1, waiting for the step, with or without a second for its mail."""
    lead_id, enrollment_id, key = new_id(), new_id(), uuid4().bytes
    await insert(rig.owner, "leads", {"id": lead_id, "team_id": caller.team_id, "email": f"{lead_id}@x.test"})
    ours = {"team_id": caller.team_id, "campaign_id": UUID(path.rpartition("/")[2]), "lead_id": lead_id}
    due = None if queued_in else MONDAY
    place = {"sequence_version": 1, "step_number": step["step_number"], "next_at": due, "enrolled_at": MONDAY}
    await insert(rig.owner, "enrollments", {"id": enrollment_id, "lead_key": key, **ours, **place})
    if queued_in:
        inbox_id = await rig.owner.fetchval("SELECT id FROM inboxes WHERE team_id = $1", caller.team_id)
        send = {"send_id": new_id(), "kind": "campaign", "step_id": UUID(step["id"]), "lead_key": key, **ours}
        at = {"slot_at": MONDAY + queued_in, "not_before": MONDAY + queued_in, "created_at": MONDAY}
        more = {"enrollment_id": enrollment_id, "inbox_id": inbox_id, "message_id": f"<{lead_id}@x.test>"}
        await insert(rig.owner, "send_ledger", send | more | at)


async def state_of(rig: Rig, caller: Caller) -> list[list[Any]]:
    """Everything that saving a sequence writes."""
    tables = ("sequences", "sequence_variants", "sequence_version", "event_log", "campaigns", "tracked_link")
    return [
        await rig.owner.fetch(f"SELECT t::text FROM {table} AS t WHERE team_id = $1 ORDER BY 1", caller.team_id)  # noqa: S608  our own words
        for table in tables
    ]


async def test_a_dry_run_says_what_would_happen_to_steps_leads_and_mails_and_writes_nothing(rig: Rig) -> None:
    caller = await rig.team()
    path, (one, two, three) = await running(caller)
    await enrol(rig, caller, path, one, queued_in=DAY)  # says the same in both versions
    for days in (1, 1, 2, 9):
        await enrol(rig, caller, path, two, queued_in=days * DAY)
    await enrol(rig, caller, path, three, queued_in=None)
    changed = [again(one, delay_days=1), again(two, body="Two!"), {"subject": "New", "body": "Four"}]
    before = await state_of(rig, caller)
    impact = expect(
        await caller.ask("PUT", f"{path}/sequences?dry_run=true", {"sequences": changed, "apply_to": "all"}), 200
    )
    assert await state_of(rig, caller) == before
    added = impact["steps"][2]["id"]
    none: dict[str, Any] = {"fields": [], "variants_added": 0, "variants_removed": 0, "begins_test": False}
    assert impact == {
        "apply_to": "all",
        "sequence_version": 2,
        "steps": [
            {"id": one["id"], "step_number": 1, "change": "changed", **none, "fields": ["delay_days"]},
            {"id": two["id"], "step_number": 2, "change": "changed", **none, "fields": ["body"]},
            {"id": added, "step_number": 3, "change": "added", **none},
            {"id": three["id"], "step_number": 3, "change": "removed", **none},
        ],
        "leads_keeping": 0,
        "leads_moving": 6,
        "leads_finishing": 1,  # it waits for the third step, and no later one of its version is left
        "queued": [{"date": "2026-03-03", "mails": 2}, {"date": "2026-03-04", "mails": 1}],
    }
    for_new = expect(await caller.ask("PUT", f"{path}/sequences?dry_run=true", {"sequences": changed}), 200)
    numbers = {name: for_new[name] for name in ("leads_keeping", "leads_moving", "leads_finishing", "queued")}
    assert numbers == {"leads_keeping": 6, "leads_moving": 0, "leads_finishing": 0, "queued": []}


async def test_a_dry_run_refuses_what_saving_would_refuse(rig: Rig) -> None:
    caller = await rig.team()
    path, (one, *_) = await running(caller)
    back = again(one, conditions=[{"type": "replied", "action": "goto", "step": 1}])
    problem = await caller.refused("PUT", f"{path}/sequences?dry_run=true", {"sequences": [back]})
    assert problem["errors"][0]["code"] == "goto_step"
    assert (await caller.refused("PUT", f"{path}/sequences?dry_run=true", {"sequences": []}))["code"] == "wrong_state"


async def told(rig: Rig, caller: Caller) -> CampaignChanged:
    body = await rig.owner.fetchval(
        "SELECT body FROM event_log WHERE team_id = $1 ORDER BY position DESC LIMIT 1", caller.team_id
    )
    event = open_event(open_envelope(body))
    assert isinstance(event, CampaignChanged)
    return event


async def test_an_edit_for_all_marks_the_version_to_which_the_sender_moves_the_leads(rig: Rig) -> None:
    caller = await rig.team()
    path, (one, two, _) = await running(caller)
    await put(caller, path, [again(one), again(two, body="For new ones")])
    assert ((await told(rig, caller)).sequence_version, (await told(rig, caller)).migrate) == (2, False)
    await put(caller, path, [again(one), again(two, body="For new ones")], apply_to="all")
    assert ((await told(rig, caller)).sequence_version, (await told(rig, caller)).migrate) == (3, True)
    await put(caller, path, [again(one), again(two, body="For new ones")], apply_to="all")
    kept = await rig.owner.fetch(
        "SELECT version, moves_leads FROM sequence_version WHERE team_id = $1 ORDER BY version", caller.team_id
    )
    assert [tuple(row) for row in kept] == [(1, False), (2, False), (3, True)]
    problem = await caller.refused("PUT", f"{path}/sequences", {"sequences": [again(one)], "apply_to": "some"})
    assert problem["errors"][0]["pointer"] == "/apply_to"


# -- tests of arms ----------------------------------------------------------------------------------------------------

ARMS = [{"subject": "Arm 0", "body": "One"}, {"subject": "Arm 1", "body": "Two"}]


async def decided(rig: Rig, caller: Caller) -> tuple[str, dict[str, Any]]:
    """A running campaign whose first step's test the second arm has won."""
    campaign = await campaign_of(caller, sequences=[STEP | {"variants": ARMS}])
    path = f"/v1/campaigns/{campaign['id']}"
    await caller.post(f"{path}/activate", status=202)
    arms = [UUID(arm["id"]) for arm in (await caller.get(f"{path}/sequences"))["data"][0]["variants"]]
    await rig.owner.execute("UPDATE sequence_variants SET won_against = $2 WHERE id = $1", arms[1], arms)
    (step,) = (await caller.get(f"{path}/sequences"))["data"]
    assert [arm["is_winner"] for arm in step["variants"]] == [False, True]
    return path, step


@pytest.mark.parametrize(
    ("arms", "change", "shown"),
    [
        ([*ARMS, {"subject": "Arm 2", "body": "Three"}], "begins", [False, False, False]),  # a new arm
        ([{"subject": "Arm 0", "body": "Uno"}, ARMS[1]], "begins", [False, False]),  # other words are another arm
        ([ARMS[0], {"subject": "Arm 1", "body": "Due"}], "begins", [False, False]),  # the winner's are changed
        ([ARMS[0] | {"weight": 90}, ARMS[1]], "goes on", [False, True]),
        (ARMS[1:], "goes on", [True]),
        (ARMS[:1], "goes on", [False]),  # nothing is left to be tested
    ],
)
async def test_a_new_arm_beside_a_winner_begins_a_new_test_and_the_impact_says_so(
    rig: Rig, arms: list[dict[str, Any]], change: str, shown: list[bool]
) -> None:
    caller = await rig.team()
    path, step = await decided(rig, caller)
    body = {"sequences": [again(step, variants=arms)]}
    impact = expect(await caller.ask("PUT", f"{path}/sequences?dry_run=true", body), 200)
    assert [each["begins_test"] for each in impact["steps"]] == [change == "begins"]
    (saved,) = await put(caller, path, body["sequences"])
    assert [arm["is_winner"] for arm in saved["variants"]] == shown


async def test_a_step_without_a_verdict_begins_no_test_by_getting_an_arm(rig: Rig) -> None:
    caller = await rig.team()
    campaign = await campaign_of(caller, sequences=[STEP | {"variants": ARMS}])
    path = f"/v1/campaigns/{campaign['id']}"
    (step,) = (await caller.get(f"{path}/sequences"))["data"]
    more = [again(step, variants=[*ARMS, {"subject": "Arm 2", "body": "Three"}])]
    impact = expect(await caller.ask("PUT", f"{path}/sequences?dry_run=true", {"sequences": more}), 200)
    assert [(change["variants_added"], change["begins_test"]) for change in impact["steps"]] == [(1, False)]
