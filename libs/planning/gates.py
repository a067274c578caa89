"""Every reason why a mail may not go, in one ordered list; each names itself, its numbers and its end.

The planner, the claim, `explain` and `simulate` ask these and nothing else, so that what is said is what happens. Never
looks anything up: the facts are read before, in one go.
"""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Literal

import msgspec

# What a closed gate means: try again when it clears, or this mail is over.
Effect = Literal["wait", "stop"]


class Hold(msgspec.Struct, frozen=True, kw_only=True):
    """A closed gate: its name, the value that closed it, the limit it met, when it clears (None: a person must act)."""

    gate: str
    value: str | None = None
    limit: str | None = None
    retry_at: datetime | None = None
    effect: Effect = "wait"


class Recipient(msgspec.Struct, frozen=True, kw_only=True):
    """What decides about the person, whatever the inbox and the hour."""

    installation_paused: bool
    campaign_status: str
    enrollment_state: str
    archived: bool  # the lead's row was put away
    suppressed: str | None  # the reason on the suppression list, of the team or of all
    stopped: str | None  # the reason of a stop that applies to this enrollment


class Mailbox(msgspec.Struct, frozen=True, kw_only=True):
    """What decides about the inbox, whoever is to be mailed."""

    status: str
    archived: bool
    circuit: str | None  # the kind of breaker that is open
    circuit_retry_at: datetime | None
    health_score: int | None  # None: too little data, which never blocks (design.md §4)
    min_health_score: int


Recipients = Sequence[Callable[[Recipient], Hold | None]]
Mailboxes = Sequence[Callable[[Mailbox], Hold | None]]


def _installation(person: Recipient) -> Hold | None:
    return Hold(gate="installation", value="paused") if person.installation_paused else None


def _campaign(person: Recipient) -> Hold | None:
    if person.campaign_status == "active":
        return None
    effect: Effect = "stop" if person.campaign_status == "archived" else "wait"
    return Hold(gate="campaign", value=person.campaign_status, effect=effect)


def _enrollment(person: Recipient) -> Hold | None:
    if person.enrollment_state in ("active", "held") and not person.archived:
        return None
    value = "archived" if person.archived else person.enrollment_state
    return Hold(gate="lead", value=value, effect="stop")


def _suppression(person: Recipient) -> Hold | None:
    return Hold(gate="suppression", value=person.suppressed, effect="stop") if person.suppressed else None


def _stop(person: Recipient) -> Hold | None:
    return Hold(gate="stop", value=person.stopped, effect="stop") if person.stopped else None


def _inbox(box: Mailbox) -> Hold | None:
    if box.archived:
        return Hold(gate="inbox", value="archived")
    return None if box.status == "active" else Hold(gate="inbox", value=box.status)


def _circuit(box: Mailbox) -> Hold | None:
    return Hold(gate="circuit", value=box.circuit, retry_at=box.circuit_retry_at) if box.circuit else None


def _health(box: Mailbox) -> Hold | None:
    if box.health_score is None or box.health_score >= box.min_health_score:
        return None
    return Hold(gate="health", value=str(box.health_score), limit=str(box.min_health_score))


ABOUT_RECIPIENT: Recipients = (_installation, _campaign, _enrollment, _suppression, _stop)
ABOUT_MAILBOX: Mailboxes = (_inbox, _circuit, _health)


def recipient_hold(person: Recipient) -> Hold | None:
    """The first gate that is closed to this person; None when all are open."""
    return next((hold for gate in ABOUT_RECIPIENT if (hold := gate(person))), None)


def mailbox_hold(box: Mailbox) -> Hold | None:
    """The first gate that is closed to this inbox; None when all are open."""
    return next((hold for gate in ABOUT_MAILBOX if (hold := gate(box))), None)
