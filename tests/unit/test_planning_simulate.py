"""Simulations over plain facts: no cap is passed, nobody is mailed twice, and every bound says that it was met."""

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.planning.schedule import ROUND_EVERY, SLOT_GATES, ready_from, round_of, wants_slot
from libs.planning.simulate.outlook import outlook
from libs.planning.simulate.run import simulate
from libs.planning.simulate.simulation import Newcomer, NotSimulatedError, Runner, World, begin_of
from libs.schema.ids import lead_key
from tests.planning_case import BOX, DAY, HOUR, LEAD, MONDAY, STEPS, TEAM, VERSION, id_of

INSTANTS = st.datetimes(datetime(2026, 3, 1), datetime(2026, 3, 20), timezones=st.just(UTC))  # noqa: DTZ001 - the bounds of naive draws


@given(INSTANTS, st.sampled_from([None, "condition", "inbox", *SLOT_GATES]), st.none() | INSTANTS, INSTANTS)
def test_a_lead_is_ready_at_the_first_instant_at_which_a_round_looks_at_it(
    next_at: datetime, held_gate: str | None, held_until: datetime | None, now: datetime
) -> None:
    at = ready_from(next_at, held_gate, held_until, now)
    assert at >= now
    assert wants_slot(next_at, held_gate, held_until, round_of(at))
    if at > now:
        assert round_of(at) == at
        assert not wants_slot(next_at, held_gate, held_until, at - ROUND_EVERY)


def a_world(leads: int, **changes: Any) -> World:
    def newcomer(number: int) -> Newcomer:
        email = f"p{number}@lead{number}.test"
        lead = msgspec.structs.replace(
            LEAD, lead_id=id_of(f"lead {number}"), lead_key=lead_key(b"x" * 32, email), email=email
        )
        return Newcomer(lead=lead, lead_list_id=id_of("list"), status="pending", enrolled_in=[], held_elsewhere=False)

    values: dict[str, Any] = {
        "campaign_id": id_of("campaign"),
        "now": MONDAY,
        "start_at": MONDAY,
        "resumes": False,
        "team": TEAM,
        "boxes": [BOX],
        "runners": [Runner(id=id_of("campaign"), status="active", lead_list_id=id_of("list"), version=VERSION)],
        "versions": [VERSION],
        "leads": [],
        "sends": [],
        "newcomers": [newcomer(number) for number in range(leads)],
        "domain_mails": {},
        "public_url": "http://localhost",
        "truncated": False,
    }
    return World(**values | changes)


def test_no_cap_is_passed_and_every_lead_gets_every_step_once() -> None:
    run = simulate(a_world(10))
    said = outlook(run)
    assert (said.complete, said.leads, said.mails) == (True, 10, 20)
    assert [step.mails for step in said.steps] == [10, 10]
    assert max(day.mails for day in said.days) <= BOX.daily_send_limit
    assert len({(send.lead_id, send.step_number) for _, send in run.sends}) == 20
    by_lead = {(send.lead_id, send.step_number): send.scheduled_at for _, send in run.sends}
    assert all(by_lead[lead, 2] - at >= 2 * DAY for (lead, step), at in by_lead.items() if step == 1)
    assert said.finishes_at == max(by_lead.values())


def test_the_same_world_is_simulated_alike() -> None:
    assert simulate(a_world(6)).sends == simulate(a_world(6)).sends


def test_a_start_to_come_is_waited_for() -> None:
    said = outlook(simulate(a_world(2, start_at=MONDAY + 7 * DAY)))
    assert said.first_at == MONDAY + 7 * DAY


def test_a_run_that_goes_beyond_a_year_is_stopped_and_says_so() -> None:
    slow = msgspec.structs.replace(STEPS[1], delay_days=365)
    steps = [STEPS[0], slow, msgspec.structs.replace(slow, step_id=id_of("three"), step_number=3)]
    version = msgspec.structs.replace(VERSION, steps=steps)
    runner = Runner(id=id_of("campaign"), status="active", lead_list_id=id_of("list"), version=version)
    said = outlook(simulate(a_world(1, runners=[runner], versions=[version])))
    assert (said.complete, said.stopped_by, said.mails) == (False, "days", 2)
    assert said.not_finished[0].leads == 1


def test_leads_beyond_the_bound_are_told() -> None:
    assert outlook(simulate(a_world(1, truncated=True))).stopped_by == "leads"


@pytest.mark.parametrize(
    ("status", "scheduled", "wanted", "begin"),
    [
        ("draft", None, None, MONDAY),
        ("draft", None, MONDAY + DAY, MONDAY + DAY),
        ("scheduled", MONDAY + HOUR, None, MONDAY + HOUR),
        ("scheduled", MONDAY - HOUR, None, MONDAY),
        ("paused", None, MONDAY + DAY, MONDAY + DAY),
        ("active", None, None, MONDAY),
    ],
)
def test_a_simulation_begins_when_the_campaign_would(
    status: str, scheduled: datetime | None, wanted: datetime | None, begin: datetime
) -> None:
    assert begin_of(status, scheduled, wanted, MONDAY) == begin


@pytest.mark.parametrize(
    ("status", "wanted"),
    [
        ("completed", None),
        ("archived", None),
        ("active", MONDAY + DAY),
        ("draft", MONDAY - DAY),
        ("draft", MONDAY + 400 * DAY),
    ],
)
def test_what_cannot_be_simulated_is_refused(status: str, wanted: datetime | None) -> None:
    with pytest.raises(NotSimulatedError):
        begin_of(status, None, wanted, MONDAY)
