"""When mail may go: weekly windows in a zone's own hours, and what several of them leave open together.

Never decides in UTC: a window is what the wall clock of its zone says, on both sides of a change to summer time.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from typing import Any, Protocol
from zoneinfo import ZoneInfo

import msgspec

from libs.planning.hours.holidays import is_holiday
from libs.planning.hours.zones import Known, zone_of
from libs.planning.settings import CampaignRules, campaign_rules

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")  # datetime.weekday() is the index
WEEKEND = ("sat", "sun")
MIDNIGHT = time(0)
# An intersection that stays empty for a week stays empty: every window repeats weekly (field.md 4.11),
LOOK_AHEAD = timedelta(days=8)
# but where there are days off: no holidays are longer than two months.
FAR_AHEAD = timedelta(days=62)
DAY = timedelta(days=1)
SECOND = timedelta(seconds=1)  # most who ask ask when it is open, and need no week of openings

Interval = tuple[datetime, datetime]  # [from, until) in UTC


class Window(msgspec.Struct, frozen=True, kw_only=True):
    """Weekdays and hours in a zone. It belongs to the day on which it begins; with start = end it lasts 24 hours."""

    days: frozenset[str]
    zone: str
    start: time = MIDNIGHT
    end: time = MIDNIGHT
    skip_dates: frozenset[date] = frozenset()
    holidays: str | None = None  # the country whose public holidays are days off

    def begins_on(self, day: date) -> bool:
        """Whether it opens on that local day at all."""
        if DAYS[day.weekday()] not in self.days or day in self.skip_dates:
            return False
        return self.holidays is None or not is_holiday(self.holidays, day)


class Hours(Protocol):
    """An inbox's own hours, as a row of its settings has them."""

    @property
    def send_days(self) -> Sequence[str]:
        """The weekdays on which it sends."""
        ...

    @property
    def weekends_enabled(self) -> bool:
        """Whether the weekend is added to them."""
        ...

    @property
    def send_window_start(self) -> time:
        """When its window opens."""
        ...

    @property
    def send_window_end(self) -> time:
        """When its window closes."""
        ...

    @property
    def send_window_timezone(self) -> str:
        """The zone of both."""
        ...


class Place(Protocol):
    """What is known of where a lead is."""

    @property
    def timezone(self) -> str | None:
        """The zone that somebody has given."""
        ...

    @property
    def country(self) -> str | None:
        """The country, by name or code."""
        ...

    @property
    def city(self) -> str | None:
        """The city."""
        ...


def windows_for(settings: Mapping[str, Any], hours: Hours, place: Place) -> tuple[Window, ...]:
    """All windows that must be open when a campaign's mail goes: campaign's, lead's where its zone is known, inbox's.

    The planner, the claim and a deferral ask this same function, so that a slot is never planned where it cannot go.
    """
    return *recipient_windows(campaign_rules(settings), known_zone(place)), hours_of(hours)


def known_zone(place: Place) -> Known | None:
    """The lead's zone and where it is known from; None: its mail goes by the campaign's zone."""
    return zone_of(place.timezone, place.country, place.city)


@lru_cache(maxsize=4096)
def recipient_windows(rules: CampaignRules, known: Known | None) -> tuple[Window, ...]:
    """The windows that hold whatever the inbox; of equal rules and zones the very same tuple."""
    campaign = campaign_window(rules)
    if known is None or not rules.send_in_lead_timezone:
        return (campaign,)
    lead = Window(
        days=rules.send_days,
        zone=known.zone,
        start=time.fromisoformat(rules.lead_window_start),
        end=time.fromisoformat(rules.lead_window_end),
    )
    return campaign, lead


def hours_of(hours: Hours) -> Window:
    """The window of an inbox's own hours."""
    return inbox_window(
        hours.send_days,
        weekends=hours.weekends_enabled,
        start=hours.send_window_start,
        end=hours.send_window_end,
        zone=hours.send_window_timezone,
    )


def inbox_window(send_days: Sequence[str], *, weekends: bool, start: time, end: time, zone: str) -> Window:
    """An inbox's window; `weekends_enabled` adds the weekend to its days (design.md §9.18)."""
    days = frozenset((*send_days, *WEEKEND)) if weekends else frozenset(send_days)
    return Window(days=days, zone=zone, start=start, end=end)


def campaign_window(rules: CampaignRules) -> Window:
    """A campaign's window: all hours of its days but holidays and the dates that it skips."""
    return Window(
        days=rules.send_days, zone=rules.timezone, skip_dates=rules.skip_dates, holidays=rules.holidays or None
    )


@lru_cache(maxsize=1024)
def _zone(name: str) -> ZoneInfo:
    return ZoneInfo(name)


def local_date(at: datetime, zone: str) -> date:
    """The date that a wall calendar in the zone shows at that instant."""
    return at.astimezone(_zone(zone)).date()


def day_bounds(at: datetime, zone: str) -> Interval:
    """The local day around the instant, 23 to 25 hours long."""
    day = local_date(at, zone)
    return instant(day, MIDNIGHT, zone), instant(day + DAY, MIDNIGHT, zone)


def instant(day: date, wall: time, zone: str) -> datetime:
    """The first instant at which the zone's clocks show this; an hour skipped in spring means the one after it."""
    return datetime.combine(day, wall, _zone(zone)).astimezone(UTC)


def openings(windows: Sequence[Window], after: datetime, until: datetime) -> list[Interval]:
    """The spans within [after, until) in which every one of the windows is open, in order, none empty, none touching.

    Raises:
        zoneinfo.ZoneInfoNotFoundError: a zone that the time zone database does not know.

    """
    spans = [(after, until)]
    for window in windows:
        spans = list(_common(spans, _merged(_of(window, after, until))))
    return spans


def next_open(windows: Sequence[Window], at: datetime) -> datetime | None:
    """The first instant from `at` on at which all windows are open; None when that is never."""
    found = openings(windows, at, at + SECOND) or openings_ahead(windows, at)
    return found[0][0] if found else None


def openings_ahead(windows: Sequence[Window], at: datetime) -> list[Interval]:
    """The openings of the week to come, or after long days off the next ones; empty: they never open together."""
    found = openings(windows, at, at + LOOK_AHEAD)
    if not found and any(window.skip_dates or window.holidays for window in windows):
        return openings(windows, at, at + FAR_AHEAD)
    return found


def _of(window: Window, after: datetime, until: datetime) -> Iterator[Interval]:
    # One day earlier: last night's window may still be open.
    day, last = local_date(after, window.zone) - DAY, local_date(until, window.zone)
    overnight = DAY if window.end <= window.start else timedelta(0)
    while day <= last:
        if window.begins_on(day):
            yield instant(day, window.start, window.zone), instant(day + overnight, window.end, window.zone)
        day += DAY


def _merged(spans: Iterator[Interval]) -> Iterator[Interval]:
    """Whole days touch each other: two that touch or overlap become one."""
    held: Interval | None = None
    for begin, end in spans:
        if held is not None and begin <= held[1]:
            held = held[0], max(held[1], end)
            continue
        if held is not None:
            yield held
        held = begin, end
    if held is not None:
        yield held


def _common(left: Sequence[Interval], right: Iterator[Interval]) -> Iterator[Interval]:
    others = list(right)
    i = j = 0
    while i < len(left) and j < len(others):
        begin, end = max(left[i][0], others[j][0]), min(left[i][1], others[j][1])
        if begin < end:
            yield begin, end
        if left[i][1] <= others[j][1]:
            i += 1
        else:
            j += 1
