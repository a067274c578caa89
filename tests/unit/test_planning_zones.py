"""Where a lead is and what its hours are: zones with their provenance, windows together, holidays; tables of cases."""

from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.planning.hours.windows import DAYS, Window, next_open, openings_ahead, windows_for
from libs.planning.hours.zones import zone_of

MONDAY = datetime(2026, 3, 2, 0, tzinfo=UTC)
DAY = timedelta(days=1)


class Somebody(msgspec.Struct, frozen=True, kw_only=True):
    timezone: str | None = None
    country: str | None = None
    city: str | None = None


class Box(msgspec.Struct, frozen=True, kw_only=True):
    send_days: tuple[str, ...] = DAYS
    weekends_enabled: bool = False
    send_window_start: time = time(0)
    send_window_end: time = time(0)
    send_window_timezone: str = "UTC"


def opening(
    settings: dict[str, Any], lead: Somebody, after: datetime = MONDAY, box: Box | None = None
) -> datetime | None:
    return next_open(windows_for({"timezone": "UTC"} | settings, box or Box(), lead), after)


@pytest.mark.parametrize(
    ("timezone", "country", "city", "zone", "source"),
    [
        ("Europe/Rome", "US", "Chicago", "Europe/Rome", "lead"),
        ("Mars/Olympus", "FR", None, "Europe/Paris", "country"),
        (None, "United States", "New York", "America/New_York", "city"),
        (None, "usa", "los angeles", "America/Los_Angeles", "city"),
        (None, "Brasil", "São Paulo", "America/Sao_Paulo", "city"),
        (None, None, "Tokyo", "Asia/Tokyo", "city"),
        (None, "UK", "Leeds", "Europe/London", "country"),
        (None, "england", None, "Europe/London", "country"),
        (None, "DE", "München", "Europe/Berlin", "country"),  # a second zone, for one village, keeps the same clock
        (None, "in", None, "Asia/Kolkata", "country"),
    ],
)
def test_a_zone_is_known_from_the_lead_the_city_or_a_country_with_one_clock(
    timezone: str | None, country: str | None, city: str | None, zone: str, source: str
) -> None:
    known = zone_of(timezone, country, city)
    assert known is not None
    assert (known.zone, known.source) == (zone, source)


@pytest.mark.parametrize(
    ("country", "city"),
    [
        (None, None),
        ("US", None),
        ("US", "Springfield"),
        ("Canada", "New York"),  # the country decides, and New York is none of its cities
        ("Narnia", "Paris"),
        (None, "Springfield"),
        ("", "  "),
    ],
)
def test_where_nothing_is_sure_no_zone_is_guessed(country: str | None, city: str | None) -> None:
    assert zone_of(None, country, city) is None


def test_a_lead_is_mailed_in_its_own_office_hours() -> None:
    assert opening({}, Somebody(timezone="America/New_York")) == MONDAY + timedelta(hours=14)
    assert opening({}, Somebody(country="Japan")) == MONDAY  # nine in the morning there


def test_a_lead_without_a_zone_follows_the_campaign() -> None:
    assert opening({}, Somebody()) == MONDAY
    assert opening({"timezone": "America/New_York"}, Somebody()) == MONDAY + timedelta(hours=5)


def test_lead_hours_can_be_other_ones_or_off() -> None:
    rome = Somebody(timezone="Europe/Rome")
    late = {"lead_window_start": "11:30", "lead_window_end": "12:00:00"}
    assert opening(late, rome) == MONDAY.replace(hour=10, minute=30)
    assert opening({"send_in_lead_timezone": False}, rome) == MONDAY


def test_the_leads_clock_changes_with_its_own_summer_time() -> None:
    new_yorker = Somebody(timezone="America/New_York")
    before, after = datetime(2026, 3, 6, tzinfo=UTC), datetime(2026, 3, 9, tzinfo=UTC)
    assert opening({}, new_yorker, before) == before.replace(hour=14)
    assert opening({}, new_yorker, after) == after.replace(hour=13)


def test_windows_that_never_meet_are_closed_for_ever() -> None:
    night = Box(send_window_start=time(1), send_window_end=time(5))
    assert opening({}, Somebody(timezone="Europe/Rome"), box=night) is None


def test_an_inbox_that_works_at_night_meets_a_lead_on_the_other_side_of_the_world() -> None:
    night = Box(send_days=("mon",), send_window_start=time(22), send_window_end=time(6))
    sydney = Somebody(timezone="Australia/Sydney")  # UTC+11: nine o'clock on Tuesday is ten at night on Monday
    assert openings_ahead(windows_for({"timezone": "UTC"}, night, sydney), MONDAY)[:1] == [
        (MONDAY.replace(hour=22), MONDAY + timedelta(days=1, hours=6))
    ]


def test_skip_dates_close_whole_days_of_the_campaigns_zone() -> None:
    settings = {"timezone": "Europe/Rome", "skip_dates": ["2026-03-02", "2026-03-03"]}
    assert opening(settings, Somebody()) == datetime(2026, 3, 3, 23, tzinfo=UTC)


def test_public_holidays_of_the_named_country_are_days_off_and_of_no_country_none() -> None:
    eve = datetime(2026, 12, 24, tzinfo=UTC)
    german, nowhere = {"holidays": "de"}, {"holidays": "XX"}
    assert opening(german, Somebody(), eve + DAY) == datetime(2026, 12, 28, tzinfo=UTC)  # Friday, then the weekend
    assert opening(nowhere, Somebody(), eve + DAY) == eve + DAY
    assert opening({}, Somebody(), eve + DAY) == eve + DAY


def test_a_campaign_that_rests_for_weeks_says_when_it_goes_on() -> None:
    rest = [(date(2026, 3, 2) + n * DAY).isoformat() for n in range(21)]
    assert opening({"skip_dates": rest}, Somebody()) == datetime(2026, 3, 23, tzinfo=UTC)


def test_an_overnight_window_that_began_before_a_day_off_stays_open_till_its_end() -> None:
    night = Window(
        days=frozenset(DAYS), zone="UTC", start=time(22), end=time(6), skip_dates=frozenset([date(2026, 3, 3)])
    )
    spans = openings_ahead([night], MONDAY.replace(hour=12))
    assert spans[0] == (MONDAY.replace(hour=22), datetime(2026, 3, 3, 6, tzinfo=UTC))
    assert spans[1][0] == datetime(2026, 3, 4, 22, tzinfo=UTC)


@given(
    st.sampled_from(["America/New_York", "Europe/Berlin", "Australia/Lord_Howe", "Asia/Kathmandu", "Pacific/Apia"]),
    st.datetimes(datetime(2024, 1, 1), datetime(2030, 1, 1)),  # noqa: DTZ001 - made aware below
)
def test_who_is_mailed_by_the_own_clock_reads_it_between_nine_and_five(zone: str, naive: datetime) -> None:
    lead = Somebody(timezone=zone)
    windows = windows_for({"timezone": "UTC", "send_days": list(DAYS)}, Box(), lead)
    for begin, end in openings_ahead(windows, naive.replace(tzinfo=UTC)):
        for at in (begin, end - timedelta(microseconds=1)):
            assert time(9) <= at.astimezone(ZoneInfo(zone)).time() < time(17)
