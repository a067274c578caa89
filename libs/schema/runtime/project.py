"""Projections: the stream in order, in batches, each applied in one transaction with the move of its offset.

Never trusts a sequence number alone: before it goes on it finds its last event where it left it, and where the stream
was made anew it finds the place again through the journal. Postgres holds the whole state; there is no NATS consumer.
"""

import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol
from uuid import UUID, uuid5

import msgspec

from libs.schema.events.base import Envelope, Event, UnknownEventError, open_envelope, open_event
from libs.schema.ids import SEND_NAMESPACE
from libs.schema.runtime.auditor import begins_with, event_id
from libs.schema.runtime.clock import Clock
from libs.schema.runtime.db import Pool, Tx, fetch_one, is_outage, transaction
from libs.schema.runtime.parked import Poison, asked_retries, park, release
from libs.schema.runtime.streams import StreamLink, StreamMessage
from libs.schema.runtime.telemetry import PROJECTION_LAG, PROJECTION_POSITION, SKIPPED, logger, span

BATCH: Final = 500
IDLE_S: Final = 0.1
RETRIES_S: Final = 2.0

ENSURE_OFFSET = "INSERT INTO projection_offset (projection) VALUES ($1) ON CONFLICT DO NOTHING"
READ_OFFSET = "SELECT last_seq, last_event_id FROM projection_offset WHERE projection = $1"
LOCK_OFFSET = "SELECT last_seq, last_event_id FROM projection_offset WHERE projection = $1 FOR UPDATE"
MOVE_OFFSET = """
UPDATE projection_offset
SET last_seq = $2, last_event_id = $3, updated_at = clock_timestamp()
WHERE projection = $1
"""
PLACE_IN_LOG = "SELECT stream_seq FROM event_log WHERE event_id = $1"


@dataclass(frozen=True, kw_only=True)
class Projected:
    """One event with its place in the stream."""

    seq: int
    envelope: Envelope
    event: Event


class Projection(Protocol):
    """A read model: what events make of rows."""

    name: str

    async def apply(self, tx: Tx, batch: Sequence[Projected]) -> None:
        """Writes what the events mean, in their order; must be idempotent, since a parked event can be run again."""
        ...


class Offset(msgspec.Struct, frozen=True, kw_only=True):
    """How far a projection has come: everything up to this message is in its rows."""

    last_seq: int = 0
    last_event_id: UUID | None = None


class _MovedError(Exception):
    """Somebody else moved the offset meanwhile: a rebuild, or a second process."""


@dataclass(kw_only=True)
class Projector:
    """Runs one projection; `tick` is for a Loop."""

    projection: Projection
    pool: Pool
    link: StreamLink
    clock: Clock
    _offset: Offset | None = None  # as last seen under the lock
    _looked_for_retries: float = 0.0
    _is_waiting: bool = False

    async def tick(self) -> bool:
        """Applies the next batch; False when the stream has nothing new.

        Raises:
            nats.errors.Error, asyncpg.PostgresError, OSError: call it again.

        """
        try:
            return await self._tick()
        except _MovedError:
            return True  # its new place is read at the next call

    async def _tick(self) -> bool:
        offset = self._offset or await self._read_offset()
        # One message more than is new: the last one that was applied, to see that the stream is still the same.
        messages = await self.link.read(max(offset.last_seq, 1), BATCH + (offset.last_event_id is not None))
        if offset.last_event_id and not begins_with(messages, offset.last_seq, offset.last_event_id):
            return await self._find_place(offset, offset.last_event_id)
        if new := [message for message in messages if message.seq > offset.last_seq]:
            await self._take(offset, new)
            return True
        PROJECTION_LAG.labels(self.projection.name).set(0)
        return await self._retry()

    async def _read_offset(self) -> Offset:
        async with transaction(self.pool) as tx:
            await tx.execute(ENSURE_OFFSET, self.projection.name)
            self._offset = await fetch_one(tx, Offset, READ_OFFSET, self.projection.name) or Offset()
        return self._offset

    async def _find_place(self, offset: Offset, last: UUID) -> bool:
        """Looks in the journal for the place of the last applied event on the new stream; False until it is there."""
        async with transaction(self.pool) as tx:
            place = max(await tx.fetchval(PLACE_IN_LOG, last) or 0, 0)  # negative: not published again yet
        self._offset = None  # a restored database may have moved it
        if not place or not begins_with(await self.link.read(place, 1), place, last):
            if not self._is_waiting:
                logger().warning("projection.waits_for_refill", projection=self.projection.name, seq=offset.last_seq)
            self._is_waiting = True
            return False
        self._is_waiting = False
        await self._advance(offset, Offset(last_seq=place, last_event_id=last), _nothing)
        return True

    async def _take(self, offset: Offset, messages: Sequence[StreamMessage]) -> None:
        """All in one transaction; where that fails, one by one, so that only the poison is parked."""
        try:
            await self._apply(offset, messages)
        except Exception as error:  # which event it was and what it said comes out below
            if isinstance(error, _MovedError) or is_outage(error):
                raise
            logger().warning("projection.batch_failed", projection=self.projection.name, error=type(error).__name__)
            for message in messages:
                await self._take_one(message)

    async def _take_one(self, message: StreamMessage) -> None:
        offset = self._offset or await self._read_offset()
        if message.seq <= offset.last_seq:
            return
        try:
            await self._apply(offset, [message])
        except Exception as error:  # whatever it is, it is written into the row for a person
            if isinstance(error, _MovedError) or is_outage(error):
                raise
            poison = _poison(message, error)
            await self._advance(offset, _offset_after(message), lambda tx: park(tx, self.projection.name, poison))

    async def _apply(self, offset: Offset, messages: Sequence[StreamMessage]) -> None:
        batch, poison = self._decode(messages)

        async def work(tx: Tx) -> None:
            if batch:
                await self.projection.apply(tx, batch)
            for each in poison:
                await park(tx, self.projection.name, each)

        with span(f"project {self.projection.name}", events=len(batch)):
            await self._advance(offset, _offset_after(messages[-1]), work)
        if batch:
            age = self.clock.now() - batch[-1].envelope.time
            PROJECTION_LAG.labels(self.projection.name).set(max(age.total_seconds(), 0))

    def _decode(self, messages: Sequence[StreamMessage]) -> tuple[list[Projected], list[Poison]]:
        batch: list[Projected] = []
        poison: list[Poison] = []
        for message in messages:
            try:
                envelope = open_envelope(message.body)
                batch.append(Projected(seq=message.seq, envelope=envelope, event=open_event(envelope)))
            except UnknownEventError:
                SKIPPED.labels(self.projection.name).inc()
            except (msgspec.DecodeError, LookupError, ValueError) as error:
                poison.append(_poison(message, error))
        return batch, poison

    async def _advance(self, before: Offset, after: Offset, work: Callable[[Tx], Awaitable[None]]) -> None:
        """Does the work and moves the offset in one transaction, if the offset is still what it was before."""
        self._offset = None  # forgotten until the commit is known: after an error the next tick reads it again
        async with transaction(self.pool) as tx:
            if await fetch_one(tx, Offset, LOCK_OFFSET, self.projection.name) != before:
                raise _MovedError
            await work(tx)
            await tx.execute(MOVE_OFFSET, self.projection.name, after.last_seq, after.last_event_id)
        self._offset = after
        PROJECTION_POSITION.labels(self.projection.name).set(after.last_seq)

    async def _retry(self) -> bool:
        """Runs parked events again when somebody asks for it; done when there is nothing new."""
        if time.monotonic() - self._looked_for_retries < RETRIES_S:
            return False
        self._looked_for_retries = time.monotonic()
        for retry in await asked_retries(self.pool, self.projection.name):
            envelope = open_envelope(retry.body)
            try:
                event = Projected(seq=retry.stream_seq or 0, envelope=envelope, event=open_event(envelope))
                async with transaction(self.pool) as tx:
                    await self.projection.apply(tx, [event])
                    await release(tx, self.projection.name, retry.event_id)
            except Exception as error:  # whatever it is, it is written into the row for a person
                if is_outage(error):
                    raise
                async with transaction(self.pool) as tx:
                    poison = Poison(event_id=retry.event_id, type=envelope.type, error=error)
                    await park(tx, self.projection.name, poison)
        return False


async def _nothing(_: Tx) -> None:
    """The work of a mere move."""


def _offset_after(message: StreamMessage) -> Offset:
    return Offset(last_seq=message.seq, last_event_id=event_id(message))


def _poison(message: StreamMessage, error: Exception) -> Poison:
    id_ = event_id(message) or message.msg_id or uuid5(SEND_NAMESPACE, f"stream|{message.seq}")
    return Poison(event_id=id_, type=".".join(message.subject.split(".")[:2]), error=error)
