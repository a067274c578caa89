"""The planner: gives each due lead the one second at which its mail goes, or says which gate holds it and until when.

The same inputs give the same second, always: jitter comes from a hash, never from chance, so that the time shown is the
time of sending and a simulation is true (design.md P12). Never plans what a cap, a window or a gap forbids.
"""

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from heapq import heapify, heappop, heapreplace
from uuid import UUID

import msgspec

from libs.planning.gates import Hold
from libs.planning.seed import unit_hash
from libs.planning.windows import LOOK_AHEAD, Interval, Window, day_bounds, local_date, openings

HORIZON = timedelta(hours=24)  # slots are given for the day ahead; who falls due later is planned later
LATE = timedelta(hours=2)  # a slot missed by more is planned anew and never made up for in a burst (field.md 4.11)
MIN_GAP_S = 60  # no human sends faster; settings below it are raised to it
# No 24 hours ever hold more: the seed's own ceiling of daily_send_limit and Gmail's lowest cap, which is a rolling one.
ROLLING_LIMIT = 500
HOUR = timedelta(hours=1)
ROLLING = timedelta(hours=24)
# When the settings leave no room between their two delays, gaps still differ: a constant rhythm is a machine's.
_SPREAD_WITHOUT_ROOM = 1.45


class Inbox(msgspec.Struct, frozen=True, kw_only=True):
    """What the planner must know of an inbox; `busy`: its sends and slots from 25 hours ago on, future ones too."""

    inbox_id: UUID
    window: Window
    daily_limit: int
    hourly_limit: int
    min_delay_s: int
    max_delay_s: int
    busy: tuple[datetime, ...] = ()
    rolling_limit: int = ROLLING_LIMIT

    @property
    def least_gap(self) -> timedelta:
        """The gap that no two sends of this inbox ever undercut."""
        return timedelta(seconds=max(self.min_delay_s, MIN_GAP_S))


class Team(msgspec.Struct, frozen=True, kw_only=True):
    """The team's daily limit, and how much of it each day of its own calendar has used."""

    zone: str
    daily_limit: int
    used: Mapping[date, int]


class Due(msgspec.Struct, frozen=True, kw_only=True):
    """A lead whose next step may go from `due_at` on, out of one of the inboxes (just one: it stays there)."""

    enrollment_id: UUID
    lead_key: bytes
    step_id: UUID
    step_number: int
    due_at: datetime
    campaign_id: UUID
    campaign_window: Window
    inbox_ids: tuple[UUID, ...]


class Slot(msgspec.Struct, frozen=True, kw_only=True):
    """The planned second, in UTC, and the inbox."""

    enrollment_id: UUID
    inbox_id: UUID
    at: datetime


class Held(msgspec.Struct, frozen=True, kw_only=True):
    """No slot within the horizon, and the gate that says why."""

    enrollment_id: UUID
    hold: Hold


def gap_before(inbox: Inbox, lead_key: bytes, step_id: UUID, day: date) -> timedelta:
    """The pause before this mail, between the inbox's two delays: by a hash of (inbox, lead, step, local date)."""
    least = max(inbox.min_delay_s, MIN_GAP_S)
    most = inbox.max_delay_s if inbox.max_delay_s > least else least * _SPREAD_WITHOUT_ROOM
    share = unit_hash(inbox.inbox_id.bytes, lead_key, step_id.bytes, day.isoformat().encode())
    return timedelta(seconds=round(least + (most - least) * share))


def plan(leads: Iterable[Due], inboxes: Sequence[Inbox], team: Team, now: datetime) -> list[Slot | Held]:
    """One slot or hold for each lead: follow-ups before new leads, the longest due first, to the freest inbox."""
    diaries = {inbox.inbox_id: Diary(inbox, now) for inbox in inboxes}
    planner = _Planner(diaries, TeamDays(team), now)
    ordered = sorted(leads, key=lambda due: (due.step_number == 1, due.due_at, due.enrollment_id))
    return [planner.place(due) for due in ordered]


class TeamDays:
    """How many mails each of the team's days holds; grows with every slot given."""

    def __init__(self, team: Team) -> None:
        self._team = team
        self._used = dict(team.used)

    def refuses(self, at: datetime) -> Hold | None:
        """Holds until the start of the next day when this one is full."""
        used = self._used.get(local_date(at, self._team.zone), 0)
        if used < self._team.daily_limit:
            return None
        tomorrow = day_bounds(at, self._team.zone)[1]
        return Hold(gate="team_limit", value=str(used), limit=str(self._team.daily_limit), retry_at=tomorrow)

    def add(self, at: datetime) -> None:
        """Counts one more mail on the day of `at`."""
        day = local_date(at, self._team.zone)
        self._used[day] = self._used.get(day, 0) + 1


class Diary:
    """One inbox's sends and slots in order, and what they forbid."""

    def __init__(self, inbox: Inbox, now: datetime) -> None:
        self.inbox = inbox
        self._busy = sorted(inbox.busy)
        self._lately = now - ROLLING

    def room(self) -> int:
        """How much of a day's limit the last 24 hours and the slots to come leave."""
        return self.inbox.daily_limit - (len(self._busy) - bisect_right(self._busy, self._lately))

    def add(self, at: datetime) -> None:
        """Enters a slot."""
        insort(self._busy, at)

    def refuses(self, at: datetime, gap: timedelta) -> Hold | None:
        """The limit that forbids `at`, held until the next instant worth trying; None when nothing does."""
        return self._daily(at) or self._hourly(at) or self._rolling(at) or self._too_close(at, gap)

    def _daily(self, at: datetime) -> Hold | None:
        begin, end = day_bounds(at, self.inbox.window.zone)
        used = bisect_left(self._busy, end) - bisect_left(self._busy, begin)
        if used < self.inbox.daily_limit:
            return None
        return Hold(gate="daily_limit", value=str(used), limit=str(self.inbox.daily_limit), retry_at=end)

    def _hourly(self, at: datetime) -> Hold | None:
        later = self._crowded(at, self.inbox.hourly_limit, HOUR)
        limit = str(self.inbox.hourly_limit)
        return later and Hold(gate="hourly_limit", value=limit, limit=limit, retry_at=later)

    def _rolling(self, at: datetime) -> Hold | None:
        later = self._crowded(at, self.inbox.rolling_limit, ROLLING)
        limit = str(self.inbox.rolling_limit)
        return later and Hold(gate="rolling_limit", value=limit, limit=limit, retry_at=later)

    def _too_close(self, at: datetime, gap: timedelta) -> Hold | None:
        index = bisect_right(self._busy, at)
        previous = self._busy[index - 1] if index else None
        following = self._busy[index] if index < len(self._busy) else None
        if previous is not None and at - previous < gap:
            later = previous + gap
        elif following is not None and following - at < self.inbox.least_gap:
            later = following + gap
        else:
            return None
        return Hold(gate="gap", limit=str(int(gap.total_seconds())), retry_at=later)

    def _crowded(self, at: datetime, limit: int, span: timedelta) -> datetime | None:
        """The next instant to try when `at` would make more than `limit` mails within some span of that length."""
        near = self._busy[bisect_right(self._busy, at - span) : bisect_left(self._busy, at + span)]
        if len(near) < limit:
            return None
        place = bisect_right(near, at)
        row = [*near[:place], at, *near[place:]]
        for first in range(max(0, place - limit), min(place, len(row) - limit - 1) + 1):
            if row[first + limit] - row[first] < span:
                after_run = [row[first] + span] if first < place else []
                after_next = [row[place + 1] + self.inbox.least_gap] if place + 1 < len(row) else []
                return min(after_run + after_next)
        return None


class _Choice:
    """The inboxes that a group of leads may still get, the freest first, and the hold of those that are full."""

    def __init__(self, diaries: Mapping[UUID, Diary], inbox_ids: tuple[UUID, ...]) -> None:
        self.hold = NO_INBOX
        self._diaries = diaries
        self._heap = [(-diaries[inbox_id].room(), inbox_id) for inbox_id in inbox_ids]
        heapify(self._heap)

    def freest(self) -> Diary | None:
        """The diary with the most room; other groups fill diaries too, so the heap is put right as it is read."""
        while self._heap:
            room, inbox_id = self._heap[0]
            fresh = -self._diaries[inbox_id].room()
            if fresh == room:
                return self._diaries[inbox_id]
            heapreplace(self._heap, (fresh, inbox_id))
        return None

    def drop(self, hold: Hold) -> None:
        """Takes the freest out for good: it was full for this lead, and the group's next ones fall due no earlier."""
        heappop(self._heap)
        if self.hold is NO_INBOX or _ends(hold) < _ends(self.hold):
            self.hold = hold


class _Planner:
    def __init__(self, diaries: Mapping[UUID, Diary], team: TeamDays, now: datetime) -> None:
        self._diaries = diaries
        self._team = team
        self._now = now
        self._spans: dict[tuple[UUID, Window], list[Interval]] = {}
        self._choices: dict[tuple[bool, tuple[UUID, ...], Window], _Choice] = {}

    def place(self, due: Due) -> Slot | Held:
        """A slot in the freest inbox that has one within the horizon, else the hold that ends first."""
        group = (due.step_number == 1, due.inbox_ids, due.campaign_window)
        choice = self._choices.get(group)
        if choice is None:
            choice = self._choices[group] = _Choice(self._diaries, due.inbox_ids)
        while (diary := choice.freest()) is not None:
            found = self._find(due, diary)
            if isinstance(found, datetime):
                diary.add(found)
                self._team.add(found)
                return Slot(enrollment_id=due.enrollment_id, inbox_id=diary.inbox.inbox_id, at=found)
            choice.drop(found)
        return Held(enrollment_id=due.enrollment_id, hold=choice.hold)

    def _find(self, due: Due, diary: Diary) -> datetime | Hold:
        """The first instant that nothing forbids if it lies within the horizon, else what moved it out."""
        at, reason = _whole_second(max(due.due_at, self._now)), None
        while refusal := self._window(due, diary, at) or self._limits(due, diary, at):
            reason = _weightier(reason, refusal)
            if refusal.retry_at is None:
                return msgspec.structs.replace(reason, retry_at=None)
            at = _whole_second(refusal.retry_at)
        if at <= self._now + HORIZON:
            return at
        return msgspec.structs.replace(reason or Hold(gate="due"), retry_at=at)

    def _limits(self, due: Due, diary: Diary, at: datetime) -> Hold | None:
        gap = gap_before(diary.inbox, due.lead_key, due.step_id, local_date(at, diary.inbox.window.zone))
        return self._team.refuses(at) or diary.refuses(at, gap)

    def _window(self, due: Due, diary: Diary, at: datetime) -> Hold | None:
        key = (diary.inbox.inbox_id, due.campaign_window)
        spans = self._spans.get(key)
        if spans is None:
            windows = (due.campaign_window, diary.inbox.window)
            spans = self._spans[key] = openings(windows, self._now, self._now + LOOK_AHEAD)
        index = bisect_right(spans, at, key=lambda span: span[0])
        if index and at < spans[index - 1][1]:
            return None
        return Hold(gate="window", retry_at=spans[index][0] if index < len(spans) else None)


NO_INBOX = Hold(gate="inbox", value="none")
# The gates of this module: a lead that they hold gets its slot as soon as the time comes within the horizon.
SLOT_GATES = ("window", "daily_limit", "hourly_limit", "rolling_limit", "team_limit", "gap", "due", "out_of_office")
_WEIGHT = {"gap": 0, "window": 1}  # every limit weighs more: it is why the window's next opening had to be waited for


def _weightier(held: Hold | None, new: Hold) -> Hold:
    return held if held is not None and _WEIGHT.get(held.gate, 2) > _WEIGHT.get(new.gate, 2) else new


def _ends(hold: Hold) -> tuple[bool, datetime]:
    """Orders holds by their end; one without an end comes last."""
    return hold.retry_at is None, hold.retry_at or datetime.max.replace(tzinfo=UTC)


def _whole_second(at: datetime) -> datetime:
    """Rounded up: a slot is shown to the second and must not come before anything it waits for."""
    return at if at.microsecond == 0 else at.replace(microsecond=0) + timedelta(seconds=1)
