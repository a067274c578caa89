"""The sandbox's rules: who behaves how, what they write, and IMAP's way of writing."""

import email
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage, Message
from email.policy import SMTP
from typing import cast
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.local.sandbox.answers import compose, is_automatic, thread_of
from deploy.local.sandbox.imap_syntax import (
    Candidate,
    Largest,
    SyntaxProblem,
    internal_date,
    number_set,
    parse_date_time,
    quoted,
    search,
    tokens,
)
from deploy.local.sandbox.log import Outcome, duplicates
from deploy.local.sandbox.recipients import SHORTEST_DELAY, Behaviour, behaviour_of, delay_of
from deploy.local.sandbox.store import Stored, to_us

NOW = datetime(2026, 3, 2, 8, 0, tzinfo=UTC)
DAY = timedelta(days=1)


def campaign_mail(**headers: str) -> bytes:
    message = EmailMessage(policy=SMTP)
    fields = {
        "From": "Ann Ackermann <ann@acme.test>",
        "To": "interested.mary7@lead.test",
        "Subject": "A question",
        "Date": "Mon, 02 Mar 2026 07:55:00 +0000",
        "Message-ID": "<first@acme.test>",
    }
    for name, value in (fields | {name.replace("_", "-"): value for name, value in headers.items()}).items():
        message[name] = value
    message.set_content("Hello Mary,\n\nmay I ask you something?\n\nAnn")
    return message.as_bytes()


def answer(behaviour: Behaviour, raw: bytes, recipient: str = "interested.mary7@lead.test") -> tuple[str, EmailMessage]:
    target, answered = compose(behaviour, raw, sender="bounces@acme.test", recipient=recipient, now=NOW)
    return target, email.message_from_bytes(answered, policy=SMTP)


@pytest.mark.parametrize(
    ("address", "behaviour"),
    [
        ("interested@x.test", Behaviour.INTERESTED),
        ("Interested.Mary@x.test", Behaviour.INTERESTED),
        ("interested7@x.test", Behaviour.INTERESTED),
        ("interested+tag@x.test", Behaviour.INTERESTED),
        ("not-interested.bob@x.test", Behaviour.NOT_INTERESTED),
        ("notinterested2@x.test", Behaviour.NOT_INTERESTED),
        ("hardbounce9@x.test", Behaviour.HARD_BOUNCE),
        ("bounce@x.test", Behaviour.HARD_BOUNCE),
        ("bouncer@x.test", Behaviour.SILENT),
        ("mary.interested@x.test", Behaviour.SILENT),
        ("7interested@x.test", Behaviour.SILENT),
        ("@x.test", Behaviour.SILENT),
    ],
)
def test_the_first_word_of_an_address_is_how_its_owner_behaves(address: str, behaviour: Behaviour) -> None:
    assert behaviour_of(address) is behaviour


@given(st.emails())
def test_a_delay_is_within_its_bounds_and_always_the_same(address: str) -> None:
    delay = delay_of(address, DAY)
    assert SHORTEST_DELAY <= delay <= DAY
    assert delay == delay_of(address.upper().lower(), DAY)
    assert delay_of(address, timedelta(0)) == timedelta(0)


@pytest.mark.parametrize("behaviour", [Behaviour.INTERESTED, Behaviour.NOT_INTERESTED, Behaviour.UNSUBSCRIBE])
def test_a_reply_stays_in_its_thread(behaviour: Behaviour) -> None:
    raw = campaign_mail(Message_ID="<second@acme.test>", References="<first@acme.test>", Subject="Re: A question")
    target, reply = answer(behaviour, raw)
    assert target == "ann@acme.test"
    assert reply["In-Reply-To"] == "<second@acme.test>"
    assert reply["References"].split() == ["<first@acme.test>", "<second@acme.test>"]
    assert reply["Subject"] == "Re: A question"
    assert reply["Date"].datetime == NOW
    assert reply["From"].addresses[0].addr_spec == "interested.mary7@lead.test"
    assert "may I ask you something?" in reply.get_content()
    assert not is_automatic(reply.as_bytes())


def test_people_word_their_replies_differently() -> None:
    raw = campaign_mail()
    people = [f"interested.p{n}@lead.test" for n in range(40)]
    replies = [answer(Behaviour.INTERESTED, raw, person)[1].get_content() for person in people]
    assert len({reply.partition("\n")[0].strip() for reply in replies}) > 2
    assert len({"Original Message" in reply for reply in replies}) == 2


def test_an_absence_is_told_to_the_envelope_sender_as_an_automatic_reply() -> None:
    target, reply = answer(Behaviour.OUT_OF_OFFICE, campaign_mail())
    assert target == "bounces@acme.test"
    assert reply["Auto-Submitted"] == "auto-replied"
    assert "2026" in reply.get_content()
    assert is_automatic(reply.as_bytes())


def test_a_late_bounce_is_a_delivery_report_with_the_returned_headers() -> None:
    target, report = answer(Behaviour.DSN, campaign_mail(), "dsn.joe@lead.test")
    assert target == "bounces@acme.test"
    assert report.get_content_type() == "multipart/report"
    assert report.get_param("report-type") == "delivery-status"
    text, status, returned = report.iter_parts()
    assert "could not be delivered" in text.get_content()
    recipient = cast("list[Message]", status.get_payload())[1]
    assert recipient["Action"] == "failed"
    assert recipient["Status"] == "5.1.1"
    assert recipient["Final-Recipient"] == "rfc822;dsn.joe@lead.test"
    assert "Message-ID: <first@acme.test>" in returned.get_content()


def test_a_thread_is_named_by_its_first_message() -> None:
    assert thread_of(campaign_mail()) == "<first@acme.test>"
    assert thread_of(campaign_mail(Message_ID="<3@x>", References="<1@x> <2@x>")) == "<1@x>"


def test_what_was_stored_twice_is_a_duplicate_and_what_was_refused_is_not() -> None:
    def outcome(transaction: int, message_id: str, *, accepted: bool = True) -> Outcome:
        return Outcome(
            time=NOW,
            transaction=UUID(int=transaction),
            inbox="ann@acme.test",
            recipient="bob@lead.test",
            message_id=message_id,
            code=250 if accepted else 451,
            accepted=accepted,
        )

    assert (
        duplicates([outcome(1, "<a>"), outcome(1, "<a>"), outcome(2, "<b>", accepted=False), outcome(3, "<b>")]) == {}
    )
    assert duplicates([outcome(1, "<a>"), outcome(2, "<a>"), outcome(3, "<a>"), outcome(4, "<b>")]) == {"<a>": 2}


def test_a_command_falls_into_its_tokens() -> None:
    assert tokens(b'1:* (FLAGS BODY.PEEK[HEADER.FIELDS (From "To")]<0.10>) "a \\"b\\"" {3}\r\n(x) end') == [
        b"1:*",
        [b"FLAGS", b'BODY.PEEK[HEADER.FIELDS (From "To")]<0.10>'],
        b'a "b"',
        b"(x)",
        b"end",
    ]


@pytest.mark.parametrize("text", [b"(a", b"a)", b'"a', b"[a"])
def test_a_broken_command_is_refused(text: bytes) -> None:
    with pytest.raises(SyntaxProblem):
        tokens(text)


@given(st.text(st.characters(codec="ascii", exclude_categories=["Cc"])))
def test_a_quoted_string_comes_back_as_it_was(text: str) -> None:
    assert tokens(quoted(text).encode()) == [text.encode()]


def test_a_set_of_numbers_knows_its_members() -> None:
    members = number_set(b"2,4:5,9:*", 10)
    assert [number for number in range(1, 12) if members(number)] == [2, 4, 5, 9, 10]
    beyond = number_set(b"50:*", 10)
    assert beyond(10)  # RFC 3501 §6.4.8: * is the largest, whatever stands before it
    for wrong in (b"0", b"a", b"1:2:3", b"", b"1,", b"-1"):
        with pytest.raises(SyntaxProblem):
            number_set(wrong, 10)


@given(st.datetimes(min_value=datetime(1990, 1, 1), max_value=datetime(2100, 1, 1), timezones=st.just(UTC)))  # noqa: DTZ001
def test_an_internal_date_comes_back_to_the_second(at: datetime) -> None:
    assert parse_date_time(internal_date(at).strip('"').encode()) == at.replace(microsecond=0)


@pytest.mark.parametrize(
    ("keys", "found"),
    [
        (b"ALL", True),
        (b"UID 7", True),
        (b"UID 8:9", False),
        (b'HEADER Message-ID "<first@acme.test>"', True),
        (b'HEADER Message-ID "<FIRST@"', True),
        (b'HEADER Message-ID "<second@"', False),
        (b"SINCE 2-Mar-2026", True),
        (b"SINCE 3-Mar-2026", False),
        (b"BEFORE 3-Mar-2026", True),
        (b"ON 02-Mar-2026 UNSEEN", False),
        (b"OR SEEN FLAGGED", True),
        (b"NOT (SEEN FROM ann)", False),
        (b"3 SUBJECT question", True),
        (b"4", False),
    ],
)
def test_a_search_finds_what_it_asks_for(keys: bytes, found: bool) -> None:  # noqa: FBT001 - a table's column
    raw = campaign_mail()
    stored = Stored(uid=7, arrived_us=to_us(NOW), flag_words="\\Seen", size=len(raw))
    matches = search(tokens(keys), Largest(7, 3))
    assert matches(Candidate(number=3, stored=stored, raw=lambda: raw)) is found


@pytest.mark.parametrize("keys", [b"FROB", b"UID", b"NOT", b"SINCE yesterday", b"HEADER X"])
def test_a_search_that_makes_no_sense_is_refused(keys: bytes) -> None:
    with pytest.raises(SyntaxProblem):
        search(tokens(keys), Largest(7, 3))
