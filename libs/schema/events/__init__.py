"""What can happen in Coldstream: importing this package fills the registry with every context's events."""

from libs.schema.events import campaign, email, inbox, lead, reply, team, warmup
from libs.schema.events.base import (
    REGISTRY,
    STREAM,
    Envelope,
    Event,
    NewerEventError,
    UnknownEventError,
    open_envelope,
    open_event,
    seal,
    stream_subject,
)

__all__ = [
    "REGISTRY",
    "STREAM",
    "Envelope",
    "Event",
    "NewerEventError",
    "UnknownEventError",
    "campaign",
    "email",
    "inbox",
    "lead",
    "open_envelope",
    "open_event",
    "reply",
    "seal",
    "stream_subject",
    "team",
    "warmup",
]
