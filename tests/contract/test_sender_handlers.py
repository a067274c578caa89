"""What the sender does with events of others: in any order, late and twice, on real rows."""

import random
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from typing import Any
from uuid import UUID

import msgspec
import pytest

from deploy.local.ca import Certificates, certificates
from libs.schema.events.base import Event
from libs.schema.events.campaign import CampaignArchived
from libs.schema.events.email import BounceHard, EmailClicked, EmailConfirmed, EmailOpened
from libs.schema.events.lead import LeadMarked, LeadUnsubscribed
from libs.schema.events.reply import Intent, ReplyClassified, ReplyReceived
from libs.schema.runtime.clock import new_id
from libs.schema.runtime.db import Connection, transaction
from services.sender.queries.settle import Acceptance, accept_claims
from tests.scripted_smtp import DROP
from tests.sender_world import MONDAY, World, hear, sender_world
from tests.support import Lead, Step, insert

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
STEPS = (Step(), Step(subject="", delay_days=2), Step(subject="", delay_days=2))


@pytest.fixture(scope="module")
def pem(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return certificates(tmp_path_factory.mktemp("ca"))


@pytest.fixture
async def world(database: str, owner: Connection, pem: Certificates) -> AsyncIterator[World]:
    async with sender_world(database, owner, pem) as world:
        yield world


async def stop_row(world: World, lead: Lead, reason: str) -> None:
    """What the teller of an event writes beside it."""
    row = {"id": new_id(), "team_id": world.team.id, "lead_key": lead.key, "reason": reason, "event_id": new_id()}
    await insert(world.owner, "lead_stop", row | {"stopped_at": world.clock.now()})


async def email_of(world: World, lead: Lead) -> UUID:
    (email_id,) = await world.column("SELECT id FROM emails WHERE lead_id = $1 ORDER BY scheduled_at LIMIT 1", lead.id)
    return email_id


async def a_reply(world: World, lead: Lead, intent: Intent = "interested") -> ReplyReceived:
    return ReplyReceived(
        reply_id=new_id(),
        lead_id=lead.id,
        inbox_id=world.inboxes[0].id,
        intent=intent,
        confidence=0.9,
        model="rules",
        match_method="in_reply_to",
        match_confidence=1.0,
        email_id=await email_of(world, lead),
    )


async def mailed_once(world: World) -> Lead:
    """A lead that has had step 1 and waits in the slot of step 2."""
    (bob,) = await world.leads("bob")
    await world.campaign(*STEPS)
    await world.go_on(HOUR)
    world.clock.move(1.5 * DAY)
    await world.plan()
    assert [row[0] for row in await world.ledger("state")] == ["accepted", "queued"]
    return bob


async def row_of(world: World, lead: Lead) -> dict[str, object]:
    row = await world.owner.fetchrow(
        "SELECT status::text, reply_intent, current_campaign_id FROM leads WHERE id = $1", lead.id
    )
    assert row is not None
    return dict(row)


async def test_a_note_that_the_lead_has_left_ends_the_sequence_and_says_nothing_else_of_them(world: World) -> None:
    bob = await mailed_once(world)
    await stop_row(world, bob, "left_company")
    await hear(world, msgspec.structs.replace(await a_reply(world, bob, "auto_reply"), left_company=True))
    assert await row_of(world, bob) == {
        "status": "sequence_complete",
        "reply_intent": None,
        "current_campaign_id": None,
    }
    assert [row[0] for row in await world.ledger("state")] == ["accepted", "stopped"]
    assert (await world.types()).count("lead.stopped") == 1


async def test_a_report_that_is_faster_than_the_answer_to_the_dot_is_not_forgotten(world: World) -> None:
    bob = await mailed_once(world)
    email_id = await email_of(world, bob)
    claim = "UPDATE send_ledger SET state = 'in_data' WHERE send_id = $1 RETURNING fence, epoch"
    row = await world.owner.fetchrow(claim, email_id)
    assert row is not None
    await world.owner.execute("UPDATE emails SET status = 'sending' WHERE id = $1", email_id)
    sent_on = world.clock.now().date()
    told: dict[str, Any] = {"source": "dsn", "reason": "user_unknown", "sent_on": sent_on, "inbox_sent_on": sent_on}
    await stop_row(world, bob, "hard_bounce")
    await hear(world, BounceHard(email_id=email_id, lead_id=bob.id, inbox_id=world.inboxes[0].id, **told))
    end = Acceptance(claim=(email_id, *row), smtp_code=250, smtp_status=None, queue_id=None)
    async with transaction(world.deps.pool) as tx:
        assert email_id in await accept_claims(tx, [end], ["in_data"], "sent", world.clock.now())
    assert [row[0] for row in await world.ledger("state")] == ["accepted", "stopped"]
    row = await world.owner.fetchrow("SELECT status::text, error_message FROM emails WHERE id = $1", email_id)
    assert row is not None
    assert tuple(row) == ("bounced", "user_unknown")


async def test_a_reply_ends_the_sequence_and_shows_on_the_lead(world: World) -> None:
    bob = await mailed_once(world)
    await stop_row(world, bob, "replied")
    reply = await a_reply(world, bob)
    await hear(world, reply)
    await hear(world, reply)
    await world.go_on(5 * DAY, step=6 * HOUR)
    assert len(world.script.accepted) == 1
    assert [row[0] for row in await world.ledger("state")] == ["accepted", "stopped"]
    assert await row_of(world, bob) == {
        "status": "interested",
        "reply_intent": "interested",
        "current_campaign_id": None,
    }
    types = await world.types()
    assert (types.count("lead.stopped"), types.count("email.cancelled")) == (1, 1)


async def test_a_campaign_that_does_not_stop_on_replies_goes_on(world: World) -> None:
    bob = await mailed_once(world)
    await world.owner.execute("UPDATE campaigns SET settings = settings || '{\"stop_on_reply\": false}'::jsonb")
    await stop_row(world, bob, "replied")
    await hear(world, await a_reply(world, bob, "question"))
    await world.go_on(5 * DAY, step=6 * HOUR)
    assert len(world.script.accepted) == 3


async def test_an_absence_postpones_to_the_working_day_after_the_return(world: World) -> None:
    bob = await mailed_once(world)
    reply = await a_reply(world, bob, "out_of_office")
    friday = MONDAY.date() + timedelta(days=11)
    absent = msgspec.structs.replace(reply, return_date=friday)
    await hear(world, absent)
    await world.go_on(20 * DAY, step=6 * HOUR)
    second = (await world.ledger("committed_at"))[1][0]
    assert second.date() == friday + timedelta(days=3)
    assert len(world.script.accepted) == 3
    assert (await row_of(world, bob))["reply_intent"] is None


async def test_an_opt_out_before_the_first_mail_keeps_it_in(world: World) -> None:
    (bob,) = await world.leads("bob")
    await world.campaign(*STEPS)
    await world.plan()
    await stop_row(world, bob, "unsubscribe")
    await hear(world, LeadUnsubscribed(lead_id=bob.id, method="one_click"))
    await world.go_on(DAY, step=HOUR)
    assert world.script.accepted == []
    assert (await row_of(world, bob))["status"] == "unsubscribed"


@pytest.mark.parametrize(
    ("event", "resolved_by"),
    [
        ("confirmed", "sent_folder"),
        ("bounce", "dsn"),
        ("reply", "reply"),
        ("unsubscribe", "hit"),
        ("opened", "hit"),
        ("clicked", "hit"),
        ("arrived", "dsn"),
    ],
)
async def test_evidence_settles_an_unknown_end_and_the_sequence_goes_on(
    world: World, event: str, resolved_by: str
) -> None:
    (bob,) = await world.leads("bob")
    await world.campaign(*STEPS)
    world.script.says["dot"] = DROP
    await world.go_on(HOUR)
    email_id, today = await email_of(world, bob), MONDAY.date()
    dated: dict[str, Any] = {"email_id": email_id, "lead_id": bob.id, "inbox_id": world.inboxes[0].id}
    dated |= {"sent_on": today, "inbox_sent_on": today}
    told: dict[str, Callable[[], Awaitable[Event]]] = {
        "confirmed": lambda: _now(EmailConfirmed(**dated, provider_message_id="<theirs@x.test>")),
        "bounce": lambda: _now(BounceHard(**dated, source="dsn", reason="no_such_user")),
        "reply": lambda: a_reply(world, bob),
        "opened": lambda: _now(EmailOpened(**dated)),
        "clicked": lambda: _now(EmailClicked(**dated, link_id=new_id())),
        "arrived": lambda: _now(EmailConfirmed(**dated, evidence="dsn")),
        "unsubscribe": lambda: _now(LeadUnsubscribed(lead_id=bob.id, method="page", email_id=email_id)),
    }
    heard = await told[event]()
    await hear(world, heard)
    await hear(world, heard)
    assert await world.ledger("state", "resolved_by") == [("accepted", resolved_by)]
    assert (await world.types()).count("email.sent") == 1
    expected = {"bounce": "bounced", "arrived": "delivered"}.get(event, "sent")
    assert await world.column("SELECT status FROM emails") == [expected]
    assert await world.column("SELECT step_number FROM enrollments") == [2]
    if event == "confirmed":
        del world.script.says["dot"]
        await world.go_on(3 * DAY, step=6 * HOUR)
        assert b"In-Reply-To: <theirs@x.test>\r\n" in world.script.accepted[1]


async def _now(event: Event) -> Event:
    return event


async def test_a_campaign_that_is_put_away_ends_its_sequences(world: World) -> None:
    await mailed_once(world)
    (campaign_id,) = await world.column("UPDATE campaigns SET status = 'archived' RETURNING id")
    await hear(world, CampaignArchived(campaign_id=campaign_id))
    assert await world.column("SELECT ended_reason FROM enrollments") == ["campaign_archived"]
    assert [row[0] for row in await world.ledger("state")] == ["accepted", "stopped"]


@pytest.mark.parametrize("seed", range(4))
async def test_whatever_the_order_the_lead_ends_the_same(world: World, seed: int) -> None:
    bob = await mailed_once(world)
    await stop_row(world, bob, "replied")
    await stop_row(world, bob, "unsubscribe")
    reply = await a_reply(world, bob, "neutral")
    events: list[Event] = [
        reply,
        await a_reply(world, bob, "out_of_office"),
        ReplyClassified(
            reply_id=reply.reply_id,
            lead_id=bob.id,
            inbox_id=reply.inbox_id,
            intent="neutral",
            previous="neutral",
            confidence=1.0,
            model="person",
            by_person=True,
        ),
        LeadMarked(lead_id=bob.id, status="contacted"),
        LeadUnsubscribed(lead_id=bob.id, method="reply"),
    ] * 2
    random.Random(seed).shuffle(events)  # noqa: S311 - an order, not a secret
    for event in events:
        await hear(world, event)
    await world.go_on(9 * DAY, step=12 * HOUR)
    assert len(world.script.accepted) == 1
    assert await row_of(world, bob) == {
        "status": "unsubscribed",
        "reply_intent": "neutral",
        "current_campaign_id": None,
    }
    assert await world.column("SELECT state || ' ' || ended_reason FROM enrollments") == ["stopped replied"]


@pytest.mark.parametrize("first", ["received", "classified"])
async def test_a_person_who_reads_a_reply_again_may_lower_the_lead(world: World, first: str) -> None:
    bob = await mailed_once(world)
    reply = await a_reply(world, bob, "interested")
    row = {"id": reply.reply_id, "team_id": world.team.id, "lead_id": bob.id, "inbox_id": reply.inbox_id}
    row |= {"from_email": bob.email, "intent": "interested", "received_at": world.clock.now()}
    await insert(world.owner, "replies", row)
    overrides = "UPDATE replies SET intent = 'not_interested', intent_manual_override = true"
    if first == "received":
        await hear(world, reply)
        assert (await row_of(world, bob))["status"] == "interested"
    await world.owner.execute(overrides)
    word = ReplyClassified(
        reply_id=reply.reply_id,
        lead_id=bob.id,
        inbox_id=reply.inbox_id,
        intent="not_interested",
        previous="interested",
        confidence=1.0,
        model="manual",
        by_person=True,
    )
    for event in (word, reply):
        await hear(world, event)
    assert (await row_of(world, bob))["status"] == "not_interested"


async def test_a_person_who_reads_a_reply_again_undoes_no_opt_out(world: World) -> None:
    bob = await mailed_once(world)
    await hear(world, LeadUnsubscribed(lead_id=bob.id, method="page"))
    reply = await a_reply(world, bob, "neutral")
    told = {"reply_id": reply.reply_id, "lead_id": bob.id, "inbox_id": reply.inbox_id}
    read_again: dict[str, Any] = {"previous": "neutral", "confidence": 1.0, "model": "manual", "by_person": True}
    await hear(world, ReplyClassified(**told, intent="interested", **read_again))
    assert (await row_of(world, bob))["status"] == "unsubscribed"
