"""Every reason why a mail may not go, in one ordered list; each names itself, its numbers and its end.

The planner, the claim, `explain` and `simulate` ask these and nothing else, so that what is said is what happens. Never
looks anything up: the facts are read before, in one go.
"""

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Literal, TypeVar

import msgspec

from libs.planning.limits.budget import LEAST_HEALTH

# What a closed gate means: try again when it clears, or this mail is over.
Effect = Literal["wait", "stop"]


class Hold(msgspec.Struct, frozen=True, kw_only=True):
    """A closed gate: its name, the value that closed it, the limit it met, when it clears (None: a person must act)."""

    gate: str
    value: str | None = None
    limit: str | None = None
    retry_at: datetime | None = None
    effect: Effect = "wait"
    look_at: datetime | None = None  # when to look again, where so many wait for the same instant that it goes by turns


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """What a gate was asked and said: the value it saw, the limit it keeps, and the hold when it is closed."""

    gate: str
    value: str | None = None
    limit: str | None = None
    hold: Hold | None = None


class Recipient(msgspec.Struct, frozen=True, kw_only=True):
    """What decides about the person, whatever the inbox and the hour."""

    installation_paused: bool
    campaign_status: str
    enrollment_state: str
    archived: bool  # the lead's row was put away
    suppressed: str | None  # the reason on the suppression list, of the team or of all
    stopped: str | None  # the reason of a stop that applies to this enrollment
    campaign_circuit_until: datetime | None = None  # the campaign's breaker is open until then


class Mailbox(msgspec.Struct, frozen=True, kw_only=True):
    """What decides about the inbox, whoever is to be mailed."""

    status: str
    archived: bool
    circuit: str | None  # the kind of breaker that is open
    circuit_retry_at: datetime | None
    health_score: int | None  # None: too little data, which never blocks (design.md §4)
    min_health_score: int
    throttled: bool = False  # its health decides how much it sends, and at the worst that it sends nothing


T = TypeVar("T")
Gate = Callable[[T], Reading]


def _installation(person: Recipient) -> Reading:
    value = "paused" if person.installation_paused else "running"
    return _reading("installation", value, closed=person.installation_paused)


def _campaign(person: Recipient) -> Reading:
    if person.campaign_status == "active" and person.campaign_circuit_until is not None:
        hold = Hold(gate="campaign", value="circuit_open", retry_at=person.campaign_circuit_until)
        return Reading(gate="campaign", value="circuit_open", hold=hold)
    effect: Effect = "stop" if person.campaign_status == "archived" else "wait"
    return _reading("campaign", person.campaign_status, closed=person.campaign_status != "active", effect=effect)


def _enrollment(person: Recipient) -> Reading:
    value = "archived" if person.archived else person.enrollment_state
    return _reading("lead", value, closed=value not in ("active", "held"), effect="stop")


def _suppression(person: Recipient) -> Reading:
    return _reading("suppression", person.suppressed, closed=person.suppressed is not None, effect="stop")


def _stop(person: Recipient) -> Reading:
    return _reading("stop", person.stopped, closed=person.stopped is not None, effect="stop")


def _inbox(box: Mailbox) -> Reading:
    value = "archived" if box.archived else box.status
    return _reading("inbox", value, closed=value != "active")


def _circuit(box: Mailbox) -> Reading:
    hold = Hold(gate="circuit", value=box.circuit, retry_at=box.circuit_retry_at) if box.circuit else None
    return Reading(gate="circuit", value=box.circuit or "closed", hold=hold)


def _health(box: Mailbox) -> Reading:
    value = None if box.health_score is None else str(box.health_score)
    least = max(box.min_health_score, LEAST_HEALTH if box.throttled else 0)
    closed = box.health_score is not None and box.health_score < least
    return _reading("health", value, closed=closed, limit=str(least))


ABOUT_RECIPIENT: Sequence[Gate[Recipient]] = (_installation, _campaign, _enrollment, _suppression, _stop)
ABOUT_MAILBOX: Sequence[Gate[Mailbox]] = (_inbox, _circuit, _health)


def recipient_readings(person: Recipient) -> list[Reading]:
    """What every gate about the person says, in the order in which they are asked."""
    return [gate(person) for gate in ABOUT_RECIPIENT]


def mailbox_readings(box: Mailbox) -> list[Reading]:
    """What every gate about the inbox says, in the order in which they are asked."""
    return [gate(box) for gate in ABOUT_MAILBOX]


def recipient_hold(person: Recipient) -> Hold | None:
    """The first gate that is closed to this person; None when all are open."""
    return first_hold(gate(person) for gate in ABOUT_RECIPIENT)


def mailbox_hold(box: Mailbox) -> Hold | None:
    """The first gate that is closed to this inbox; None when all are open."""
    return first_hold(gate(box) for gate in ABOUT_MAILBOX)


def first_hold(readings: Iterable[Reading]) -> Hold | None:
    """The hold of the first closed gate; asks no further."""
    return next((reading.hold for reading in readings if reading.hold), None)


def _reading(
    gate: str, value: str | None, *, closed: bool, limit: str | None = None, effect: Effect = "wait"
) -> Reading:
    hold = Hold(gate=gate, value=value, limit=limit, effect=effect) if closed else None
    return Reading(gate=gate, value=value, limit=limit, hold=hold)
