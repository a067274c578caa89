"""The planner's and the windows' promises, by tables and by Hypothesis; must never see a clock or chance."""

from bisect import bisect_left
from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta
from uuid import UUID, uuid5

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from libs.planning import schedule
from libs.planning.hours.windows import (
    DAYS,
    Window,
    day_bounds,
    inbox_window,
    local_date,
    next_open,
    openings,
)
from libs.planning.limits.budget import ramp_limit
from libs.planning.limits.diary import Inbox, Team
from libs.planning.schedule import Due, Held, Planner, Slot, gap_before, plan
from libs.schema.ids import SEND_NAMESPACE

MONDAY = datetime(2026, 3, 2, 8, 0, tzinfo=UTC)
WORKDAYS = frozenset(DAYS[:5])
ALWAYS = Window(days=frozenset(DAYS), zone="UTC")
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
HOUR_GATES = tuple(gate for gate in schedule.SLOT_GATES if gate not in ("due", "out_of_office"))


def id_of(name: str) -> UUID:
    return uuid5(SEND_NAMESPACE, name)


def an_inbox(name: str = "a", **changes: object) -> Inbox:
    inbox = Inbox(
        inbox_id=id_of(name), window=ALWAYS, daily_limit=500, hourly_limit=500, min_delay_s=60, max_delay_s=300
    )
    return msgspec.structs.replace(inbox, **changes)


def a_lead(number: int, **changes: object) -> Due:
    due = Due(
        enrollment_id=id_of(f"lead {number}"),
        lead_key=f"key {number}".encode(),
        step_id=id_of("step"),
        follows_up=False,
        due_at=MONDAY,
        windows=(ALWAYS,),
        inbox_ids=(id_of("a"),),
    )
    return msgspec.structs.replace(due, **changes)


def a_team(limit: int = 10_000, **used: int) -> Team:
    return Team(zone="UTC", daily_limit=limit, used={date.fromisoformat(day): n for day, n in used.items()})


def slots(placed: Sequence[Slot | Held]) -> list[Slot]:
    return [slot for slot in placed if isinstance(slot, Slot)]


def test_a_window_is_open_by_the_wall_clock_of_its_zone_on_both_sides_of_summer_time() -> None:
    window = Window(days=WORKDAYS, zone="America/New_York", start=time(9), end=time(17))
    before = next_open([window], datetime(2026, 3, 6, 12, tzinfo=UTC))  # Friday before 8 March 2026
    after = next_open([window], datetime(2026, 3, 9, 12, tzinfo=UTC))
    assert before == datetime(2026, 3, 6, 14, tzinfo=UTC)
    assert after == datetime(2026, 3, 9, 13, tzinfo=UTC)


def test_a_local_day_is_23_hours_long_in_spring_and_25_in_autumn() -> None:
    lengths = [
        end - begin
        for begin, end in (
            day_bounds(datetime(2026, 3, 8, 18, tzinfo=UTC), "America/New_York"),
            day_bounds(datetime(2026, 11, 1, 18, tzinfo=UTC), "America/New_York"),
        )
    ]
    assert lengths == [23 * HOUR, 25 * HOUR]


def test_an_hour_that_is_skipped_in_spring_opens_with_the_next_one() -> None:
    window = Window(days=frozenset(DAYS), zone="America/New_York", start=time(2, 30), end=time(4))
    assert next_open([window], datetime(2026, 3, 8, 5, tzinfo=UTC)) == datetime(2026, 3, 8, 7, 30, tzinfo=UTC)


def test_an_overnight_window_belongs_to_the_day_on_which_it_begins() -> None:
    window = Window(days=frozenset(["fri"]), zone="UTC", start=time(22), end=time(6))
    saturday_night = datetime(2026, 3, 7, 3, tzinfo=UTC)
    assert openings([window], saturday_night, saturday_night + DAY) == [
        (saturday_night, datetime(2026, 3, 7, 6, tzinfo=UTC))
    ]


def test_whole_days_follow_each_other_without_a_seam() -> None:
    assert openings([ALWAYS], MONDAY, MONDAY + 3 * DAY) == [(MONDAY, MONDAY + 3 * DAY)]


def test_windows_that_never_meet_never_open() -> None:
    weekend = Window(days=frozenset(["sat", "sun"]), zone="UTC")
    office = Window(days=WORKDAYS, zone="UTC", start=time(9), end=time(17))
    assert next_open([weekend, office], MONDAY) is None


def test_weekends_enabled_adds_the_weekend_to_the_days() -> None:
    window = inbox_window(["mon"], weekends=True, start=time(9), end=time(17), zone="UTC")
    assert window.days == {"mon", "sat", "sun"}


windows = st.builds(
    Window,
    days=st.frozensets(st.sampled_from(DAYS), min_size=1),
    zone=st.sampled_from(["UTC", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe", "Pacific/Apia"]),
    start=st.times().map(lambda t: t.replace(microsecond=0)),
    end=st.times().map(lambda t: t.replace(microsecond=0)),
)


@given(st.lists(windows, min_size=1, max_size=3), st.datetimes(datetime(2024, 1, 1), datetime(2030, 1, 1)))  # noqa: DTZ001 - made aware below
def test_what_is_open_together_is_open_in_each(several: list[Window], naive: datetime) -> None:
    start = naive.replace(tzinfo=UTC)
    for begin, end in openings(several, start, start + 8 * DAY):
        assert begin < end
        for window in several:
            alone = openings([window], start, start + 8 * DAY)
            assert any(b <= begin and end <= e for b, e in alone)


DOMAINS = (None, "one.test", "two.test")


@st.composite
def situations(draw: st.DrawFn) -> tuple[list[Due], list[Inbox], Team, datetime]:
    # Around the nights in which clocks change in spring and autumn, and in a week in which none does.
    first = draw(st.sampled_from([MONDAY, datetime(2026, 3, 7, 8, tzinfo=UTC), datetime(2026, 10, 31, 8, tzinfo=UTC)]))
    now = first + timedelta(minutes=draw(st.integers(0, 3 * 24 * 60)))
    past = st.integers(0, 25 * 3600).map(lambda s: now - timedelta(seconds=s))
    days = st.lists(st.integers(0, 40).map(lambda n: (now - timedelta(days=n)).date()), max_size=5)
    inboxes = [
        an_inbox(
            name,
            window=draw(windows),
            daily_limit=draw(st.integers(1, 12)),
            hourly_limit=draw(st.integers(1, 5)),
            rolling_limit=draw(st.integers(1, 15)),
            min_delay_s=draw(st.integers(0, 900)),
            max_delay_s=draw(st.integers(0, 1800)),
            busy=tuple(draw(st.lists(past, max_size=3))),
            sending_days=draw(st.none() | days),
        )
        for name in ("a", "b")
    ]
    ids = [inbox.inbox_id for inbox in inboxes]
    hours = [(ALWAYS,), (ALWAYS, draw(windows)), (draw(windows), draw(windows))]
    leads = [
        a_lead(
            number,
            follows_up=draw(st.booleans()),
            due_at=now + timedelta(minutes=draw(st.integers(-600, 600))),
            inbox_ids=tuple(draw(st.sampled_from([ids[:1], ids[1:], ids]))),
            spill_ids=tuple(draw(st.sampled_from([(), ids[:1]]))),
            windows=draw(st.sampled_from(hours)),
            domain=draw(st.sampled_from(DOMAINS)),
            contacted_at=draw(st.none() | past),
        )
        for number in range(draw(st.integers(0, 25)))
    ]
    team = msgspec.structs.replace(
        a_team(draw(st.integers(0, 20))),
        follow_up_share=draw(st.integers(0, 100)),
        contact_gap=timedelta(hours=draw(st.integers(0, 40))),
        domain_daily_limit=draw(st.integers(0, 3)),
        domain_gap=timedelta(minutes=draw(st.integers(0, 90))),
        domain_mails={"one.test": [(ids[0], draw(past)), (ids[1], draw(past))]},
    )
    return leads, inboxes, team, now


Case = tuple[list[Due], list[Inbox], Team, datetime]


@settings(max_examples=40, deadline=None)
@given(situations())
def test_no_slot_lies_outside_a_window_or_over_a_cap_or_too_close(case: Case) -> None:
    leads, inboxes, team, now = case
    due = {lead.enrollment_id: lead for lead in leads}
    placed = slots(plan(leads, inboxes, team, now))
    for inbox in inboxes:
        ours = [slot for slot in placed if slot.inbox_id == inbox.inbox_id]
        given_out = sorted(slot.at for slot in ours)
        for slot in ours:
            assert next_open((*due[slot.enrollment_id].windows, inbox.window), slot.at) == slot.at
            assert now <= slot.at <= schedule.round_of(now) + schedule.HORIZON
        busy = sorted([*inbox.busy, *given_out])
        for at in given_out:
            begin, end = day_bounds(at, inbox.window.zone)
            on_that_day = bisect_left(busy, end) - bisect_left(busy, begin)
            assert on_that_day <= inbox.daily_limit
            if inbox.sending_days is not None:
                cold_days = [*inbox.sending_days, *(local_date(each, inbox.window.zone) for each in given_out)]
                assert on_that_day <= ramp_limit(cold_days, local_date(at, inbox.window.zone), 500)
            index = busy.index(at)
            for limit, span in ((inbox.hourly_limit, HOUR), (inbox.rolling_limit, DAY)):
                for first in range(max(0, index - limit), min(index, len(busy) - limit - 1) + 1):
                    assert busy[first + limit] - busy[first] >= span
            assert all(abs(at - other) >= inbox.least_gap for i, other in enumerate(busy) if i != index)
    for day in {local_date(slot.at, team.zone) for slot in placed}:
        assert sum(local_date(slot.at, team.zone) == day for slot in placed) <= team.daily_limit


@settings(max_examples=40, deadline=None)
@given(situations())
def test_no_company_and_no_person_hears_from_the_team_more_than_it_wants(case: Case) -> None:
    leads, inboxes, team, now = case
    due = {lead.enrollment_id: lead for lead in leads}
    placed = slots(plan(leads, inboxes, team, now))
    for slot in placed:
        contacted_at = due[slot.enrollment_id].contacted_at
        assert contacted_at is None or slot.at >= contacted_at + team.contact_gap
    for domain in filter(None, DOMAINS):
        ours = [(slot.inbox_id, slot.at) for slot in placed if due[slot.enrollment_id].domain == domain]
        mails = [*ours, *team.domain_mails.get(domain, ())]
        for inbox_id, at in ours:
            if team.domain_daily_limit:
                same_day = [each for _, each in mails if local_date(each, team.zone) == local_date(at, team.zone)]
                assert len(same_day) <= team.domain_daily_limit
            apart = [abs(at - other) for by, other in mails if by == inbox_id and other != at]
            assert all(each >= team.domain_gap for each in apart)


@settings(max_examples=60, deadline=None)
@given(situations())
def test_what_the_gates_say_of_a_slot_is_open_and_of_any_instant_in_their_order(case: Case) -> None:
    leads, inboxes, team, now = case
    before = Planner(inboxes, team, now)
    for one in [before.place(lead) for lead in leads[:1]]:
        readings = Planner(inboxes, team, now).readings(leads[0], inboxes[0].inbox_id, now)
        assert [reading.gate for reading in readings] == list(HOUR_GATES)
        if isinstance(one, Slot):
            at_slot = Planner(inboxes, team, now).readings(leads[0], one.inbox_id, one.at)
            assert [reading.gate for reading in at_slot if reading.hold] == []


@settings(max_examples=20, deadline=None)
@given(situations())
def test_the_same_inputs_give_the_same_second(case: Case) -> None:
    leads, inboxes, team, now = case
    assert plan(leads, inboxes, team, now) == plan(list(reversed(leads)), list(reversed(inboxes)), team, now)


@settings(max_examples=20, deadline=None)
@given(situations())
def test_nobody_is_lost_between_slots_and_holds(case: Case) -> None:
    leads, inboxes, team, now = case
    placed = plan(leads, inboxes, team, now)
    assert sorted(one.enrollment_id for one in placed) == sorted(due.enrollment_id for due in leads)
    for held in placed:
        if isinstance(held, Held):
            assert held.hold.retry_at is None or held.hold.retry_at > now


def test_jitter_is_a_hash_that_no_release_may_change() -> None:
    inbox = an_inbox(min_delay_s=300, max_delay_s=600)
    gaps = [gap_before(inbox, b"key", id_of("step"), date(2026, 3, 2 + n)).total_seconds() for n in range(3)]
    assert gaps == [578.0, 350.0, 499.0]


def test_two_equal_delays_still_make_no_machine_rhythm() -> None:
    inbox = an_inbox(min_delay_s=300, max_delay_s=300)
    gaps = {gap_before(inbox, bytes([n]), id_of("step"), date(2026, 3, 2)) for n in range(20)}
    assert len(gaps) > 10
    assert min(gaps) >= timedelta(seconds=300)


def test_a_follow_up_goes_before_a_new_lead_that_waits_longer() -> None:
    new, follow_up = a_lead(1), a_lead(2, follows_up=True, due_at=MONDAY - HOUR)
    older = a_lead(3, due_at=MONDAY - 5 * DAY)
    at = {slot.enrollment_id: slot.at for slot in slots(plan([new, older, follow_up], [an_inbox()], a_team(), MONDAY))}
    assert at[follow_up.enrollment_id] < at[older.enrollment_id] < at[new.enrollment_id]


def test_new_leads_spread_over_inboxes_by_the_room_they_have_left() -> None:
    inboxes = [an_inbox("a", daily_limit=10), an_inbox("b", daily_limit=20)]
    leads = [a_lead(n, inbox_ids=(id_of("a"), id_of("b"))) for n in range(20)]
    used = [slot.inbox_id for slot in slots(plan(leads, inboxes, a_team(), MONDAY))]
    assert used.count(id_of("a")) == 5
    assert used.count(id_of("b")) == 15


def test_a_full_day_is_named_by_its_limit_and_ends_at_the_next_opening() -> None:
    office = Window(days=WORKDAYS, zone="UTC", start=time(9), end=time(17))
    friday = datetime(2026, 3, 6, 10, tzinfo=UTC)
    box = an_inbox(window=office, daily_limit=1)
    first, second = plan([a_lead(1), a_lead(2)], [box], a_team(), friday)
    assert isinstance(first, Slot)
    assert isinstance(second, Held)
    assert (second.hold.gate, second.hold.value, second.hold.limit) == ("daily_limit", "1", "1")
    assert second.hold.retry_at == datetime(2026, 3, 9, 9, tzinfo=UTC)


def test_a_window_that_never_opens_holds_without_an_end() -> None:
    never = Window(days=frozenset(), zone="UTC")
    (held,) = plan([a_lead(1)], [an_inbox(window=never)], a_team(), MONDAY)
    assert isinstance(held, Held)
    assert (held.hold.gate, held.hold.retry_at) == ("window", None)


@pytest.mark.parametrize(("limit", "gate"), [(0, "team_limit")])
def test_a_team_without_any_mail_left_says_so(limit: int, gate: str) -> None:
    (held,) = plan([a_lead(1)], [an_inbox()], a_team(limit), MONDAY)
    assert isinstance(held, Held)
    assert held.hold.gate == gate


def test_the_teams_limit_counts_what_its_day_has_already_used() -> None:
    placed = plan([a_lead(n) for n in range(3)], [an_inbox()], a_team(2, **{"2026-03-02": 1}), MONDAY)
    days = [local_date(slot.at, "UTC") for slot in slots(placed)]
    assert days.count(date(2026, 3, 2)) == 1
    assert days.count(date(2026, 3, 3)) == 2
