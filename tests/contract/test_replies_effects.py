"""What a stored message does: exactly one outcome, and its events, stops and suppressions in the same transaction."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest

from libs.schema.events.email import BounceHard, BounceSoft, EmailConfirmed
from libs.schema.events.lead import LeadUnsubscribed
from libs.schema.events.reply import ReplyReceived
from libs.schema.ids import lead_key
from libs.schema.runtime import barrier, telemetry
from libs.schema.runtime.db import Connection, transaction
from services.replies.deps import Deps
from services.replies.jobs.sort import MAX_ATTEMPTS, OwnAddresses, sort_inbound, sort_message
from tests.contract.replies_world import (
    Office,
    complaint,
    delivery_report,
    make_office,
    outcome_of,
    replies,
    reply,
    send,
    store,
    told,
)
from tests.support import PEPPER, eventually

NO_OWN: OwnAddresses = frozenset()


@pytest.fixture(autouse=True, scope="module")
def _json_logs() -> None:
    """What a process does; structlog's own way of showing a traceback takes longer than these tests."""
    telemetry.configure("test", log_level="error", otlp_endpoint=None)


@pytest.fixture
async def office(owner: Connection) -> Office:
    return await make_office(owner)


@pytest.fixture
async def deps(database: str) -> AsyncIterator[Deps]:
    async with replies(database) as deps:
        yield deps


async def stops(owner: Connection) -> list[tuple[bytes, str]]:
    rows = await owner.fetch("SELECT lead_key, reason FROM lead_stop ORDER BY reason, lead_key")
    return [(row["lead_key"], row["reason"]) for row in rows]


async def suppressed(owner: Connection) -> dict[str, str]:
    rows = await owner.fetch("SELECT email, reason, value_hash FROM suppression_list")
    assert all(row["value_hash"] == lead_key(PEPPER, row["email"]) for row in rows)
    return {row["email"]: row["reason"] for row in rows}


async def test_a_reply_by_message_id_is_stored_told_and_stops_the_person(
    owner: Connection, deps: Deps, office: Office
) -> None:
    sent = await send(owner, office)
    raw_id = await store(deps.pool, office, reply("Sounds interesting, tell me more.\n\n> A word with you", to=sent))
    assert await sort_inbound(deps)
    name, detail = await outcome_of(owner, raw_id)
    assert (name, detail["match"], detail["intent"]) == ("reply", "in_reply_to", "interested")
    (event,) = await told(owner)
    assert isinstance(event, ReplyReceived)
    assert (event.email_id, event.lead_id, event.intent, event.match_confidence) == (
        sent.id,
        sent.lead.id,
        "interested",
        1.0,
    )
    assert event.step_id == office.campaign.step_ids[0]
    assert event.sent_on is not None
    assert await stops(owner) == [(sent.lead.key, "replied")]
    row = await owner.fetchrow("SELECT * FROM replies")
    assert row is not None
    assert (row["id"], row["raw_id"], row["body_preview"]) == (
        event.reply_id,
        raw_id,
        "Sounds interesting, tell me more.",
    )
    assert await suppressed(owner) == {}


async def test_a_reply_from_another_address_is_matched_by_references_newest_first(
    owner: Connection, deps: Deps, office: Office
) -> None:
    old = await send(owner, office, to="carol@lead.test")
    new = await send(owner, office)
    headers = {"References": f"{old.message_id} {new.message_id} <their-own@lead.test>"}
    await store(deps.pool, office, reply("Who are you?", sender="assistant@lead.test", headers=headers))
    await sort_inbound(deps)
    (event,) = await told(owner)
    assert (event.lead_id, event.match_method, event.intent) == (new.lead.id, "references", "question")


async def test_a_reply_to_the_id_that_the_provider_gave_is_matched(
    owner: Connection, deps: Deps, office: Office
) -> None:
    sent = await send(owner, office, provider_message_id="<0100@email.provider.test>")
    headers = {"In-Reply-To": "<0100@email.provider.test>"}
    await store(deps.pool, office, reply("Interested!", sender="assistant@lead.test", headers=headers))
    await sort_inbound(deps)
    (event,) = await told(owner)
    assert (event.email_id, event.match_method) == (sent.id, "in_reply_to")


async def test_a_reply_without_ids_is_matched_by_its_address_within_sixty_days(
    owner: Connection, deps: Deps, office: Office
) -> None:
    await send(owner, office, at=datetime.now(UTC) - timedelta(days=61), to="late@other.test")
    sent = await send(owner, office)
    late = await store(deps.pool, office, reply("hello", sender="late@other.test", message_id="<l@x>"))
    await store(deps.pool, office, reply("hello", sender="Bob@LEAD.test"))
    await sort_inbound(deps)
    assert (await outcome_of(owner, late))[0] == "unmatched"
    (event,) = await told(owner)
    assert (event.lead_id, event.match_method, event.match_confidence) == (sent.lead.id, "address", 0.85)


async def test_an_opt_out_in_words_suppresses_the_lead_and_whoever_wrote_it(
    owner: Connection, deps: Deps, office: Office
) -> None:
    sent = await send(owner, office)
    await store(deps.pool, office, reply("Please remove me from your list.", to=sent, sender="eve@lead.test"))
    await sort_inbound(deps)
    received, left = await told(owner)
    assert (received.intent, received.TYPE) == ("unsubscribe", "reply.received")
    assert isinstance(left, LeadUnsubscribed)
    assert (left.lead_id, left.method, left.email_id) == (sent.lead.id, "reply", sent.id)
    eve = lead_key(PEPPER, "eve@lead.test")
    assert await stops(owner) == [
        *sorted([(eve, "replied"), (sent.lead.key, "replied")]),
        *sorted([(eve, "unsubscribe"), (sent.lead.key, "unsubscribe")]),
    ]
    assert await suppressed(owner) == {"bob@lead.test": "unsubscribe", "eve@lead.test": "unsubscribe"}


async def test_an_absence_note_is_told_with_its_date_once_a_day_and_stops_nobody(
    owner: Connection, deps: Deps, office: Office
) -> None:
    sent = await send(owner, office)
    back = datetime.now(UTC).date() + timedelta(days=9)
    text = f"I am out of the office until {back:%d %B %Y}. For urgent matters call the front desk."
    automatic = {"Auto-Submitted": "auto-replied", "Subject": "Automatic reply: Hello Bob"}
    first = await store(deps.pool, office, reply(text, to=sent, headers=automatic))
    again = await store(deps.pool, office, reply(text, to=sent, headers=automatic, message_id="<again@lead.test>"))
    await sort_inbound(deps)
    assert (await outcome_of(owner, first))[0] == "out_of_office"
    assert (await outcome_of(owner, again))[1]["repeated"] is True
    (event,) = await told(owner)
    assert (event.intent, event.return_date) == ("out_of_office", back)
    assert await stops(owner) == []


async def test_a_hard_bounce_report_suppresses_and_stops_once(owner: Connection, deps: Deps, office: Office) -> None:
    sent = await send(owner, office)
    first = await store(deps.pool, office, delivery_report(sent))
    again = await store(deps.pool, office, delivery_report(sent, id="dsn-2"))
    await sort_inbound(deps)
    assert (await outcome_of(owner, first))[1]["class"] == "hard"
    assert (await outcome_of(owner, again))[1]["repeated"] is True
    (event,) = await told(owner)
    assert isinstance(event, BounceHard)
    assert (event.email_id, event.source, event.reason, event.smtp_status, event.smtp_code) == (
        sent.id,
        "dsn",
        "user_unknown",
        "5.1.1",
        550,
    )
    assert await stops(owner) == [(sent.lead.key, "hard_bounce")]
    assert await suppressed(owner) == {"bob@lead.test": "hard_bounce"}


@pytest.mark.parametrize(
    ("status", "diagnostic", "kind"),
    [
        ("4.2.2", "smtp; 452 4.2.2 Mailbox full", "bounce.soft"),
        ("5.7.1", "smtp; 550 5.7.1 Message blocked as spam", "bounce.blocked"),
    ],
)
async def test_a_soft_or_policy_bounce_is_told_and_stops_nobody(  # noqa: PLR0917 - three fixtures, three parameters
    owner: Connection, deps: Deps, office: Office, status: str, diagnostic: str, kind: str
) -> None:
    sent = await send(owner, office)
    await store(deps.pool, office, delivery_report(sent, status=status, diagnostic=diagnostic))
    await sort_inbound(deps)
    (event,) = await told(owner)
    assert kind == event.TYPE
    assert await stops(owner) == []
    assert await suppressed(owner) == {}


async def test_no_address_stands_in_a_bounce_event(owner: Connection, deps: Deps, office: Office) -> None:
    sent = await send(owner, office)
    diagnostic = "smtp; 452 4.2.2 <bob@lead.test> Mailbox full for bob@lead.test"
    await store(deps.pool, office, delivery_report(sent, status="4.2.2", diagnostic=diagnostic))
    await sort_inbound(deps)
    (event,) = await told(owner)
    assert isinstance(event, BounceSoft)
    assert event.diagnostic == "452 4.2.2 <address> Mailbox full for <address>"
    assert b"@" not in await owner.fetchval("SELECT body FROM event_log")


async def test_a_forged_report_changes_nothing(owner: Connection, deps: Deps, office: Office) -> None:
    sent = await send(owner, office)
    raw_id = await store(deps.pool, office, delivery_report(sent, message_id="<guessed@acme.test>", mark="guessed"))
    await sort_inbound(deps)
    assert (await outcome_of(owner, raw_id))[0] == "ignored"
    assert await told(owner) == []
    assert await suppressed(owner) == {}


async def test_a_report_is_tied_by_our_mark_where_the_provider_rewrote_the_id(
    owner: Connection, deps: Deps, office: Office
) -> None:
    sent = await send(owner, office)
    await store(deps.pool, office, delivery_report(sent, message_id="<0100@email.provider.test>", mark=sent.token))
    await sort_inbound(deps)
    (event,) = await told(owner)
    assert (event.TYPE, event.email_id) == ("bounce.hard", sent.id)


async def test_a_warning_of_delay_is_no_bounce(owner: Connection, deps: Deps, office: Office) -> None:
    sent = await send(owner, office)
    raw_id = await store(deps.pool, office, delivery_report(sent, status="4.4.1", action="delayed"))
    await sort_inbound(deps)
    assert (await outcome_of(owner, raw_id))[0] == "ignored"
    assert await told(owner) == []


async def test_a_report_of_success_is_evidence_that_it_arrived(owner: Connection, deps: Deps, office: Office) -> None:
    sent = await send(owner, office)
    raw_id = await store(deps.pool, office, delivery_report(sent, status="2.1.5", action="delivered"))
    await sort_inbound(deps)
    assert (await outcome_of(owner, raw_id))[0] == "ignored"
    (event,) = await told(owner)
    assert (event.TYPE, event.email_id, event.evidence) == ("email.confirmed", sent.id, "dsn")


async def test_a_complaint_suppresses_and_stops(owner: Connection, deps: Deps, office: Office) -> None:
    sent = await send(owner, office)
    raw_id = await store(deps.pool, office, complaint(sent))
    await sort_inbound(deps)
    assert (await outcome_of(owner, raw_id))[0] == "complaint"
    (event,) = await told(owner)
    assert (event.TYPE, event.feedback_type) == ("email.complained", "abuse")
    assert await stops(owner) == [(sent.lead.key, "complaint")]
    assert await suppressed(owner) == {"bob@lead.test": "spam_complaint"}


async def test_own_mail_and_mailings_are_left_alone(owner: Connection, deps: Deps, office: Office) -> None:
    own = await store(deps.pool, office, reply("note to self", sender=office.inbox.email))
    bulk = {"Subject": "News of the week", "List-Unsubscribe": "<https://shop.test>"}
    mailing = await store(deps.pool, office, reply("News!", sender="news@shop.test", headers=bulk))
    await sort_inbound(deps)
    assert (await outcome_of(owner, own))[0] == "own"
    assert (await outcome_of(owner, mailing))[0] == "ignored"


async def test_a_copy_in_sent_confirms_only_a_send_whose_end_is_unknown(
    owner: Connection, deps: Deps, office: Office
) -> None:
    known = await send(owner, office)
    unknown = await send(owner, office, to="carol@lead.test", state="unknown")
    copies = [
        await store(deps.pool, office, f"Message-ID: {each.message_id}\r\n\r\n".encode(), folder="Sent")
        for each in (known, unknown, unknown)
    ]
    await sort_inbound(deps)
    (event,) = await told(owner)
    assert isinstance(event, EmailConfirmed)
    assert (event.email_id, event.provider_message_id) == (unknown.id, None)
    assert [(await outcome_of(owner, each))[0] for each in copies] == ["sent_copy"] * 3


async def test_a_copy_in_sent_tells_the_id_that_the_provider_gave(
    owner: Connection, deps: Deps, office: Office
) -> None:
    sent = await send(owner, office)
    copy = f"Message-ID: <0100@email.provider.test>\r\nX-Coldstream-Ref: {sent.token}\r\n\r\n".encode()
    await store(deps.pool, office, copy, folder="Sent")
    await sort_inbound(deps)
    (event,) = await told(owner)
    assert event.provider_message_id == "<0100@email.provider.test>"


async def test_a_copy_in_sent_waits_until_the_send_has_ended(owner: Connection, deps: Deps, office: Office) -> None:
    sent = await send(owner, office, state="in_data")
    await store(deps.pool, office, f"Message-ID: {sent.message_id}\r\n\r\n".encode(), folder="Sent")
    assert not await sort_inbound(deps)
    await owner.execute("UPDATE send_ledger SET state = 'unknown'")
    assert await sort_inbound(deps)
    (event,) = await told(owner)
    assert event.TYPE == "email.confirmed"


async def test_the_same_message_in_two_folders_is_told_once(owner: Connection, deps: Deps, office: Office) -> None:
    sent = await send(owner, office)
    await store(deps.pool, office, reply("Not interested", to=sent))
    await store(deps.pool, office, reply("Not interested", to=sent), folder="Junk")
    await sort_inbound(deps)
    assert len(await told(owner)) == 1
    assert len(await stops(owner)) == 1


async def test_a_stop_waits_for_the_send_that_passes_its_point_of_no_return(
    owner: Connection, deps: Deps, office: Office
) -> None:
    sent = await send(owner, office)
    raw_id = await store(deps.pool, office, reply("No thanks", to=sent))
    async with transaction(deps.pool) as sender:
        await barrier.enter(sender, office.team.id, sent.lead.key, office.campaign.id)
        sorting = asyncio.create_task(sort_message(deps, raw_id, NO_OWN))
        waits = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
        await eventually(lambda: owner.fetchval(waits))
        assert await stops(owner) == []
    assert await sorting
    assert await stops(owner) == [(sent.lead.key, "replied")]


async def test_two_processes_give_one_message_one_outcome(owner: Connection, deps: Deps, office: Office) -> None:
    sent = await send(owner, office)
    raw_id = await store(deps.pool, office, reply("Interested!", to=sent))
    done = await asyncio.gather(*(sort_message(deps, raw_id, NO_OWN) for _ in range(5)))
    assert sum(done) == 1
    assert len(await told(owner)) == 1


async def test_a_message_that_breaks_us_three_times_is_unreadable_and_kept(
    owner: Connection, deps: Deps, office: Office
) -> None:
    sent = await send(owner, office)
    raw_id = await store(deps.pool, office, reply("Interested!", to=sent))
    # A database that refuses the row, as a fault of ours in writing it would.
    await owner.execute("ALTER TABLE replies ADD CHECK (false) NOT VALID")
    for _ in range(MAX_ATTEMPTS):
        assert await sort_inbound(deps)
    assert (await outcome_of(owner, raw_id))[0] == "unreadable"
    assert await owner.fetchval("SELECT length(raw) > 0 FROM inbound_raw")
    assert await told(owner) == []
    assert await stops(owner) == []
