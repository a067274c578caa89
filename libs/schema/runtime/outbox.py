"""Writes events into the journal, in the transaction of the rows they explain; publishing is the relay's work."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import msgspec

from libs.schema.events.base import Envelope, Event, seal
from libs.schema.runtime.clock import new_id
from libs.schema.runtime.db import Tx
from libs.schema.runtime.telemetry import current_traceparent

MAX_EVENT_BYTES = 60 * 1024  # the stream takes 64 KB with headers

INSERT_EVENTS = """
INSERT INTO event_log (event_id, team_id, type, subject, time, body)
SELECT event_id, team_id, type, subject, $5, body
FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $6::json[]) AS e(event_id, team_id, type, subject, body)
"""


class EventTooLargeError(ValueError):
    """The stream would refuse the event for ever, and the relay would stand still behind it."""


class Fact(msgspec.Struct, frozen=True, kw_only=True):
    """An event on its way into the journal: whose it is, what led to it, and under which id it will stand."""

    team_id: UUID
    event: Event
    cause: Envelope | None = None
    event_id: UUID = msgspec.field(default_factory=new_id)


async def record(
    tx: Tx, team_id: UUID, *events: Event, by: str, at: datetime, cause: Envelope | None = None
) -> list[UUID]:
    """Writes the events of one team, in this order, as recorded by the service `by` at `at` (business time).

    Returns their ids. Nothing is published before the transaction commits; when it rolls back, nothing happened.
    A second call records a second time.
    """
    facts = [Fact(team_id=team_id, event=event, cause=cause) for event in events]
    await record_all(tx, facts, by=by, at=at)
    return [fact.event_id for fact in facts]


async def record_all(tx: Tx, facts: Sequence[Fact], *, by: str, at: datetime) -> None:
    """The same for many teams in one statement; the facts' order is the log's order.

    Raises:
        EventTooLargeError: an event would not fit on the stream; nothing was written.

    """
    if not facts:
        return
    trace = current_traceparent()
    sealed = [
        seal(
            fact.event,
            event_id=fact.event_id,
            team_id=fact.team_id,
            time=at,
            by=by,
            cause=fact.cause,
            traceparent=trace,
        )
        for fact in facts
    ]
    if too_large := [fact.event.TYPE for fact, body in zip(facts, sealed, strict=True) if len(body) > MAX_EVENT_BYTES]:
        raise EventTooLargeError(f"{too_large[0]} is larger than {MAX_EVENT_BYTES} bytes")
    await tx.execute(
        INSERT_EVENTS,
        [fact.event_id for fact in facts],
        [fact.team_id for fact in facts],
        [fact.event.TYPE for fact in facts],
        [fact.event.subject() for fact in facts],
        at,
        sealed,
    )
