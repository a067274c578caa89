"""When an inbox or a campaign may send: zones, days and hours that exist and leave room (reliability.md B28)."""

import re
from collections.abc import Sequence
from datetime import date, time
from functools import cache
from zoneinfo import available_timezones

from services.api.rules.text import Refused

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
MAX_SKIP_DATES = 366
_DATE = re.compile(r"20\d\d-\d\d-\d\d")
_CLOCK = re.compile(r"([01]\d|2[0-3]):[0-5]\d(:[0-5]\d)?")


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
    """Says nothing about a window that ends at another time than it starts; one that ends earlier runs over midnight.

    Raises:
        Refused: nobody could say whether it is empty or lasts the whole day.

    """
    if start == end:
        raise Refused("send_window", "the window is empty: it ends when it starts", "let it end at another time")


def wall_time(value: str) -> str:
    """A time of day as it was written, HH:MM or HH:MM:SS.

    Raises:
        Refused: it is written otherwise, or no clock shows it.

    """
    if not _CLOCK.fullmatch(value):
        raise Refused("time", "a time of day is written HH:MM or HH:MM:SS, up to 23:59:59", "write for example 09:00")
    return value


def country(value: str) -> str:
    """An ISO country code in capitals, of a country whose public holidays are known.

    Raises:
        Refused: the `holidays` library does not know it.

    """
    code = value.upper()
    if code not in _countries():
        raise Refused(
            "holidays", "no public holidays are known for that", "use an ISO country code like US or DE, or null"
        )
    return code


@cache
def _countries() -> frozenset[str]:
    import holidays  # noqa: PLC0415  it takes a quarter of a second, and most teams never name a country

    return frozenset(holidays.list_supported_countries(include_aliases=False))


def dates(values: Sequence[str]) -> list[str]:
    """Days of the calendar in their order, each once.

    Raises:
        Refused: one is not written as a day, or is none.

    """
    for value in values:
        written_date(value)
    return sorted(set(values))


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
