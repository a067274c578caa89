"""Side-effect handlers: each event once, in one transaction with its effect, acked only after the commit.

Never acks what is not committed and never drops what failed: it comes back after a pause, and is parked in the end.
One process handles one event at a time, in stream order; an event that failed, and a second replica, break that
order, so handlers guard by status or time. Pull loop and connection are FastStream's, the batch is ours.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias
from uuid import UUID, uuid5

import asyncpg
import msgspec
from faststream import AckPolicy
from faststream.nats import JStream, NatsBroker, NatsMessage, PullSub
from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from nats.errors import TimeoutError as NatsTimeoutError
from nats.js import JetStreamContext
from nats.js.errors import NotFoundError
from opentelemetry.trace import Span

from libs.schema.events.base import (
    STREAM,
    Envelope,
    Event,
    NewerEventError,
    UnknownEventError,
    open_envelope,
    open_event,
)
from libs.schema.ids import SEND_NAMESPACE
from libs.schema.runtime import telemetry
from libs.schema.runtime.db import Pool, Tx, transaction
from libs.schema.runtime.parked import Poison, Retry, asked_retries, park, release
from libs.schema.runtime.relay import pause
from libs.schema.runtime.streams import (
    MAX_ACK_PENDING,
    MSG_ID,
    StreamLink,
    as_uuid,
    connection_options,
    durable_config,
    ensure_declared,
)

# (tx, envelope, event); the event's own type is the key in Service.handlers.
Handler: TypeAlias = Callable[[Tx, Envelope, Any], Awaitable[None]]

FETCH_S: Final = 1.0  # how long a request for an event stays with the server while there is none
RETRY_DELAYS_S: Final = (1.0, 5.0, 30.0, 120.0)  # then parked: after 5 failures
OUTAGE_DELAY_S: Final = 2.0
WATCH_S: Final = 5.0
STALLED_S: Final = 60.0
RETRIES_S: Final = 2.0
DRAIN_S: Final = 30.0  # how long a handler may take to end when the process is told to
_MAX_REMEMBERED: Final = 10_000
# The database's troubles, not the event's: they are no failure of the handler and park nothing.
OUTAGES: Final = (
    OSError,  # TimeoutError too
    asyncpg.InterfaceError,
    asyncpg.PostgresConnectionError,
    asyncpg.InsufficientResourcesError,
    asyncpg.OperatorInterventionError,
    asyncpg.TransactionRollbackError,
    asyncpg.LockNotAvailableError,
    asyncpg.InternalClientError,
)

CLAIM = "INSERT INTO event_handled (consumer, event_id) VALUES ($1, $2) ON CONFLICT DO NOTHING"


class StalledError(Exception):
    """The server has events for us and the subscription brings none: only a new process helps."""


@dataclass(kw_only=True)
class Consumer:
    """One durable consumer of one service. Its `run` ends when told to, or raises StalledError."""

    name: str
    handlers: Mapping[type[Event], Handler]
    pool: Pool
    link: StreamLink
    nats_url: str
    stopping: asyncio.Event
    retry_delays_s: Sequence[float] = RETRY_DELAYS_S
    outage_delay_s: float = OUTAGE_DELAY_S
    watch_s: float = WATCH_S
    stalled_s: float = STALLED_S
    retries_s: float = RETRIES_S
    # Failures of events that are out for another try. In memory: a restart only grants more tries.
    _failures: OrderedDict[UUID, int] = field(default_factory=OrderedDict[UUID, int])
    _one_at_a_time: asyncio.Lock = field(default_factory=asyncio.Lock)
    _progress: float = field(default_factory=time.monotonic)
    _is_closing: bool = False

    async def run(self) -> None:
        """Handles events until `stopping`; finishes the one in hand, gives the others back, and leaves."""
        while not self.link.is_connected:
            if await pause(self.stopping, 1.0):
                return
        options = connection_options(self.name, lambda: self._is_closing)
        # With its buffer: without one the pull loop would raise at once while NATS is away, and spin. What is sent late
        # here are acks of what is committed, and requests for more.
        del options["pending_size"]
        broker = NatsBroker(self.nats_url, apply_types=False, logger=None, graceful_timeout=DRAIN_S, **options)
        subscriber = broker.subscriber(
            subject="*.*.*",  # unread: the durable has its own filters
            durable=self.name,
            stream=JStream(STREAM, declare=False),
            config=durable_config(self.name),
            ack_policy=AckPolicy.MANUAL,
            # One by one: nats-py hands over a batch that is not full only after its whole timeout.
            pull_sub=PullSub(batch_size=1, timeout=FETCH_S),
            decoder=_raw_message,
        )
        subscriber(self._on_message)
        try:
            await broker.start()
            if subscriber.subscription is None:
                raise StalledError(f"{self.name}: the broker made no subscription")
            subscriber.subscription = fetches = _LastFetch(subscriber.subscription, self.stopping)
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._watch())
                tasks.create_task(self._retry())
            await fetches.ended()
        finally:
            self._is_closing = True
            await broker.stop()

    async def _on_message(self, message: Msg) -> None:
        async with self._one_at_a_time:
            self._progress = time.monotonic()
            try:
                await self._settle(message)
            except NatsError as error:  # what could not be acked comes again, and is known then
                telemetry.logger().warning("consumer.unacked", consumer=self.name, error=type(error).__name__)
            except Exception:
                telemetry.logger().exception("consumer.broken", consumer=self.name)  # FastStream would say nothing
                raise

    async def _settle(self, message: Msg) -> None:
        """Handles the message and acks it, or gives it back: at once when we are to stop, else for later."""
        if self.stopping.is_set():
            await message.nak()
            return
        try:
            await self._handle(message)
        except _LaterError as later:
            await message.nak(delay=later.delay_s)
        except OUTAGES as error:
            log = telemetry.logger().bind(consumer=self.name, error=type(error).__name__)
            log.warning("consumer.outage", detail=str(error))
            await message.nak(delay=self.outage_delay_s)
        else:
            await message.ack()

    async def _handle(self, message: Msg) -> None:
        """Runs the event's handler, or parks what cannot be read.

        Raises:
            _LaterError: it failed and is to come again.

        """
        try:
            envelope = open_envelope(message.data)
            event = open_event(envelope)
        except UnknownEventError:
            telemetry.SKIPPED.labels(self.name).inc()
            return
        except (msgspec.DecodeError, NewerEventError, LookupError, ValueError) as error:
            id_ = _message_id(message) or _stranger_id(message)
            await self._park(Poison(event_id=id_, type=_event_type(message), error=error))
            return
        handler = self.handlers.get(type(event))
        if handler is None:
            return
        started = time.perf_counter()
        with telemetry.handling(self.name, envelope) as span:
            outcome = await self._try(handler, envelope, event, span)
        telemetry.HANDLED.labels(self.name, outcome).observe(time.perf_counter() - started)

    async def _try(self, handler: Handler, envelope: Envelope, event: Event, span: Span) -> str:
        try:
            await self._once(handler, envelope, event)
        except OUTAGES:
            raise
        except Exception as error:  # noqa: BLE001 - whatever a handler raises: the event comes again or is parked
            telemetry.failed(span, error)
            await self._failed(envelope, error)
            return "parked"
        self._failures.pop(envelope.id, None)
        return "ok"

    async def _once(self, handler: Handler, envelope: Envelope, event: Event) -> None:
        async with transaction(self.pool) as tx:
            await self._claim_and_handle(tx, handler, envelope, event)

    async def _claim_and_handle(self, tx: Tx, handler: Handler, envelope: Envelope, event: Event) -> None:
        if await tx.execute(CLAIM, self.name, envelope.id) == "INSERT 0 1":
            await handler(tx, envelope, event)

    async def _failed(self, envelope: Envelope, error: Exception) -> None:
        """Parks the event after its last try.

        Raises:
            _LaterError: there are tries left.

        """
        failures = self._failures.pop(envelope.id, 0) + 1
        if failures <= len(self.retry_delays_s):
            self._failures[envelope.id] = failures
            if len(self._failures) > _MAX_REMEMBERED:
                self._failures.popitem(last=False)
            telemetry.logger().warning("handler.failed", consumer=self.name, failures=failures, exc_info=error)
            raise _LaterError(self.retry_delays_s[failures - 1])
        await self._park(Poison(event_id=envelope.id, type=envelope.type, error=error, attempts=failures))

    async def _park(self, poison: Poison) -> None:
        async with transaction(self.pool) as tx:
            await park(tx, self.name, poison)

    async def _retry(self) -> None:
        """Runs parked events again when somebody asks for it."""
        while not await pause(self.stopping, self.retries_s):
            try:
                for retry in await asked_retries(self.pool, self.name):
                    async with self._one_at_a_time:
                        await self._retry_one(retry)
            except OUTAGES as error:
                telemetry.logger().warning("consumer.outage", consumer=self.name, error=type(error).__name__)

    async def _retry_one(self, retry: Retry) -> None:
        envelope = open_envelope(retry.body)
        try:
            event = open_event(envelope)
            with telemetry.handling(self.name, envelope):
                async with transaction(self.pool) as tx:
                    await self._claim_and_handle(tx, self.handlers[type(event)], envelope, event)
                    await release(tx, self.name, envelope.id)
        except OUTAGES:
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, it is written into the row for a person
            await self._park(Poison(event_id=envelope.id, type=envelope.type, error=error))

    async def _watch(self) -> None:
        """Asks the server for our consumer: makes it anew when it is gone, raises when it has events and gives none."""
        while not await pause(self.stopping, self.watch_s):
            if not self.link.is_connected:
                self._progress = time.monotonic()
                continue
            try:
                info = await self.link.jetstream.consumer_info(STREAM, self.name, timeout=2)
            except NotFoundError:
                telemetry.logger().error("consumer.missing", consumer=self.name)
                await self._declare()
                continue
            except NatsError as error:
                telemetry.logger().warning("consumer.unwatched", consumer=self.name, error=type(error).__name__)
                continue
            telemetry.CONSUMER_PENDING.labels(self.name).set(info.num_pending or 0)
            telemetry.CONSUMER_UNACKED.labels(self.name).set(info.num_ack_pending or 0)
            telemetry.CONSUMER_REDELIVERED.labels(self.name).set(info.num_redelivered or 0)
            is_full = (info.num_ack_pending or 0) >= MAX_ACK_PENDING  # of events that wait for their next try
            if not info.num_pending or is_full or info.paused or self._one_at_a_time.locked():
                self._progress = time.monotonic()
            elif time.monotonic() - self._progress > self.stalled_s:
                raise StalledError(f"{self.name}: {info.num_pending} events wait, none came for {self.stalled_s} s")

    async def _declare(self) -> None:
        try:
            await ensure_declared(self.link.jetstream)
        except NatsError as error:
            telemetry.logger().warning("consumer.not_made", consumer=self.name, error=type(error).__name__)


class _LaterError(Exception):
    """The event is to come again after a pause."""

    def __init__(self, delay_s: float) -> None:
        super().__init__(delay_s)
        self.delay_s = delay_s


async def _raw_message(message: NatsMessage) -> Any:
    """Hands over the message as it came: what cannot be decoded is parked by us, and not dropped by FastStream."""
    return message.raw_message


class _LastFetch(JetStreamContext.PullSubscription):
    """The subscription, but it brings nothing more once we are to stop: what came too late is given back at once.

    FastStream would leave it lying, and it would come again only after ack_wait.
    """

    def __init__(self, subscription: JetStreamContext.PullSubscription, stopping: asyncio.Event) -> None:
        vars(self).update(vars(subscription))
        self._stopping = stopping
        self._asking = asyncio.Lock()

    async def fetch(
        self,
        batch: int = 1,
        timeout: float | None = FETCH_S,  # noqa: ASYNC109 - nats-py's signature
        heartbeat: float | None = None,
    ) -> list[Msg]:
        async with self._asking:
            if self._stopping.is_set():
                await asyncio.sleep(FETCH_S)
                raise NatsTimeoutError  # "there was nothing"
            messages = await super().fetch(batch, timeout, heartbeat)
            if not self._stopping.is_set():
                return messages
            for message in messages:
                await message.nak()
            raise NatsTimeoutError

    async def ended(self) -> None:
        """Waits until no request is with the server."""
        async with self._asking:
            return


def _message_id(message: Msg) -> UUID | None:
    return as_uuid((message.headers or {}).get(MSG_ID))


def _stranger_id(message: Msg) -> UUID:
    """A stable name for a message that has none: its place in the stream."""
    return uuid5(SEND_NAMESPACE, f"stream|{message.metadata.sequence.stream}")


def _event_type(message: Msg) -> str:
    return ".".join(message.subject.split(".")[:2])
