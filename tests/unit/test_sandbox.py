"""The sandbox's rules: who behaves how, what they write, and IMAP's way of writing."""

import email
import re
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage, Message
from email.policy import SMTP
from typing import cast
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.local.sandbox import recipients
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
from deploy.local.sandbox.recipients import (
    LANGUAGES,
    SHORTEST_DELAY,
    Behaviour,
    behaviour_of,
    delay_of,
    language_of,
    refusal_of,
)
from deploy.local.sandbox.store import Stored, to_us
from deploy.local.sandbox.wordings import ABROAD, LEFT_COMPANY, MACHINE_THANKS, OUT_OF_OFFICE, REPLIES
from services.replies.rules.inspection import inspect, read

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
        ("421@x.test", Behaviour.CLOSED),
        ("421.Amy3@x.test", Behaviour.CLOSED),
        ("4217@x.test", Behaviour.SILENT),
        ("policydot.amy@x.test", Behaviour.POLICY_AT_DOT),
        ("policydotty@x.test", Behaviour.SILENT),
        ("interested-ja.ken@x.test", Behaviour.INTERESTED),
        ("unsubscribe-de@x.test", Behaviour.UNSUBSCRIBE),
        ("interested-nl@x.test", Behaviour.SILENT),
        ("question-de@x.test", Behaviour.SILENT),
        ("bouncer@x.test", Behaviour.SILENT),
        ("mary.interested@x.test", Behaviour.SILENT),
        ("7interested@x.test", Behaviour.SILENT),
        ("@x.test", Behaviour.SILENT),
    ],
)
def test_the_first_word_of_an_address_is_how_its_owner_behaves(address: str, behaviour: Behaviour) -> None:
    assert behaviour_of(address) is behaviour


def test_every_word_of_the_table_is_known_and_every_known_word_is_in_it() -> None:
    named = set(re.findall(r"^\| ([\w-]+) +\|", recipients.__doc__ or "", re.MULTILINE))
    also = set(re.findall(r"also (\w+)", recipients.__doc__ or ""))
    assert {word for word in named | also if behaviour_of(f"{word}@x.test") is not Behaviour.SILENT} == named | also
    assert {behaviour_of(f"{word}@x.test") for word in named} == set(Behaviour) - {Behaviour.SILENT}


@pytest.mark.parametrize(
    ("behaviour", "minutes", "answer"),
    [
        (Behaviour.SILENT, 0, None),
        (Behaviour.HARD_BOUNCE, 0, "550 5.1.1 "),
        (Behaviour.POLICY, 0, "550 5.7.1 "),
        (Behaviour.GREYLIST, 4, "451 4.7.1 "),
        (Behaviour.GREYLIST, 5, None),
        (Behaviour.CLOSED, 9, "421 4.3.2 "),
        (Behaviour.CLOSED, 10, None),
        (Behaviour.MAILBOX_FULL, 29, "452 4.2.2 "),
        (Behaviour.MAILBOX_FULL, 30, "552 5.2.2 "),
    ],
)
def test_a_recipient_is_refused_as_the_table_says(behaviour: Behaviour, minutes: int, answer: str | None) -> None:
    refusal = refusal_of(behaviour, timedelta(minutes=minutes))
    assert (refusal and refusal[:10]) == answer


@given(st.emails())
def test_a_delay_is_within_its_bounds_and_always_the_same(address: str) -> None:
    delay = delay_of(address, DAY)
    assert SHORTEST_DELAY <= delay <= DAY
    assert delay == delay_of(address.upper().lower(), DAY)
    assert delay_of(address, timedelta(0)) == timedelta(0)


@pytest.mark.parametrize("behaviour", set(REPLIES) - {Behaviour.COLLEAGUE, Behaviour.ALIAS})
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


@pytest.mark.parametrize(
    ("recipient", "writer"),
    [("alias.mary7@lead.test", "mary7@home.test"), ("colleague.mary7@lead.test", "mary7.robin@lead.test")],
)
def test_somebody_else_and_a_second_address_answer_under_the_same_subject(recipient: str, writer: str) -> None:
    _, reply = answer(behaviour_of(recipient), campaign_mail(), recipient)
    assert reply["From"].addresses[0].addr_spec == writer
    assert reply["Subject"] == "Re: A question"
    assert behaviour_of(writer) is Behaviour.SILENT
    with_ids = behaviour_of(recipient) is Behaviour.ALIAS
    assert (reply["In-Reply-To"] is not None, reply["References"] is not None) == (with_ids, with_ids)


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


@pytest.mark.parametrize(
    ("behaviour", "intent"),
    [
        (Behaviour.MEETING, "meeting_request"),
        (Behaviour.QUESTION, "question"),
        (Behaviour.NOT_INTERESTED, "not_interested"),
        (Behaviour.UNSUBSCRIBE, "unsubscribe"),
        (Behaviour.OUT_OF_OFFICE, "out_of_office"),
        (Behaviour.AUTO_REPLY, "auto_reply"),
        (Behaviour.LEFT_COMPANY, "auto_reply"),
        (Behaviour.COLLEAGUE, "interested"),
        (Behaviour.ALIAS, "interested"),
    ],
)
def test_every_wording_is_read_as_what_it_is_meant(behaviour: Behaviour, intent: str) -> None:
    answers = [answer(behaviour, campaign_mail(), f"someone.p{n}@lead.test")[1] for n in range(60)]
    notes = {
        Behaviour.AUTO_REPLY: MACHINE_THANKS,
        Behaviour.OUT_OF_OFFICE: OUT_OF_OFFICE,
        Behaviour.LEFT_COMPANY: LEFT_COMPANY,
    }
    wordings = REPLIES.get(behaviour) or notes[behaviour]
    said = [each.get_content().replace("\r\n", "\n") for each in answers]
    assert all(any(each.startswith(wording.partition("{")[0]) for each in said) for wording in wordings)
    inspected = [inspect(each.as_bytes()) for each in answers]
    assert {each.intent for each in inspected} == {intent}
    assert {each.left_company for each in inspected} == {behaviour is Behaviour.LEFT_COMPANY}


@pytest.mark.parametrize(("behaviour", "language"), ABROAD)
def test_every_wording_abroad_is_read_as_what_it_is_meant(behaviour: Behaviour, language: str) -> None:
    word = behaviour.name.lower().replace("_", "-")
    people = [f"{word}-{language}.p{n}@lead.test" for n in range(20)]
    assert {language_of(person) for person in people} == {language}
    answers = [answer(behaviour_of(person), campaign_mail(), person)[1] for person in people]
    said = [each.get_content().replace("\r\n", "\n") for each in answers]
    assert all(
        any(each.startswith(wording.partition("{")[0]) for each in said) for wording in ABROAD[behaviour, language]
    )
    intent = "unsubscribe" if behaviour is Behaviour.UNSUBSCRIBE else behaviour.name.lower()
    assert {inspect(each.as_bytes()).intent for each in answers} == {intent}


def test_nobody_speaks_a_language_that_no_wording_has() -> None:
    assert {language for _, language in ABROAD} == set(LANGUAGES)
    assert language_of("interested.mary@lead.test") == language_of("silent-de@lead.test") == "en"


def test_a_forger_guesses_our_ids_and_knows_whom_we_wrote_to() -> None:
    mails = [campaign_mail(Message_ID=f"<{n}@acme.test>") for n in range(20)]
    reports = [read(answer(Behaviour.FORGED, mail, "forged.joe@lead.test")[1].as_bytes(), NOW.date()) for mail in mails]
    assert {each.kind for each in reports} == {"bounce", "complaint"}
    ids = [id_ for each in reports if each.report for id_ in each.report.message_ids]
    assert len(set(ids)) == len(reports)
    assert not any(id_.startswith(f"<{n}@") for id_ in ids for n in range(20))
    named = {each.address for report in reports if report.report for each in report.report.recipients}
    assert named <= {"forged.joe@lead.test"}


def test_a_meeting_is_asked_for_with_a_time() -> None:
    assert all(re.search(r"\d{1,2}:\d\d|\d pm", wording) for wording in REPLIES[Behaviour.MEETING])


def test_nobody_answers_the_thanks_of_a_machine() -> None:
    target, thanks = answer(Behaviour.AUTO_REPLY, campaign_mail())
    assert target == "bounces@acme.test"
    assert is_automatic(thanks.as_bytes())


@pytest.mark.parametrize(
    ("behaviour", "found"),
    [
        (Behaviour.DSN, {("5.1.1", "user_unknown", "hard")}),
        (Behaviour.SOFT_DSN, {("5.2.2", "mailbox_full", "soft"), ("4.4.7", "expired", "soft")}),
    ],
)
def test_a_report_is_read_with_its_class_recipient_and_message(
    behaviour: Behaviour, found: set[tuple[str, str, str]]
) -> None:
    people = [f"anybody.p{n}@lead.test" for n in range(20)]
    reports = [read(answer(behaviour, campaign_mail(), person)[1].as_bytes(), NOW.date()).report for person in people]
    judged = [each for report in reports if report for each in report.recipients]
    assert [each.address for each in judged] == people
    assert {(each.status, each.reason, each.bounce_class) for each in judged} == found
    assert {report.message_ids for report in reports if report} == {("<first@acme.test>",)}


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
