"""What a planning round rests on: leads that want a slot, their team, inboxes and sequences, as they are at an instant.

Values only; queries.py reads them. Never holds what nobody decides with.
"""

from datetime import date, datetime, time
from typing import Any
from uuid import UUID

import msgspec

from libs.planning.sequence import Step


class Contact(msgspec.Struct, frozen=True, kw_only=True):
    """A lead's own columns, as templates and zones ask for them."""

    email: str
    first_name: str | None
    last_name: str | None
    company: str | None
    title: str | None
    phone: str | None
    linkedin_url: str | None
    website: str | None
    city: str | None
    country: str | None
    custom_fields: dict[str, Any]
    timezone: str | None = None


class DueLead(Contact, frozen=True, kw_only=True):
    """An enrollment whose next step wants a slot, with what gates and templates ask for."""

    enrollment_id: UUID
    campaign_id: UUID
    lead_id: UUID
    lead_key: bytes
    sequence_version: int
    step_number: int
    next_at: datetime
    inbox_id: UUID | None
    held_gate: str | None
    held_until: datetime | None
    archived: bool
    suppressed: str | None
    stopped: str | None
    thread_subject: str | None
    provider: str | None = None  # of the recipient's mail: google, microsoft, other; None: not known yet
    contacted_at: datetime | None = None  # the last mail that another campaign sent to the person
    # What conditions ask about (conditions.py).
    replied: bool = False
    reply_intent: str | None = None
    opened: bool = False
    clicked: bool = False


class TeamDay(msgspec.Struct, frozen=True, kw_only=True):
    """The team, and what its days hold: mails that went since yesterday, and slots."""

    zone: str
    daily_limit: int
    company_name: str | None
    physical_address: str | None
    days: list[date]
    counts: list[int]
    settings: dict[str, Any] = {}


class PlannedInbox(msgspec.Struct, frozen=True, kw_only=True):
    """An inbox as the planner sees it: `busy` are its sends since yesterday and its slots."""

    id: UUID
    email: str
    from_name: str | None
    status: str
    archived: bool
    health_score: int | None
    circuit: str | None
    circuit_retry_at: datetime | None
    daily_send_limit: int
    hourly_limit: int
    min_delay_seconds: int
    max_delay_seconds: int
    send_days: list[str]
    send_window_start: time
    send_window_end: time
    send_window_timezone: str
    weekends_enabled: bool
    campaign_ids: list[UUID]
    busy: list[datetime]
    not_cold: list[datetime] = []  # those of `busy` that are no campaign's
    sending_days: list[date] = []  # its own days with campaign mail, sent or planned, of two months
    provider: str = "smtp"
    esp_matching_enabled: bool = True
    auto_throttle_enabled: bool = False
    halved: bool = False  # complaints: until they are old it sends half (field.md 4.4)


class SequenceVersion(msgspec.Struct, frozen=True, kw_only=True):
    """A campaign's settings, one saved version of its steps, and which variants have won against all arms there."""

    campaign_id: UUID
    version: int
    settings: dict[str, Any]
    steps: list[Step]
    winners: list[UUID] = []
    circuit_until: datetime | None = None  # too many of the campaign's mails bounce: none goes before that
