"""What comes back without an answer: unknown ends looked at again, arrivals reported, soft bounces that add up."""

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any
from uuid import UUID

import msgspec
import pytest

from deploy.local.ca import Certificates, certificates
from libs.schema.events.email import BounceSoft, EmailConfirmed, EmailDelivered
from libs.schema.events.lead import LeadStopped
from libs.schema.events.reply import ReplyReceived
from libs.schema.runtime.clock import new_id
from libs.schema.runtime.db import Connection
from services.sender.jobs.mend import settle_unknown, tell_delivered
from tests.scripted_smtp import DROP
from tests.sender_world import MONDAY, World, hear, sender_world
from tests.support import Step, insert

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)


@pytest.fixture(scope="module")
def pem(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return certificates(tmp_path_factory.mktemp("ca"))


@pytest.fixture
async def world(database: str, owner: Connection, pem: Certificates) -> AsyncIterator[World]:
    async with sender_world(database, owner, pem) as world:
        yield world


async def last_mail(world: World) -> dict[str, Any]:
    """What every event of the newest mail says."""
    row = await world.owner.fetchrow(
        "SELECT send_id AS email_id, lead_id, inbox_id, campaign_id FROM send_ledger ORDER BY slot_at DESC LIMIT 1"
    )
    assert row is not None
    return dict(row)


async def dated(world: World) -> dict[str, Any]:
    return await last_mail(world) | {"sent_on": MONDAY.date(), "inbox_sent_on": MONDAY.date()}


async def an_unknown_end(world: World) -> UUID:
    await world.leads("bob")
    await world.campaign(Step(), Step(subject="", delay_days=1))
    world.script.says["dot"] = DROP
    await world.plan()
    await world.go_on(MINUTE, step=MINUTE)
    del world.script.says["dot"]
    assert await world.ledger("state") == [("unknown",)]
    return (await last_mail(world))["email_id"]


async def test_an_unknown_end_is_looked_at_six_times_and_then_counts_as_sent(world: World) -> None:
    await an_unknown_end(world)
    (sent_at,) = await world.column("SELECT committed_at FROM send_ledger")
    looks: list[timedelta] = []
    while await world.ledger("state") == [("unknown",)]:
        (due,) = await world.column("SELECT next_settle_at FROM send_ledger")
        looks.append(due - sent_at)
        world.clock.move(due - world.clock.now() - timedelta(seconds=1))
        assert not await settle_unknown(world.deps)
        world.clock.move(timedelta(seconds=1))
        assert await settle_unknown(world.deps)
    assert looks == [2 * MINUTE, 15 * MINUTE, HOUR, 6 * HOUR, 24 * HOUR, 72 * HOUR]
    assert await world.ledger("state", "resolved_by") == [("accepted", "expired")]
    assert len(world.script.accepted) == 1


@pytest.mark.parametrize("left", ["reply", "dsn", "hit"])
async def test_a_look_finds_what_an_event_that_never_came_has_left_behind(world: World, left: str) -> None:
    email_id = await an_unknown_end(world)
    mail = await last_mail(world)
    if left == "reply":
        row = {"team_id": world.team.id, "email_id": email_id, "message_id": "<r@lead.test>", "body_text": "Yes"}
        row |= {name: mail[name] for name in ("lead_id", "inbox_id")}
        row |= {"from_email": "bob@lead.test", "subject": "Re", "received_at": MONDAY}
        await insert(world.owner, "replies", row)
    elif left == "dsn":
        row = {"email_id": email_id, "team_id": world.team.id, "lead_key": b"k", "class": "soft", "source": "dsn"}
        await insert(world.owner, "refusal", row | {"inbox_id": mail["inbox_id"], "refused_at": MONDAY})
    else:
        await world.owner.execute("UPDATE emails SET open_count = 1")
    world.clock.move(3 * MINUTE)
    assert await settle_unknown(world.deps)
    assert await world.ledger("state", "resolved_by") == [("accepted", left)]
    assert (await world.types()).count("email.sent") == 1


async def test_an_arrival_that_its_server_reports_is_told_once_and_not_again_after_the_grace(world: World) -> None:
    await world.leads("bob")
    await world.campaign()
    await world.go_on(10 * MINUTE)
    arrived = EmailConfirmed(**await dated(world), evidence="dsn")
    await hear(world, arrived)
    await hear(world, arrived)
    world.clock.move(2 * DAY)
    assert not await tell_delivered(world.deps)
    told = [event for event in await world.events("email.delivered") if isinstance(event, EmailDelivered)]
    assert [event.by_dsn for event in told] == [True]


async def test_a_report_of_an_arrival_after_the_grace_tells_nothing_new(world: World) -> None:
    await world.leads("bob")
    await world.campaign()
    await world.go_on(10 * MINUTE)
    world.clock.move(2 * DAY)
    assert await tell_delivered(world.deps)
    await hear(world, EmailConfirmed(**await dated(world), evidence="dsn"))
    assert (await world.types()).count("email.delivered") == 1


async def soft(world: World) -> None:
    await hear(world, BounceSoft(**await dated(world), source="dsn", reason="mailbox_full"))


async def one_mail_more(world: World) -> None:
    """Lets time pass until the next mail has gone."""
    before, end = len(world.script.accepted), world.clock.now() + 4 * DAY
    while len(world.script.accepted) == before:
        assert world.clock.now() < end
        await world.go_on(6 * HOUR, step=HOUR)


async def step_and_soft(world: World, mails: int) -> None:
    """So many mails more, each of which comes back as soft."""
    for _ in range(mails):
        await one_mail_more(world)
        await soft(world)


async def test_three_soft_bounces_over_three_days_stop_the_person_and_suppress_nobody(world: World) -> None:
    (bob,) = await world.leads("bob")
    await world.campaign(Step(), Step(subject="", delay_days=2), Step(subject="", delay_days=2), Step(delay_days=1))
    await step_and_soft(world, 2)
    assert await world.column("SELECT state FROM enrollments") == ["active"]
    assert await world.column("SELECT status FROM leads") == ["in_sequence"]
    await step_and_soft(world, 1)
    stopped = [event for event in await world.events("lead.stopped") if isinstance(event, LeadStopped)]
    assert [event.reason for event in stopped] == ["soft_bounce"]
    assert await world.column("SELECT status FROM leads") == ["soft_bounced"]
    assert await world.column("SELECT id FROM suppression_list") == []
    assert await world.column("SELECT lead_key FROM lead_stop") == [bob.key]
    await world.go_on(5 * DAY, step=6 * HOUR)
    assert len(world.script.accepted) == 3


async def test_a_mail_that_arrives_between_begins_the_count_anew(world: World) -> None:
    await world.leads("bob")
    await world.campaign(*(Step(subject="" if n else "Hello", delay_days=2 if n else 0) for n in range(5)))
    await step_and_soft(world, 2)
    await one_mail_more(world)
    await hear(world, EmailConfirmed(**await dated(world), evidence="dsn"))
    world.clock.move(MINUTE)
    await step_and_soft(world, 2)
    assert await world.column("SELECT id FROM lead_stop") == []


async def test_a_full_mailbox_is_tried_again_and_stops_the_person_after_five_retries(world: World) -> None:
    await world.leads("bob")
    await world.campaign()
    world.script.says["rcpt"] = "552 5.2.2 mailbox full"
    await world.go_on(3 * DAY, step=15 * MINUTE)
    assert await world.ledger("state", "attempt") == [("rejected", 6)]
    assert [type(event).TYPE for event in await world.events("bounce.%")] == ["bounce.soft"]
    assert await world.column("SELECT status FROM leads") == ["soft_bounced"]
    assert await world.column("SELECT class FROM refusal") == ["soft"]
    await hear(world, BounceSoft(**await dated(world), source="dsn", reason="mailbox_full"))
    assert await world.column("SELECT class || ' ' || source FROM refusal") == ["soft smtp"]


async def test_a_blocked_mail_goes_back_to_the_planner_and_may_take_another_inbox(
    database: str, owner: Connection, pem: Certificates
) -> None:
    async with sender_world(database, owner, pem, inboxes=2) as world:
        await world.leads("bob")
        await world.campaign()
        world.script.says["rcpt"] = "550 5.7.1 blocked by policy"
        await world.plan()
        world.clock.move(MINUTE)
        await world.send()
        (first,) = await world.column("SELECT inbox_id FROM send_ledger")
        assert (await world.types())[-2:] == ["email.deferred", "email.cancelled"]
        other = next(inbox.id for inbox in world.inboxes if inbox.id != first)
        await owner.execute("UPDATE inboxes SET status = 'paused' WHERE id = $1", first)
        del world.script.says["rcpt"]
        await world.go_on(23 * HOUR, step=HOUR)
        assert world.script.accepted == []
        await world.go_on(4 * HOUR, step=10 * MINUTE)
        assert await world.ledger("state", "attempt", "inbox_id") == [("accepted", 2, other)]


@pytest.mark.parametrize("state", ["unknown", "claimed"])
async def test_an_absence_that_becomes_known_while_the_mail_is_under_way_postpones_the_next_step(
    world: World, state: str
) -> None:
    email_id = await an_unknown_end(world)
    mail = await last_mail(world)
    friday = MONDAY.date() + timedelta(days=11)
    absent = ReplyReceived(
        reply_id=new_id(),
        lead_id=mail["lead_id"],
        inbox_id=mail["inbox_id"],
        intent="out_of_office",
        confidence=1.0,
        model="rules",
        match_method="in_reply_to",
        match_confidence=1.0,
        email_id=email_id if state == "unknown" else None,
        return_date=friday,
    )
    await hear(world, absent)
    if state == "claimed":  # the answer names no mail, and the end is settled afterwards
        await hear(world, EmailConfirmed(**await dated(world)))
    (next_at,) = await world.column("SELECT next_at FROM enrollments")
    assert next_at.date() == friday + timedelta(days=3)
    assert await world.column("SELECT next_send_at FROM leads") == [next_at]
    again = msgspec.structs.replace(absent, return_date=MONDAY.date())
    await hear(world, again)
    await world.go_on(20 * DAY, step=6 * HOUR)
    assert (await world.ledger("committed_at"))[1][0].date() == friday + timedelta(days=3)
