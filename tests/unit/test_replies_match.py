"""Which email a message answers: the seven ways, in their order, and what a subject is without its prefixes."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.replies.rules.match import (
    ADDRESS_DAYS,
    Answered,
    Candidate,
    Housemate,
    before,
    candidates,
    match_by_address,
    match_by_colleague,
    match_by_id,
    match_by_thread,
    match_by_token,
    plain_subject,
    token_ids,
)
from services.replies.rules.parse import Headers

ONE, TWO = UUID(int=1), UUID(int=2)
BOB, EVE = UUID(int=4), UUID(int=5)
INBOX, OTHER_INBOX = UUID(int=8), UUID(int=9)
NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
TOKEN = "abcdefghijklmnopqrstuvwx27"


def sent(
    email_id: UUID, *ids: str, days_before: float = 1, inbox_id: UUID = INBOX, to_writer: bool = True
) -> Candidate:
    return Candidate(
        email_id=email_id,
        lead_id=BOB,
        inbox_id=inbox_id,
        committed_at=NOON - timedelta(days=days_before),
        message_ids=ids,
        to_writer=to_writer,
    )


def by_address(known: Sequence[Candidate]) -> tuple[UUID | None, str, float] | None:
    found = match_by_address(known, INBOX, before(NOON, ADDRESS_DAYS))
    return found and (found.email_id, found.method, found.confidence)


def test_an_answer_is_matched_by_what_it_names_first() -> None:
    known = [sent(ONE, "<1@x>"), sent(TWO, "<2@x>", "<learned@provider>")]
    by_reply = match_by_id(["<1@x>"], ["<1@x>", "<2@x>"], known)
    assert by_reply is not None
    assert (by_reply.email_id, by_reply.lead_id, by_reply.method, by_reply.confidence) == (ONE, BOB, "in_reply_to", 1.0)
    by_reference = match_by_id(["<0@x>"], ["<1@x>", "<2@x>", "<0@x>"], known)
    assert by_reference is not None
    assert (by_reference.email_id, by_reference.method, by_reference.confidence) == (TWO, "references", 0.99)
    learned = match_by_id(["<learned@provider>"], [], known)
    assert learned is not None
    assert learned.email_id == TWO
    assert match_by_id(["<0@x>"], [], known) is None


def test_an_answer_to_an_earlier_answer_is_in_its_thread() -> None:
    earlier = [
        Answered(message_id="<a@lead>", lead_id=BOB, email_id=ONE, thread_id="<1@x>"),
        Answered(message_id="<b@lead>", lead_id=EVE, email_id=None, thread_id="<b@lead>"),
    ]
    first = match_by_thread(["<0@x>", "<a@lead>", "<unknown@x>"], earlier)
    assert first is not None
    assert (first.lead_id, first.email_id, first.method, first.confidence) == (BOB, ONE, "thread", 0.97)
    newest = match_by_thread(["<a@lead>", "<b@lead>"], earlier)
    assert newest is not None
    assert (newest.lead_id, newest.email_id, newest.thread_id) == (EVE, None, "<b@lead>")


@pytest.mark.parametrize("field", ["to", "cc", "delivered-to", "x-original-to"])
def test_our_token_behind_a_plus_names_the_email(field: str) -> None:
    headers = Headers(((field, f"Ann <Ann+{TOKEN.upper()}@Acme.test>, x@y.test"),))
    assert token_ids(headers) == [f"<{TOKEN}@acme.test>"]
    found = match_by_token(token_ids(headers), [sent(ONE, f"<{TOKEN}@acme.test>", to_writer=False)])
    assert found is not None
    assert (found.email_id, found.method, found.confidence) == (ONE, "token", 0.97)


@pytest.mark.parametrize("address", ["ann@acme.test", "ann+news@acme.test", f"ann+{TOKEN}1@acme.test"])
def test_an_address_without_a_token_of_ours_names_none(address: str) -> None:
    assert token_ids(Headers((("to", address),))) == []


def test_a_token_that_the_ledger_does_not_know_matches_nothing() -> None:
    assert match_by_token([f"<{TOKEN}@acme.test>"], [sent(ONE, "<other@acme.test>")]) is None


def test_an_answer_by_address_goes_to_the_newest_email_of_its_mailbox() -> None:
    old, new = sent(ONE, days_before=10), sent(TWO, days_before=1)
    assert by_address([old, new]) == (TWO, "address", 0.85)
    assert by_address([old, sent(TWO, inbox_id=OTHER_INBOX)]) == (ONE, "address", 0.85)
    assert by_address([sent(TWO, inbox_id=OTHER_INBOX)]) == (TWO, "address_other_inbox", 0.75)


@pytest.mark.parametrize("days_before", [60.1, -1])
def test_an_answer_by_address_needs_an_email_of_the_sixty_days_before_it(days_before: float) -> None:
    assert by_address([sent(ONE, days_before=days_before)]) is None


def test_an_email_that_was_found_by_its_id_is_no_match_by_address() -> None:
    assert by_address([sent(ONE, "<1@x>", to_writer=False)]) is None


def test_a_colleague_answers_under_our_subject() -> None:
    house = [
        Housemate(email_id=TWO, lead_id=EVE, subject="Another matter"),
        Housemate(email_id=ONE, lead_id=BOB, subject="Hello Bob"),
    ]
    found = match_by_colleague("AW: FW: hello  bob", house)
    assert found is not None
    assert (found.email_id, found.lead_id, found.method, found.confidence) == (ONE, BOB, "colleague", 0.60)
    assert match_by_colleague("Something else", house) is None
    assert candidates([*house, *house]) == [EVE, BOB]


def test_no_subject_is_nobodys_subject() -> None:
    house = [Housemate(email_id=ONE, lead_id=BOB, subject="Re: ")]
    assert match_by_colleague("Re: ", house) is None


@pytest.mark.parametrize(
    "subject",
    [
        "Re: Hello Bob",
        "AW: Hello Bob",
        "SV: Hello Bob",
        "RV: Hello Bob",
        "TR: Hello Bob",
        "RÉ : Hello Bob",
        "Odp: Hello Bob",
        "RIF: R: Hello Bob",
        "RES: ENC: Hello Bob",
        "Antw: Doorst: Hello Bob",
        "返信: Hello Bob",
        "Re\uff1aHello Bob",
        "Re[2]: Re(3): RE4: hello bob",
        "[EXTERN] WG: VB: Hello   BOB ",
        "[EXT] Re: [External] Hello Bob",
    ],
)
def test_a_subject_is_compared_without_what_mail_programs_put_before_it(subject: str) -> None:
    assert plain_subject(subject) == "hello bob"


@pytest.mark.parametrize("subject", ["Regarding: x", "Results: x", "Tree: x", "Address: x", "[Acme] x"])
def test_a_word_of_the_subject_is_no_prefix(subject: str) -> None:
    assert plain_subject(subject) == subject.lower()


@given(st.text(max_size=200), st.lists(st.sampled_from(["Re: ", "AW: ", "Fwd: ", "返信: ", "[EXT] "]), max_size=5))
def test_prefixes_never_change_the_plain_subject(subject: str, prefixes: list[str]) -> None:
    assert plain_subject("".join(prefixes) + subject) == plain_subject(subject)
