"""When mail may go: weekly windows in a zone's own hours, and what several of them leave open together.

Never decides in UTC: a window is what the wall clock of its zone says, on both sides of a change to summer time.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo

import msgspec

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")  # datetime.weekday() is the index
WEEKEND = ("sat", "sun")
MIDNIGHT = time(0)
# An intersection that stays empty for a week stays empty: every window repeats weekly (field.md 4.11).
LOOK_AHEAD = timedelta(days=8)
DAY = timedelta(days=1)

Interval = tuple[datetime, datetime]  # [from, until) in UTC


class Window(msgspec.Struct, frozen=True, kw_only=True):
    """Weekdays and hours in a zone. It belongs to the day on which it begins; with start = end it lasts 24 hours."""

    days: frozenset[str]
    zone: str
    start: time = MIDNIGHT
    end: time = MIDNIGHT


def inbox_window(send_days: Sequence[str], *, weekends: bool, start: time, end: time, zone: str) -> Window:
    """An inbox's window; `weekends_enabled` adds the weekend to its days (design.md §9.18)."""
    days = frozenset((*send_days, *WEEKEND)) if weekends else frozenset(send_days)
    return Window(days=days, zone=zone, start=start, end=end)


def campaign_window(settings: Mapping[str, Any]) -> Window:
    """A campaign's window: all hours of its days; what its settings leave out is as the seed's defaults say."""
    return Window(
        days=frozenset(settings.get("send_days", DAYS[:5])), zone=settings.get("timezone", "America/New_York")
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
    found = openings(windows, at, at + LOOK_AHEAD)
    return found[0][0] if found else None


def _of(window: Window, after: datetime, until: datetime) -> Iterator[Interval]:
    # One day earlier: last night's window may still be open.
    day, last = local_date(after, window.zone) - DAY, local_date(until, window.zone)
    overnight = DAY if window.end <= window.start else timedelta(0)
    while day <= last:
        if DAYS[day.weekday()] in window.days:
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
