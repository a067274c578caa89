"""The rules of answers by hand: subjects in many languages, and the first instant that no limit forbids."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.planning.hours.windows import day_bounds
from services.sender.rules.answer import Caps, answer_subject, free_slot

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)


def caps(*busy: datetime, **changes: object) -> Caps:
    usual: dict[str, object] = {
        "zone": "UTC",
        "daily_limit": 100,
        "hourly_limit": 100,
        "min_delay_s": 60,
        "busy": busy,
        "team_zone": "UTC",
        "team_limit": 1000,
        "team_used": 0,
    }
    return Caps(**(usual | changes))  # pyright: ignore[reportArgumentType] - the test's own words


@pytest.mark.parametrize(
    ("subject", "expected"),
    [
        ("Hello Bob", "Re: Hello Bob"),
        ("Re: Hello Bob", "Re: Hello Bob"),
        ("RE: AW: Re[2]: Hello Bob", "Re: Hello Bob"),
        ("Antw: Sv: Odp: Hello", "Re: Hello"),
        ("回复\uff1a你好", "Re: 你好"),
        ("Fwd: Hello", "Re: Fwd: Hello"),
        ("Resources: a list", "Re: Resources: a list"),
        ("two\r\nBcc: lines@x.test", "Re: two Bcc: lines@x.test"),
        ("", "Re:"),
        ("re: " + "x" * 600, "Re: " + "x" * 496),
    ],
)
def test_an_answers_subject_says_re_once(subject: str, expected: str) -> None:
    assert answer_subject(subject) == expected


def test_an_idle_inbox_answers_at_once() -> None:
    assert free_slot(caps(), NOW) == NOW


def test_the_gap_to_the_last_mail_is_kept_and_never_less_than_a_minute() -> None:
    assert free_slot(caps(NOW - timedelta(seconds=10), min_delay_s=300), NOW) == NOW + timedelta(seconds=290)
    assert free_slot(caps(NOW, min_delay_s=1), NOW) == NOW + MINUTE


def test_a_full_hour_a_full_day_and_a_full_team_make_it_wait_until_they_are_over() -> None:
    two = (NOW - 50 * MINUTE, NOW - 20 * MINUTE)
    assert free_slot(caps(*two, hourly_limit=2), NOW) == NOW + 10 * MINUTE
    assert free_slot(caps(*two, daily_limit=2, zone="Asia/Tokyo"), NOW) == datetime(2026, 3, 2, 15, 0, tzinfo=UTC)
    assert free_slot(caps(team_limit=5, team_used=5), NOW) == datetime(2026, 3, 3, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize("limit", ["daily_limit", "hourly_limit", "team_limit"])
def test_a_limit_of_zero_lets_nothing_go_ever(limit: str) -> None:
    assert free_slot(caps(**{limit: 0}), NOW) is None


@given(
    minutes=st.lists(st.integers(min_value=0, max_value=26 * 60), max_size=60),
    hourly=st.integers(min_value=1, max_value=20),
    daily=st.integers(min_value=1, max_value=40),
    gap_s=st.integers(min_value=1, max_value=1200),
    zone=st.sampled_from(["UTC", "Asia/Kolkata", "America/Los_Angeles"]),
)
def test_the_slot_is_the_first_instant_that_every_limit_allows(
    minutes: list[int], hourly: int, daily: int, gap_s: int, zone: str
) -> None:
    busy = [NOW - each * MINUTE for each in minutes]

    def allowed(at: datetime) -> bool:
        return (
            all(then <= at - timedelta(seconds=max(gap_s, 60)) for then in busy)
            and sum(then > at - HOUR for then in busy) < hourly
            and sum(then >= day_bounds(at, zone)[0] for then in busy) < daily
        )

    slot = free_slot(caps(*busy, hourly_limit=hourly, daily_limit=daily, min_delay_s=gap_s, zone=zone), NOW)
    assert slot is not None
    assert allowed(slot)
    assert slot == NOW or not allowed(slot - timedelta(microseconds=1))
