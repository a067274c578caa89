"""Warm-up: what warmup planned, and what sender and replies saw of it."""

from datetime import datetime
from typing import ClassVar
from uuid import UUID

from libs.schema.events.base import Event, register


class WarmupEvent(Event, frozen=True, kw_only=True):
    """What every event of a warm-up message says: it goes from one inbox of the pool to another."""

    AGGREGATE: ClassVar[str] = "interaction"

    interaction_id: UUID
    from_inbox_id: UUID
    to_inbox_id: UUID


class WarmupPlanned(WarmupEvent, frozen=True, kw_only=True):
    """A warm-up message is to be sent; the sender carries it out."""

    TYPE: ClassVar[str] = "warmup.planned"

    send_at: datetime


class WarmupSent(WarmupEvent, frozen=True, kw_only=True):
    """It went out."""

    TYPE: ClassVar[str] = "warmup.sent"


class WarmupReceived(WarmupEvent, frozen=True, kw_only=True):
    """It was found at the receiving inbox, in this folder."""

    TYPE: ClassVar[str] = "warmup.received"

    folder: str
    in_spam: bool


class WarmupEngagementPlanned(WarmupEvent, frozen=True, kw_only=True):
    """What the receiving inbox is to do with it, and when; replies carries it out."""

    TYPE: ClassVar[str] = "warmup.engagement_planned"

    engage_at: datetime
    actions: list[str]  # open, star, important, rescue, reply


class WarmupReplied(WarmupEvent, frozen=True, kw_only=True):
    """The receiving inbox answered it."""

    TYPE: ClassVar[str] = "warmup.replied"


class WarmupRescued(WarmupEvent, frozen=True, kw_only=True):
    """It was moved from the spam folder to the inbox."""

    TYPE: ClassVar[str] = "warmup.rescued"


class WarmupPhaseChanged(Event, frozen=True, kw_only=True):
    """An inbox's warm-up entered another phase."""

    TYPE: ClassVar[str] = "warmup.phase_changed"
    AGGREGATE: ClassVar[str] = "inbox"

    inbox_id: UUID
    phase: str
    previous: str | None


register(
    WarmupPlanned,
    WarmupSent,
    WarmupReceived,
    WarmupEngagementPlanned,
    WarmupReplied,
    WarmupRescued,
    WarmupPhaseChanged,
)
