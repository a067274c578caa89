"""Bob in the first step of Spring, with Ann's inbox: the plain facts that tests of explain and simulate begin with."""

from datetime import UTC, datetime, time, timedelta
from typing import Any
from uuid import UUID, uuid5

import msgspec

from libs.planning.explain.case import Case, KnownSend, Membership, Person
from libs.planning.facts import DueLead, PlannedInbox, SequenceVersion, TeamDay
from libs.planning.round import Sight
from libs.planning.sequence import Step
from libs.schema.ids import SEND_NAMESPACE, lead_key

MONDAY = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
MINUTE = timedelta(minutes=1)


def id_of(name: str) -> UUID:
    return uuid5(SEND_NAMESPACE, name)


KEY = lead_key(b"x" * 32, "bob@lead.test")
STEPS = [
    Step(step_id=id_of("one"), step_number=1, subject="Hello", body="A word, {{ first_name }}?"),
    Step(step_id=id_of("two"), step_number=2, subject="", body="Still there?", delay_days=2),
]
SETTINGS = {"timezone": "UTC", "send_days": ["mon", "tue", "wed", "thu", "fri"], "min_health_score": 70}
VERSION = SequenceVersion(campaign_id=id_of("campaign"), version=1, settings=SETTINGS, steps=STEPS)
LEAD = DueLead(
    enrollment_id=id_of("enrollment"),
    campaign_id=id_of("campaign"),
    lead_id=id_of("bob"),
    lead_key=KEY,
    sequence_version=1,
    step_number=1,
    next_at=MONDAY,
    inbox_id=None,
    held_gate=None,
    held_until=None,
    archived=False,
    suppressed=None,
    stopped=None,
    email="bob@lead.test",
    first_name="Bob",
    last_name=None,
    company=None,
    title=None,
    phone=None,
    linkedin_url=None,
    website=None,
    city=None,
    country=None,
    custom_fields={},
    thread_subject=None,
)
BOX = PlannedInbox(
    id=id_of("ann"),
    email="ann@acme.test",
    from_name="Ann",
    status="active",
    archived=False,
    health_score=None,
    circuit=None,
    circuit_retry_at=None,
    daily_send_limit=3,
    hourly_limit=3,
    min_delay_seconds=300,
    max_delay_seconds=600,
    send_days=["mon", "tue", "wed", "thu", "fri"],
    send_window_start=time(9),
    send_window_end=time(17),
    send_window_timezone="UTC",
    weekends_enabled=False,
    campaign_ids=[id_of("campaign")],
    busy=[],
)
TEAM = TeamDay(zone="UTC", daily_limit=1000, company_name="Acme", physical_address="1 Main Street", days=[], counts=[])
MEMBER = Membership(
    id=id_of("enrollment"),
    campaign_id=id_of("campaign"),
    campaign_name="Spring",
    campaign_status="active",
    campaign_settings=SETTINGS,
    scheduled_start_at=None,
    lead_key=KEY,
    state="active",
    ended_reason=None,
    sequence_version=1,
    step_number=1,
    next_at=MONDAY,
    inbox_id=None,
    held_gate=None,
    held_until=None,
    enrolled_at=MONDAY,
    ended_at=None,
)
PERSON = Person(
    id=id_of("bob"),
    email="bob@lead.test",
    lead_list_id=id_of("list"),
    status="pending",
    archived_at=None,
    paused=False,
    paused_at=None,
    paused_reason=None,
)
SEND = KnownSend(
    send_id=id_of("send"),
    step_id=id_of("one"),
    step_number=1,
    inbox_id=BOX.id,
    state="queued",
    slot_at=MONDAY + HOUR,
    not_before=MONDAY + HOUR,
    claimed_at=None,
    committed_at=None,
    next_settle_at=None,
)


def a_case(**changes: Any) -> Case:
    """Bob in step 1 of Spring, with Ann's inbox; changes of the case, or of its parts by their names."""
    parts = {"lead": LEAD, "box": BOX, "member": MEMBER, "person": PERSON, "team": TEAM}
    kinds: dict[str, Any] = {
        name: msgspec.structs.replace(part, **changes.pop(name, {})) for name, part in parts.items()
    }
    now = changes.pop("now", MONDAY)
    sight = Sight(
        now=changes.get("at", now),
        team=kinds["team"],
        boxes={BOX.id: kinds["box"]},
        versions={(VERSION.campaign_id, 1): msgspec.structs.replace(VERSION, **changes.pop("version", {}))},
        public_url="http://localhost",
    )
    values: dict[str, Any] = {
        "at": now,
        "now": now,
        "team_id": id_of("team"),
        "person": kinds["person"],
        "memberships": [kinds["member"]],
        "chosen": kinds["member"],
        "offer": None,
        "lead": kinds["lead"],
        "sight": sight,
        "sends": [],
        "stops": [],
        "suppressed": [],
        "events": [],
    }
    return Case(**values | changes)
