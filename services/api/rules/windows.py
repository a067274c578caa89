"""When an inbox or a campaign may send: zones, days and hours that exist and leave room (reliability.md B28)."""

import re
from collections.abc import Iterable, Sequence
from datetime import date, time
from functools import cache
from zoneinfo import available_timezones

from services.api.rules.text import Refused

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_WEEKEND = ("sat", "sun")
_DATE = re.compile(r"20\d\d-\d\d-\d\d")


@cache
def _zones() -> frozenset[str]:
    return frozenset(available_timezones())


def zone(value: str) -> str:
    """An IANA zone's name.

    Raises:
        Refused: this machine's zone data does not have it.

    """
    if value not in _zones():
        raise Refused("timezone", "not a known time zone", "use an IANA name like Europe/Paris or UTC")
    return value


def days(values: Sequence[str]) -> list[str]:
    """Days of the week in their order.

    Raises:
        Refused: none, an unknown one, or one twice.

    """
    if not values:
        raise Refused("send_days", "at least one day is needed", f"choose from {', '.join(DAYS)}")
    if unknown := sorted(set(values) - set(DAYS)):
        raise Refused("send_days", f"{unknown[0]!r} is not a day", f"choose from {', '.join(DAYS)}")
    if len(set(values)) != len(values):
        raise Refused("send_days", "a day stands twice", "name each day once")
    return [day for day in DAYS if day in values]


def check_window(start: time, end: time) -> None:
    """Says nothing about a window that opens before it closes.

    Raises:
        Refused: it is empty, or runs over midnight.

    """
    if start == end:
        raise Refused("send_window", "the window is empty: it ends when it starts", "let it end later")
    if start > end:
        raise Refused("send_window", "the window would run over midnight", "let it start before it ends")


def sending_days(send_days: Iterable[str], *, weekends_enabled: bool) -> frozenset[str]:
    """The days on which an inbox really sends: its days, plus the weekend where that is on (design.md §9.18)."""
    return frozenset((*send_days, *(_WEEKEND if weekends_enabled else ())))


def written_date(value: str | None) -> date | None:
    """A day of this century, written YYYY-MM-DD; a number is none, whatever it counts (reliability.md B29).

    Raises:
        Refused: it is written otherwise, or there is no such day.

    """
    if value is None:
        return None
    if not _DATE.fullmatch(value):
        raise Refused("date", "a day is written YYYY-MM-DD, from 2000 to 2099", "write for example 2026-03-02")
    try:
        return date.fromisoformat(value)
    except ValueError:
        raise Refused("date", "there is no such day", "check the calendar") from None
