"""The judge of the demo: each broken promise is seen, and none where there is none."""

from datetime import timedelta
from uuid import UUID

import msgspec
import pytest

from deploy.local.campaign import PEOPLE, people
from deploy.local.receipt import Ended, Receipt, Told, broken_promises, came_too_late, compare_with_log
from deploy.local.sandbox.log import Outcome
from tests.support import EPOCH

GOOD = Receipt(
    leads=2,
    accepted=3,
    replies=1,
    bounces=1,
    unsubscribes=1,
    unknown=0,
    duplicates=0,
    sent_after_stop=0,
    event_log=9,
    stream=9,
    email_events=7,
    rebuild_equal=True,
    seconds=1.0,
)
TOLD = Told(messages=9, counted=7, replies=1, bounced=1, unsubscribed=1, stopped={})


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
        ("duplicates", 1),
        ("sent_after_stop", 1),
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
