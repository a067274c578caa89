"""The numbers: every event type has its place, order and repetition change nothing, and no rate leaves 0 to 1."""

from datetime import date, datetime, timedelta
from itertools import pairwise
from random import Random
from typing import Any, Literal
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from libs.schema.events import REGISTRY, Event
from libs.schema.events.email import (
    BounceBlocked,
    BounceHard,
    BounceSoft,
    EmailClicked,
    EmailDelivered,
    EmailOpened,
    EmailSent,
)
from libs.schema.events.lead import LeadEnrolled, LeadUnsubscribed
from libs.schema.events.reply import Intent, ReplyClassified, ReplyReceived
from services.analytics.rules.history import ENTRIES, MOVES_NOTHING, SUMMED, Happening, email_event
from services.analytics.rules.numbers import Counts, Outcome, TeamDay, counts, day_id, join, merge, rates, tally
from tests.support import EPOCH

TEAM, CAMPAIGN, INBOX, STEP, VARIANT, LEAD = (UUID(int=n) for n in range(1, 7))
DAY = EPOCH.date()
SOURCES: tuple[Literal["smtp", "dsn"], ...] = ("smtp", "dsn")


def facts(email: int) -> dict[str, Any]:
    """What all events of an email say alike; it was sent on the second day if its number is odd."""
    return {
        "email_id": UUID(int=100 + email),
        "inbox_id": INBOX,
        "campaign_id": CAMPAIGN,
        "step_id": STEP,
        "variant_id": VARIANT,
        "sent_on": DAY + timedelta(days=email % 2),
        "inbox_sent_on": DAY + timedelta(days=email % 2),
    }


def sent(email: int) -> Event:
    return EmailSent(**facts(email), attempt=1, resolved_by="smtp", scheduled_at=EPOCH)


def bounce(kind: type[BounceHard | BounceSoft | BounceBlocked], email: int, source: Literal["smtp", "dsn"]) -> Event:
    return kind(**facts(email), source=source, reason="no such user")


def happened(*events: Event) -> list[Happening]:
    return [Happening(UUID(int=1000 + n), TEAM, EPOCH + timedelta(minutes=n), event) for n, event in enumerate(events)]


def total(*events: Event) -> Counts:
    """The campaign's counters after these events."""
    move = tally({}, happened(*events)).campaigns.get(CAMPAIGN)
    return move.counts if move else Counts()


def any_event(email: int) -> list[Event]:
    """One of each event that moves a number of this email, as they might come in any order."""
    given_facts = facts(email)
    return [
        sent(email),
        EmailDelivered(**given_facts, by_dsn=False),
        EmailOpened(**given_facts),
        EmailClicked(**given_facts, link_id=LEAD),
        *(bounce(kind, email, by) for kind in (BounceHard, BounceSoft, BounceBlocked) for by in SOURCES),
        LeadUnsubscribed(lead_id=LEAD, method="one_click", email_id=UUID(int=100 + email)),
        reply(email, "interested"),
        reply(email, "out_of_office"),
        classified(email, "out_of_office", "question"),
        classified(email, "interested", "auto_reply"),
    ]


def reply(email: int, intent: Intent) -> Event:
    return ReplyReceived(
        reply_id=LEAD,
        lead_id=LEAD,
        inbox_id=INBOX,
        intent=intent,
        confidence=1.0,
        model="rules",
        match_method="message_id",
        match_confidence=1.0,
        email_id=UUID(int=100 + email),
    )


def classified(email: int, previous: Intent, intent: Intent) -> Event:
    return ReplyClassified(
        reply_id=LEAD,
        lead_id=LEAD,
        inbox_id=INBOX,
        intent=intent,
        email_id=UUID(int=100 + email),
        previous=previous,
        confidence=1.0,
        model="person",
        by_person=True,
    )


EVENTS = [event for email in range(4) for event in any_event(email)]
some_events = st.lists(st.sampled_from(EVENTS), max_size=60)
unhurried = settings(deadline=None)  # a busy machine is no fault of the rule


def test_every_registered_event_type_is_either_mapped_or_known_to_move_nothing() -> None:
    placed = [*ENTRIES, *SUMMED, *MOVES_NOTHING]
    assert sorted(kind.TYPE for kind in placed) == sorted(REGISTRY)


def test_every_kept_fact_is_a_field_of_its_event() -> None:
    for kind, entry in ENTRIES.items():
        assert set(entry.facts) <= set(kind.__struct_fields__), kind.TYPE


@unhurried
@given(some_events, st.randoms(use_true_random=False))
def test_the_order_of_events_does_not_change_what_is_counted(events: list[Event], random: Random) -> None:
    shuffled = list(events)
    random.shuffle(shuffled)
    assert total(*events) == total(*shuffled)


@unhurried
@given(some_events)
def test_no_rate_leaves_zero_to_one_whatever_happens(events: list[Event]) -> None:
    for days in (tally({}, happened(*events)).days, tally({}, happened(*events)).inbox_days):
        for day in days.values():
            assert min(day.counts) >= 0
            assert all(rate is None or 0 <= rate <= 1 for rate in rates(day.counts))


@unhurried
@given(some_events, st.integers(0, 60))
def test_the_cut_into_batches_changes_neither_numbers_nor_times(events: list[Event], cut: int) -> None:
    happenings = happened(*events)
    whole = tally({}, happenings)
    outcomes: dict[UUID, Outcome] = {}
    first, second = tally(outcomes, happenings[:cut]), tally(outcomes, happenings[cut:])
    assert {**first.days, **join(first.days, second.days)} == whole.days


@unhurried
@given(st.lists(st.sampled_from([e for e in EVENTS if type(e) not in SUMMED]), max_size=60))
def test_a_mark_set_twice_is_set_once(events: list[Event]) -> None:
    assert total(*events) == total(*events, *events)


def test_a_second_bounce_of_an_email_counts_nothing() -> None:
    assert total(sent(0), bounce(BounceSoft, 0, "dsn"), bounce(BounceHard, 0, "dsn")).bounced == 1


def test_a_late_bounce_takes_the_delivery_back_on_the_day_of_sending() -> None:
    delivered = EmailDelivered(**facts(1), by_dsn=False)
    moves = tally({}, happened(sent(1), delivered, bounce(BounceHard, 1, "dsn"))).days
    assert list(moves) == [TeamDay(TEAM, DAY + timedelta(days=1))]
    assert moves[TeamDay(TEAM, DAY + timedelta(days=1))].counts == Counts(sent=1, bounced=1)


def test_a_refusal_in_the_dialogue_is_tried_and_bounced_but_not_sent() -> None:
    numbers = total(bounce(BounceHard, 0, "smtp"))
    assert numbers == Counts(bounced=1, refused=1)
    assert rates(numbers).bounce == 1
    assert rates(numbers).open is None


def test_a_blocked_email_counts_once_it_goes_out_at_last() -> None:
    delivered = EmailDelivered(**facts(0), by_dsn=True)
    assert total(bounce(BounceBlocked, 0, "smtp")) == Counts()
    assert total(bounce(BounceBlocked, 0, "smtp"), sent(0), delivered) == Counts(sent=1, delivered=1)


def test_an_automatic_reply_counts_only_once_a_person_says_that_it_is_none() -> None:
    assert total(sent(0), reply(0, "out_of_office")).replied == 0
    assert total(sent(0), reply(0, "out_of_office"), classified(0, "out_of_office", "interested")).replied == 1
    assert total(sent(0), reply(0, "interested"), classified(0, "interested", "auto_reply")).replied == 0


def test_an_open_before_the_end_of_the_send_is_known_counts_when_it_is() -> None:
    opened = EmailOpened(**facts(0))
    assert total(opened) == Counts()
    assert total(opened, sent(0)) == Counts(sent=1, opened=1)


def test_mail_that_belongs_to_no_campaign_moves_no_number() -> None:
    manual = EmailSent(**facts(0), kind="reply", attempt=1, resolved_by="smtp", scheduled_at=EPOCH)
    assert total(manual) == Counts()


def test_an_enrolment_counts_a_lead() -> None:
    enrolled = LeadEnrolled(lead_id=LEAD, enrollment_id=LEAD, campaign_id=CAMPAIGN, sequence_version=1)
    assert total(enrolled) == Counts(leads=1)


@pytest.mark.parametrize(
    ("kind", "word", "bounce_type"),
    [(BounceHard, "bounced", "hard"), (BounceSoft, "soft_bounced", "soft"), (BounceBlocked, "soft_bounced", "blocked")],
)
def test_a_bounce_keeps_its_reason_and_class(
    kind: type[BounceHard | BounceSoft | BounceBlocked], word: str, bounce_type: str
) -> None:
    row = email_event(happened(bounce(kind, 0, "dsn"))[0])
    assert row is not None
    assert row.event_type == word
    assert row.metadata == {"bounce_type": bounce_type, "source": "dsn", "reason": "no such user"}


def test_an_opt_out_that_names_no_email_is_in_no_history() -> None:
    assert email_event(happened(LeadUnsubscribed(lead_id=LEAD, method="api"))[0]) is None


def test_what_is_known_of_an_email_only_grows() -> None:
    outcomes: dict[UUID, Outcome] = {}
    known: list[Outcome] = []
    for happening in happened(*any_event(0)[:4]):
        tally(outcomes, [happening])
        known.append(outcomes[UUID(int=100)])
    assert all(merge(one, other) == other for one, other in pairwise(known))
    assert counts(known[-1]) == Counts(sent=1, delivered=1, opened=1, clicked=1)


def test_the_id_of_a_daily_row_is_the_same_for_ever() -> None:
    assert day_id(TEAM, date(2026, 3, 2)) == UUID("22503308-471b-54ef-bcad-5482fb558755")


def test_times_of_a_row_are_those_of_the_first_and_last_event_that_moved_it() -> None:
    opened = EmailOpened(**facts(0))
    day = tally({}, happened(sent(0), opened, opened)).days[TeamDay(TEAM, DAY)]
    moments: tuple[datetime, datetime] = (day.first_at, day.last_at)
    assert moments == (EPOCH, EPOCH + timedelta(minutes=1))
