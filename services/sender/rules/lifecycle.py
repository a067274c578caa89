"""How leads, enrollments and mails go on: forward only, so that events which come late or twice change nothing.

Never lets a status go back: what is known of a person only grows.
"""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Literal
from uuid import UUID

import msgspec

from services.sender.rules.schedule import unit_hash
from services.sender.rules.windows import MIDNIGHT, instant

LedgerState = Literal[
    "queued", "claimed", "in_data", "accepted", "rejected", "unknown", "suppressed", "stopped", "expired"
]
EmailStatus = Literal["queued", "sending", "sent", "delivered", "bounced", "failed", "cancelled", "unknown"]
LeadStatus = Literal[
    "pending",
    "in_sequence",
    "sequence_complete",
    "contacted",
    "soft_bounced",
    "replied",
    "not_interested",
    "interested",
    "meeting_booked",
    "bounced",
    "unsubscribed",
    "spam_reported",
]
# Lowest first; a lead's status only ever climbs.
LEAD_STATUSES: tuple[LeadStatus, ...] = (
    "pending",
    "in_sequence",
    "sequence_complete",
    "contacted",
    "soft_bounced",
    "replied",
    "not_interested",
    "interested",
    "meeting_booked",
    "bounced",
    "unsubscribed",
    "spam_reported",
)
_EMAIL_STATUS: dict[LedgerState, EmailStatus] = {
    "queued": "queued",
    "claimed": "sending",
    "in_data": "sending",
    "accepted": "sent",
    "rejected": "failed",
    "unknown": "unknown",
    "suppressed": "cancelled",
    "stopped": "cancelled",
    "expired": "cancelled",
}
# What a stop makes of the lead, by its reason; "marked" says its own status in the event.
STATUS_AFTER_STOP: dict[str, LeadStatus] = {
    "replied": "replied",
    "hard_bounce": "bounced",
    "soft_bounce": "soft_bounced",
    "unsubscribe": "unsubscribed",
    "complaint": "spam_reported",
}
STATUS_AFTER_INTENT: dict[str, LeadStatus] = {
    "interested": "interested",
    "meeting_request": "interested",
    "not_interested": "not_interested",
    "unsubscribe": "unsubscribed",
    "question": "replied",
    "neutral": "replied",
}
# An automatic answer says nothing about the person's wish, so it stops nothing (field.md 4.6).
AUTOMATIC_INTENTS = frozenset(("out_of_office", "auto_reply", "bounce"))
OUT_OF_OFFICE_PAUSE = timedelta(days=7)  # no date of return in the text (field.md 4.6)
_SATURDAY = 5


class Variant(msgspec.Struct, frozen=True):
    """One arm of a step's A/B test."""

    variant_id: UUID
    subject: str
    body: str
    weight: int = 50


class Step(msgspec.Struct, frozen=True):
    """One step of a sequence as its version keeps it."""

    step_id: UUID
    step_number: int
    subject: str
    body: str
    delay_days: int = 0
    delay_hours: int = 0
    variants: tuple[Variant, ...] = ()

    @property
    def delay(self) -> timedelta:
        """The time between the step before and this one."""
        return timedelta(days=self.delay_days, hours=self.delay_hours)


def email_status(state: LedgerState, *, bounced: bool = False, delivered: bool = False) -> EmailStatus:
    """What `emails.status` shows for a send's state; the only place that says so (design.md §9.2)."""
    if bounced and state in ("accepted", "rejected", "unknown"):
        return "bounced"
    if delivered and state == "accepted":
        return "delivered"
    return _EMAIL_STATUS[state]


def step_at(steps: Sequence[Step], number: int) -> Step | None:
    """The step with this number, or the first after it: a number may be missing. None when the sequence ends before."""
    return next((step for step in steps if step.step_number >= number), None)


def variant_of(step: Step, lead_key: bytes) -> Variant | None:
    """The lead's arm of the test, by weight, for ever the same; None when the step has no variants."""
    total = sum(variant.weight for variant in step.variants)
    point = unit_hash(lead_key, step.step_id.bytes, b"variant") * total
    for variant in step.variants:
        point -= variant.weight
        if point < 0:
            return variant
    return None


def after_return(returns_on: date | None, received_at: datetime, zone: str) -> datetime:
    """When a sequence goes on after an out-of-office answer: on the working day after the return, else a week later."""
    if returns_on is None:
        return received_at + OUT_OF_OFFICE_PAUSE
    day = returns_on + timedelta(days=1)
    while day.weekday() >= _SATURDAY:
        day += timedelta(days=1)
    return max(received_at, instant(day, MIDNIGHT, zone)).astimezone(UTC)
