"""What holds a mail back beside windows and caps: ramp, health, companies, persons, shares; tables and Hypothesis."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.planning.gates import Hold, Mailbox, mailbox_hold
from libs.planning.limits.budget import band_of, banded_limit, ramp_limit
from libs.planning.limits.diary import Team
from libs.planning.limits.domains import company_domain
from libs.planning.schedule import (
    HORIZON,
    LOOK_AGAIN,
    ROUND_EVERY,
    Held,
    Slot,
    choose_batch,
    look_again_at,
    plan,
    round_of,
    wants_slot,
    went_at,
)
from libs.planning.settings import CampaignRules, TeamRules, campaign_rules, team_rules
from tests.unit.test_planning_schedule import DAY, HOUR, MONDAY, a_lead, a_team, an_inbox, id_of, slots

MINUTE = timedelta(minutes=1)
A, B = id_of("a"), id_of("b")


def the_team(**changes: Any) -> Team:
    return msgspec.structs.replace(a_team(), **changes)


def only(placed: Sequence[Slot | Held]) -> Hold:
    (held,) = [one for one in placed if isinstance(one, Held)]
    return held.hold


@pytest.mark.parametrize(
    ("sent_on", "limit"),
    [
        ([], 5),
        (["2026-03-01"], 8),
        (["2026-02-25", "2026-02-26", "2026-02-27"], 14),
        (["2026-02-20"], 8),  # ten days later, the eleventh would be too late
        (["2026-02-19"], 5),  # half of five, but never below five
        (["2026-02-01", "2026-02-02", "2026-02-03", "2026-02-04", "2026-02-05"], 8),  # from 17 to half, 24 days later
        (["2026-03-02", "2026-03-09"], 5),  # that day itself and later ones are no past
    ],
)
def test_the_ramp_climbs_by_sending_days_and_falls_to_half_after_a_rest(sent_on: list[str], limit: int) -> None:
    assert ramp_limit([date.fromisoformat(day) for day in sent_on], date(2026, 3, 2), 50) == limit


def test_a_rest_halves_what_an_old_inbox_was_allowed_and_not_what_its_days_add_up_to() -> None:
    january = [date(2026, 1, day) for day in range(1, 32)]
    assert ramp_limit(january, date(2026, 2, 1), 50) == 50
    assert ramp_limit(january, date(2026, 3, 2), 50) == 25
    assert ramp_limit(january, date(2026, 3, 2), 3) == 3


@given(st.lists(st.dates(date(2026, 1, 1), date(2026, 3, 1))))
def test_the_ramp_does_not_care_how_often_or_in_which_order_days_are_named(days: list[date]) -> None:
    assert ramp_limit(days, date(2026, 3, 2), 50) == ramp_limit([*reversed(days), *days], date(2026, 3, 2), 50) >= 5


@pytest.mark.parametrize(
    ("score", "limit", "gap_factor"),
    [(None, 50, 1), (100, 50, 1), (85, 50, 1), (84, 35, 1), (70, 35, 1), (69, 25, 2), (50, 25, 2)],
)
def test_health_cuts_the_daily_limit_and_stretches_the_gap_by_its_band(
    score: int | None, limit: int, gap_factor: int
) -> None:
    band = band_of(score)
    assert (banded_limit(50, band), band.gap_factor) == (limit, gap_factor)


def test_a_limit_of_one_mail_stays_one_in_every_band_that_sends() -> None:
    assert banded_limit(1, band_of(50)) == 1


@pytest.mark.parametrize(
    ("score", "throttled", "least", "closed"),
    [(49, True, 0, True), (50, True, 0, False), (49, False, 0, False), (69, True, 70, True), (None, True, 70, False)],
)
def test_below_fifty_an_inbox_whose_health_counts_sends_nothing(
    *, score: int | None, throttled: bool, least: int, closed: bool
) -> None:
    box = Mailbox(
        status="active",
        archived=False,
        circuit=None,
        circuit_retry_at=None,
        health_score=score,
        min_health_score=least,
        throttled=throttled,
    )
    hold = mailbox_hold(box)
    assert (hold is not None) == closed
    assert hold is None or (hold.gate, hold.value, hold.retry_at) == ("health", str(score), None)


def test_an_inbox_on_its_first_day_sends_five_and_says_why_not_more() -> None:
    inbox = an_inbox(sending_days=())
    placed = plan([a_lead(n) for n in range(14)], [inbox], the_team(), MONDAY)
    days = [slot.at.date() for slot in slots(placed)]
    assert (days.count(MONDAY.date()), days.count((MONDAY + DAY).date())) == (5, 8)
    assert only(placed) == Hold(gate="ramp", value="8", limit="8", retry_at=datetime(2026, 3, 4, tzinfo=UTC))


def test_warm_up_mail_is_no_part_of_the_ramp_but_of_the_day() -> None:
    warm_up = [MONDAY - n * 5 * MINUTE for n in range(1, 11)]
    inbox = an_inbox(sending_days=(), daily_limit=13, busy=warm_up, not_cold=warm_up)
    days = [slot.at.date() for slot in slots(plan([a_lead(n) for n in range(6)], [inbox], the_team(), MONDAY))]
    assert days.count(MONDAY.date()) == 3


def test_a_company_gets_three_mails_a_day_from_the_whole_team() -> None:
    inboxes = [an_inbox("a"), an_inbox("b")]
    leads = [a_lead(n, domain="big.test", inbox_ids=(A, B)) for n in range(7)]
    stranger = a_lead(9, domain="small.test", inbox_ids=(A, B))
    placed = plan([*leads, stranger], inboxes, the_team(domain_daily_limit=3), MONDAY)
    days = [slot.at.date() for slot in slots(placed) if slot.enrollment_id != stranger.enrollment_id]
    assert (days.count(MONDAY.date()), days.count((MONDAY + DAY).date())) == (3, 3)
    assert only(placed) == Hold(gate="domain_limit", value="3", limit="3", retry_at=datetime(2026, 3, 4, tzinfo=UTC))
    assert any(slot.enrollment_id == stranger.enrollment_id and slot.at < MONDAY + HOUR for slot in slots(placed))


def test_a_company_hears_from_one_inbox_only_after_a_while_and_from_another_at_once() -> None:
    leads = [a_lead(n, domain="big.test", inbox_ids=(A, B)) for n in range(2)]
    team = the_team(domain_gap=10 * MINUTE, domain_mails={"big.test": [(A, MONDAY - 4 * MINUTE)]})
    alone = slots(plan([a_lead(1, domain="big.test")], [an_inbox("a")], team, MONDAY))
    assert [slot.at for slot in alone] == [MONDAY + 6 * MINUTE]
    by_inbox = {slot.inbox_id: slot.at for slot in slots(plan(leads, [an_inbox("a"), an_inbox("b")], team, MONDAY))}
    assert by_inbox == {A: MONDAY + 6 * MINUTE, B: MONDAY}


def test_a_person_whom_another_campaign_wrote_to_waits_two_days() -> None:
    team = the_team(contact_gap=48 * HOUR)
    soon = a_lead(1, contacted_at=MONDAY - 47 * HOUR)
    late = a_lead(2, contacted_at=MONDAY - 5 * HOUR)
    placed = plan([soon, late], [an_inbox()], team, MONDAY)
    assert [slot.at for slot in slots(placed)] == [MONDAY + HOUR]
    hold = only(placed)
    assert (hold.gate, hold.limit, hold.retry_at) == ("contact_gap", "48 h", MONDAY + 43 * HOUR)


def test_who_waits_for_something_of_the_own_does_not_cost_the_others_their_inbox() -> None:
    team = the_team(
        contact_gap=48 * HOUR, domain_daily_limit=1, domain_mails={"big.test": [(A, MONDAY), (A, MONDAY + DAY)]}
    )
    waiting = [a_lead(1, contacted_at=MONDAY, due_at=MONDAY - DAY), a_lead(2, domain="big.test", due_at=MONDAY - DAY)]
    placed = plan([*waiting, a_lead(3)], [an_inbox()], team, MONDAY)
    assert [slot.enrollment_id for slot in slots(placed)] == [a_lead(3).enrollment_id]


def test_a_mail_spills_over_to_other_inboxes_only_when_the_matching_one_is_full() -> None:
    inboxes = [an_inbox("a", daily_limit=2), an_inbox("b")]
    leads = [a_lead(n, inbox_ids=(A,), spill_ids=(B,)) for n in range(6)]
    used = [slot.inbox_id for slot in slots(plan(leads, inboxes, the_team(), MONDAY))]
    assert (used.count(A), used.count(B)) == (4, 2)  # two today and two tomorrow, within the horizon


@pytest.mark.parametrize(
    ("share", "order"),
    [(60, "FNFNFFNFNF"), (50, "FNFNFNFNFN"), (100, "FFFFFFFFFF"), (0, "NNNNNNNNNN"), (80, "FNFFFFNFFF")],
)
def test_follow_ups_and_new_leads_share_the_room(share: int, order: str) -> None:
    assert "".join(choose_batch(["F"] * 20, ["N"] * 20, share, 10)) == order


def test_what_one_kind_leaves_free_the_other_takes() -> None:
    assert choose_batch([1, 2], [7, 8, 9], 60, 10) == [1, 7, 2, 8, 9]
    assert choose_batch([1, 2], [7], 0, 10) == [7, 1, 2]


@given(st.integers(0, 40), st.integers(0, 40), st.integers(0, 100), st.integers(0, 60))
def test_a_batch_is_full_when_it_can_be_and_keeps_each_order(follow_ups: int, new: int, share: int, most: int) -> None:
    chosen = choose_batch([("f", n) for n in range(follow_ups)], [("n", n) for n in range(new)], share, most)
    assert len(chosen) == min(most, follow_ups + new)
    for kind in "fn":
        own = [number for what, number in chosen if what == kind]
        assert own == list(range(len(own)))


def test_a_punctual_mail_counts_as_gone_in_its_second_and_a_late_one_when_it_went() -> None:
    assert went_at(MONDAY + 59 * timedelta(seconds=1), MONDAY) == MONDAY
    assert went_at(MONDAY + 61 * timedelta(seconds=1), MONDAY) == MONDAY + 61 * timedelta(seconds=1)


@given(st.datetimes(datetime(2026, 1, 1), datetime(2027, 1, 1)), st.integers(0, 299_999_999))  # noqa: DTZ001 - made aware below
def test_the_horizon_and_the_rotation_stand_on_the_grid(naive: datetime, later_us: int) -> None:
    grid = round_of(naive.replace(tzinfo=UTC))
    now = grid + timedelta(microseconds=later_us)
    assert round_of(now) == grid
    leads = [a_lead(n, due_at=grid + HOUR, inbox_ids=(A, B)) for n in range(8)]
    inboxes = [an_inbox("a", busy=(grid - DAY,)), an_inbox("b", busy=(grid - DAY + MINUTE, grid - HOUR))]
    assert plan(leads, inboxes, the_team(), now) == plan(leads, inboxes, the_team(), grid)


@pytest.mark.parametrize(
    ("next_in", "gate", "held_for", "wants"),
    [
        (HORIZON, None, None, True),
        (HORIZON + MINUTE, None, None, False),
        (-DAY, "window", HORIZON, True),
        (-DAY, "window", HORIZON + MINUTE, False),
        (-DAY, "variable", MINUTE, False),
        (-DAY, "variable", 0 * MINUTE, True),
    ],
)
def test_a_held_lead_is_looked_at_again_when_its_gate_may_open(
    *, next_in: timedelta, gate: str | None, held_for: timedelta | None, wants: bool
) -> None:
    held_until = None if held_for is None else MONDAY + held_for
    assert wants_slot(MONDAY + next_in, gate, held_until, MONDAY) == wants


def test_nobody_is_looked_at_twice_in_a_round() -> None:
    assert look_again_at(Hold(gate="gap", retry_at=MONDAY), MONDAY) == MONDAY + ROUND_EVERY
    assert look_again_at(Hold(gate="variable"), MONDAY) == MONDAY + LOOK_AGAIN


@pytest.mark.parametrize(
    ("address", "company"),
    [
        ("bob@Acme.test", "acme.test"),
        ("bob@gmail.com", None),
        ("bob@GMX.de", None),
        ("nonsense", "nonsense"),
        ("", None),
    ],
)
def test_freemail_is_no_company(address: str, company: str | None) -> None:
    assert company_domain(address) == company


def test_settings_that_are_missing_or_nonsense_mean_their_defaults() -> None:
    assert team_rules({"timezone": "UTC", "colour": "red"}) == TeamRules()
    assert team_rules({"follow_up_share": "many", "contact_gap_hours": 12}) == TeamRules(contact_gap_hours=12)
    nonsense = {
        "min_health_score": "low",
        "lead_window_start": "early",
        "skip_dates": ["2026-12-24", "x"],
        "timezone": 3,
    }
    assert campaign_rules(nonsense | {"esp_matching": True}) == CampaignRules(esp_matching=True)
    assert campaign_rules({"skip_dates": ["2026-12-24"]}).skip_dates == {date(2026, 12, 24)}


def test_of_many_who_wait_for_the_same_opening_each_is_looked_at_by_turns() -> None:
    placed = plan([a_lead(n) for n in range(45)], [an_inbox(daily_limit=10)], the_team(), MONDAY)
    holds = [one.hold for one in placed if isinstance(one, Held)]
    opening = datetime(2026, 3, 4, tzinfo=UTC)
    assert {(hold.gate, hold.retry_at) for hold in holds} == {("daily_limit", opening)}
    turns = [look_again_at(hold, MONDAY) for hold in holds]
    assert turns[0] == opening
    assert turns == sorted(turns)
    assert sum(turn < opening + DAY for turn in turns) == 10  # as many as the day has room for
    assert turns[-1] == opening + DAY
