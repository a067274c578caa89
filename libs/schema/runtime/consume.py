"""A durable consumer of a service: brings events from the stream to the handlers and settles them.

Never acks what is not committed. One process handles its events one after the other, in stream order; an event that
failed, and a second replica, break that order, so handlers guard by status or time. Pull loop and connection are
FastStream's; what is done with a batch is in `handle`.
"""

import asyncio
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import UUID, uuid5

from faststream import AckPolicy
from faststream.nats import JStream, NatsBroker, PullSub
from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from nats.errors import TimeoutError as NatsTimeoutError
from nats.js import JetStreamContext
from nats.js.api import ConsumerInfo
from nats.js.errors import NotFoundError

from libs.schema.events.base import STREAM, Event
from libs.schema.ids import SEND_NAMESPACE
from libs.schema.runtime import telemetry
from libs.schema.runtime.db import OUTAGES, Pool
from libs.schema.runtime.handle import RETRY_DELAYS_S, Delivery, Handler, Handling
from libs.schema.runtime.parked import asked_retries
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

__all__ = ["Consumer", "Handler", "StalledError"]

BATCH: Final = 50
GATHER_S: Final = 0.2  # nats-py hands over a batch that is not full only after its whole timeout
OUTAGE_DELAY_S: Final = 2.0
WATCH_S: Final = 5.0
STALLED_S: Final = 60.0
RETRIES_S: Final = 2.0
DRAIN_S: Final = 30.0  # how long handlers may take to end when the process is told to


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
    _handling: Handling = field(init=False)
    _one_at_a_time: asyncio.Lock = field(default_factory=asyncio.Lock)
    _progress: float = field(default_factory=time.monotonic)
    _is_closing: bool = False

    def __post_init__(self) -> None:
        self._handling = Handling(
            name=self.name, handlers=self.handlers, pool=self.pool, retry_delays_s=self.retry_delays_s
        )

    async def run(self) -> None:
        """Handles events until `stopping`; finishes the batch in hand, gives back what comes later, and leaves."""
        while not self.link.is_connected:
            if await pause(self.stopping, 1.0):
                return
        broker = self._broker()
        subscriber = broker.subscriber(
            subject="*.*.*",  # unread: the durable has its own filters
            durable=self.name,
            stream=JStream(STREAM, declare=False),
            config=durable_config(self.name),
            ack_policy=AckPolicy.MANUAL,
            pull_sub=PullSub(batch_size=BATCH, timeout=GATHER_S, batch=True),
            decoder=_raw_messages,
        )
        subscriber(self._on_batch)
        try:
            await broker.start()
            if subscriber.subscription is None:
                raise StalledError(f"{self.name}: the broker made no subscription")
            subscriber.subscription = fetches = _Fetches(subscriber.subscription, self.stopping)
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._watch())
                tasks.create_task(self._retry())
            await fetches.ended()
        finally:
            self._is_closing = True
            await broker.stop()

    def _broker(self) -> NatsBroker:
        options = connection_options(self.name, lambda: self._is_closing)
        # With its buffer: without one the pull loop would raise at once while NATS is away, and spin. What is sent late
        # here are acks of what is committed, and requests for more.
        del options["pending_size"]
        log = logging.getLogger("faststream")  # its errors only: it would tell of every message
        return NatsBroker(
            self.nats_url, apply_types=False, logger=log, log_level=logging.DEBUG, graceful_timeout=DRAIN_S, **options
        )

    async def _on_batch(self, messages: list[Msg]) -> None:
        async with self._one_at_a_time:
            self._progress = time.monotonic()
            try:
                await self._settle(messages)
            except NatsError as error:  # what could not be acked comes again, and is known then
                telemetry.logger().warning("consumer.unacked", consumer=self.name, error=type(error).__name__)

    async def _settle(self, messages: Sequence[Msg]) -> None:
        """Handles the messages and acks them, or gives them back: at once when we are to stop, else for later."""
        if self.stopping.is_set():
            await _give_back(messages, 0)
            return
        try:
            verdicts = await self._handling.take([_delivery(message) for message in messages])
        except OUTAGES as error:
            log = telemetry.logger(consumer=self.name, error=type(error).__name__)
            log.warning("consumer.outage", detail=str(error))
            await _give_back(messages, self.outage_delay_s)
            return
        for message, delay_s in zip(messages, verdicts, strict=True):
            if delay_s is None:
                await message.ack()
            else:
                await message.nak(delay=delay_s)

    async def _retry(self) -> None:
        """Runs parked events again when somebody asks for it."""
        while not await pause(self.stopping, self.retries_s):
            try:
                for retry in await asked_retries(self.pool, self.name):
                    async with self._one_at_a_time:
                        await self._handling.run_again(retry)
            except OUTAGES as error:
                telemetry.logger().warning("consumer.outage", consumer=self.name, error=type(error).__name__)

    async def _watch(self) -> None:
        """Asks the server for our consumer: makes it anew when it is gone, raises when it has events and gives none."""
        log = telemetry.logger(consumer=self.name)
        while not await pause(self.stopping, self.watch_s):
            if not self.link.is_connected:
                self._progress = time.monotonic()
                continue
            try:
                self._judge(await self.link.jetstream.consumer_info(STREAM, self.name, timeout=2))
            except NotFoundError:
                log.warning("consumer.missing")
                await self._declare()
            except NatsError as error:
                log.warning("consumer.unwatched", error=type(error).__name__)

    def _judge(self, info: ConsumerInfo) -> None:
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


class _Fetches(JetStreamContext.PullSubscription):
    """The subscription, mended for FastStream 0.7.8, and bringing nothing more once we are to stop.

    nats-py at times ends a fetch with asyncio's TimeoutError instead of its own: FastStream's loop dies of it, and what
    it had gathered comes again only after ack_wait; so would what is fetched and not begun when we leave.
    """

    def __init__(self, subscription: JetStreamContext.PullSubscription, stopping: asyncio.Event) -> None:
        vars(self).update(vars(subscription))
        self._stopping = stopping
        self._asking = asyncio.Lock()

    async def fetch(
        self,
        batch: int = 1,
        timeout: float | None = GATHER_S,  # noqa: ASYNC109 - nats-py's signature
        heartbeat: float | None = None,
    ) -> list[Msg]:
        async with self._asking:
            if self._stopping.is_set():
                await asyncio.sleep(GATHER_S)
                raise NatsTimeoutError  # "there was nothing"
            try:
                messages = await super().fetch(batch, timeout, heartbeat)
            except TimeoutError:
                raise NatsTimeoutError from None
            if not self._stopping.is_set():
                return messages
            await _give_back(messages, 0)
            raise NatsTimeoutError

    async def ended(self) -> None:
        """Waits until no request is with the server."""
        async with self._asking:
            return


async def _raw_messages(message: Any) -> Any:
    """Hands over the messages as they came: what cannot be decoded is parked by us, and not dropped by FastStream."""
    return message.raw_message


async def _give_back(messages: Sequence[Msg], delay_s: float) -> None:
    for message in messages:
        await message.nak(delay=delay_s)


def _delivery(message: Msg) -> Delivery:
    # A message without an id is named by its place in the stream.
    name: UUID | None = as_uuid((message.headers or {}).get(MSG_ID))
    name = name or uuid5(SEND_NAMESPACE, f"stream|{message.metadata.sequence.stream}")
    return Delivery(body=message.data, name=name, type=".".join(message.subject.split(".")[:2]))
