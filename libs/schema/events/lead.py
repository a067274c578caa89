"""A lead's life: imported, in and out of sequences, and the ways in which people leave."""

from datetime import date, datetime
from typing import ClassVar, Literal
from uuid import UUID

from libs.schema.events.base import Event, register

StopReason = Literal[
    "replied",
    "hard_bounce",
    "soft_bounce",
    "unsubscribe",
    "complaint",
    "left_company",
    "absent",
    "suppressed",
    "marked",
    "erased",
]


class LeadEvent(Event, frozen=True, kw_only=True):
    """What every event of a lead says."""

    AGGREGATE: ClassVar[str] = "lead"

    lead_id: UUID


class LeadImported(LeadEvent, frozen=True, kw_only=True):
    """The lead was added, or its fields were written again, by a batch, a file or a form; held mail may go on now."""

    TYPE: ClassVar[str] = "lead.imported"

    lead_list_id: UUID | None = None
    source: str = "api"


class LeadEnrolled(LeadEvent, frozen=True, kw_only=True):
    """The lead entered a campaign's sequence."""

    TYPE: ClassVar[str] = "lead.enrolled"

    enrollment_id: UUID
    campaign_id: UUID
    sequence_version: int


class LeadHeld(LeadEvent, frozen=True, kw_only=True):
    """A gate holds the lead's next email back; told only when the gate or its retry time's day changes."""

    TYPE: ClassVar[str] = "lead.held"

    enrollment_id: UUID
    campaign_id: UUID
    gate: str
    value: str | None = None
    limit: str | None = None
    retry_at: datetime | None = None  # none: a person must act


class LeadStopped(LeadEvent, frozen=True, kw_only=True):
    """The lead's sequence ended before its last step."""

    TYPE: ClassVar[str] = "lead.stopped"

    enrollment_id: UUID
    campaign_id: UUID
    reason: str  # a StopReason, or "failed"


class LeadCompleted(LeadEvent, frozen=True, kw_only=True):
    """The lead got every step of its sequence and did not answer."""

    TYPE: ClassVar[str] = "lead.completed"

    enrollment_id: UUID
    campaign_id: UUID


class LeadUnsubscribed(LeadEvent, frozen=True, kw_only=True):
    """The person opted out."""

    TYPE: ClassVar[str] = "lead.unsubscribed"

    method: Literal["one_click", "page", "reply", "api"]
    email_id: UUID | None = None
    campaign_id: UUID | None = None
    step_id: UUID | None = None
    variant_id: UUID | None = None
    inbox_id: UUID | None = None
    sent_on: date | None = None  # of the email that carried the link, where known
    inbox_sent_on: date | None = None


class LeadSuppressed(LeadEvent, frozen=True, kw_only=True):
    """The lead's address or domain came onto the suppression list."""

    TYPE: ClassVar[str] = "lead.suppressed"

    scope: Literal["email", "domain"] = "email"
    reason: str


class LeadMarked(LeadEvent, frozen=True, kw_only=True):
    """A person set the lead's status by hand."""

    TYPE: ClassVar[str] = "lead.marked"

    status: str


class LeadErased(LeadEvent, frozen=True, kw_only=True):
    """The lead's personal data was overwritten."""

    TYPE: ClassVar[str] = "lead.erased"


register(
    LeadImported,
    LeadEnrolled,
    LeadHeld,
    LeadStopped,
    LeadCompleted,
    LeadUnsubscribed,
    LeadSuppressed,
    LeadMarked,
    LeadErased,
)
