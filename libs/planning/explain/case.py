"""What is known of one lead when somebody asks why it is mailed, or why not: its rows, its sends, and what was told.

Values only; queries.py reads them. Never holds what no answer shows.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from libs.planning.explain.explanation import Assumption
from libs.planning.facts import DueLead
from libs.planning.round import Sight
from libs.planning.sequence import Step
from libs.schema.events.base import Event


class Person(msgspec.Struct, frozen=True, kw_only=True):
    """The lead's row, and the installation's kill switch, which concerns everybody."""

    id: UUID
    email: str
    lead_list_id: UUID | None
    status: str
    archived_at: datetime | None
    paused: bool
    paused_at: datetime | None
    paused_reason: str | None


class Membership(msgspec.Struct, frozen=True, kw_only=True):
    """A sequence that the lead is or was in, and its campaign."""

    id: UUID
    campaign_id: UUID
    campaign_name: str
    campaign_status: str
    campaign_settings: dict[str, Any]
    scheduled_start_at: datetime | None
    lead_key: bytes
    state: str
    ended_reason: str | None
    sequence_version: int
    step_number: int
    next_at: datetime | None
    inbox_id: UUID | None
    held_gate: str | None
    held_until: datetime | None
    enrolled_at: datetime
    ended_at: datetime | None


class Offer(msgspec.Struct, frozen=True, kw_only=True):
    """A campaign that the lead is not in: the one that was asked about, or that takes leads out of its list."""

    id: UUID
    name: str
    status: str
    lead_list_id: UUID | None
    scheduled_start_at: datetime | None
    steps: list[Step]


class KnownSend(msgspec.Struct, frozen=True, kw_only=True):
    """A send of the lead's sequence as the ledger has it."""

    send_id: UUID
    step_id: UUID
    step_number: int
    inbox_id: UUID
    state: str
    slot_at: datetime
    not_before: datetime
    due_at: datetime | None = None
    is_void: bool = False  # what its slot was given by has changed: it is about to get another one
    claimed_at: datetime | None
    committed_at: datetime | None
    next_settle_at: datetime | None

    @property
    def due_again_at(self) -> datetime:
        """When its step fell due, or what its server asked for since: where its lead goes back to without its slot."""
        return self.not_before if self.not_before > self.slot_at else self.due_at or self.slot_at

    @property
    def went_at(self) -> datetime | None:
        """When it went, in the plan's words; None when it has not, as far as anybody knows."""
        return self.committed_at if self.state in ("in_data", "accepted", "unknown") else None


class Stop(msgspec.Struct, frozen=True, kw_only=True):
    """A stop that applies to the lead's sequence, and the event that set it."""

    reason: str
    event_id: UUID
    at: datetime


class Suppressed(msgspec.Struct, frozen=True, kw_only=True):
    """An entry of the suppression list that names the lead: its address, its domain, or its key."""

    reason: str
    scope: str
    at: datetime


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """An event of the journal that an answer may point at."""

    id: UUID
    type: str
    subject: str
    time: datetime
    event: Event


class Case(msgspec.Struct, frozen=True, kw_only=True):
    """One lead at one instant, with everything that decides about its next mail; `events` are in log order."""

    at: datetime
    now: datetime
    team_id: UUID
    person: Person
    memberships: Sequence[Membership]
    chosen: Membership | None
    offer: Offer | None
    lead: DueLead | None
    sight: Sight | None
    sends: Sequence[KnownSend]
    stops: Sequence[Stop]
    suppressed: Sequence[Suppressed]
    events: Sequence[Told]
    assumes: Sequence[Assumption] = ()  # of a past case: what is not known for that time

    @property
    def is_past(self) -> bool:
        """Whether it asks how things were."""
        return self.at < self.now
