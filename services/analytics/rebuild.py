"""The proof of the numbers: the same projection over the whole stream into schema `shadow`, compared with what is live.

Never counts in another way than the live projection does, and changes a live row only when asked to, where it differs.
"""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager

import asyncpg
import msgspec

from libs.schema.events.base import UnknownEventError, open_envelope, open_event
from libs.schema.runtime.db import Connection, prepare_connection
from libs.schema.runtime.project import Projected
from libs.schema.runtime.streams import StreamLink, StreamMessage
from services.analytics.handlers import Counting
from services.analytics.queries import shadow
from services.analytics.queries.shadow import TableDifference

_BATCH = 500
_CONNECT_TIMEOUT_S = 10.0
# A comparison reads whole tables; the login's 30 s are meant for the live projection.
_STATEMENT_TIMEOUT_S = 600.0


class RebuildRunningError(Exception):
    """Somebody else is rebuilding; there is one shadow schema."""


class StreamCutError(Exception):
    """The stream does not hold all events up to the live offset; the auditor of a running service refills it."""


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """What the whole stream says against what is live, both up to the sequence `until`."""

    until: int
    events: int
    equal: bool
    mended: bool
    tables: list[TableDifference]


async def rebuild(database_url: str, nats_url: str, *, apply: bool = False) -> Difference:
    """Builds every number anew up to the live projection's offset and compares, row for row.

    `database_url` is analytics' own login. The live projection may run; it waits while the last events are counted and
    compared. With `apply`, rows that differ are mended in the same transaction; the result still says what was found.
    A second call starts anew.

    Raises:
        RebuildRunningError, StreamCutError: see there.
        TimeoutError, OSError, asyncpg.PostgresError: a server does not answer.

    """
    async with _connected(database_url) as connection, _linked(nats_url) as link:
        if not await shadow.try_lock(connection):
            raise RebuildRunningError("another rebuild is running; wait for it to end")
        await shadow.empty(connection)
        # What exists now holds every row that an event up to here can mean, so it is put in after the offset is read.
        far = await shadow.read_offset(connection)
        await shadow.seed(connection)
        events = await _replay(connection, link, 1, far)
        async with connection.transaction():
            until = await shadow.hold_offset(connection)
            await shadow.seed(connection)
            events += await _replay(connection, link, far + 1, until)
            tables = [await shadow.compare(connection, mirror) for mirror in shadow.MIRRORS]
            if apply:
                for mirror in shadow.MIRRORS:
                    await shadow.mend(connection, mirror)
    equal = all(table.equal for table in tables)
    return Difference(until=until, events=events, equal=equal, mended=apply and not equal, tables=tables)


async def _replay(connection: Connection, link: StreamLink, first: int, last: int) -> int:
    """Applies what lies on the stream from `first` to `last`; returns how many events that were."""
    projection, events, seq = Counting(), 0, first
    left_out = await shadow.read_parked(connection)
    while seq <= last:
        messages = await link.read(seq, min(_BATCH, last - seq + 1))
        if [message.seq for message in messages] != list(range(seq, seq + len(messages))) or not messages:
            raise StreamCutError(f"the stream lacks the event at {seq}, and analytics has counted up to {last}")
        batch = [each for each in _opened(messages) if each.envelope.id not in left_out]
        async with connection.transaction():
            await projection.apply(connection, batch)
        events += len(batch)
        seq += len(messages)
    return events


def _opened(messages: Sequence[StreamMessage]) -> list[Projected]:
    """The events that this release knows, as the live projection would get them."""
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
