"""The judge of the demo: each broken promise is seen, and none where there is none."""

from datetime import timedelta
from typing import Any
from uuid import UUID

import msgspec
import pytest

from deploy.local.campaign import PEOPLE, people
from deploy.local.receipt import (
    Ended,
    KnownArm,
    Receipt,
    broken_promises,
    came_too_late,
    compare_arms,
    compare_with_log,
    verdict_of,
)
from deploy.local.sandbox.log import Outcome
from deploy.local.told import Told, by_behaviour
from deploy.local.verdict import Disagreement, SentFolders, Unread, Verdict
from libs.schema.events import Event, open_envelope
from libs.schema.events.base import seal
from libs.schema.events.email import BounceBlocked, BounceHard, BounceSoft, EmailSent
from libs.schema.events.reply import Intent, ReplyReceived
from tests.support import EPOCH

GOOD = Receipt(
    leads=2,
    accepted=3,
    replies=1,
    bounces=1,
    soft_bounces=0,
    blocked=0,
    unsubscribes=1,
    unknown=0,
    duplicates=0,
    sent_after_stop=0,
    copies_in_sent=3,
    breakers_opened=0,
    event_log=9,
    stream=9,
    email_events=7,
    rebuild_equal=True,
    seconds=1.0,
    variants=[],
    behaviours={},
)
TOLD = Told(messages=9, counted=7, replies=1, unsubscribed=1)
TOLD.bounced["hard"].add(UUID(int=7))
ANN, BOB, ARM = UUID(int=3), UUID(int=4), UUID(int=5)
DATED: dict[str, Any] = {"sent_on": EPOCH.date(), "inbox_sent_on": EPOCH.date()}
AGREED = Verdict(ledger=3, emails=3, event_log=9, unpublished=0, stream=9, sent=None, disagreements=[])


def tell(told: Told, event: Event) -> None:
    body = seal(event, event_id=UUID(int=9), team_id=UUID(int=8), time=EPOCH, by="sender")
    told.hear(open_envelope(body), event)


def went(number: int) -> EmailSent:
    return EmailSent(
        email_id=UUID(int=number),
        lead_id=BOB,
        inbox_id=ANN,
        variant_id=ARM,
        **DATED,
        attempt=1,
        resolved_by="smtp",
        scheduled_at=EPOCH,
    )


def answered(intent: Intent, email_id: UUID | None = None) -> ReplyReceived:
    return ReplyReceived(
        reply_id=UUID(int=6),
        lead_id=BOB,
        inbox_id=ANN,
        intent=intent,
        confidence=0.9,
        model="rules-1",
        match_method="in_reply_to",
        match_confidence=1.0,
        email_id=email_id,
        variant_id=ARM,
    )


def stored(message_id: str, *, accepted: bool = True) -> Outcome:
    return Outcome(
        time=EPOCH,
        transaction=UUID(int=1),
        inbox="ann@acme.test",
        recipient="Bob@lead.test",
        message_id=message_id,
        code=250,
        accepted=accepted,
    )


def ended(message_id: str, state: str, resolved_by: str | None = None) -> Ended:
    return Ended(message_id=message_id, state=state, resolved_by=resolved_by)


def test_a_good_receipt_breaks_nothing() -> None:
    assert broken_promises(GOOD, TOLD) == []


@pytest.mark.parametrize(
    ("figure", "value"),
    [
        ("sent_after_stop", 1),
        ("copies_in_sent", 2),
        ("event_log", 10),
        ("stream", 8),
        ("email_events", 6),
        ("replies", 0),
        ("bounces", 2),
        ("unsubscribes", 2),
        ("rebuild_equal", False),
    ],
)
def test_each_wrong_figure_breaks_one_promise(figure: str, value: int) -> None:
    assert len(broken_promises(msgspec.structs.replace(GOOD, **{figure: value}), TOLD)) == 1


def test_a_message_that_is_accepted_twice_is_a_duplicate_and_lies_in_sent_as_one() -> None:
    receipt = msgspec.structs.replace(GOOD, accepted=4, duplicates=1)
    assert broken_promises(receipt, TOLD) == ["1 messages were accepted twice"]


def test_an_email_that_came_back_twice_is_one_bounce_and_a_blocked_one_is_none() -> None:
    told = Told()
    for kind in (BounceSoft, BounceSoft, BounceBlocked):
        tell(told, kind(email_id=UUID(int=1), lead_id=BOB, inbox_id=ANN, **DATED, source="dsn", reason="mailbox_full"))
    tell(told, BounceHard(email_id=UUID(int=1), inbox_id=ANN, **DATED, source="smtp", reason="no_such_user"))
    assert {kind: len(ids) for kind, ids in told.bounced.items()} == {"soft": 1, "blocked": 1, "hard": 1}
    assert told.by_lead[BOB] == {"soft": 1, "blocked": 1}
    assert not [text for text in broken_promises(GOOD, told) if "bounces" in text]


def test_an_absence_is_no_reply_and_stops_nothing() -> None:
    told = Told()
    tell(told, answered("out_of_office"))
    assert (told.replies, told.stopped, told.by_lead[BOB]) == (0, {}, {"automatic": 1})
    tell(told, answered("question"))
    assert (told.replies, told.stopped, told.by_lead[BOB]) == (1, {BOB: EPOCH}, {"automatic": 1, "replies": 1})


def test_a_machines_word_that_somebody_has_left_is_no_reply_and_stops_all_the_same() -> None:
    told = Told()
    tell(told, msgspec.structs.replace(answered("auto_reply"), left_company=True))
    assert (told.replies, told.stopped, told.by_lead[BOB]) == (0, {BOB: EPOCH}, {"automatic": 1})


def test_the_arms_counters_are_compared_with_the_stream() -> None:
    told = Told()
    tell(told, went(1))
    tell(told, went(2))
    tell(told, answered("question", email_id=UUID(int=1)))
    arm = KnownArm(id=ARM, step=1, index=1, sent=2, replied=1)
    assert compare_arms([arm], told) == []
    assert compare_arms([msgspec.structs.replace(arm, replied=0)], told) == [
        "variant B of step 1 is counted as 2 sent and 0 answered, the stream tells 2 and 1"
    ]


def test_behaviours_are_counted_by_the_first_word_of_the_address() -> None:
    told = Told()
    tell(told, answered("question"))
    found = by_behaviour(told, {BOB: "Question.bob7@lead.test", ANN: "question.ann@lead.test"})
    assert found == {"question": {"people": 2, "replies": 1}}


def test_what_verify_sends_finds_or_cannot_read_breaks_the_demo() -> None:
    assert verdict_of(AGREED) == []
    folders = SentFolders(
        mailboxes=0,
        unread=[Unread(mailbox="ann@acme.test", sends=3, reason="no connection")],
        ledger=0,
        accepted=0,
        found=0,
        not_found=0,
        duplicates=0,
        unledgered=0,
    )
    differs = Disagreement(between="ledger and Sent folder", id="7", text="2 copies of it lie in Sent")
    assert verdict_of(msgspec.structs.replace(AGREED, sent=folders, disagreements=[differs])) == [
        "ledger and Sent folder disagree about 7: 2 copies of it lie in Sent",
        "the Sent folder of ann@acme.test could not be read: no connection",
    ]


def test_server_and_ledger_agree_when_both_have_the_same_messages() -> None:
    ledger = [ended("<a>", "accepted", "smtp"), ended("<b>", "rejected"), ended("<c>", "accepted", "sent_folder")]
    assert compare_with_log(ledger, [stored("<a>"), stored("<c>")]) == []


@pytest.mark.parametrize("in_log", [True, False])
@pytest.mark.parametrize("send", [ended("<a>", "unknown"), ended("<a>", "accepted", "expired")])
def test_an_end_that_nobody_saw_may_be_either(send: Ended, *, in_log: bool) -> None:
    assert compare_with_log([send], [stored("<a>")] if in_log else []) == []


@pytest.mark.parametrize(
    ("ledger", "outcomes", "says"),
    [
        ([], [stored("<a>")], "in no ledger"),
        ([ended("<a>", "queued")], [stored("<a>")], "the ledger says it was not"),
        ([ended("<a>", "rejected", "smtp")], [stored("<a>")], "the ledger says it was not"),
        ([ended("<a>", "accepted", "smtp")], [], "the server never had it"),
        ([ended("<a>", "accepted", "smtp")], [stored("<a>", accepted=False)], "the server never had it"),
        ([ended("<a>", "accepted", "sent_folder")], [], "the server never had it"),
    ],
)
def test_a_message_that_only_one_of_them_has_is_named(ledger: list[Ended], outcomes: list[Outcome], says: str) -> None:
    (found,) = compare_with_log(ledger, outcomes)
    assert says in found
    assert "<a>" in found


@pytest.mark.parametrize(("seconds_after", "is_late"), [(-60, False), (4, False), (6, True)])
def test_a_message_is_late_when_the_stop_is_older_than_the_way_from_t2_to_the_dot(
    seconds_after: int, *, is_late: bool
) -> None:
    stopped = {"bob@lead.test": EPOCH - timedelta(seconds=seconds_after)}
    assert came_too_late(stored("<a>"), stopped) is is_late


def test_somebody_who_was_never_stopped_gets_everything_in_time() -> None:
    assert not came_too_late(stored("<a>"), {"eve@lead.test": EPOCH - timedelta(days=1)})


@pytest.mark.parametrize("count", [9, 40, 300, 1000])
def test_the_demos_people_are_different_people_of_every_kind(count: int) -> None:
    everybody = people(count)
    assert len({person["email"] for person in everybody}) == count
    if count >= 100:
        assert {person["email"].partition(".")[0] for person in everybody} == set(PEOPLE)
