"""A person's answer to a reply: its subject, and the first instant at which the limits let it go.

Never asks about windows, ramps or health: whoever has written waits for an answer.
"""

import re
from collections.abc import Sequence
from datetime import datetime, timedelta

import msgspec

from libs.planning.hours.windows import day_bounds
from libs.planning.limits.diary import HOUR, MIN_GAP_S, ROLLING, ROLLING_LIMIT
from libs.planning.words.render import MAX_SUBJECT, one_line

# What mail programs put before the subject of an answer, in the languages that we read ("Re[2]:" and "AW :" too).
_PREFIXES = re.compile(
    r"(?:(?:re|aw|antw|antwort|antwoord|sv|svar|vs|ref|rif|res|r|odp|ynt|atb|\u8fd4\u4fe1|\u56de\u590d|\u7b54\u590d)"
    r"(?:\[\d+\])?\s*[:\uff1a]\s*)+",
    re.IGNORECASE,
)


def answer_subject(subject: str) -> str:
    """The subject of an answer to a mail with this one: "Re:" once, whichever marks stood before it."""
    line = one_line(subject)
    return f"Re: {line[_end_of_prefixes(line) :]}"[:MAX_SUBJECT].rstrip()


def _end_of_prefixes(line: str) -> int:
    found = _PREFIXES.match(line)
    return found.end() if found else 0


class Caps(msgspec.Struct, frozen=True, kw_only=True):
    """An inbox's limits and its team's, and what counts: `busy` its sends of a day and the answers that wait."""

    zone: str
    daily_limit: int
    hourly_limit: int
    min_delay_s: int
    busy: Sequence[datetime]  # in any order
    team_zone: str
    team_limit: int
    team_used: int  # on the team's day of now


def free_slot(caps: Caps, now: datetime) -> datetime | None:
    """The first instant from `now` on at which no limit is in the way; None when a limit lets nothing go at all.

    Counts as the claim does (queries/claim.py), which has the last word.
    """
    if min(caps.daily_limit, caps.hourly_limit, caps.team_limit) <= 0:
        return None
    busy = sorted(caps.busy)
    gap = timedelta(seconds=max(caps.min_delay_s, MIN_GAP_S))
    at = max(now, busy[-1] + gap) if busy else now
    while (later := _later(caps, busy, at, now)) > at:
        at = later
    return at


def _later(caps: Caps, busy: Sequence[datetime], at: datetime, now: datetime) -> datetime:
    """`at`, or a later instant before which a limit is closed; nothing is busy after `at`."""
    for limit, span in ((caps.hourly_limit, HOUR), (ROLLING_LIMIT, ROLLING)):
        if sum(then > at - span for then in busy) >= limit:
            return busy[-limit] + span
    begin, end = day_bounds(at, caps.zone)
    if sum(then >= begin for then in busy) >= caps.daily_limit:
        return end
    ends = day_bounds(now, caps.team_zone)[1]
    return ends if at < ends and caps.team_used >= caps.team_limit else at
