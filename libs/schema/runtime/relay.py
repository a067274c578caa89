"""The relay: takes what is recorded and not yet published, in log order, to the stream. One runs in the installation.

Never puts an event on the stream twice: each publication states the stream's end that it builds on, so that a late,
repeated or rival one is refused by the server, however old it is; and after every doubt the stream itself is read.
All marks are written on the connection that holds the election lock: whoever has lost the lock cannot mark either.
"""

import asyncio
import os
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Final
from uuid import UUID

import asyncpg
import msgspec
from nats.errors import Error as NatsError
from nats.js.errors import NotFoundError

from libs.schema.events.base import stream_subject
from libs.schema.runtime.auditor import mark, reconcile
from libs.schema.runtime.clock import Clock
from libs.schema.runtime.db import DATABASE_ERRORS, Connection, fetch_all, prepare_connection
from libs.schema.runtime.streams import MSG_ID, StreamLink, ensure_declared
from libs.schema.runtime.telemetry import LEASE_HELD, OUTBOX_AGE, OUTBOX_PENDING, PUBLISHED, logger

BATCH: Final = 500  # half of what one atomic batch may hold (NATS ADR-50)
BUSY_S: Final = 0.05
IDLE_S: Final = 0.25
ELECTION_S: Final = 1.0  # how long nobody relays after a relay has died
AUDIT_S: Final = 60.0
METRICS_S: Final = 5.0
PATIENCE_S: Final = 10.0  # without NATS for so long, somebody else may have a better line to it
FLUSH_S: Final = 5.0
_PUBLISH_TIMEOUT_S: Final = 10.0
_DUPLICATE: Final = 10201  # "atomic publish batch contains duplicate message id"

ELECT = "SELECT pg_try_advisory_lock(hashtextextended('coldstream/relay', 0))"
UNPUBLISHED = """
SELECT event_id, team_id, type, body
FROM event_log
WHERE stream_seq IS NULL
ORDER BY position
LIMIT $1
"""
TAKEN_BACK = """
SELECT event_id, team_id, type, body
FROM event_log
WHERE stream_seq < 0
ORDER BY stream_seq DESC
LIMIT $1
"""
OUTBOX_STATE = "SELECT count(*), min(time) FROM event_log WHERE stream_seq IS NULL"


class RefusedError(Exception):
    """The server refused a publication and stored nothing of it."""

    def __init__(self, code: int, description: str) -> None:
        super().__init__(f"{code}: {description}")
        self.code = code


class Outgoing(msgspec.Struct, frozen=True, kw_only=True):
    """One event on its way to the stream."""

    event_id: UUID
    team_id: UUID
    type: str
    body: bytes


class _Ack(msgspec.Struct, frozen=True):
    """The server's answer to a publication."""

    seq: int = 0
    duplicate: bool = False
    error: dict[str, str | int] | None = None


class Relay:
    """What the elected process does; every method may be called again after any error."""

    def __init__(self, connection: Connection, link: StreamLink, clock: Clock) -> None:
        self._connection = connection
        self._link = link
        self._clock = clock
        self._end: int | None = None  # the stream's last sequence; None: unknown, the stream must be read first
        self._audited = 0.0

    async def relay(self) -> int:
        """Publishes one batch and marks it; returns how many events it held, 0 when nothing is waiting.

        Raises:
            nats.errors.Error, TimeoutError: the stream cannot be reached; nothing is lost.
            asyncpg.PostgresError, OSError: the database cannot be reached, and the lock may be gone.

        """
        if self._end is None or time.monotonic() - self._audited > AUDIT_S:
            await self.audit()
        batch = await fetch_all(self._connection, Outgoing, TAKEN_BACK, BATCH)
        batch = batch or await fetch_all(self._connection, Outgoing, UNPUBLISHED, BATCH)
        if not batch:
            return 0
        end, self._end = self._end or 0, None  # unknown until the answer is here
        places = await self._publish(batch, end)
        await mark(self._connection, places)
        self._end = max(end, *places.values())
        PUBLISHED.inc(len(batch))
        return len(batch)

    async def audit(self) -> None:
        """Makes log and stream agree (see `reconcile`), and makes a missing stream anew; raises as `relay` does."""
        try:
            await self._link.state()
        except NotFoundError:
            logger().error("stream.missing")
            await ensure_declared(self._link.jetstream)
        self._end = await reconcile(self._connection, self._link, self._clock.now())
        self._audited = time.monotonic()

    async def _publish(self, batch: Sequence[Outgoing], end: int) -> dict[UUID, int]:
        """Where each event of the batch lies now."""
        try:
            last = await publish_batch(self._link, batch, end)
        except RefusedError as refused:
            if refused.code == _DUPLICATE:
                return await self._publish_singly(batch, end)
            raise
        return {event.event_id: last - len(batch) + n for n, event in enumerate(batch, 1)}

    async def _publish_singly(self, batch: Sequence[Outgoing], end: int) -> dict[UUID, int]:
        """A batch with an event that is on the stream already: the server says where that one lies."""
        places: dict[UUID, int] = {}
        for event in batch:
            ack = await _request(self._link, event, {"Nats-Expected-Last-Sequence": str(end)})
            places[event.event_id] = ack.seq
            end = max(end, ack.seq)
        return places


async def publish_batch(link: StreamLink, batch: Sequence[Outgoing], end: int) -> int:
    """Puts all of the batch on the stream or nothing, if the stream ends at `end`; returns the last one's sequence.

    Raises:
        RefusedError: the stream ends elsewhere, or holds one of the events already.
        nats.errors.Error: nobody knows whether it was stored.

    """
    batch_id = os.urandom(12).hex()
    ack = _Ack()
    for n, event in enumerate(batch, 1):
        headers = {"Nats-Batch-Id": batch_id, "Nats-Batch-Sequence": str(n)}
        if n == 1:
            headers["Nats-Expected-Last-Sequence"] = str(end)
        if n == len(batch):
            headers["Nats-Batch-Commit"] = "1"
        if n in (1, len(batch)):
            ack = await _request(link, event, headers)
        else:
            await link.client.publish(_subject(event), event.body, headers=headers | {MSG_ID: str(event.event_id)})
    return ack.seq


async def _request(link: StreamLink, event: Outgoing, headers: Mapping[str, str]) -> _Ack:
    reply = await link.client.request(
        _subject(event), event.body, timeout=_PUBLISH_TIMEOUT_S, headers={**headers, MSG_ID: str(event.event_id)}
    )
    ack = msgspec.json.decode(reply.data, type=_Ack) if reply.data else _Ack()  # a batch's first one: "go on"
    if ack.error is not None:
        raise RefusedError(int(ack.error["err_code"]), str(ack.error["description"]))
    return ack


def _subject(event: Outgoing) -> str:
    return stream_subject(event.type, event.team_id)


async def run_relay(
    database_url: str, link: StreamLink, clock: Clock, stopping: asyncio.Event, *, idle_s: float = IDLE_S
) -> None:
    """Stands for election until elected, relays until `stopping`, publishes what is left; no outage ends it."""
    log = logger()
    while not stopping.is_set():
        try:
            await _serve_term(database_url, link, clock, stopping, idle_s)
        except (*DATABASE_ERRORS, NatsError, RefusedError) as error:
            log.warning("relay.interrupted", error=type(error).__name__, detail=str(error))
        finally:
            LEASE_HELD.labels("relay").set(0)
        await pause(stopping, ELECTION_S)


async def _serve_term(
    database_url: str, link: StreamLink, clock: Clock, stopping: asyncio.Event, idle_s: float
) -> None:
    connection = await asyncpg.connect(
        database_url,
        timeout=5,
        command_timeout=30,  # taking a lost tail back is the longest statement, in slices of 10,000
        server_settings={"application_name": "coldstream-relay", "lock_timeout": "2s", "idle_session_timeout": "0"},
    )
    try:
        await prepare_connection(connection)
        while not await connection.fetchval(ELECT):
            if await pause(stopping, ELECTION_S):
                return
        LEASE_HELD.labels("relay").set(1)
        relay = Relay(connection, link, clock)
        await _relay_until(relay, connection, clock, stopping, idle_s)
        with suppress(NatsError, RefusedError, TimeoutError):  # what stays behind is the next relay's
            async with asyncio.timeout(FLUSH_S):
                while await relay.relay():
                    pass
    finally:
        connection.terminate()  # frees the lock, whatever state the session is in


async def _relay_until(
    relay: Relay, connection: Connection, clock: Clock, stopping: asyncio.Event, longest_idle_s: float
) -> None:
    failing_since: float | None = None
    measured = 0.0
    idle_s = BUSY_S
    while not stopping.is_set():
        try:
            count = await relay.relay()
        except (NatsError, RefusedError) as error:
            failing_since = failing_since or time.monotonic()
            if time.monotonic() - failing_since > PATIENCE_S:
                raise
            logger().warning("relay.failed", error=type(error).__name__, detail=str(error))
            count, idle_s = 0, IDLE_S
        else:
            failing_since = None
            idle_s = BUSY_S if count else longest_idle_s
        if time.monotonic() - measured > METRICS_S:
            measured = time.monotonic()
            await _measure(connection, clock)
        if count < BATCH:
            await pause(stopping, idle_s)


async def _measure(connection: Connection, clock: Clock) -> None:
    pending, oldest = await connection.fetchrow(OUTBOX_STATE) or (0, None)
    OUTBOX_PENDING.set(pending)
    OUTBOX_AGE.set((clock.now() - oldest).total_seconds() if oldest else 0)


async def pause(stopping: asyncio.Event, seconds: float) -> bool:
    """Waits so long, or until told to stop; returns whether it was told."""
    with suppress(TimeoutError):
        await asyncio.wait_for(stopping.wait(), seconds)
    return stopping.is_set()
