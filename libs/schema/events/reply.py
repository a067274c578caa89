"""What came back: a reply, and what it means."""

from datetime import date
from typing import ClassVar, Literal
from uuid import UUID

from libs.schema.events.base import Event, register

Intent = Literal[
    "interested",
    "meeting_request",
    "question",
    "not_interested",
    "unsubscribe",
    "out_of_office",
    "auto_reply",
    "bounce",
    "neutral",
]


class ReplyEvent(Event, frozen=True, kw_only=True):
    """What every event of a reply says."""

    AGGREGATE: ClassVar[str] = "reply"

    reply_id: UUID
    lead_id: UUID
    inbox_id: UUID
    campaign_id: UUID | None = None
    intent: Intent


class ReplyReceived(ReplyEvent, frozen=True, kw_only=True):
    """A message from a lead was stored, matched and classified."""

    TYPE: ClassVar[str] = "reply.received"

    confidence: float
    model: str
    match_method: str
    match_confidence: float
    needs_review: bool = False
    is_alias: bool = False  # the writer is not the lead's own address: an alias, or a colleague
    left_company: bool = False  # a machine says that the lead works there no longer; the sequence is stopped
    email_id: UUID | None = None
    step_id: UUID | None = None
    variant_id: UUID | None = None
    return_date: date | None = None  # out_of_office: the day of return, where the text names one
    sent_on: date | None = None  # of the email it answers, where known
    inbox_sent_on: date | None = None


class ReplyClassified(ReplyEvent, frozen=True, kw_only=True):
    """A reply's intent was changed, by a person or by a better rule."""

    TYPE: ClassVar[str] = "reply.classified"

    email_id: UUID | None = None  # the email it answers, where known: a reply counts once it is a person's
    previous: Intent | None
    confidence: float
    model: str
    by_person: bool


register(ReplyReceived, ReplyClassified)
