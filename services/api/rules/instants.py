"""Instants as people and programs write them: RFC 3339, with an offset; never a number, whatever it counts."""

import re
from datetime import UTC, datetime
from typing import Any

from services.api.rules.text import Refused

_INSTANT = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d(:\d\d(\.\d{1,6})?)?([Zz]|[+-]\d\d:\d\d)")
FIRST, LAST = datetime(2000, 1, 1, tzinfo=UTC), datetime(2099, 1, 1, tzinfo=UTC)


def written_instant(value: Any) -> datetime | None:
    """An instant of this century, in UTC (reliability.md B29).

    Raises:
        Refused: it is written otherwise, there is no such instant, or it lies in another century.

    """
    if value is None:
        return None
    mend = "write for example 2026-03-02T09:00:00Z"
    if not isinstance(value, str) or not _INSTANT.fullmatch(value):
        raise Refused("instant", "an instant is written as in RFC 3339, with its offset", mend)
    try:
        at = datetime.fromisoformat(value.upper()).astimezone(UTC)
    except (ValueError, OverflowError):
        raise Refused("instant", "there is no such instant", "check the calendar and the clock") from None
    if not FIRST <= at < LAST:
        raise Refused("instant", "the year must lie between 2000 and 2098", mend)
    return at
