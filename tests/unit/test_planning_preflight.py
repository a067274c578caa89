"""What a preflight finds, one fault at a time: a sound campaign has none, and each lack is told once with its mend."""

from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from uuid import UUID, uuid5

import msgspec
import pytest

from libs.planning.facts import PlannedInbox, TeamDay
from libs.planning.preflight.check import preflight
from libs.planning.preflight.findings import Finding, Plan, Reader, Report, SendingDomain
from libs.planning.sequence import Step, Variant
from libs.schema.ids import SEND_NAMESPACE, lead_key
from services.api.rules.reach import can_be_reached
from tests.support import PEPPER

MONDAY = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
WORKDAYS = ["mon", "tue", "wed", "thu", "fri"]
SETTINGS = {"timezone": "UTC", "send_days": WORKDAYS, "min_health_score": 70, "track_opens": False}


def id_of(name: str) -> UUID:
    return uuid5(SEND_NAMESPACE, name)


BOX = PlannedInbox(
    id=id_of("ann"),
    email="ann@acme.test",
    from_name="Ann",
    status="active",
    archived=False,
    health_score=None,
    circuit=None,
    circuit_retry_at=None,
    daily_send_limit=50,
    hourly_limit=10,
    min_delay_seconds=300,
    max_delay_seconds=600,
    send_days=WORKDAYS,
    send_window_start=time(9),
    send_window_end=time(17),
    send_window_timezone="UTC",
    weekends_enabled=False,
    campaign_ids=[id_of("campaign")],
    busy=[],
)
FIRST = Step(step_id=id_of("one"), step_number=1, subject="Hello {{ first_name }}", body="A word, {{ first_name }}?")
SECOND = Step(step_id=id_of("two"), step_number=2, subject="", body="Still there?", delay_days=3)
DOMAIN = SendingDomain(id=id_of("domain"), domain="acme.test", spf_valid=True, dkim_valid=True, dmarc_valid=True)
SOUND = Plan(
    id=id_of("campaign"),
    name="Spring",
    status="draft",
    settings=SETTINGS,
    lead_list_id=id_of("list"),
    lead_count=10,
    physical_address="1 Main Street",
    company_name="Acme",
    now=MONDAY,
    steps=[FIRST, SECOND],
    boxes=[BOX],
    domains=[DOMAIN],
    team=TeamDay(
        zone="UTC", daily_limit=1000, company_name="Acme", physical_address="1 Main Street", days=[], counts=[]
    ),
)


def box(**changes: Any) -> PlannedInbox:
    return msgspec.structs.replace(BOX, **changes)


def reader(number: int, **changes: Any) -> Reader:
    email = changes.pop("email", f"bob{number}@lead.test")
    values: dict[str, Any] = dict.fromkeys(
        ("last_name", "company", "title", "phone", "linkedin_url", "website", "city", "country", "timezone")
    )
    values |= {"status": "pending", "first_name": "Bob", "custom_fields": {}, "suppressed": False, "elsewhere": False}
    return Reader(id=id_of(f"lead {number}"), email=email, lead_key=lead_key(PEPPER, email), **values | changes)


PEOPLE = [reader(number) for number in range(10)]


def report(plan: Plan = SOUND, readers: list[Reader] | None = None, *, can_unsubscribe: bool = True) -> Report:
    return preflight(plan, PEOPLE if readers is None else readers, can_unsubscribe=can_unsubscribe)


def found(code: str, said: Report) -> Finding:
    (finding,) = [each for each in said.findings if each.code == code]
    return finding


def test_a_sound_campaign_has_nothing_but_its_duration_to_tell() -> None:
    said = report()
    assert [finding.code for finding in said.findings] == ["takes_days"]
    assert said.ready
    assert "20 mails from 1 inbox take 1 day at least" in said.findings[0].detail


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"steps": []}, "no_steps"),
        ({"lead_count": 0}, "no_leads"),
        ({"physical_address": " "}, "no_physical_address"),
        ({"boxes": []}, "no_inbox"),
        ({"boxes": [box(status="paused")]}, "inbox_closed"),
        ({"settings": SETTINGS | {"send_days": ["sat", "sun"]}}, "empty_window"),
        ({"settings": SETTINGS | {"send_days": []}}, "empty_window"),
    ],
)
def test_what_lets_nothing_go_is_an_error(changes: dict[str, Any], code: str) -> None:
    said = report(msgspec.structs.replace(SOUND, **changes))
    assert (found(code, said).severity, said.ready) == ("error", False)
    assert found(code, said).mend


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"boxes": [BOX, box(id=id_of("eve"), status="error")]}, "inbox_closed"),
        ({"boxes": [BOX, box(id=id_of("eve"), send_days=["sun"])]}, "empty_window"),
        ({"boxes": [box(circuit="transport", circuit_retry_at=MONDAY)]}, "circuit_open"),
        ({"boxes": [box(health_score=69)]}, "inbox_unhealthy"),
        ({"domains": [msgspec.structs.replace(DOMAIN, dkim_valid=False)]}, "domain_unauthenticated"),
        ({"steps": [msgspec.structs.replace(FIRST, body="word " * 201), SECOND]}, "too_long"),
        ({"steps": [msgspec.structs.replace(FIRST, subject="S" * 61), SECOND]}, "long_subject"),
        ({"steps": [msgspec.structs.replace(FIRST, body="https://a.test " * 3), SECOND]}, "many_links"),
        ({"steps": [FIRST, msgspec.structs.replace(FIRST, step_id=id_of("two"), delay_days=3)]}, "same_text"),
        ({"settings": SETTINGS | {"track_opens": True}}, "tracked_first_step"),
    ],
)
def test_what_harms_is_a_warning_and_does_not_refuse(changes: dict[str, Any], code: str) -> None:
    said = report(msgspec.structs.replace(SOUND, **changes))
    assert (found(code, said).severity, said.ready) == ("warning", True)
    assert found(code, said).mend


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"domains": [msgspec.structs.replace(DOMAIN, dmarc_valid=None)]}, "domain_unchecked"),
        ({"steps": [FIRST, msgspec.structs.replace(SECOND, delay_days=1)]}, "short_delay"),
        ({"lead_count": 500}, "not_all_leads"),
    ],
)
def test_what_is_worth_knowing_is_a_notice(changes: dict[str, Any], code: str) -> None:
    assert found(code, report(msgspec.structs.replace(SOUND, **changes))).severity == "notice"


def test_an_empty_window_names_both_windows() -> None:
    said = report(msgspec.structs.replace(SOUND, settings=SETTINGS | {"send_days": ["sat"]}))
    detail = found("empty_window", said).detail
    assert "sends on sat (UTC)" in detail
    assert "on mon, tue, wed, thu, fri from 09:00 to 17:00 (UTC)" in detail


def test_a_link_of_a_later_step_is_not_the_first_mails() -> None:
    later = msgspec.structs.replace(SECOND, body="https://a.test " * 5)
    assert report(msgspec.structs.replace(SOUND, steps=[FIRST, later])).ready


@pytest.mark.parametrize("changes", [{"physical_address": None}, {"boxes": []}])
def test_what_the_campaign_lacks_hides_nothing_that_its_leads_lack(changes: dict[str, Any]) -> None:
    said = report(msgspec.structs.replace(SOUND, **changes), [reader(1, first_name=None)])
    codes = [finding.code for finding in said.findings]
    assert "missing_variable" in codes
    assert "unwritable_physical_address" not in codes


def test_delays_are_told_in_words() -> None:
    quick = msgspec.structs.replace(SECOND, delay_days=1, delay_hours=6)
    said = found("short_delay", report(msgspec.structs.replace(SOUND, steps=[FIRST, quick])))
    assert said.detail == "step 2 follows after 1 day 6 hours; two campaigns of the team keep 2 days apart"


def test_without_a_public_address_nobody_could_opt_out() -> None:
    said = report(can_unsubscribe=False)
    assert (found("no_unsubscribe", said).severity, said.ready) == ("error", False)


@pytest.mark.parametrize(
    ("url", "networks", "reached"),
    [
        ("https://mail.acme.com", (), True),
        ("http://127.0.0.1:8081", (), False),
        ("http://127.0.0.1:8081", ("127.0.0.0/8",), True),
        ("http://localhost:8081", ("127.0.0.1/32",), True),
        ("http://10.1.2.3", (), False),
        ("https://coldstream", (), False),
        ("https://mail.acme.internal", (), False),
        ("http://[::1]/", (), False),
    ],
)
def test_a_public_address_is_one_that_a_recipient_can_reach(
    url: str, networks: tuple[str, ...], *, reached: bool
) -> None:
    assert can_be_reached(url, networks) is reached


def test_a_missing_variable_is_told_for_all_whom_it_holds_with_some_of_them() -> None:
    readers = [*PEOPLE[:3], *(reader(n, first_name=None) for n in range(10, 17))]
    finding = found("missing_variable", report(readers=readers))
    assert (finding.count, finding.pointer) == (7, "/sequences/0")
    assert finding.examples == [id_of(f"lead {n}") for n in range(10, 15)]
    assert "first_name | default" in finding.mend


def test_a_variable_that_only_some_values_ask_for_is_found_for_those() -> None:
    step = msgspec.structs.replace(FIRST, body="{% if title == 'CEO' %}{{ company }}{% endif %} hello")
    readers = [reader(1, title="CEO"), reader(2, title="CTO"), reader(3, title="CEO", company="Acme")]
    finding = found("missing_variable", report(msgspec.structs.replace(SOUND, steps=[step]), readers))
    assert finding.examples == [id_of("lead 1")]


def test_a_fallback_leaves_nothing_to_find() -> None:
    step = msgspec.structs.replace(FIRST, subject="Hello", body="Hi {{ first_name | default: 'there' }}")
    said = report(msgspec.structs.replace(SOUND, steps=[step]), [reader(1, first_name=None)])
    assert [finding.code for finding in said.findings if finding.severity != "notice"] == []


def test_leads_that_left_that_are_elsewhere_and_roles_are_counted() -> None:
    readers = [
        *PEOPLE[:6],
        reader(20, suppressed=True),
        reader(21, status="bounced"),
        reader(22, elsewhere=True),
        reader(23, email="info@lead.test"),
        reader(24, email="sales+eu@lead.test"),
    ]
    said = report(readers=readers)
    assert (found("left", said).count, found("left", said).severity) == (2, "warning")
    assert found("in_other_campaign", said).examples == [id_of("lead 22")]
    assert found("role_addresses", said).count == 2


def test_a_list_of_nobody_but_those_who_left_cannot_be_started() -> None:
    said = report(readers=[reader(1, suppressed=True)])
    assert (found("left", said).severity, said.ready) == ("error", False)


def test_leads_who_work_while_no_inbox_may_send_are_named() -> None:
    night = box(send_window_start=time(1), send_window_end=time(5))
    readers = [reader(1, timezone="Europe/Berlin"), reader(2, timezone="Asia/Tokyo"), reader(3)]
    finding = found("lead_window", report(msgspec.structs.replace(SOUND, boxes=[night]), readers))
    assert finding.examples == [id_of("lead 1")]  # one at night in Greenwich is ten in Tokyo


@pytest.mark.parametrize(("leads", "severity"), [(299, "warning"), (300, "notice")])
def test_a_test_says_how_many_sends_it_needs(leads: int, severity: str) -> None:
    arms = tuple(Variant(variant_id=id_of(name), subject=name, body=name) for name in "ab")
    step = msgspec.structs.replace(FIRST, variants=arms)
    finding = found("test_size", report(msgspec.structs.replace(SOUND, steps=[step], lead_count=leads)))
    assert (finding.severity, finding.count) == (severity, 300)


def test_only_the_texts_that_are_sent_are_judged() -> None:
    arms = tuple(Variant(variant_id=id_of(name), subject=name, body=name) for name in "ab")
    step = msgspec.structs.replace(FIRST, body="word " * 300, variants=arms)
    codes = [finding.code for finding in report(msgspec.structs.replace(SOUND, steps=[step])).findings]
    assert "too_long" not in codes


def test_the_duration_counts_the_ramp_of_young_inboxes() -> None:
    young = box(auto_throttle_enabled=True)
    # 5 + 8 + 11 + 14 + 17 + 20 + 23 + 26 = 124 mails in eight days
    plan = msgspec.structs.replace(SOUND, boxes=[young], steps=[FIRST], lead_count=124)
    assert found("takes_days", report(plan)).count == 8
    old = box(auto_throttle_enabled=True, sending_days=[date(2026, 3, 1) - timedelta(days=n) for n in range(30)])
    assert found("takes_days", report(msgspec.structs.replace(plan, boxes=[old]))).count == 3
