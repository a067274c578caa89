"""One email's life, from its slot to the verdict of the world; and the bounces, which are verdicts on the recipient."""

from datetime import date, datetime
from typing import ClassVar, Literal
from uuid import UUID

from libs.schema.events.base import Event, register

Resolution = Literal["smtp", "sent_folder", "dsn", "reply", "hit", "expired", "operator"]


class EmailEvent(Event, frozen=True, kw_only=True):
    """What every event of an email says: which email, to whom, out of which campaign and step, from which inbox."""

    AGGREGATE: ClassVar[str] = "email"

    email_id: UUID
    kind: Literal["campaign", "reply", "test", "warmup"] = "campaign"
    lead_id: UUID | None = None
    inbox_id: UUID
    campaign_id: UUID | None = None
    enrollment_id: UUID | None = None
    step_id: UUID | None = None
    step_number: int | None = None
    variant_id: UUID | None = None


class SentEmailEvent(EmailEvent, frozen=True, kw_only=True):
    """An event of an email that has gone out; outcomes count on the day of sending (design.md §9.5)."""

    sent_on: date  # in the team's zone
    inbox_sent_on: date  # in the inbox's zone


class EmailQueued(EmailEvent, frozen=True, kw_only=True):
    """The planner gave the step a slot."""

    TYPE: ClassVar[str] = "email.queued"

    scheduled_at: datetime
    sequence_version: int | None = None


class EmailCancelled(EmailEvent, frozen=True, kw_only=True):
    """A queued email will not go out in its slot."""

    TYPE: ClassVar[str] = "email.cancelled"

    reason: Literal["stopped", "suppressed", "expired", "replanned"]


class EmailSent(SentEmailEvent, frozen=True, kw_only=True):
    """The SMTP peer accepted the message, or an unknown end was settled as sent; `resolved_by` says which."""

    TYPE: ClassVar[str] = "email.sent"

    attempt: int
    resolved_by: Resolution
    scheduled_at: datetime
    smtp_code: int | None = None
    smtp_status: str | None = None


class EmailDelivered(SentEmailEvent, frozen=True, kw_only=True):
    """A success DSN came, or the grace time passed without a bounce."""

    TYPE: ClassVar[str] = "email.delivered"

    by_dsn: bool


class EmailDeferred(EmailEvent, frozen=True, kw_only=True):
    """The peer said "later" (4xx), or could not be reached; it is tried again at `retry_at`."""

    TYPE: ClassVar[str] = "email.deferred"

    attempt: int
    phase: str
    retry_at: datetime
    smtp_code: int | None = None
    smtp_status: str | None = None
    diagnostic: str | None = None  # addresses masked


class EmailFailed(EmailEvent, frozen=True, kw_only=True):
    """The email will never go out, and the recipient is not to blame."""

    TYPE: ClassVar[str] = "email.failed"

    reason: str
    smtp_code: int | None = None
    smtp_status: str | None = None
    diagnostic: str | None = None


class EmailUnknown(SentEmailEvent, frozen=True, kw_only=True):
    """The final dot may have been accepted; nobody re-sends it, it is settled from other evidence."""

    TYPE: ClassVar[str] = "email.unknown"

    reason: str


class EmailConfirmed(SentEmailEvent, frozen=True, kw_only=True):
    """The message has gone: it was seen in the mailbox's Sent folder, or its server reported that it arrived."""

    TYPE: ClassVar[str] = "email.confirmed"

    provider_message_id: str | None = None  # only where the provider rewrote ours
    evidence: Literal["sent_folder", "dsn"] = "sent_folder"


class EmailOpened(SentEmailEvent, frozen=True, kw_only=True):
    """The open pixel was fetched, by a person or a machine."""

    TYPE: ClassVar[str] = "email.opened"

    user_agent: str | None = None  # at most 256 characters
    network: str | None = None  # /24 or /48 prefix
    head: bool = False  # asked for with HEAD, which no mail program of a person does


class EmailClicked(SentEmailEvent, frozen=True, kw_only=True):
    """A tracked link was followed, by a person or a machine."""

    TYPE: ClassVar[str] = "email.clicked"

    link_id: UUID
    user_agent: str | None = None
    network: str | None = None
    head: bool = False


class EmailComplained(SentEmailEvent, frozen=True, kw_only=True):
    """The recipient's provider reported the email as spam (RFC 5965)."""

    TYPE: ClassVar[str] = "email.complained"

    feedback_type: str


class BounceEvent(SentEmailEvent, frozen=True, kw_only=True):
    """A refusal, at SMTP time or by a later report (RFC 3464); `reason` is our word for it."""

    source: Literal["smtp", "dsn"]
    reason: str
    smtp_code: int | None = None
    smtp_status: str | None = None
    diagnostic: str | None = None  # addresses masked


class BounceHard(BounceEvent, frozen=True, kw_only=True):
    """The recipient does not exist (field.md 4.5 recipient-hard): suppresses the lead."""

    TYPE: ClassVar[str] = "bounce.hard"


class BounceSoft(BounceEvent, frozen=True, kw_only=True):
    """The recipient cannot take mail now (recipient-soft): suppresses nobody."""

    TYPE: ClassVar[str] = "bounce.soft"


class BounceBlocked(BounceEvent, frozen=True, kw_only=True):
    """The peer refuses the sender or the message (sender-or-policy): charges the inbox, never the lead."""

    TYPE: ClassVar[str] = "bounce.blocked"


register(
    EmailQueued,
    EmailCancelled,
    EmailSent,
    EmailDelivered,
    EmailDeferred,
    EmailFailed,
    EmailUnknown,
    EmailConfirmed,
    EmailOpened,
    EmailClicked,
    EmailComplained,
    BounceHard,
    BounceSoft,
    BounceBlocked,
)
