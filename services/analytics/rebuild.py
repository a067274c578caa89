"""The proof of the numbers: the same projection over the whole stream into schema `shadow`, compared with what is live.

Never counts in another way than the live projection does, and changes a live row only when asked to, where it differs.
"""

import asyncio
from collections.abc import AsyncGenerator, Collection, Sequence
from contextlib import asynccontextmanager
from uuid import UUID

import asyncpg
import msgspec

from libs.schema.events.base import UnknownEventError, open_envelope, open_event
from libs.schema.runtime.auditor import event_id
from libs.schema.runtime.db import Connection, prepare_connection
from libs.schema.runtime.project import Offset, Projected
from libs.schema.runtime.streams import StreamLink, StreamMessage
from services.analytics.handlers import Counting
from services.analytics.queries import offset, shadow
from services.analytics.queries.shadow import TableDifference

_BATCH = 500
_CONNECT_TIMEOUT_S = 10.0
# A comparison reads whole tables; the login's 30 s are meant for the live projection.
_STATEMENT_TIMEOUT_S = 600.0


class RebuildRunningError(Exception):
    """Somebody else is rebuilding; there is one shadow schema."""


class StreamCutError(Exception):
    """The stream is not the one that analytics has counted, or not all of it; a running service's auditor mends it."""


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """What the whole stream says against what is live, both up to the sequence `until`."""

    until: int
    events: int
    equal: bool
    mended: bool
    tables: list[TableDifference]


async def rebuild(database_url: str, nats_url: str, *, apply: bool = False) -> Difference:
    """Builds every number anew up to the live projection's offset and compares, row for row.

    `database_url` is analytics' own login, or one that may act as it. The live projection may run; it waits while the
    last events are counted and compared. With `apply`, rows that differ are mended in the same transaction; the result
    still says what was found. A second call starts anew.

    Raises:
        RebuildRunningError, StreamCutError: see there.
        TimeoutError, OSError, asyncpg.PostgresError: a server does not answer.

    """
    async with _connected(database_url) as connection, _linked(nats_url) as link:
        if not await shadow.try_lock(connection):
            raise RebuildRunningError("another rebuild is running; wait for it to end")
        await shadow.empty(connection)
        # What exists now holds every row that an event up to here can mean, so it is put in after the offset is read.
        replay = _Replay(connection, link, await shadow.read_parked(connection))
        far = await offset.read_offset(connection)
        await shadow.seed(connection)
        await replay.go_on(far)
        async with connection.transaction():
            until = await offset.hold_offset(connection)
            await shadow.seed(connection)
            await replay.go_on(until)
            tables = [await shadow.compare(connection, mirror) for mirror in shadow.MIRRORS]
            if apply:
                for mirror in shadow.MIRRORS:
                    await shadow.mend(connection, mirror)
    equal = all(table.equal for table in tables)
    mended = apply and not equal
    return Difference(until=until.last_seq, events=replay.events, equal=equal, mended=mended, tables=tables)


class _Replay:
    """The stream from its first event on, applied to the tables that come first in the connection's search path."""

    def __init__(self, connection: Connection, link: StreamLink, parked: Collection[UUID]) -> None:
        self._connection = connection
        self._link = link
        self._parked = parked  # the live projection has not counted them either
        self._projection = Counting()
        self._seq = 0
        self.events = 0

    async def go_on(self, until: Offset) -> None:
        """Applies everything up to and with the event at `until`."""
        last: StreamMessage | None = None
        while self._seq < until.last_seq:
            messages = await self._link.read(self._seq + 1, min(_BATCH, until.last_seq - self._seq))
            if not messages or messages[0].seq != self._seq + 1:
                raise StreamCutError(f"the stream lacks the event at {self._seq + 1} of {until.last_seq}")
            await self._apply(messages)
            last = messages[-1]
            self._seq = last.seq
        if last is not None and event_id(last) != until.last_event_id:
            raise StreamCutError(f"the stream holds another event at {until.last_seq} than analytics has counted")

    async def _apply(self, messages: Sequence[StreamMessage]) -> None:
        batch = _opened([each for each in messages if (found := event_id(each)) and found not in self._parked])
        async with self._connection.transaction():
            await self._projection.apply(self._connection, batch)
        self.events += len(batch)


def _opened(messages: Sequence[StreamMessage]) -> list[Projected]:
    """The events that this release knows, as the live projection gets them."""
    opened: list[Projected] = []
    for message in messages:
        envelope = open_envelope(message.body)
        try:
            event = open_event(envelope)
        except UnknownEventError:
            continue
        opened.append(Projected(seq=message.seq, envelope=envelope, event=event))
    return opened


@asynccontextmanager
async def _connected(database_url: str) -> AsyncGenerator[Connection]:
    """A connection for which every table that has one is its twin in `shadow`."""
    connection = await asyncpg.connect(
        database_url,
        timeout=_CONNECT_TIMEOUT_S,
        command_timeout=_STATEMENT_TIMEOUT_S,
        server_settings={
            "application_name": "coldstream-rebuild",
            "search_path": "shadow, public",
            # Whoever asks for it: what is mended is written as the one writer of these columns.
            "role": "coldstream_analytics",
            "statement_timeout": f"{_STATEMENT_TIMEOUT_S:.0f}s",
        },
    )
    try:
        await prepare_connection(connection)
        yield connection
    finally:
        await connection.close()


@asynccontextmanager
async def _linked(nats_url: str) -> AsyncGenerator[StreamLink]:
    link = StreamLink(nats_url, "rebuild")
    try:
        async with asyncio.timeout(_CONNECT_TIMEOUT_S):
            await link.open()
        yield link
    finally:
        await link.close()
