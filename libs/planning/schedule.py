"""The planner: gives each due lead the one second at which its mail goes, or says which gate holds it and until when.

The same inputs give the same second, always: jitter comes from a hash, never from chance, so that the time shown is the
time of sending and a simulation is true (design.md P12). Never plans what a cap, a window or a gap forbids.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import TypeVar
from uuid import UUID

import msgspec

from libs.planning.choice import NO_INBOX, Choice, Place, sooner
from libs.planning.gates import Hold, Reading
from libs.planning.hours.windows import Interval, Window, openings_ahead
from libs.planning.limits.diary import HOUR, MIN_GAP_S, Calendar, Diary, Inbox, Team, TeamDays
from libs.planning.seed import unit_hash

HORIZON = timedelta(hours=24)  # slots are given for the day ahead; who falls due later is planned later
LATE = timedelta(hours=2)  # a slot missed by more is planned anew and never made up for in a burst (field.md 4.11)
# Rounds stand on a grid: a simulation that steps through the same grid gives the same slots.
ROUND_EVERY = timedelta(minutes=5)
BATCH = 500  # leads planned at once: enough to plan fairly, few enough for handlers to wait for their rows
LOOK_AGAIN = timedelta(hours=1)  # at what only a person can mend: not every mend is told as an event
# A mail that goes so soon after its second has gone in that second: what is planned from it stays exact.
PUNCTUAL = timedelta(minutes=1)
# When the settings leave no room between their two delays, gaps still differ: a constant rhythm is a machine's.
_SPREAD_WITHOUT_ROOM = 1.45
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
T = TypeVar("T")


class Due(msgspec.Struct, frozen=True, kw_only=True):
    """A lead whose next step may go from `due_at` on, out of one of the inboxes (just one: it stays there)."""

    enrollment_id: UUID
    lead_key: bytes
    step_id: UUID
    follows_up: bool
    due_at: datetime
    windows: tuple[Window, ...]  # all that must be open, beside the inbox's own
    inbox_ids: tuple[UUID, ...]
    spill_ids: tuple[UUID, ...] = ()  # only when none of the others has a slot
    domain: str | None = None  # the recipient's company; None: no limit of its domain applies
    contacted_at: datetime | None = None  # the last mail that another campaign sent to the person


class Slot(msgspec.Struct, frozen=True, kw_only=True):
    """The planned second, in UTC, and the inbox."""

    enrollment_id: UUID
    inbox_id: UUID
    at: datetime


class Held(msgspec.Struct, frozen=True, kw_only=True):
    """No slot within the horizon, and the gate that says why."""

    enrollment_id: UUID
    hold: Hold


def round_of(now: datetime) -> datetime:
    """The instant of the grid at or before now: what a round measures, it measures from here."""
    return now - (now - _EPOCH) % ROUND_EVERY


def went_at(committed_at: datetime, planned_at: datetime) -> datetime:
    """When a mail counts as sent: in its planned second if it was punctual, else when it went."""
    return planned_at if committed_at <= planned_at + PUNCTUAL else committed_at


def wants_slot(next_at: datetime, held_gate: str | None, held_until: datetime | None, round_at: datetime) -> bool:
    """Whether a waiting lead is looked at in the round: due by the horizon, and not held beyond what the gate asks.

    `WAITING` of the sender says the same in SQL.
    """
    if next_at > round_at + HORIZON:
        return False
    return held_until is None or held_until <= (round_at + HORIZON if held_gate in SLOT_GATES else round_at)


def ready_from(next_at: datetime, held_gate: str | None, held_until: datetime | None, now: datetime) -> datetime:
    """The first instant from now on at which some round looks at the lead: now, or one of the grid."""
    if wants_slot(next_at, held_gate, held_until, round_of(now)):
        return now
    at = next_at - HORIZON
    if held_until is not None:
        at = max(at, held_until - HORIZON if held_gate in SLOT_GATES else held_until)
    return at if round_of(at) == at else round_of(at) + ROUND_EVERY


def look_again_at(hold: Hold, round_at: datetime) -> datetime:
    """When a held lead is looked at again at the latest; never in the same round."""
    return max(hold.look_at or hold.retry_at or round_at + LOOK_AGAIN, round_at + ROUND_EVERY)


def gap_before(inbox: Inbox, lead_key: bytes, step_id: UUID, day: date) -> timedelta:
    """The pause before this mail, between the inbox's two delays: by a hash of (inbox, lead, step, local date)."""
    least = max(inbox.min_delay_s, MIN_GAP_S)
    most = inbox.max_delay_s if inbox.max_delay_s > least else least * _SPREAD_WITHOUT_ROOM
    share = unit_hash(inbox.inbox_id.bytes, lead_key, step_id.bytes, day.isoformat().encode())
    return timedelta(seconds=round(least + (most - least) * share))


def choose_batch(follow_ups: Sequence[T], new: Sequence[T], share: int, most: int) -> list[T]:
    """At most so many of both, each in its own order: of a hundred `share` follow-ups, and one of them first.

    When one kind runs out, the other fills up.
    """
    chosen: list[T] = []
    taken, fresh = 0, 0
    while len(chosen) < most and (taken < len(follow_ups) or fresh < len(new)):
        their_turn = share > 0 and taken * (100 - share) <= fresh * share
        if taken < len(follow_ups) and (their_turn or fresh == len(new)):
            chosen.append(follow_ups[taken])
            taken += 1
        else:
            chosen.append(new[fresh])
            fresh += 1
    return chosen


def plan(
    leads: Iterable[Due], inboxes: Sequence[Inbox], team: Team, now: datetime, round_at: datetime | None = None
) -> list[Slot | Held]:
    """One slot or hold for each lead: follow-ups and new leads by share, longest due first, to the freest inbox."""
    planner = Planner(inboxes, team, now, round_at)
    # By the person before the enrollment: its id is chance, and a simulation must see the same order.
    ordered = sorted(leads, key=lambda due: (due.due_at, due.lead_key, due.enrollment_id))
    follow_ups = [due for due in ordered if due.follows_up]
    new = [due for due in ordered if not due.follows_up]
    return [planner.place(due) for due in choose_batch(follow_ups, new, team.follow_up_share, len(ordered))]


class Planner:
    """A team's inboxes and days as they fill up with slots."""

    def __init__(self, inboxes: Sequence[Inbox], team: Team, now: datetime, round_at: datetime | None = None) -> None:
        self._now = now
        self._round_at = round_of(now) if round_at is None else round_at
        self._calendars: dict[str, Calendar] = {}
        self._diaries = {
            inbox.inbox_id: Diary(inbox, self._calendar(inbox.window.zone), self._round_at) for inbox in inboxes
        }
        self._days = TeamDays(team, self._calendar(team.zone))
        self._numbers = _Numbers()
        self._spans: dict[tuple[int, int], _Spans] = {}
        self._choices: dict[tuple[bool, int, int], Choice] = {}
        self._last_gap = (UUID(int=0), UUID(int=0), date.min, timedelta(0))  # asked again right after it has refused
        self._lines: dict[int, tuple[int, int]] = {}  # by inboxes: how many wait, and how many mails a day has room for
        self._gates: tuple[_Gate, ...] = (
            self._contact,
            lambda due, _, at: self._days.domain_day(due.domain, at),
            lambda due, diary, at: self._days.domain_gap(due.domain, diary.inbox.inbox_id, at),
            self._window,
            lambda _, diary, at: diary.ramp(at),
            lambda _, diary, at: diary.daily(at),
            lambda _, diary, at: diary.hourly(at),
            lambda _, diary, at: diary.rolling(at),
            lambda _, __, at: self._days.reading(at),
            self._gap,
        )
        # A search asks in another order: who is passed on at once by window or gap is counted nowhere.
        self._search = sorted(self._gates, key=lambda gate: gate not in (self._window, self._gap))

    def readings(self, due: Due, inbox_id: UUID, at: datetime) -> list[Reading]:
        """What every gate of the hour says about this lead, this inbox and that instant, in the gates' order."""
        return [gate(due, self._diaries[inbox_id], at) for gate in self._gates]

    def place(self, due: Due) -> Slot | Held:
        """A slot in the freest inbox that has one within the horizon, else the hold that ends first."""
        start = self._start(due)
        if isinstance(start, Hold):
            return Held(enrollment_id=due.enrollment_id, hold=start)
        hold = NO_INBOX
        for inbox_ids in (due.inbox_ids, due.spill_ids):
            found = self._place_among(inbox_ids, due, start)
            if isinstance(found, Slot):
                return found
            hold = sooner(hold, found)
        return Held(enrollment_id=due.enrollment_id, hold=self._in_line(due, hold))

    def _in_line(self, due: Due, hold: Hold) -> Hold:
        """The hold of one of many who want the same instant: whom the others leave none is not looked at before.

        Never put off by more than a horizon, so that no room stays empty when those before it leave the line.
        """
        if hold.retry_at is None or hold.gate in _OF_THE_LEAD or hold.gate == "due":
            return hold
        key = self._numbers.of(due.inbox_ids)
        place, a_day = self._lines.get(key) or (0, self._room_a_day(due.inbox_ids))
        self._lines[key] = place + 1, a_day
        look_at = _whole_second(hold.retry_at + HORIZON * min(1, place / a_day))
        return msgspec.structs.replace(hold, look_at=look_at) if place else hold

    def _room_a_day(self, inbox_ids: Iterable[UUID]) -> int:
        inboxes = [self._diaries[inbox_id].inbox for inbox_id in inbox_ids]
        return sum(min(inbox.daily_limit, 24 * inbox.hourly_limit) for inbox in inboxes)

    def _start(self, due: Due) -> "_Start | Hold":
        """The first second that the person and the company allow, whatever the inbox; a hold when that is too late."""
        start = _Start(_whole_second(max(due.due_at, self._now)), None)
        while hold := self._contact(due, None, start.at).hold or self._days.domain_day(due.domain, start.at).hold:
            start = _Start(_whole_second(hold.retry_at or start.at), hold)
            if start.at > self._round_at + HORIZON:
                return msgspec.structs.replace(hold, retry_at=start.at)
        return start

    def _place_among(self, inbox_ids: tuple[UUID, ...], due: Due, start: "_Start") -> Slot | Hold:
        choice = self._choice(inbox_ids, due)
        hold = NO_INBOX
        passed_by: list[Place] = []
        while (diary := choice.freest()) is not None:
            found = self._find(due, diary, start)
            if isinstance(found, datetime):
                choice.put_back(passed_by)
                return self._take(due, diary, found)
            if found.others_may_fit:
                passed_by.append(choice.pass_by())
                hold = sooner(hold, found.hold)
            else:
                choice.drop(found.hold)
        choice.put_back(passed_by)
        return sooner(hold, choice.hold)

    def _take(self, due: Due, diary: Diary, at: datetime) -> Slot:
        diary.add(at)
        self._days.add(at, diary.inbox.inbox_id, due.domain)
        return Slot(enrollment_id=due.enrollment_id, inbox_id=diary.inbox.inbox_id, at=at)

    def _find(self, due: Due, diary: Diary, start: "_Start") -> "datetime | _Miss":
        """The first instant that nothing forbids if it lies within the horizon, else what moved it out."""
        at, reason, its_own = start.at, start.hold, start.hold is not None
        while refusal := self._refusal(due, diary, at):
            its_own = its_own or refusal.gate in _OF_THE_LEAD
            reason = _weightier(reason, refusal)
            if refusal.retry_at is None:
                return _Miss(msgspec.structs.replace(reason, retry_at=None), its_own)
            at = _whole_second(refusal.retry_at)
        if at <= self._round_at + HORIZON:
            return at
        return _Miss(msgspec.structs.replace(reason or Hold(gate="due"), retry_at=at), its_own)

    def _refusal(self, due: Due, diary: Diary, at: datetime) -> Hold | None:
        for gate in self._search:
            if hold := gate(due, diary, at).hold:
                return hold
        return None

    def _contact(self, due: Due, _: Diary | None, at: datetime) -> Reading:
        gap = self._days.team.contact_gap
        if due.contacted_at is None or not gap:
            return _NO_CONTACT
        value, limit = due.contacted_at.isoformat(), f"{gap / HOUR:g} h"
        if at >= due.contacted_at + gap:
            return Reading(gate="contact_gap", value=value, limit=limit)
        hold = Hold(gate="contact_gap", value=value, limit=limit, retry_at=due.contacted_at + gap)
        return Reading(gate="contact_gap", value=value, limit=limit, hold=hold)

    def _window(self, due: Due, diary: Diary, at: datetime) -> Reading:
        key = self._numbers.of(due.windows), self._numbers.of(diary.inbox.window)
        spans = self._spans.get(key)
        if spans is None:
            spans = self._spans[key] = _Spans(openings_ahead((*due.windows, diary.inbox.window), self._now))
        index = bisect_right(spans.begins, at)
        if index and at < spans.ends[index - 1]:
            return _OPEN_WINDOW
        opens = spans.begins[index] if index < len(spans.begins) else None
        return Reading(gate="window", hold=Hold(gate="window", retry_at=opens))

    def _gap(self, due: Due, diary: Diary, at: datetime) -> Reading:
        day = diary.calendar.day(at).date
        if self._last_gap[:3] != (due.enrollment_id, diary.inbox.inbox_id, day):
            gap = gap_before(diary.inbox, due.lead_key, due.step_id, day)
            self._last_gap = due.enrollment_id, diary.inbox.inbox_id, day, gap
        return diary.gap(at, self._last_gap[3])

    def _choice(self, inbox_ids: tuple[UUID, ...], due: Due) -> Choice:
        key = due.follows_up, self._numbers.of(inbox_ids), self._numbers.of(due.windows)
        choice = self._choices.get(key)
        if choice is None:
            choice = self._choices[key] = Choice(self._diaries, inbox_ids)
        return choice

    def _calendar(self, zone: str) -> Calendar:
        if zone not in self._calendars:
            self._calendars[zone] = Calendar(zone, self._round_at)
        return self._calendars[zone]


_Gate = Callable[[Due, Diary, datetime], Reading]


class _Start(msgspec.Struct, frozen=True):
    """Where the search for a lead's slot begins, and what of the lead's own has put it off."""

    at: datetime
    hold: Hold | None


class _Miss(msgspec.Struct, frozen=True):
    """No slot in this inbox; when something of the lead's own stood in the way, it may fit the others."""

    hold: Hold
    others_may_fit: bool


class _Spans:
    """Openings, as bisect wants them."""

    def __init__(self, openings: Sequence[Interval]) -> None:
        self.begins = [begin for begin, _ in openings]
        self.ends = [end for _, end in openings]


class _Numbers:
    """A number for each value, the same for equal ones: a value seen before is known without hashing it whole again."""

    def __init__(self) -> None:
        self._by_id: dict[int, int] = {}
        self._by_value: dict[object, int] = {}
        self._kept: list[object] = []  # so that no id is given out twice

    def of(self, value: object) -> int:
        """The value's number."""
        number = self._by_id.get(id(value))
        if number is None:
            number = self._by_id[id(value)] = self._by_value.setdefault(value, len(self._by_value))
            self._kept.append(value)
        return number


# The gates of this module: a lead that they hold gets its slot as soon as the time comes within the horizon.
SLOT_GATES = (
    "contact_gap",
    "domain_limit",
    "domain_gap",
    "window",
    "ramp",
    "daily_limit",
    "hourly_limit",
    "rolling_limit",
    "team_limit",
    "gap",
    "due",
    "out_of_office",
)
_OF_THE_LEAD = frozenset(("contact_gap", "domain_limit", "domain_gap"))
_WEIGHT = {"gap": 0, "window": 1}  # every limit weighs more: it is why the window's next opening had to be waited for
_OPEN_WINDOW = Reading(gate="window")
_NO_CONTACT = Reading(gate="contact_gap")


def _weightier(held: Hold | None, new: Hold) -> Hold:
    return held if held is not None and _WEIGHT.get(held.gate, 2) > _WEIGHT.get(new.gate, 2) else new


def _whole_second(at: datetime) -> datetime:
    """Rounded up: a slot is shown to the second and must not come before anything it waits for."""
    return at if at.microsecond == 0 else at.replace(microsecond=0) + timedelta(seconds=1)
