"""Conditions and newer versions on real rows: who is moved, when, and what is sent; nobody is ever stranded."""

from collections.abc import AsyncIterator
from datetime import timedelta
from email import message_from_bytes
from email.policy import SMTP
from typing import Any
from uuid import UUID

import pytest

from deploy.local.ca import Certificates, certificates
from libs.schema.events.email import EmailCancelled
from libs.schema.events.lead import LeadHeld, LeadStopped
from libs.schema.runtime.clock import new_id
from libs.schema.runtime.db import Connection
from services.sender.jobs.edit import BATCH, move_leads
from services.sender.jobs.mend import settle_unknown
from tests.scripted_smtp import DROP
from tests.sender_world import MONDAY, World, sender_world
from tests.support import Campaign, Lead, Step, insert

MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)


@pytest.fixture(scope="module")
def pem(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return certificates(tmp_path_factory.mktemp("ca"))


@pytest.fixture
async def world(database: str, owner: Connection, pem: Certificates) -> AsyncIterator[World]:
    async with sender_world(database, owner, pem) as world:
        yield world


def when(kind: str, action: str, **more: Any) -> dict[str, Any]:
    return {"type": kind, "action": action, **more}


def received(world: World, name: str) -> list[str]:
    """The subjects that this lead has got, in order."""
    mails = [message_from_bytes(raw, policy=SMTP) for raw in world.script.accepted]
    return [mail["Subject"] for mail in mails if mail["To"] == f"{name}@lead.test"]


async def pairs(world: World, query: str) -> dict[Any, Any]:
    """The second column of a query by its first."""
    return {row[0]: row[1] for row in await world.owner.fetch(query)}


async def show_open(world: World, lead: Lead) -> None:
    await world.owner.execute("UPDATE emails SET open_count = 1 WHERE lead_id = $1 AND sent_at IS NOT NULL", lead.id)


async def show_reply(world: World, lead: Lead, intent: str) -> None:
    row = {"id": new_id(), "team_id": world.team.id, "lead_id": lead.id, "inbox_id": world.inboxes[0].id}
    about = {"from_email": lead.email, "received_at": world.clock.now(), "intent": intent}
    await insert(world.owner, "replies", row | about)


async def enrollment(world: World, lead: Lead, *columns: str) -> tuple[Any, ...]:
    row = await world.owner.fetchrow(f"SELECT {', '.join(columns)} FROM enrollments WHERE lead_id = $1", lead.id)  # noqa: S608  the test's own words
    assert row is not None
    return tuple(row)


# -- conditions -------------------------------------------------------------------------------------------------------


async def test_a_skipped_lead_waits_for_the_next_step_from_the_instant_at_which_the_skipped_one_fell_due(
    world: World,
) -> None:
    ann, bob = await world.leads("ann", "bob")
    skip = [when("opened", "skip")]
    await world.campaign(
        Step(subject="One"), Step(subject="Two", delay_days=2, conditions=skip), Step(subject="Three", delay_days=1)
    )
    await world.go_on(2 * DAY - HOUR, step=HOUR)
    await show_open(world, ann)  # a day after the planner could have given the second step its slot
    await world.go_on(3 * DAY, step=HOUR)
    assert received(world, "ann") == ["One", "Three"]
    assert received(world, "bob") == ["One", "Two", "Three"]
    first, third = await world.column("SELECT slot_at FROM send_ledger WHERE lead_id = $1 ORDER BY slot_at", ann.id)
    assert abs(third - first - 3 * DAY) < HOUR
    assert (await enrollment(world, bob, "state"))[0] == "finished"


async def test_a_lead_waits_for_its_condition_and_says_until_when(world: World) -> None:
    await world.leads("bob")
    await world.campaign(Step(subject="One"), Step(subject="Two", delay_hours=5, conditions=[when("replied", "stop")]))
    await world.go_on(HOUR)
    held = [event for event in await world.events("lead.held") if isinstance(event, LeadHeld)]
    (due,) = await world.column("SELECT next_at FROM enrollments")
    assert [(event.gate, event.retry_at) for event in held] == [("condition", due)]


async def test_a_stop_ends_the_sequence_and_is_told(world: World) -> None:
    (bob,) = await world.leads("bob")
    await world.campaign(Step(subject="One"), Step(subject="Two", delay_days=1, conditions=[when("no_reply", "stop")]))
    await world.go_on(2 * DAY, step=HOUR)
    assert received(world, "bob") == ["One"]
    stops = [event for event in await world.events("lead.stopped") if isinstance(event, LeadStopped)]
    assert [(event.lead_id, event.reason) for event in stops] == [(bob.id, "condition")]
    assert await enrollment(world, bob, "state", "ended_reason") == ("stopped", "condition")
    assert await world.column("SELECT status::text FROM leads") == ["sequence_complete"]
    assert "campaign.completed" in await world.types()


async def test_with_stop_on_reply_off_an_answer_leads_on_and_an_automatic_one_is_none(world: World) -> None:
    ann, bob, cat = await world.leads("ann", "bob", "cat")
    away = when("intent_is", "stop", intent=["out_of_office", "auto_reply"])
    asked = [when("replied", "goto", step=3), away]
    settings = {"timezone": "UTC", "send_days": ["mon", "tue", "wed", "thu", "fri"], "stop_on_reply": False}
    steps = (
        Step(subject="One"),
        Step(subject="Two", delay_days=1, conditions=asked),
        Step(subject="Three", delay_hours=6),
    )
    await world.campaign(*steps, settings=settings)
    await world.go_on(HOUR)
    for lead, intent in ((ann, "interested"), (bob, "auto_reply")):
        await show_reply(world, lead, intent)
        stop = {"id": new_id(), "team_id": world.team.id, "lead_key": lead.key, "reason": "replied"}
        await insert(world.owner, "lead_stop", stop | {"event_id": new_id(), "stopped_at": world.clock.now()})
    await show_reply(world, ann, "auto_reply")  # a machine's later word does not hide a person's
    await world.go_on(3 * DAY, step=HOUR)
    assert received(world, "ann") == ["One", "Three"]
    assert received(world, "bob") == ["One"]
    assert received(world, "cat") == ["One", "Two", "Three"]
    assert (await enrollment(world, cat, "state"))[0] == "finished"


async def test_what_the_lead_does_after_its_slot_was_given_still_counts(world: World) -> None:
    (bob,) = await world.leads("bob")
    asked = [when("opened", "skip")]
    await world.campaign(Step(subject="One"), Step(subject="Two", delay_hours=2, conditions=asked), Step(subject="End"))
    await world.go_on(HOUR)
    (due,) = await world.column("SELECT next_at FROM enrollments")
    world.clock.move(due - world.clock.now())
    await world.plan()
    assert await world.column("SELECT state FROM send_ledger ORDER BY slot_at") == ["accepted", "queued"]
    await show_open(world, bob)
    await world.go_on(HOUR)
    assert received(world, "bob") == ["One", "End"]
    cancelled = [event for event in await world.events("email.cancelled") if isinstance(event, EmailCancelled)]
    assert [event.reason for event in cancelled] == ["replanned"]


# -- newer versions ---------------------------------------------------------------------------------------------------


async def save(world: World, campaign: Campaign, *steps: tuple[UUID, Step], moves_leads: bool = True) -> None:
    """A next version of the campaign's steps, as the API keeps it."""
    version = await world.owner.fetchval("SELECT max(version) + 1 FROM sequence_version")
    kept: list[dict[str, Any]] = [
        {"step_id": str(step_id), "step_number": number, "subject": step.subject, "body": step.body}
        | {"delay_days": step.delay_days, "delay_hours": step.delay_hours, "conditions": list(step.conditions)}
        for number, (step_id, step) in enumerate(steps, start=1)
    ]
    await world.owner.execute("UPDATE sequences SET step_number = step_number + 1000, deleted_at = $1", MONDAY)
    for one in kept:
        await world.owner.execute(
            """INSERT INTO sequences (id, campaign_id, step_number, subject, body) VALUES ($1, $2, $3, $4, $5)
            ON CONFLICT (id) DO UPDATE SET step_number = excluded.step_number, deleted_at = NULL""",
            UUID(one["step_id"]), campaign.id, one["step_number"], one["subject"], one["body"],
        )  # fmt: skip
    row = {"id": new_id(), "team_id": world.team.id, "campaign_id": campaign.id, "version": version, "steps": kept}
    await insert(world.owner, "sequence_version", row | {"moves_leads": moves_leads, "created_at": world.clock.now()})


async def test_a_queued_mail_with_other_words_is_planned_anew_and_one_that_says_the_same_keeps_its_second(
    world: World,
) -> None:
    (ann,) = await world.leads("ann")
    one, two = Step(subject="One"), Step(subject="Two", delay_hours=3)
    campaign = await world.campaign(one, two)
    await world.go_on(HOUR)
    (bob,) = await world.leads("bob")
    await world.plan()  # ann's second mail and bob's first are queued
    before = await pairs(world, "SELECT lead_id, slot_at FROM send_ledger WHERE state = 'queued'")
    await save(world, campaign, (campaign.step_ids[0], one), (campaign.step_ids[1], Step(subject="New", delay_hours=3)))
    assert await move_leads(world.deps) is False
    assert await world.column("SELECT DISTINCT sequence_version FROM enrollments") == [2]
    assert await world.column("SELECT lead_id FROM send_ledger WHERE state = 'queued'") == [bob.id]
    assert await world.column("SELECT sequence_version FROM emails WHERE status = 'queued'") == [2]
    await world.plan()
    after = await pairs(world, "SELECT lead_id, slot_at FROM send_ledger WHERE state = 'queued'")
    assert after[bob.id] == before[bob.id]
    await world.go_on(5 * HOUR)
    assert received(world, "ann") == ["One", "New"]
    assert received(world, "bob") == ["One", "New"]
    assert (await enrollment(world, ann, "state"))[0] == "finished"


async def test_leads_move_by_the_steps_ids_to_the_next_one_still_there_or_are_through(world: World) -> None:
    ann, bob = await world.leads("ann", "bob")
    first, second, third = Step(subject="One"), Step(subject="Two", delay_days=2), Step(subject="Three", delay_days=9)
    campaign = await world.campaign(first, second, third)
    one, _, three = campaign.step_ids
    await world.go_on(HOUR)
    await world.owner.execute("UPDATE enrollments SET step_number = 3 WHERE lead_id = $1", bob.id)
    await save(world, campaign, (three, Step(subject="Three", delay_days=3)), (one, first))
    (due,) = await enrollment(world, ann, "next_at")
    await move_leads(world.deps)
    assert await enrollment(world, ann, "step_number", "sequence_version", "next_at") == (1, 2, due + DAY)
    assert (await enrollment(world, bob, "step_number"))[0] == 1
    await save(world, campaign, (new_id(), Step(subject="Other")))
    await move_leads(world.deps)
    assert await enrollment(world, ann, "state") == await enrollment(world, bob, "state") == ("finished",)
    completed = [event for event in await world.types() if event == "lead.completed"]
    assert (len(completed), await world.column("SELECT DISTINCT status::text FROM leads")) == (2, ["sequence_complete"])


async def test_what_is_under_way_keeps_its_version_until_it_is_settled_and_then_its_lead_moves(world: World) -> None:
    (bob,) = await world.leads("bob")
    campaign = await world.campaign(Step(subject="One"), Step(subject="Two", delay_days=5))
    world.script.says["dot"] = DROP
    await world.go_on(HOUR)
    del world.script.says["dot"]
    assert await world.column("SELECT state FROM send_ledger") == ["unknown"]
    one, two = campaign.step_ids
    extra = new_id()
    await save(world, campaign, (extra, Step(subject="Zero")), (one, Step()), (two, Step(subject="Late", delay_days=6)))
    assert await move_leads(world.deps) is False
    assert await enrollment(world, bob, "sequence_version") == (1,)
    world.clock.move(4 * DAY)
    while await settle_unknown(world.deps):
        pass
    await move_leads(world.deps)
    assert await enrollment(world, bob, "sequence_version", "step_number") == (2, 3)
    await world.go_on(4 * DAY, step=HOUR)
    assert received(world, "bob")[-1] == "Late"


async def test_a_step_that_got_another_number_strands_nobody_who_keeps_the_old_version(world: World) -> None:
    (bob,) = await world.leads("bob")
    campaign = await world.campaign(Step(subject="One"), Step(subject="Two", delay_days=5))
    world.script.says["dot"] = DROP
    await world.go_on(HOUR)
    del world.script.says["dot"]
    one, two = campaign.step_ids
    await save(world, campaign, (two, Step(subject="Two")), (one, Step(subject="One")), moves_leads=False)
    assert await move_leads(world.deps) is False
    world.clock.move(4 * DAY)
    while await settle_unknown(world.deps):
        pass
    assert await enrollment(world, bob, "sequence_version", "step_number") == (1, 2)


async def test_many_leads_move_in_batches_and_each_once(world: World) -> None:
    campaign = await world.campaign(Step(), Step(delay_days=1))
    await world.owner.execute("UPDATE campaigns SET status = 'paused'")
    await world.owner.execute(
        """INSERT INTO leads (id, team_id, lead_list_id, email)
        SELECT gen_random_uuid(), $1, $2, n || '@many.test' FROM generate_series(1, $3::int) AS n""",
        world.team.id, world.list_id, BATCH + 1,
    )  # fmt: skip
    await world.owner.execute(
        """INSERT INTO enrollments (id, team_id, campaign_id, lead_id, lead_key, sequence_version, step_number, next_at,
            enrolled_at)
        SELECT gen_random_uuid(), $1, $2, id, sha256(email::bytea), 1, 2, $3, $3 FROM leads""",
        world.team.id, campaign.id, MONDAY,
    )  # fmt: skip
    one, two = campaign.step_ids
    await save(world, campaign, (one, Step()), (two, Step(subject="New", delay_days=2)))
    assert await move_leads(world.deps) is True
    assert await world.column("SELECT count(*) FROM enrollments WHERE sequence_version = 2") == [BATCH]
    assert await move_leads(world.deps) is False
    assert await world.column("SELECT DISTINCT next_at FROM enrollments") == [MONDAY + DAY]


# -- words ------------------------------------------------------------------------------------------------------------


async def test_the_spin_that_is_planned_is_the_one_that_is_sent_and_a_leads_value_never_spins(world: World) -> None:
    await world.leads(*(f"lead{number}" for number in range(12)))
    await world.leads("odd", first_name="{X|Y}")
    await world.campaign(Step(subject="{Hi|Hello|Dear} {{ first_name }}", body="{One|Two} of you"))
    await world.plan()
    planned = await pairs(world, "SELECT to_email, subject FROM emails")
    await world.go_on(3 * HOUR, step=5 * MINUTE)
    mails = [message_from_bytes(raw, policy=SMTP) for raw in world.script.accepted]
    assert {str(mail["To"]): str(mail["Subject"]) for mail in mails} == planned
    spun = {subject.partition(" ")[0] for subject in planned.values()}
    assert spun <= {"Hi", "Hello", "Dear"}
    assert len(spun) > 1  # by chance one of the three may fall to nobody
    assert planned["odd@lead.test"].endswith(" {X|Y}")


async def test_a_planned_mail_keeps_its_arm_when_another_wins_and_new_mails_go_to_the_winner(world: World) -> None:
    campaign = await world.campaign(Step(subject="Base", body="Base"))
    arms = [new_id(), new_id()]
    for index, arm in enumerate(arms):
        row = {
            "id": arm,
            "sequence_id": campaign.step_ids[0],
            "variant_index": index,
            "body": "x",
            "subject": f"Arm {index}",
        }
        await insert(world.owner, "sequence_variants", row)
    kept = [{"variant_id": str(arm), "subject": f"Arm {index}", "body": "x"} for index, arm in enumerate(arms)]
    await world.owner.execute("UPDATE sequence_version SET steps = jsonb_set(steps, '{0,variants}', $1)", kept)
    await world.leads(*(f"early{number}" for number in range(12)))
    await world.plan()
    planned = await pairs(world, "SELECT to_email, subject FROM emails")
    assert set(planned.values()) == {"Arm 0", "Arm 1"}
    await world.owner.execute("UPDATE sequence_variants SET won_against = $2 WHERE id = $1", arms[1], arms)
    await world.leads(*(f"late{number}" for number in range(12)))
    await world.go_on(3 * HOUR, step=5 * MINUTE)
    mails = [message_from_bytes(raw, policy=SMTP) for raw in world.script.accepted]
    sent = {str(mail["To"]): str(mail["Subject"]) for mail in mails}
    assert {name: subject for name, subject in sent.items() if name.startswith("early")} == planned
    assert {subject for name, subject in sent.items() if name.startswith("late")} == {"Arm 1"}


async def test_a_new_arm_beside_a_winner_gets_its_share_and_who_keeps_the_old_version_the_winner(world: World) -> None:
    campaign = await world.campaign(Step(subject="One"), Step(subject="Two", delay_hours=2))
    step_id, arms = campaign.step_ids[1], [new_id() for _ in range(3)]
    for index, arm in enumerate(arms):
        row = {"id": arm, "sequence_id": step_id, "variant_index": index, "body": "x", "subject": f"Arm {index}"}
        await insert(world.owner, "sequence_variants", row)
    kept = [{"variant_id": str(arm), "subject": f"Arm {index}", "body": "x"} for index, arm in enumerate(arms)]
    await world.owner.execute("UPDATE sequence_version SET steps = jsonb_set(steps, '{1,variants}', $1)", kept[:2])
    await world.owner.execute("UPDATE sequence_variants SET won_against = $2 WHERE id = $1", arms[1], arms[:2])
    await world.leads(*(f"early{number}" for number in range(8)))
    await world.plan()
    await world.owner.execute(
        """INSERT INTO sequence_version (id, team_id, campaign_id, version, steps, created_at)
        SELECT gen_random_uuid(), team_id, campaign_id, 2, jsonb_set(steps, '{1,variants}', $1), created_at
        FROM sequence_version""",
        kept,
    )
    await world.leads(*(f"late{number}" for number in range(16)))
    await world.go_on(8 * HOUR, step=5 * MINUTE)
    mails = [message_from_bytes(raw, policy=SMTP) for raw in world.script.accepted]
    second = {str(mail["To"]): str(mail["Subject"]) for mail in mails if str(mail["Subject"]) != "One"}
    assert {subject for name, subject in second.items() if name.startswith("early")} == {"Arm 1"}
    assert {subject for name, subject in second.items() if name.startswith("late")} == {"Arm 0", "Arm 1", "Arm 2"}
    assert len(second) == 24
