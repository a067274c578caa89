"""One planning round over plain facts: who may send to whom, what each gate says, and that facts alone decide."""

from datetime import UTC, datetime, time
from typing import Any
from uuid import UUID, uuid5

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from libs.planning import schedule
from libs.planning.facts import DueLead, PlannedInbox, SequenceVersion, TeamDay
from libs.planning.gates import Hold, Recipient
from libs.planning.hours.windows import DAYS
from libs.planning.round import Round, Sight, plan_round, readings
from libs.planning.sequence import Step
from libs.schema.ids import SEND_NAMESPACE

MONDAY = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
HOUR_GATES = [gate for gate in schedule.SLOT_GATES if gate not in ("due", "out_of_office")]
GATES = [
    *("installation", "campaign", "lead", "suppression", "stop", "inbox", "circuit", "health", "esp"),
    *HOUR_GATES,
]


def id_of(name: str) -> UUID:
    return uuid5(SEND_NAMESPACE, name)


CAMPAIGN = id_of("campaign")
STEPS = [
    Step(step_id=id_of("step 1"), step_number=1, subject="Hello {{ first_name }}", body="A word with you?"),
    Step(step_id=id_of("step 2"), step_number=2, subject="", body="Still there?", delay_days=2),
]


def a_lead(number: int = 1, **changes: Any) -> DueLead:
    blank: dict[str, Any] = dict.fromkeys(DueLead.__struct_fields__)
    known: dict[str, Any] = {
        "enrollment_id": id_of(f"enrollment {number}"),
        "campaign_id": CAMPAIGN,
        "lead_id": id_of(f"lead {number}"),
        "lead_key": f"{number}".encode(),
        "sequence_version": 1,
        "step_number": 1,
        "next_at": MONDAY,
        "archived": False,
        "email": f"lead{number}@company{number}.test",
        "first_name": "Bob",
        "custom_fields": {},
        "replied": False,
        "opened": False,
        "clicked": False,
    }
    return DueLead(**(blank | known | changes))


def a_box(name: str, **changes: Any) -> PlannedInbox:
    known: dict[str, Any] = {
        "id": id_of(name),
        "email": f"{name}@acme.test",
        "from_name": "Ann",
        "status": "active",
        "archived": False,
        "health_score": None,
        "circuit": None,
        "circuit_retry_at": None,
        "daily_send_limit": 50,
        "hourly_limit": 50,
        "min_delay_seconds": 60,
        "max_delay_seconds": 300,
        "send_days": list(DAYS),
        "send_window_start": time(0),
        "send_window_end": time(0),
        "send_window_timezone": "UTC",
        "weekends_enabled": False,
        "campaign_ids": [CAMPAIGN],
        "busy": [],
    }
    return PlannedInbox(**(known | changes))


def a_sight(*boxes: PlannedInbox, **campaign: Any) -> Sight:
    version = SequenceVersion(
        campaign_id=CAMPAIGN, version=1, settings={"timezone": "UTC", "send_days": list(DAYS)} | campaign, steps=STEPS
    )
    team = TeamDay(
        zone="UTC", daily_limit=1000, company_name=None, physical_address="1 Main Street", days=[], counts=[]
    )
    return Sight(
        now=MONDAY,
        team=team,
        boxes={box.id: box for box in boxes},
        versions={(CAMPAIGN, 1): version},
        public_url="https://out.test",
    )


def senders(decided: Round) -> list[UUID]:
    return [slot.inbox_id for _, slot in decided.slots]


def gate(decided: Round) -> Hold:
    ((_, hold),) = decided.holds
    return hold


GOOGLE, MICROSOFT, OWN = a_box("g", provider="google"), a_box("m", provider="microsoft"), a_box("o", provider="smtp")
MATCHING: dict[str, Any] = {"esp_matching": True}


@pytest.mark.parametrize(
    ("provider", "expected"), [("google", GOOGLE.id), ("microsoft", MICROSOFT.id), ("other", OWN.id)]
)
@pytest.mark.parametrize("mode", ["prefer", "strict"])
def test_an_inbox_of_the_same_provider_is_taken(provider: str, expected: UUID, mode: str) -> None:
    sight = a_sight(GOOGLE, MICROSOFT, OWN, esp_matching=True, esp_matching_mode=mode)
    assert senders(plan_round([a_lead(provider=provider)], sight)) == [expected]


def test_an_unknown_provider_suits_every_inbox() -> None:
    sight = a_sight(MICROSOFT, esp_matching=True, esp_matching_mode="strict")
    assert senders(plan_round([a_lead(provider=None)], sight)) == [MICROSOFT.id]


def test_an_inbox_that_takes_no_part_in_matching_suits_everybody() -> None:
    free = a_box("f", provider="microsoft", esp_matching_enabled=False)
    sight = a_sight(free, esp_matching=True, esp_matching_mode="strict")
    assert senders(plan_round([a_lead(provider="google")], sight)) == [free.id]


def test_where_matching_is_off_the_freest_inbox_is_taken() -> None:
    busy = a_box("g", provider="google", daily_send_limit=10)
    assert senders(plan_round([a_lead(provider="google")], a_sight(busy, MICROSOFT))) == [MICROSOFT.id]


def test_without_a_match_prefer_spills_over_and_strict_holds() -> None:
    lead = a_lead(provider="google")
    assert senders(plan_round([lead], a_sight(MICROSOFT, **MATCHING))) == [MICROSOFT.id]
    held = gate(plan_round([lead], a_sight(MICROSOFT, **MATCHING, esp_matching_mode="strict")))
    assert (held.gate, held.value, held.retry_at) == ("esp", "google", None)


def test_a_closed_inbox_of_the_right_provider_is_named_only_when_there_is_no_other() -> None:
    paused = msgspec.structs.replace(GOOGLE, status="paused")
    lead = a_lead(provider="google")
    assert senders(plan_round([lead], a_sight(paused, MICROSOFT, **MATCHING))) == [MICROSOFT.id]
    assert gate(plan_round([lead], a_sight(paused, **MATCHING))).gate == "inbox"


def test_a_follow_up_stays_with_its_inbox_or_waits() -> None:
    lead = a_lead(provider="google", step_number=2, inbox_id=MICROSOFT.id, thread_subject="Hello Bob")
    strict: dict[str, Any] = {"esp_matching": True, "esp_matching_mode": "strict"}
    assert senders(plan_round([lead], a_sight(GOOGLE, MICROSOFT, **strict))) == [MICROSOFT.id]
    paused = msgspec.structs.replace(MICROSOFT, status="paused")
    assert gate(plan_round([lead], a_sight(GOOGLE, paused, **strict))).gate == "inbox"


@pytest.mark.parametrize(("score", "slots_today"), [(None, 8), (90, 8), (75, 5), (60, 4)])
def test_health_and_ramp_count_only_where_the_inbox_is_throttled(score: int | None, slots_today: int) -> None:
    ramped = [MONDAY.date().replace(month=2, day=day) for day in range(20, 29)]
    box = a_box("a", health_score=score, daily_send_limit=8, auto_throttle_enabled=True, sending_days=ramped)
    free = msgspec.structs.replace(box, auto_throttle_enabled=False, sending_days=[])
    leads = [a_lead(number) for number in range(10)]
    for one, expected in ((box, slots_today), (free, 8)):
        today = [slot.at for _, slot in plan_round(leads, a_sight(one)).slots if slot.at.day == MONDAY.day]
        assert len(today) == expected


def test_below_fifty_a_throttled_inbox_holds_its_leads_by_health() -> None:
    box = a_box("a", health_score=49, auto_throttle_enabled=True)
    held = gate(plan_round([a_lead()], a_sight(box)))
    assert (held.gate, held.value, held.limit, held.retry_at) == ("health", "49", "50", None)


def test_a_lead_with_a_zone_and_one_without_go_by_different_clocks() -> None:
    tokyo, nobody = a_lead(1, timezone="Asia/Tokyo"), a_lead(2)
    slots = {ready.lead.lead_id: slot.at for ready, slot in plan_round([tokyo, nobody], a_sight(OWN)).slots}
    assert slots == {tokyo.lead_id: MONDAY.replace(day=3, hour=0), nobody.lead_id: MONDAY}


def test_all_readings_come_in_the_gates_order_and_the_closed_one_is_the_planners() -> None:
    person = Recipient(
        installation_paused=False,
        campaign_status="active",
        enrollment_state="active",
        archived=False,
        suppressed=None,
        stopped=None,
    )
    tokyo = a_lead(timezone="Asia/Tokyo", step_number=1)
    told = readings(person, tokyo, OWN, MONDAY, a_sight(OWN))
    assert [reading.gate for reading in told] == GATES
    (closed,) = [reading.hold for reading in told if reading.hold]
    assert (closed.gate, closed.retry_at) == ("window", MONDAY.replace(day=3, hour=0))


leads = st.builds(
    a_lead,
    st.integers(0, 30),
    step_number=st.sampled_from([1, 1, 2]),
    inbox_id=st.sampled_from([None, GOOGLE.id, MICROSOFT.id]),
    thread_subject=st.just("Hello Bob"),
    provider=st.sampled_from([None, "google", "microsoft", "other"]),
    timezone=st.sampled_from([None, "Asia/Tokyo", "America/New_York"]),
    suppressed=st.sampled_from([None, None, None, "manual"]),
    first_name=st.sampled_from(["Bob", None]),
)


@settings(max_examples=40, deadline=None)
@given(st.lists(leads, max_size=15, unique_by=lambda lead: lead.enrollment_id), st.randoms(use_true_random=False))
def test_everybody_ends_in_one_place_and_the_order_of_the_facts_is_irrelevant(some: list[DueLead], random: Any) -> None:
    sight = a_sight(GOOGLE, MICROSOFT, OWN, **MATCHING)
    decided = plan_round(some, sight)
    everybody = [ready.lead for ready, _ in decided.slots] + [lead for lead, _ in decided.holds]
    everybody += [one.lead for one in (*decided.moves, *decided.ends)]
    assert sorted(lead.enrollment_id for lead in everybody) == sorted(lead.enrollment_id for lead in some)
    mixed = random.sample(some, len(some))
    again = plan_round(mixed, sight)
    assert [slot for _, slot in again.slots] == [slot for _, slot in decided.slots]
    assert {lead.lead_id: hold for lead, hold in again.holds} == {lead.lead_id: hold for lead, hold in decided.holds}
