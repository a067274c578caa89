"""What absence notes do to sequences: until when they wait, when they end, and that nobody is mailed meanwhile."""

from collections.abc import AsyncIterator
from datetime import date, datetime, timedelta
from typing import Any

import pytest

from deploy.local.ca import Certificates, certificates
from libs.schema.events.lead import LeadStopped
from libs.schema.events.reply import Intent, ReplyReceived
from libs.schema.runtime.clock import new_id
from libs.schema.runtime.db import Connection
from services.sender.jobs.send import carry, claim_some
from tests.sender_world import MONDAY, World, hear, sender_world
from tests.support import Lead, Step, insert

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
STEPS = (Step(), Step(subject="", delay_days=1), Step(subject="", delay_days=1))
FRIDAY = date(2026, 3, 13)
BACK_TO_WORK = date(2026, 3, 16)


@pytest.fixture(scope="module")
def pem(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return certificates(tmp_path_factory.mktemp("ca"))


@pytest.fixture
async def world(database: str, owner: Connection, pem: Certificates) -> AsyncIterator[World]:
    async with sender_world(database, owner, pem) as world:
        yield world


async def answered(world: World, lead: Lead, intent: Intent = "out_of_office", **more: Any) -> ReplyReceived:
    """A stored reply and its event, as the service of replies leaves them."""
    (email_id,) = await world.column("SELECT id FROM emails WHERE lead_id = $1 ORDER BY scheduled_at LIMIT 1", lead.id)
    at = world.clock.now()
    ids: dict[str, Any] = {"lead_id": lead.id, "inbox_id": world.inboxes[0].id, "email_id": email_id}
    reply_id = new_id()
    row = {"id": reply_id, "team_id": world.team.id, "from_email": lead.email, "received_at": at, "intent": intent}
    await insert(world.owner, "replies", row | ids)
    matched = {"confidence": 1.0, "model": "rules", "match_method": "in_reply_to", "match_confidence": 1.0}
    return ReplyReceived(**ids, **matched, reply_id=reply_id, intent=intent, **more)


async def mailed(world: World) -> Lead:
    """A lead that has had step 1 of three and waits for step 2."""
    (bob,) = await world.leads("bob")
    await world.campaign(*STEPS)
    await world.go_on(HOUR)
    assert len(world.script.accepted) == 1
    return bob


async def next_at(world: World) -> datetime:
    (at,) = await world.column("SELECT next_at FROM enrollments")
    return at


@pytest.mark.parametrize(
    ("zone", "hours"),
    [(None, 0), ("Asia/Tokyo", -9), ("America/New_York", 4)],
)
async def test_it_goes_on_when_the_working_day_after_the_return_begins_where_the_person_is(
    world: World, zone: str | None, hours: int
) -> None:
    bob = await mailed(world)
    await world.owner.execute("UPDATE leads SET timezone = $1", zone)
    await hear(world, await answered(world, bob, return_date=FRIDAY))
    begins = datetime(BACK_TO_WORK.year, BACK_TO_WORK.month, BACK_TO_WORK.day, tzinfo=MONDAY.tzinfo)
    assert await next_at(world) == begins + timedelta(hours=hours)
    assert await world.column("SELECT held_gate FROM enrollments") == ["out_of_office"]


@pytest.mark.parametrize(
    ("settings", "days"), [({}, 7), ({"out_of_office_days": 3}, 3), ({"out_of_office_days": 99}, 7)]
)
async def test_without_a_date_it_waits_as_long_as_the_team_says(
    world: World, settings: dict[str, int], days: int
) -> None:
    await world.owner.execute("UPDATE teams SET settings = settings || $1::jsonb", settings)
    bob = await mailed(world)
    noted_at = world.clock.now()
    await hear(world, await answered(world, bob))
    assert await next_at(world) == noted_at + timedelta(days=days)


async def test_the_third_note_in_a_row_ends_the_sequence_and_suppresses_nobody(world: World) -> None:
    bob = await mailed(world)
    for left in (2, 1, 0):
        note = await answered(world, bob)
        await hear(world, note)
        await hear(world, note)
        expected = "active" if left else "stopped"
        assert await world.column("SELECT state FROM enrollments") == [expected]
        world.clock.move(DAY)
    assert await world.column("SELECT ended_reason FROM enrollments") == ["absent"]
    assert await world.column("SELECT status::text FROM leads") == ["sequence_complete"]
    assert await world.column("SELECT count(*) FROM suppression_list") == [0]
    stops = [event.reason for event in await world.events("lead.stopped") if isinstance(event, LeadStopped)]
    assert stops == ["absent"]
    await world.go_on(30 * DAY, step=12 * HOUR)
    assert len(world.script.accepted) == 1


async def test_an_answer_between_them_begins_the_row_anew(world: World) -> None:
    await world.owner.execute("UPDATE campaigns SET settings = settings || '{\"stop_on_reply\": false}'::jsonb")
    bob = await mailed(world)
    for intent in ("out_of_office", "out_of_office", "question", "out_of_office", "auto_reply"):
        await hear(world, await answered(world, bob, intent))
        world.clock.move(DAY)
    assert await world.column("SELECT state FROM enrollments") == ["active"]


async def test_a_note_that_comes_while_the_mail_is_put_off_holds_the_mail_too(world: World) -> None:
    bob = await mailed(world)
    world.clock.move(20 * HOUR)
    await world.plan()
    (due,) = await world.column("SELECT not_before FROM send_ledger WHERE state = 'queued'")
    world.clock.move(due - world.clock.now())
    (claimed,), threads = await claim_some(world.deps, 1)
    await hear(world, await answered(world, bob, return_date=FRIDAY))
    world.script.says["rcpt"] = "451 4.7.1 Greylisted, come back later"
    await carry(world.deps, claimed, threads[claimed.enrollment_id])
    del world.script.says["rcpt"]
    assert [row[0] for row in await world.ledger("state")] == ["accepted", "queued"]
    await world.go_on(8 * DAY, step=2 * HOUR)
    assert len(world.script.accepted) == 1
    await world.go_on(7 * DAY, step=2 * HOUR)
    sent = [row[0].date() for row in await world.ledger("committed_at") if row[0]]
    assert sent[1] == BACK_TO_WORK


async def test_who_has_left_is_shown_as_through_with_the_sequence(world: World) -> None:
    bob = await mailed(world)
    note = await answered(world, bob, "auto_reply", left_company=True)
    row = {"id": new_id(), "team_id": world.team.id, "lead_key": bob.key, "reason": "left_company"}
    await insert(world.owner, "lead_stop", row | {"event_id": new_id(), "stopped_at": world.clock.now()})
    await hear(world, note)
    assert await world.column("SELECT state || ' ' || ended_reason FROM enrollments") == ["stopped left_company"]
    lead = await world.owner.fetchrow("SELECT status::text, reply_intent, replied_at FROM leads")
    assert lead is not None
    assert tuple(lead) == ("sequence_complete", None, None)
