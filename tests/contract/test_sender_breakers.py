"""Breakers on real rows: what opens them, what they hold and let through, what closes them, and what is told of it."""

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from deploy.local.ca import Certificates, certificates
from libs.schema.events.campaign import CampaignCircuitClosed, CampaignCircuitOpened
from libs.schema.events.email import BounceHard, EmailComplained
from libs.schema.events.inbox import InboxCircuitClosed, InboxCircuitOpened, InboxConnected
from libs.schema.events.lead import LeadHeld
from libs.schema.runtime.clock import new_id
from libs.schema.runtime.db import Connection
from services.sender.jobs.breakers import turn_breakers
from services.sender.jobs.send import claim_some
from services.sender.rules.reputation import PROBES
from tests.scripted_smtp import DROP
from tests.sender_world import MONDAY, World, hear, sender_world
from tests.support import insert, make_list

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
NO_SUCH_USER = "550 5.1.1 no such user"


@pytest.fixture(scope="module")
def pem(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return certificates(tmp_path_factory.mktemp("ca"))


@pytest.fixture
async def world(database: str, owner: Connection, pem: Certificates) -> AsyncIterator[World]:
    async with sender_world(database, owner, pem) as world:
        yield world


@pytest.fixture
async def six(database: str, owner: Connection, pem: Certificates) -> AsyncIterator[World]:
    async with sender_world(database, owner, pem, inboxes=6) as world:
        yield world


async def breakers(world: World) -> list[str]:
    return await world.column("SELECT kind || ' ' || scope || ' ' || state FROM breaker ORDER BY kind, scope")


async def opened(world: World) -> list[InboxCircuitOpened]:
    return [event for event in await world.events("inbox.circuit_opened") if isinstance(event, InboxCircuitOpened)]


async def mailed(world: World, count: int) -> list[UUID]:
    """The ids of so many mails that were accepted."""
    await world.leads(*(f"lead{n}" for n in range(count)))
    await world.campaign()
    await world.go_on(count * 5 * MINUTE)
    ids = await world.column("SELECT send_id FROM send_ledger WHERE state = 'accepted' ORDER BY slot_at")
    assert len(ids) == count
    return ids


async def dated(world: World, email_id: UUID) -> dict[str, Any]:
    row = await world.owner.fetchrow("SELECT lead_id, inbox_id FROM send_ledger WHERE send_id = $1", email_id)
    assert row is not None
    return {"email_id": email_id, **row, "sent_on": MONDAY.date(), "inbox_sent_on": MONDAY.date()}


async def test_a_host_that_fails_five_inboxes_is_left_alone_and_then_probed_by_one(six: World) -> None:
    await six.leads(*(f"lead{n}" for n in range(12)))
    await six.campaign()
    await six.plan()
    six.script.says["greeting"] = DROP
    six.clock.move(5 * MINUTE)
    await six.send()
    assert await six.column("SELECT state || ' ' || failures FROM breaker WHERE scope = 'smtp_host'") == ["open 5"]
    assert [event.scope for event in await opened(six)] == ["smtp_host"]
    asked = six.script.connections
    six.clock.move(4 * MINUTE)
    await six.send()
    assert six.script.connections == asked
    six.clock.move(2 * MINUTE)
    claimed, _ = await claim_some(six.deps, 10)
    assert len(claimed) == 1  # six inboxes have mail that is due


async def test_a_probe_that_goes_through_opens_the_host_to_all(six: World) -> None:
    await six.leads(*(f"lead{n}" for n in range(12)))
    await six.campaign()
    await six.plan()
    six.script.says["greeting"] = DROP
    six.clock.move(5 * MINUTE)
    await six.send()
    del six.script.says["greeting"]
    await six.go_on(HOUR, step=MINUTE)
    assert len(six.script.accepted) == 12
    assert {state.rpartition(" ")[2] for state in await breakers(six)} == {"closed"}
    told = [event for event in await six.events("inbox.circuit_closed") if isinstance(event, InboxCircuitClosed)]
    assert [event.scope for event in told] == ["smtp_host"]


async def test_a_send_limit_of_the_provider_rests_the_inbox_and_costs_the_mail_nothing(world: World) -> None:
    await world.leads("bob")
    await world.campaign()
    world.script.says["dot"] = "550 5.4.5 Daily user sending limit exceeded"
    await world.go_on(HOUR)
    assert await breakers(world) == ["provider_limit inbox open"]
    (event,) = await opened(world)
    assert (event.kind, event.limit) == ("provider_limit", 1)
    assert event.retry_at >= MONDAY + 6 * HOUR
    assert len([command for command in world.script.commands if command == "DATA"]) == 1
    assert await world.ledger("state", "attempt", "committed_at", "smtp_code") == [("queued", 0, None, None)]
    del world.script.says["dot"]
    await world.go_on(8 * HOUR, step=10 * MINUTE)
    assert len(world.script.accepted) == 1
    assert await breakers(world) == ["provider_limit inbox closed"]


async def bounce_four_of_ten(world: World) -> None:
    """Ten mails out of forty, of which the first four are refused: only the tenth shows how bad that is."""
    bad: set[str] = set()

    def refuse_four(phase: str, to: str) -> str | None:
        if phase == "rcpt" and len(bad) < 4:
            bad.add(to)
        return NO_SUCH_USER if phase == "rcpt" and to in bad else None

    world.script.by_recipient = refuse_four
    await world.leads(*(f"lead{n}" for n in range(40)))
    await world.campaign()
    while len(world.recipients()) < 10:
        assert "reputation inbox open" not in await breakers(world)
        await world.go_on(MINUTE, step=MINUTE)
    assert await breakers(world) == ["reputation campaign open", "reputation inbox open"]


async def test_hard_bounces_stop_cold_mail_for_a_day_and_five_probes_let_it_go_on(world: World) -> None:
    await bounce_four_of_ten(world)
    first = (await opened(world))[0]
    assert (first.kind, first.scope, first.state, first.failures) == ("reputation", "inbox", "open", 4)
    assert first.sends is not None
    assert first.sends >= 10
    assert first.limit == 4
    (campaign,) = [e for e in await world.events("campaign.circuit_opened") if isinstance(e, CampaignCircuitOpened)]
    assert (campaign.failures, campaign.sends, campaign.limit) == (4, first.sends, 4)
    assert await world.column("SELECT circuit_state FROM inboxes") == ["open"]
    before = len(world.script.accepted)
    await world.go_on(20 * HOUR, step=20 * MINUTE)
    assert len(world.script.accepted) == before
    held = [event for event in await world.events("lead.held") if isinstance(event, LeadHeld)]
    assert {(event.gate, event.value, event.retry_at) for event in held} == {
        ("campaign", "circuit_open", campaign.retry_at)
    }
    world.clock.move(first.retry_at - world.clock.now())
    assert await turn_breakers(world.deps)
    assert not await turn_breakers(world.deps)
    assert await breakers(world) == ["reputation campaign half-open", "reputation inbox half-open"]
    await world.go_on(40 * MINUTE)
    assert len(world.script.accepted) >= before + PROBES
    assert await breakers(world) == ["reputation campaign closed", "reputation inbox closed"]
    await world.go_on(12 * HOUR, step=5 * MINUTE)
    assert len(world.script.accepted) == 36


async def test_no_more_than_five_probes_go_before_their_verdict(world: World) -> None:
    await bounce_four_of_ten(world)
    before = len(world.script.accepted)
    world.clock.move((await opened(world))[0].retry_at - world.clock.now())
    await turn_breakers(world.deps)
    # As if the answers to the probes were still out: sent, but their ends unknown.
    world.script.says["dot"] = DROP
    world.script.by_recipient = lambda _phase, _to: None
    await world.go_on(6 * HOUR, step=5 * MINUTE)
    assert len(world.script.accepted) == before + PROBES


async def test_a_breaker_of_the_good_name_lets_a_persons_own_replies_pass(world: World) -> None:
    await mailed(world, 1)
    await insert(world.owner, "breaker", breaker_row(world, "complaint", "inbox", world.inboxes[0].id))
    reply = await world.owner.fetchrow("SELECT team_id, lead_id, lead_key, inbox_id FROM send_ledger")
    assert reply is not None
    world.clock.move(HOUR)
    now = world.clock.now()
    own = {"send_id": new_id(), "kind": "reply", "message_id": "<own@acme.test>", "slot_at": now, "not_before": now}
    await insert(world.owner, "send_ledger", dict(reply) | own | {"created_at": now})
    await world.leads("eve")
    await world.plan()
    world.clock.move(10 * MINUTE)
    claimed, _ = await claim_some(world.deps, 10)
    assert [send.kind for send in claimed] == ["reply"]


def breaker_row(world: World, kind: str, scope: str, key: object) -> dict[str, Any]:
    now = world.clock.now()
    return {
        "team_id": world.team.id,
        "kind": kind,
        "scope": scope,
        "scope_key": str(key),
        "state": "open",
        "failures": 3,
        "retry_at": now + 7 * DAY,
        "changed_at": now,
    }


async def test_a_bad_list_stops_its_campaign_and_no_other(six: World) -> None:
    await six.leads(*(f"bad{n}" for n in range(24)))
    bad = await six.campaign()
    six.script.by_recipient = lambda phase, to: NO_SUCH_USER if phase == "rcpt" and to.startswith("bad") else None
    await six.go_on(30 * MINUTE, step=MINUTE)
    assert await six.column("SELECT scope_key FROM breaker WHERE scope = 'campaign' AND state = 'open'") == [
        str(bad.id)
    ]
    assert "reputation inbox open" not in await breakers(six)  # four bounces of four mails each prove nothing yet
    refused = len(six.recipients())
    assert refused <= 10 + 6
    six.list_id = await make_list(six.owner, six.team, name="better people")
    await six.leads("good")
    await six.campaign()
    await six.go_on(2 * HOUR, step=5 * MINUTE)
    assert len(six.script.accepted) == 1
    assert len(six.recipients()) == refused + 1


async def test_the_dialogue_and_its_report_are_one_bounce(world: World) -> None:
    await world.leads("bob")
    await world.campaign()
    world.script.says["rcpt"] = NO_SUCH_USER
    await world.go_on(HOUR)
    (email_id,) = await world.column("SELECT send_id FROM send_ledger")
    report = BounceHard(**await dated(world, email_id), source="dsn", reason="no_such_user")
    await hear(world, report)
    await hear(world, report)
    assert await world.column("SELECT class || ' ' || source FROM refusal") == ["hard smtp"]
    assert await world.column("SELECT failures FROM breaker WHERE scope = 'inbox'") == [1]


async def test_reports_that_come_later_open_it_too(world: World) -> None:
    for email_id in (await mailed(world, 20))[:4]:
        await hear(world, BounceHard(**await dated(world, email_id), source="dsn", reason="no_such_user"))
    assert await breakers(world) == ["reputation campaign open", "reputation inbox open"]
    (event,) = await opened(world)
    assert (event.failures, event.sends, event.limit) == (4, 20, 4)
    assert event.reason.startswith("P(rate > 3%) = 0.9")


async def test_complaints_are_watched_then_halve_then_ask_a_person(world: World) -> None:
    ids = await mailed(world, 4)
    seen: list[tuple[str, int]] = []
    for email_id in ids[:3]:
        complaint = EmailComplained(**await dated(world, email_id), feedback_type="abuse")
        await hear(world, complaint)
        await hear(world, complaint)
        seen += await world.column("SELECT (state, failures) FROM breaker WHERE kind = 'complaint'")
    assert seen == [("closed", 1), ("half-open", 2), ("open", 3)]
    assert [(event.state, event.failures, event.limit) for event in await opened(world)] == [
        ("half-open", 2, 2),
        ("open", 3, 3),
    ]
    world.clock.move(8 * DAY)
    await turn_breakers(world.deps)
    world.list_id = await make_list(world.owner, world.team, name="others")
    await world.leads("eve")
    await world.campaign()
    await world.go_on(DAY, step=HOUR)
    assert len(world.script.accepted) == 4
    held = [event for event in await world.events("lead.held") if isinstance(event, LeadHeld)]
    assert (held[-1].gate, held[-1].value, held[-1].retry_at) == ("circuit", "complaint", None)
    await hear(world, InboxCircuitClosed(inbox_id=world.inboxes[0].id, kind="complaint", by_person=True))
    await world.go_on(2 * HOUR)
    assert len(world.script.accepted) == 5
    assert await world.column("SELECT circuit_state FROM inboxes") == ["closed"]


async def test_two_complaints_halve_what_the_inbox_sends_for_a_week(world: World) -> None:
    await world.owner.execute("UPDATE inbox_settings SET daily_send_limit = 10")
    ids = await mailed(world, 3)
    for email_id in ids[:2]:
        await hear(world, EmailComplained(**await dated(world, email_id), feedback_type="abuse"))
    await world.leads(*(f"next{n}" for n in range(30)))
    await world.campaign()
    await world.go_on(DAY, step=10 * MINUTE)
    days = "SELECT count(*)::int FROM send_ledger WHERE committed_at IS NOT NULL GROUP BY committed_at::date ORDER BY 1"
    assert max(await world.column(days)) == 5
    world.clock.move(7 * DAY)
    await turn_breakers(world.deps)
    assert await breakers(world) == ["complaint inbox closed"]
    assert isinstance((await world.events("inbox.circuit_closed"))[-1], InboxCircuitClosed)


async def test_a_person_closes_a_campaigns_breaker_but_not_one_that_opened_since(world: World) -> None:
    for email_id in (await mailed(world, 20))[:4]:
        await hear(world, BounceHard(**await dated(world, email_id), source="dsn", reason="no_such_user"))
    (key,) = await world.column("SELECT scope_key FROM breaker WHERE scope = 'campaign'")
    closing = CampaignCircuitClosed(campaign_id=UUID(key), kind="reputation", by_person=True)
    await world.owner.execute("UPDATE breaker SET changed_at = changed_at + INTERVAL '1 second'")
    await hear(world, closing)
    assert "reputation campaign open" in await breakers(world)
    world.clock.move(MINUTE)
    await hear(world, closing)
    assert "reputation campaign closed" in await breakers(world)
    assert await world.column("SELECT counted_from FROM breaker WHERE scope = 'campaign'") == [world.clock.now()]


async def test_new_credentials_close_what_the_old_ones_opened(world: World) -> None:
    await world.leads("bob")
    await world.campaign()
    world.script.says["auth"] = "535 5.7.8 bad credentials"
    await world.go_on(3 * MINUTE, step=MINUTE)
    assert await breakers(world) == ["auth inbox open"]
    del world.script.says["auth"]
    await hear(world, InboxConnected(inbox_id=world.inboxes[0].id, provider="smtp"))
    assert await breakers(world) == ["auth inbox closed"]
    await world.go_on(10 * MINUTE, step=MINUTE)
    assert len(world.script.accepted) == 1
