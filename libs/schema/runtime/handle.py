"""What becomes of delivered events: each has its effect once, in the transaction that remembers that it was handled.

Never calls an event done before its effect is committed, and never drops one that failed: it comes again after a pause,
and is parked in the end. Knows nothing of NATS: whoever delivers is told of each event whether it is done.
"""

import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias
from uuid import UUID

import msgspec

from libs.schema.events.base import Envelope, Event, UnknownEventError, open_envelope, open_event
from libs.schema.runtime import telemetry
from libs.schema.runtime.db import Pool, Tx, is_outage, transaction
from libs.schema.runtime.parked import Poison, Retry, park, release

# (tx, envelope, event); the event's own type is the key in Service.handlers.
Handler: TypeAlias = Callable[[Tx, Envelope, Any], Awaitable[None]]
# None: done. Else the event is to come again after so many seconds.
Verdict: TypeAlias = float | None

RETRY_DELAYS_S: Final = (1.0, 5.0, 30.0, 120.0)  # then parked: after 5 failures
_MAX_REMEMBERED: Final = 10_000

CLAIM = """
INSERT INTO event_handled (consumer, event_id)
SELECT $1, event_id
FROM unnest($2::uuid[]) AS e(event_id)
ON CONFLICT DO NOTHING
RETURNING event_id
"""


@dataclass(frozen=True, kw_only=True)
class Delivery:
    """An event as it came; name and type are what it is parked under when it cannot be read."""

    body: bytes
    name: UUID
    type: str


@dataclass(frozen=True, kw_only=True)
class _Task:
    """An event for which there is a handler."""

    envelope: Envelope
    event: Event
    handler: Handler


@dataclass(kw_only=True)
class Handling:
    """The handlers of one consumer."""

    name: str
    handlers: Mapping[type[Event], Handler]
    pool: Pool
    retry_delays_s: Sequence[float] = RETRY_DELAYS_S
    # Failures of events that are out for another try. In memory: a restart only grants more tries.
    _failures: OrderedDict[UUID, int] = field(default_factory=OrderedDict[UUID, int])

    async def take(self, deliveries: Sequence[Delivery]) -> list[Verdict]:
        """Handles the events in their order and says of each what is to become of it.

        All in one transaction, since a commit costs more than a handler; where that fails, each in its own.

        Raises:
            Exception: the database is away (`is_outage`); nobody knows what was committed: let all of them come again.

        """
        tasks = [await self._read(delivery) for delivery in deliveries]
        together = [task for task in tasks if task is not None]
        if len(together) > 1 and await self._handle_together(together):
            return [None] * len(tasks)
        return [None if task is None else await self._handle_alone(task) for task in tasks]

    async def run_again(self, retry: Retry) -> None:
        """Runs a parked event; it stays parked, with the new reason, when it fails again. Raises what `is_outage`."""
        envelope = open_envelope(retry.body)
        try:
            event = open_event(envelope)
            task = _Task(envelope=envelope, event=event, handler=self.handlers[type(event)])
            async with transaction(self.pool) as tx:
                await self._claim_and_run(tx, [task])
                await release(tx, self.name, envelope.id)
        except Exception as error:  # whatever it is, it is written into the row for a person
            if is_outage(error):
                raise
            await self._park(Poison(event_id=envelope.id, type=envelope.type, error=error))

    async def _read(self, delivery: Delivery) -> _Task | None:
        """The event with its handler; None when there is nothing to do, or it cannot be read and has been parked."""
        try:
            envelope = open_envelope(delivery.body)
            event = open_event(envelope)
        except UnknownEventError:
            telemetry.SKIPPED.labels(self.name).inc()
            return None
        except (msgspec.DecodeError, LookupError, ValueError) as error:
            await self._park(Poison(event_id=delivery.name, type=delivery.type, error=error))
            return None
        handler = self.handlers.get(type(event))
        return _Task(envelope=envelope, event=event, handler=handler) if handler else None

    async def _handle_together(self, tasks: Sequence[_Task]) -> bool:
        try:
            async with transaction(self.pool) as tx:
                await self._claim_and_run(tx, tasks)
        except Exception as error:  # whose it was comes out when each is alone
            if is_outage(error):
                raise
            telemetry.logger().info("handler.batch_failed", consumer=self.name, error=type(error).__name__)
            return False
        return True

    async def _handle_alone(self, task: _Task) -> Verdict:
        try:
            async with transaction(self.pool) as tx:
                await self._claim_and_run(tx, [task])
        except Exception as error:  # whatever a handler raises: the event comes again or is parked
            if is_outage(error):
                raise
            return await self._failed(task.envelope, error)
        self._failures.pop(task.envelope.id, None)
        return None

    async def _claim_and_run(self, tx: Tx, tasks: Sequence[_Task]) -> None:
        rows = await tx.fetch(CLAIM, self.name, [task.envelope.id for task in tasks])
        ours: set[UUID] = {row["event_id"] for row in rows}
        for task in tasks:
            if task.envelope.id in ours:
                ours.remove(task.envelope.id)  # a batch may hold a copy
                await self._run(tx, task)

    async def _run(self, tx: Tx, task: _Task) -> None:
        started, outcome = time.perf_counter(), "failed"
        try:
            with telemetry.handling(self.name, task.envelope):
                await task.handler(tx, task.envelope, task.event)
                outcome = "ok"
        finally:
            telemetry.HANDLED.labels(self.name, outcome).observe(time.perf_counter() - started)

    async def _failed(self, envelope: Envelope, error: Exception) -> Verdict:
        failures = self._failures.pop(envelope.id, 0) + 1
        if failures > len(self.retry_delays_s):
            await self._park(Poison(event_id=envelope.id, type=envelope.type, error=error, attempts=failures))
            return None
        self._failures[envelope.id] = failures
        if len(self._failures) > _MAX_REMEMBERED:
            self._failures.popitem(last=False)
        log = telemetry.logger(event_id=str(envelope.id), event_type=envelope.type)
        log.warning("handler.failed", consumer=self.name, failures=failures, exc_info=error)
        return self.retry_delays_s[failures - 1]

    async def _park(self, poison: Poison) -> None:
        async with transaction(self.pool) as tx:
            await park(tx, self.name, poison)
