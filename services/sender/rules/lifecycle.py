"""How leads, enrollments and mails go on: forward only, so that events which come late or twice change nothing.

Never lets a status go back, except where a person reads a reply again: what is known only grows.
"""

from datetime import UTC, date, datetime, timedelta
from typing import Literal

from libs.planning.hours.windows import MIDNIGHT, instant

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
# What a reply alone makes of a lead: a person who reads it again may choose among them.
REPLY_STATUSES: tuple[LeadStatus, ...] = ("replied", "not_interested", "interested")
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
    "left_company": "sequence_complete",  # nothing was said by the person, and nothing more will be
    "absent": "sequence_complete",
    "condition": "sequence_complete",  # the author's own end of the sequence
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
# Soft bounces of one person that mean more than a full mailbox: so many in a row, or fewer over days (field.md 4.5).
SOFT_IN_A_ROW = 5
SOFT_OVER_DAYS = 3
SOFT_DAYS = timedelta(hours=72)
NOTES_IN_A_ROW = 3  # absence notes and no answer: then nobody reads there (field.md 4.6)
_SATURDAY = 5


def email_status(state: LedgerState, *, bounced: bool = False, delivered: bool = False) -> EmailStatus:
    """What `emails.status` shows for a send's state; the only place that says so (design.md §9.2)."""
    if bounced and state in ("accepted", "rejected", "unknown"):
        return "bounced"
    if delivered and state == "accepted":
        return "delivered"
    return _EMAIL_STATUS[state]


def is_lasting(softs: int, span: timedelta) -> bool:
    """Whether so many soft bounces in a row, so long from the first to the last, mean that nothing will arrive."""
    return softs >= SOFT_IN_A_ROW or (softs >= SOFT_OVER_DAYS and span >= SOFT_DAYS)


def after_return(returns_on: date | None, received_at: datetime, zone: str, *, days: int) -> datetime:
    """When a sequence goes on after an absence note, UTC: as the working day after the return begins in the zone.

    Without a date of return it is `days` after the note; with one that is over, at once.
    """
    if returns_on is None:
        return received_at + timedelta(days=days)
    day = returns_on + timedelta(days=1)
    while day.weekday() >= _SATURDAY:
        day += timedelta(days=1)
    return max(received_at, instant(day, MIDNIGHT, zone)).astimezone(UTC)
