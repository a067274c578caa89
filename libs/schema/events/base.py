"""The envelope: how an event is written once, as a CloudEvents 1.0 JSON object, and read back in any older version.

Never puts personal data on the stream: an event's fields are ids and facts (design.md §3).
"""

from collections.abc import Callable
from datetime import datetime
from typing import Any, ClassVar
from uuid import UUID

import msgspec

STREAM = "EVENTS"
SOURCE_PREFIX = "/coldstream/"

# What stands of an aggregate's settings, as far as it decides who is mailed when; by the names that the API gives them.
Settings = dict[str, bool | int | str | list[str] | None]


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """What can happen. A concrete event names its type, its version and the aggregate that it is about."""

    TYPE: ClassVar[str] = ""
    VERSION: ClassVar[int] = 1
    AGGREGATE: ClassVar[str] = ""  # "email": the aggregate's noun; its id is the field "email_id"

    def subject(self) -> str:
        """The CloudEvents subject, "<aggregate>/<id>"."""
        return f"{self.AGGREGATE}/{getattr(self, self.AGGREGATE + '_id')}"


class Envelope(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A CloudEvents 1.0 object in structured mode; `data` stays raw until somebody asks for it."""

    specversion: str
    id: UUID
    source: str
    type: str
    subject: str
    time: datetime
    dataschema: str
    teamid: UUID
    correlationid: UUID
    data: msgspec.Raw
    causationid: UUID | None = None
    traceparent: str | None = None

    @property
    def version(self) -> int:
        """The version in which the data was written."""
        return int(self.dataschema.rpartition("/v")[2])


class UnknownEventError(LookupError):
    """The type is in no registry of this release: skipped and counted by projections, parked by handlers."""


class NewerEventError(LookupError):
    """The event was written by a newer release: parked until this one is upgraded."""


Upcast = Callable[[dict[str, Any]], dict[str, Any]]
# (type, version) -> the step from that version to the next; only ever added to.
UPCASTS: dict[tuple[str, int], Upcast] = {}
REGISTRY: dict[str, type[Event]] = {}

_encoder = msgspec.json.Encoder()
_envelope_decoder = msgspec.json.Decoder(Envelope)


def register(*kinds: type[Event]) -> None:
    """Adds event types to the registry.

    Raises:
        ValueError: a type is registered twice or is not two lower-case words.

    """
    for kind in kinds:
        noun, _, verb = kind.TYPE.partition(".")
        if not (noun.isidentifier() and verb.isidentifier()) or kind.TYPE in REGISTRY:
            raise ValueError(f"event type {kind.TYPE!r} of {kind.__name__} is doubled or not of the form noun.verb")
        REGISTRY[kind.TYPE] = kind


def seal(  # noqa: PLR0913  the envelope has that many fields, and each comes from elsewhere
    event: Event,
    *,
    event_id: UUID,
    team_id: UUID,
    time: datetime,
    by: str,
    cause: Envelope | None = None,
    traceparent: str | None = None,
) -> bytes:
    """The bytes that lie in the journal and on the stream for ever; `by` is the recording service."""
    return _encoder.encode(
        Envelope(
            specversion="1.0",
            id=event_id,
            source=SOURCE_PREFIX + by,
            type=event.TYPE,
            subject=event.subject(),
            time=time,
            dataschema=f"{event.TYPE}/v{event.VERSION}",
            teamid=team_id,
            correlationid=cause.correlationid if cause else event_id,
            causationid=cause.id if cause else None,
            traceparent=traceparent,
            data=msgspec.Raw(_encoder.encode(event)),
        )
    )


def open_envelope(body: bytes) -> Envelope:
    """The envelope of the given bytes.

    Raises:
        msgspec.DecodeError: the bytes are no envelope of ours.

    """
    return _envelope_decoder.decode(body)


def open_event(envelope: Envelope) -> Event:
    """The event inside, lifted to the current version by the upcast steps.

    Raises:
        UnknownEventError, NewerEventError: see there.
        msgspec.DecodeError: the data does not fit its type.

    """
    kind = REGISTRY.get(envelope.type)
    if kind is None:
        raise UnknownEventError(envelope.type)
    if envelope.version > kind.VERSION:
        raise NewerEventError(envelope.dataschema)
    if envelope.version == kind.VERSION:
        return msgspec.json.decode(envelope.data, type=kind)
    data: dict[str, Any] = msgspec.json.decode(envelope.data)
    for version in range(envelope.version, kind.VERSION):
        data = UPCASTS[envelope.type, version](data)
    return msgspec.convert(data, kind)


def stream_subject(event_type: str, team_id: UUID) -> str:
    """Where the event goes on NATS: "<type>.<team>"."""
    return f"{event_type}.{team_id}"
