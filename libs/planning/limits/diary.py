"""What an inbox and its team have sent and have promised, and what that leaves: each limit says what it counted.

A limit that is closed names the next instant worth trying. Never forgets a mail that may have gone.
"""

from bisect import bisect_left, bisect_right, insort
from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from itertools import pairwise
from uuid import UUID

import msgspec

from libs.planning.gates import Hold, Reading
from libs.planning.hours.windows import DAY, Window, day_bounds, local_date
from libs.planning.limits.budget import ramp_limit

MIN_GAP_S = 60  # no human sends faster; settings below it are raised to it
# No 24 hours ever hold more: the seed's own ceiling of daily_send_limit and Gmail's lowest cap, which is a rolling one.
ROLLING_LIMIT = 500
HOUR = timedelta(hours=1)
ROLLING = timedelta(hours=24)


class Inbox(msgspec.Struct, frozen=True, kw_only=True):
    """What the planner must know of an inbox; `busy`: its sends and slots from 25 hours ago on, future ones too."""

    inbox_id: UUID
    window: Window
    daily_limit: int  # already cut by its health's band
    hourly_limit: int
    min_delay_s: int
    max_delay_s: int
    busy: Sequence[datetime] = ()
    not_cold: Sequence[datetime] = ()  # those of `busy` that are no campaign's: they are not what the ramp is about
    sending_days: Sequence[date] | None = None  # its days with cold mail of two months; None: it has no ramp
    rolling_limit: int = ROLLING_LIMIT

    @property
    def least_gap(self) -> timedelta:
        """The gap that no two sends of this inbox ever undercut."""
        return timedelta(seconds=max(self.min_delay_s, MIN_GAP_S))


class Team(msgspec.Struct, frozen=True, kw_only=True):
    """The team's limits, and what its own calendar's days have used of them; a limit of zero is off, but the first."""

    zone: str
    daily_limit: int
    used: Mapping[date, int]
    follow_up_share: int = 60
    contact_gap: timedelta = timedelta(0)
    domain_daily_limit: int = 0
    domain_gap: timedelta = timedelta(0)
    # By recipient domain: from which inbox its mails of late went, or will go, and when.
    domain_mails: Mapping[str, Sequence[tuple[UUID, datetime]]] = {}


class Day(msgspec.Struct, frozen=True):
    """A local day and its bounds, [begin, end) in UTC."""

    date: date
    begin: datetime
    end: datetime


class Calendar:
    """The days of a zone, those of the weeks around an instant known by heart: a slot asks for many."""

    def __init__(self, zone: str, around: datetime) -> None:
        self.zone = zone
        self._days = [self._look_up(around + n * DAY) for n in range(-2, 11)]
        self._begins = [day.begin for day in self._days]

    def day(self, at: datetime) -> Day:
        """The local day around the instant."""
        day = self._days[bisect_right(self._begins, at) - 1]
        return day if day.begin <= at < day.end else self._look_up(at)

    def _look_up(self, at: datetime) -> Day:
        return Day(local_date(at, self.zone), *day_bounds(at, self.zone))


class TeamDays:
    """How many mails each of the team's days holds, in all and for each domain; grows with every slot given."""

    def __init__(self, team: Team, calendar: Calendar) -> None:
        self.team = team
        self._calendar = calendar
        self._used = dict(team.used)
        self._domain_gap = _seconds(team.domain_gap)
        self._mails: dict[str, list[tuple[UUID, datetime]]] = {}
        self._domain_days: dict[tuple[str, date], int] = {}
        for domain, mails in team.domain_mails.items():
            for inbox_id, at in mails:
                self._add_to_domain(domain, inbox_id, at)

    def reading(self, at: datetime) -> Reading:
        """The team's daily limit; closed until the next day."""
        day = self._calendar.day(at)
        return _counted("team_limit", self._used.get(day.date, 0), self.team.daily_limit, day.end)

    def domain_day(self, domain: str | None, at: datetime) -> Reading:
        """How many mails the recipient's company gets from the team on that day; closed until the next one."""
        if domain is None or not self.team.domain_daily_limit:
            return _NO_DOMAIN_LIMIT
        day = self._calendar.day(at)
        used = self._domain_days.get((domain, day.date), 0)
        return _counted("domain_limit", used, self.team.domain_daily_limit, day.end)

    def domain_gap(self, domain: str | None, inbox_id: UUID, at: datetime) -> Reading:
        """How long ago the inbox wrote to the same company, or how soon it will; in seconds."""
        gap = self.team.domain_gap
        if domain is None or not gap:
            return _NO_DOMAIN_GAP
        limit = self._domain_gap
        near = [then for by, then in self._mails.get(domain, ()) if by == inbox_id and abs(at - then) < gap]
        if not near:
            return Reading(gate="domain_gap", limit=limit)
        value = _seconds(min(abs(at - then) for then in near))
        hold = Hold(gate="domain_gap", value=value, limit=limit, retry_at=max(near) + gap)
        return Reading(gate="domain_gap", value=value, limit=limit, hold=hold)

    def add(self, at: datetime, inbox_id: UUID, domain: str | None) -> None:
        """Counts one more mail on the day of `at`."""
        day = self._calendar.day(at).date
        self._used[day] = self._used.get(day, 0) + 1
        if domain is not None and (self.team.domain_daily_limit or self.team.domain_gap):
            self._add_to_domain(domain, inbox_id, at)

    def _add_to_domain(self, domain: str, inbox_id: UUID, at: datetime) -> None:
        self._mails.setdefault(domain, []).append((inbox_id, at))
        key = domain, self._calendar.day(at).date
        self._domain_days[key] = self._domain_days.get(key, 0) + 1


class Diary:
    """One inbox's sends and slots in order, and what they forbid."""

    def __init__(self, inbox: Inbox, calendar: Calendar, round_at: datetime) -> None:
        self.inbox = inbox
        self.calendar = calendar
        self._least_gap = inbox.least_gap
        self._busy = sorted(inbox.busy)
        self._holes = _Holes(self._busy, 2 * self._least_gap)
        self._not_cold = sorted(inbox.not_cold)
        self._cold_days = None if inbox.sending_days is None else set(inbox.sending_days)
        self._ramps: dict[date, int] = {}
        self._lately = round_at - ROLLING
        self._today = calendar.day(round_at).date

    def room(self) -> int:
        """How much of a day's limit the last 24 hours and the slots to come leave."""
        ramp = self._ramp(self._today)
        limit = self.inbox.daily_limit if ramp is None else min(ramp, self.inbox.daily_limit)
        return limit - (len(self._busy) - bisect_right(self._busy, self._lately))

    def add(self, at: datetime) -> None:
        """Enters a slot."""
        place = bisect_right(self._busy, at)
        self._busy.insert(place, at)
        self._holes.split(self._busy, place)
        day = self.calendar.day(at).date
        if self._cold_days is not None and day not in self._cold_days:
            self._cold_days.add(day)
            self._ramps.clear()

    def ramp(self, at: datetime) -> Reading:
        """The ramp's limit on cold mail of that day; closed until the next one."""
        day = self.calendar.day(at)
        limit = self._ramp(day.date)
        if limit is None:
            return _NO_RAMP
        return _counted("ramp", _within(self._busy, day) - _within(self._not_cold, day), limit, day.end)

    def daily(self, at: datetime) -> Reading:
        """The limit of that day, whatever kind of mail; closed until the next one."""
        day = self.calendar.day(at)
        return _counted("daily_limit", _within(self._busy, day), self.inbox.daily_limit, day.end)

    def hourly(self, at: datetime) -> Reading:
        """The limit of any hour around that instant."""
        return self._crowded("hourly_limit", at, self.inbox.hourly_limit, HOUR)

    def rolling(self, at: datetime) -> Reading:
        """The limit of any 24 hours around that instant."""
        return self._crowded("rolling_limit", at, self.inbox.rolling_limit, ROLLING)

    def gap(self, at: datetime, gap: timedelta) -> Reading:
        """The pause to the sends before and after; a closed one names the first instant of the day that has both."""
        limit = _seconds(gap)
        index = bisect_right(self._busy, at)
        since = at - self._busy[index - 1] if index else None
        value = None if since is None else _seconds(since)
        later = self._free(at, gap, index)
        hold = None if later == at else Hold(gate="gap", value=value, limit=limit, retry_at=later)
        return Reading(gate="gap", value=value, limit=limit, hold=hold)

    def _free(self, at: datetime, gap: timedelta, index: int) -> datetime:
        """The first instant from `at` on with its gaps on both sides, or the day's end: the next day has other gaps."""
        busy = self._busy
        if index and at - busy[index - 1] < gap:
            at = busy[index - 1] + gap
        if index == len(busy) or busy[index] - at >= self._least_gap:
            return at
        end = self.calendar.day(at).end
        if at >= end:
            return at
        # From here on it is right after one of them: the first that the day's end or a wide hole follows.
        last = min(bisect_left(busy, end - gap, index), len(busy) - 1)
        return (self._holes.first(busy[index], busy[last], gap + self._least_gap) or busy[last]) + gap

    def _ramp(self, day: date) -> int | None:
        if self._cold_days is None:
            return None
        if day not in self._ramps:
            self._ramps[day] = ramp_limit(self._cold_days, day, self.inbox.daily_limit)
        return self._ramps[day]

    def _crowded(self, gate: str, at: datetime, limit: int, span: timedelta) -> Reading:
        """How many mails the span before `at` holds; closed when `at` would bring any such span over the limit."""
        low, place = bisect_right(self._busy, at - span), bisect_right(self._busy, at)
        value, shown = str(place - low), str(limit)
        high = bisect_left(self._busy, at + span)
        later = self._after_crowd(at, limit, span, (low, high)) if high - low >= limit else None
        hold = later and Hold(gate=gate, value=value, limit=shown, retry_at=later)
        return Reading(gate=gate, value=value, limit=shown, hold=hold)

    def _after_crowd(self, at: datetime, limit: int, span: timedelta, part: tuple[int, int]) -> datetime | None:
        """The next instant to try when `at` would make more than `limit` mails within some span of that length."""
        near = self._busy[part[0] : part[1]]
        place = bisect_right(near, at)
        row = [*near[:place], at, *near[place:]]
        for first in range(max(0, place - limit), min(place, len(row) - limit - 1) + 1):
            if row[first + limit] - row[first] < span:
                after_run = [row[first] + span] if first < place else []
                after_next = [row[place + 1] + self._least_gap] if place + 1 < len(row) else []
                return min(after_run + after_next)
        return None


class _Holes:
    """Where two mails leave room for a third: where each such hole begins, in order, and where it ends."""

    def __init__(self, busy: Sequence[datetime], least: timedelta) -> None:
        self._least = least
        self._ends = {begin: end for begin, end in pairwise(busy) if end - begin >= least}
        self._begins = list(self._ends)

    def first(self, begin: datetime, until: datetime, width: timedelta) -> datetime | None:
        """The beginning of the first hole of that width that begins in [begin, until)."""
        for place in range(bisect_left(self._begins, begin), len(self._begins)):
            found = self._begins[place]
            if found >= until:
                return None
            if self._ends[found] - found >= width:
                return found
        return None

    def split(self, busy: Sequence[datetime], place: int) -> None:
        """Takes in the mail that was entered at that place."""
        for begin, end in pairwise(busy[max(0, place - 1) : place + 2]):
            known = begin in self._ends
            if end - begin >= self._least:
                self._ends[begin] = end
                if not known:
                    insort(self._begins, begin)
            elif known and begin != busy[place]:
                del self._ends[begin]
                del self._begins[bisect_left(self._begins, begin)]


_NO_RAMP = Reading(gate="ramp")
_NO_DOMAIN_LIMIT = Reading(gate="domain_limit")
_NO_DOMAIN_GAP = Reading(gate="domain_gap")


def _counted(gate: str, used: int, limit: int, ends_at: datetime) -> Reading:
    value, shown = str(used), str(limit)
    hold = Hold(gate=gate, value=value, limit=shown, retry_at=ends_at) if used >= limit else None
    return Reading(gate=gate, value=value, limit=shown, hold=hold)


def _within(busy: Sequence[datetime], day: Day) -> int:
    return bisect_left(busy, day.end) - bisect_left(busy, day.begin)


def _seconds(span: timedelta) -> str:
    return str(int(span.total_seconds()))
