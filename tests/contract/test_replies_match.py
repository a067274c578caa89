"""Whose answer a message is, by all seven ways and by a person's word, and what is kept of the answers of nobody."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from prometheus_client import REGISTRY

from libs.schema.ids import lead_key
from libs.schema.runtime.db import Connection
from services.replies.deps import Deps
from services.replies.jobs.sort import sort_inbound
from tests.contract.replies_world import (
    Office,
    Sent,
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
from tests.support import PEPPER, make_campaign, make_inbox, make_lead

ALIAS = "b.smith@private.test"
STRANGER = "carol@stranger.test"


@pytest.fixture
async def office(owner: Connection) -> Office:
    return await make_office(owner)


@pytest.fixture
async def deps(database: str) -> AsyncIterator[Deps]:
    async with replies(database) as deps:
        yield deps


async def another_mailbox(owner: Connection, office: Office) -> Office:
    """The same team's and campaign's second mailbox."""
    return msgspec.structs.replace(office, inbox=await make_inbox(owner, office.team, email="sue@acme.test"))


async def stopped(owner: Connection) -> set[tuple[bytes, str]]:
    return {(row["lead_key"], row["reason"]) for row in await owner.fetch("SELECT lead_key, reason FROM lead_stop")}


async def suppressed(owner: Connection) -> set[str]:
    return {row["email"] for row in await owner.fetch("SELECT email FROM suppression_list")}


def key(address: str) -> bytes:
    return lead_key(PEPPER, address)


def answers(*ids: str) -> dict[str, str]:
    """Header fields of a message that answers these ids and no others."""
    return {"In-Reply-To": ids[-1], "References": " ".join(ids), "Subject": "Something else"}


def ignored(why: str) -> float:
    return REGISTRY.get_sample_value("coldstream_replies_ignored_total", {"why": why}) or 0.0


async def test_an_answer_that_names_only_the_leads_former_mail_is_in_its_thread(
    owner: Connection, deps: Deps, office: Office
) -> None:
    sent = await send(owner, office)
    await store(deps.pool, office, reply("Who are you?", to=sent, sender=ALIAS, message_id="<first@private.test>"))
    second = reply("And what do you want?", sender=ALIAS, headers=answers("<first@private.test>"))
    await store(deps.pool, office, second)
    await sort_inbound(deps)
    first, again = await told(owner)
    assert (first.match_method, first.is_alias) == ("in_reply_to", True)
    assert (again.match_method, again.match_confidence, again.email_id) == ("thread", 0.97, sent.id)
    threads = await owner.fetch("SELECT DISTINCT thread_id FROM replies")
    assert [row["thread_id"] for row in threads] == [sent.message_id]


async def test_what_came_before_the_message_that_it_answers_is_sorted_again(
    owner: Connection, deps: Deps, office: Office
) -> None:
    sent = await send(owner, office)
    second = reply("And what do you want?", sender=ALIAS, headers=answers("<first@private.test>"))
    raw_id = await store(deps.pool, office, second)
    await sort_inbound(deps)
    assert (await outcome_of(owner, raw_id))[0] == "unmatched"
    await store(deps.pool, office, reply("Who are you?", to=sent, sender=ALIAS, message_id="<first@private.test>"))
    while await sort_inbound(deps):
        pass
    assert (await outcome_of(owner, raw_id))[0] == "reply"
    assert [event.match_method for event in await told(owner)] == ["in_reply_to", "thread"]


@pytest.mark.parametrize("field", ["To", "Delivered-To"])
async def test_an_answer_to_the_address_with_our_token_is_matched(
    owner: Connection, deps: Deps, office: Office, field: str
) -> None:
    sent = await send(owner, office)
    headers = {"Subject": "Something else", field: f"ann+{sent.token}@acme.test"}
    await store(deps.pool, office, reply("Interested!", sender=ALIAS, headers=headers))
    await sort_inbound(deps)
    (event,) = await told(owner)
    assert (event.match_method, event.match_confidence, event.email_id) == ("token", 0.97, sent.id)


async def test_a_guessed_token_matches_nothing(owner: Connection, deps: Deps, office: Office) -> None:
    await send(owner, office)
    headers = {"Subject": "Something else", "To": f"ann+{'a' * 26}@acme.test"}
    raw_id = await store(deps.pool, office, reply("Interested!", sender=STRANGER, headers=headers))
    await sort_inbound(deps)
    assert (await outcome_of(owner, raw_id))[0] == "unmatched"
    assert await told(owner) == []


async def test_a_lead_who_writes_to_another_mailbox_of_the_team_is_known_there(
    owner: Connection, deps: Deps, office: Office
) -> None:
    sent = await send(owner, office)
    other = await another_mailbox(owner, office)
    await store(deps.pool, other, reply("Interested!", headers={"Subject": "Something else"}))
    await sort_inbound(deps)
    (event,) = await told(owner)
    assert (event.match_method, event.match_confidence) == ("address_other_inbox", 0.75)
    assert (event.email_id, event.inbox_id, event.is_alias) == (sent.id, other.inbox.id, False)


async def test_a_colleague_under_our_subject_stops_the_sequence_and_asks_for_a_look(
    owner: Connection, deps: Deps, office: Office
) -> None:
    sent = await send(owner, office)
    await store(
        deps.pool, office, reply("Bob passed this on.", sender="eve@lead.test", headers={"Subject": "WG: hello bob"})
    )
    await sort_inbound(deps)
    (event,) = await told(owner)
    assert (event.match_method, event.match_confidence, event.lead_id) == ("colleague", 0.60, sent.lead.id)
    assert (event.needs_review, event.is_alias) == (True, True)
    assert await stopped(owner) == {(sent.lead.key, "replied"), (key("eve@lead.test"), "replied")}
    row = await owner.fetchrow("SELECT from_email, is_alias, needs_review FROM replies")
    assert row is not None
    assert tuple(row) == ("eve@lead.test", True, True)


@pytest.mark.parametrize(
    ("lead", "sender", "subject", "days"),
    [
        ("bob@gmail.com", "eve@gmail.com", "Re: Hello Bob", 1),  # no house
        ("bob@lead.test", "eve@other.test", "Re: Hello Bob", 1),  # another house
        ("bob@lead.test", "eve@lead.test", "Hello Ann", 1),  # another subject
        ("bob@lead.test", "eve@lead.test", "Re: Hello Bob", 31),  # too long ago
    ],
)
async def test_nobody_is_taken_for_a_colleague_without_house_subject_and_time(  # noqa: PLR0917 - the three, and the world
    owner: Connection, deps: Deps, office: Office, lead: str, sender: str, subject: str, days: int
) -> None:
    await send(owner, office, to=lead, at=datetime.now(UTC) - timedelta(days=days))
    raw_id = await store(deps.pool, office, reply("Hello", sender=sender, headers={"Subject": subject}))
    await sort_inbound(deps)
    assert (await outcome_of(owner, raw_id))[0] == "unmatched"
    assert await stopped(owner) == set()


async def test_of_several_sequences_the_newest_mail_is_answered_and_all_are_stopped(
    owner: Connection, deps: Deps, office: Office
) -> None:
    old = await send(owner, office, at=datetime.now(UTC) - timedelta(days=2))
    campaign = await make_campaign(owner, office.team, inboxes=[office.inbox], list_id=office.list_id)
    second = msgspec.structs.replace(office, campaign=campaign)
    new = await send(owner, second, to=old.lead)
    await store(deps.pool, office, reply("No thanks", headers={"Subject": "Something else"}))
    await sort_inbound(deps)
    (event,) = await told(owner)
    assert (event.email_id, event.campaign_id) == (new.id, campaign.id)
    rows = await owner.fetch("SELECT lead_key, campaign_id, reason FROM lead_stop")
    assert [tuple(row) for row in rows] == [(old.lead.key, None, "replied")]


async def test_an_unmatched_message_is_kept_with_what_a_person_needs_to_assign_it(
    owner: Connection, deps: Deps, office: Office
) -> None:
    sent = await send(owner, office)
    raw = reply("Bob left, I take over. What does it cost?", sender="eve@lead.test", headers={"Subject": "Your offer"})
    raw_id = await store(deps.pool, office, raw)
    await sort_inbound(deps)
    name, detail = await outcome_of(owner, raw_id)
    assert name == "unmatched"
    assert detail["candidates"] == [str(sent.lead.id)]
    assert (detail["from"], detail["from_name"], detail["subject"]) == ("eve@lead.test", "Bob", "Your offer")
    assert detail["preview"] == "Bob left, I take over. What does it cost?"
    assert detail["intent"]
    assert 0 < detail["confidence"] <= 1
    assert await told(owner) == []
    assert await stopped(owner) == set()


async def test_a_stranger_who_opts_out_is_left_alone_at_once(owner: Connection, deps: Deps, office: Office) -> None:
    raw_id = await store(deps.pool, office, reply("Please unsubscribe me", sender=STRANGER))
    await sort_inbound(deps)
    assert (await outcome_of(owner, raw_id))[1]["intent"] == "unsubscribe"
    assert await suppressed(owner) == {STRANGER}
    assert await told(owner) == []  # there is nobody whom an event could name


async def test_a_lead_who_opts_out_long_after_our_mail_is_stopped_and_told(
    owner: Connection, deps: Deps, office: Office
) -> None:
    lead = await make_lead(owner, office.team, email=STRANGER, list_id=office.list_id)
    raw_id = await store(deps.pool, office, reply("Please unsubscribe me", sender=STRANGER), folder="Junk")
    await sort_inbound(deps)
    (event,) = await told(owner)
    assert (event.TYPE, event.lead_id, event.method) == ("lead.unsubscribed", lead.id, "reply")
    assert await stopped(owner) == {(lead.key, "unsubscribe")}
    assert await suppressed(owner) == {STRANGER}
    assert (await outcome_of(owner, raw_id))[0] == "ignored"  # nobody wants to assign junk


async def test_a_message_to_two_mailboxes_of_the_team_counts_once(
    owner: Connection, deps: Deps, office: Office
) -> None:
    sent = await send(owner, office)
    other = await another_mailbox(owner, office)
    first = await store(deps.pool, office, reply("Not interested", to=sent))
    copy = await store(deps.pool, other, reply("Not interested", to=sent))
    strange = await store(deps.pool, office, reply("Hello", sender=STRANGER, message_id="<x@stranger.test>"))
    strange_copy = await store(deps.pool, other, reply("Hello", sender=STRANGER, message_id="<x@stranger.test>"))
    before = ignored("copy")
    await sort_inbound(deps)
    assert len(await told(owner)) == 1
    _, detail = await outcome_of(owner, first)
    name, of_copy = await outcome_of(owner, copy)
    assert (name, of_copy["reply_id"]) == ("ignored", detail["reply_id"])
    assert (await outcome_of(owner, strange))[0] == "unmatched"
    name, of_copy = await outcome_of(owner, strange_copy)
    assert (name, of_copy["raw_id"]) == ("ignored", str(strange))
    assert ignored("copy") == before + 2


async def test_a_colleagues_mail_that_a_second_mailbox_saw_first_counts_once(
    owner: Connection, deps: Deps, office: Office
) -> None:
    await send(owner, office)
    other = await another_mailbox(owner, office)
    copy = await store(deps.pool, other, reply("Bob passed this on.", sender="eve@lead.test"))
    await sort_inbound(deps)
    assert (await outcome_of(owner, copy))[0] == "unmatched"
    await store(deps.pool, office, reply("Bob passed this on.", sender="eve@lead.test"))
    while await sort_inbound(deps):
        pass
    assert (await outcome_of(owner, copy))[0] == "ignored"
    assert [event.match_method for event in await told(owner)] == ["colleague"]


async def test_a_note_that_somebody_has_left_stops_them_and_names_who_came_after(
    owner: Connection, deps: Deps, office: Office
) -> None:
    sent = await send(owner, office)
    ticket = {"Auto-Submitted": "auto-replied", "Subject": "We have got your message"}
    await store(deps.pool, office, reply("Ticket 4711 was opened.", to=sent, headers=ticket, message_id="<t@x>"))
    left = {"Auto-Submitted": "auto-replied", "Subject": "Automatic reply: Hello Bob"}
    text = "Bob no longer works for our company. Please write to eve@lead.test instead."
    await store(deps.pool, office, reply(text, to=sent, headers=left))
    await sort_inbound(deps)
    _, event = await told(owner)
    assert (event.intent, event.left_company) == ("auto_reply", True)
    assert await stopped(owner) == {(sent.lead.key, "left_company")}
    assert await suppressed(owner) == set()
    assert await owner.fetchval("SELECT replacement FROM replies WHERE left_company") == "eve@lead.test"


async def test_the_end_of_a_copy_in_sent_is_told_beside_a_report_of_arrival(
    owner: Connection, deps: Deps, office: Office
) -> None:
    sent = await send(owner, office)
    await store(deps.pool, office, delivery_report(sent, status="2.1.5", action="delivered"))
    copy = f"Message-ID: <0100@email.provider.test>\r\nX-Coldstream-Ref: {sent.token}\r\n\r\n".encode()
    await store(deps.pool, office, copy, folder="Sent")
    await sort_inbound(deps)
    assert sorted((event.evidence, event.provider_message_id) for event in await told(owner)) == [
        ("dsn", None),
        ("sent_folder", "<0100@email.provider.test>"),
    ]


async def test_a_report_about_an_answer_to_a_colleague_is_the_colleagues(
    owner: Connection, deps: Deps, office: Office
) -> None:
    sent = await send(owner, office, kind="reply", lead_key=key("eve@lead.test"))
    await owner.execute("UPDATE emails SET to_email = 'eve@lead.test'")
    await store(deps.pool, office, delivery_report(sent))
    await sort_inbound(deps)
    (event,) = await told(owner)
    assert (event.TYPE, event.email_id, event.lead_id) == ("bounce.hard", sent.id, None)
    assert await stopped(owner) == {(key("eve@lead.test"), "hard_bounce")}
    assert await suppressed(owner) == {"eve@lead.test"}


async def test_what_a_colleague_answers_to_us_stops_them_and_the_lead(
    owner: Connection, deps: Deps, office: Office
) -> None:
    sent = await send(owner, office, kind="reply", lead_key=key("eve@lead.test"))
    await owner.execute("UPDATE emails SET to_email = 'eve@lead.test'")
    await store(deps.pool, office, reply("Please unsubscribe us", to=sent, sender="eve@lead.test"))
    await sort_inbound(deps)
    received, left = await told(owner)
    assert (received.lead_id, received.is_alias, left.lead_id) == (sent.lead.id, True, sent.lead.id)
    people = {sent.lead.key, key("eve@lead.test")}
    assert await stopped(owner) == {(each, why) for each in people for why in ("replied", "unsubscribe")}
    assert await suppressed(owner) == {"bob@lead.test", "eve@lead.test"}


def forged(sent: Sent) -> Sent:
    """The email as somebody knows it who has not got it: all but its id and mark."""
    return msgspec.structs.replace(sent, message_id="<guessed@acme.test>", token="a" * 26)


@pytest.mark.parametrize(
    ("kind", "outcome", "why"),
    [
        ("bounce", "ignored", "foreign_report"),
        ("complaint", "ignored", "foreign_report"),
        ("note", "ignored", "foreign_automatic"),
        ("reply", "unmatched", None),
        ("copy", "ignored", "foreign_copy"),
    ],
)
async def test_what_is_forged_changes_nothing_and_is_counted(  # noqa: PLR0917 - the case, and the world
    owner: Connection, deps: Deps, office: Office, kind: str, outcome: str, why: str | None
) -> None:
    guess = forged(await send(owner, office))
    raw = {
        "bounce": delivery_report(guess, mark=guess.token),
        "complaint": complaint(guess),
        "note": reply("Away until Monday.", to=guess, sender=STRANGER, headers={"Auto-Submitted": "auto-replied"}),
        "reply": reply("No thanks", to=guess, sender=STRANGER),
        "copy": f"Message-ID: {guess.message_id}\r\nX-Coldstream-Ref: {guess.token}\r\n\r\n".encode(),
    }[kind]
    before = ignored(why) if why else 0
    raw_id = await store(deps.pool, office, raw, folder="Sent" if kind == "copy" else "INBOX")
    await sort_inbound(deps)
    assert (await outcome_of(owner, raw_id))[0] == outcome
    assert await told(owner) == []
    assert await stopped(owner) == set()
    assert await suppressed(owner) == set()
    if why:
        assert ignored(why) == before + 1
