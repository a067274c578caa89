"""Connections, transactions and rows: asyncpg with our limits, our JSON, and rows as frozen Structs.

Never waits without a limit: a hung database must become an error, not a hung service (reliability.md §6).
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any, TypeAlias, TypeVar

import asyncpg
import msgspec
from asyncpg.pool import PoolConnectionProxy

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"
Pool: TypeAlias = "asyncpg.Pool[asyncpg.Record]"
Tx: TypeAlias = "Connection | PoolConnectionProxy[asyncpg.Record]"
Row = TypeVar("Row", bound=msgspec.Struct)

# What asyncpg raises while the database is away or says no; a line cut between statements is an InternalClientError.
DATABASE_ERRORS = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError)
# Of these the ones that pass: nothing is wrong with what was asked, and it may be asked again.
OUTAGES = (
    OSError,  # TimeoutError too
    asyncpg.InterfaceError,
    asyncpg.PostgresConnectionError,
    asyncpg.InsufficientResourcesError,
    asyncpg.OperatorInterventionError,
    asyncpg.TransactionRollbackError,
    asyncpg.LockNotAvailableError,
    asyncpg.InternalClientError,
)
ACQUIRE_TIMEOUT_S = 3.0
COMMAND_TIMEOUT_S = 10.0
CLOSE_TIMEOUT_S = 5.0
_JSONB_VERSION = b"\x01"  # the first byte of jsonb's binary form


def is_outage(error: Exception) -> bool:
    """Whether it is one of OUTAGES and will pass: a value that no column can hold is an InterfaceError too."""
    return isinstance(error, OUTAGES) and not isinstance(error, ValueError)


async def open_pool(dsn: str, *, application_name: str, max_size: int = 10) -> Pool:
    """A pool whose every connection has our timeouts and speaks jsonb and json as Python values.

    A connection comes back as it is, which saves a round trip for each use: roles, settings and locks belong to
    transactions (SET LOCAL, pg_advisory_xact_lock). Whoever needs more than a transaction cleans up or has a connection
    of its own. An open transaction is rolled back all the same.

    Raises:
        OSError, asyncpg.PostgresError: the server cannot be reached or refuses the login.

    """
    return await asyncpg.create_pool(
        dsn,
        min_size=1,
        max_size=max_size,
        timeout=5,
        command_timeout=COMMAND_TIMEOUT_S,
        max_inactive_connection_lifetime=60,
        init=prepare_connection,
        reset=as_it_is,
        server_settings={"application_name": application_name, "lock_timeout": "2s"},
    )


async def prepare_connection(connection: Connection) -> None:
    """Sets the codecs on a fresh connection; a pool calls it for each."""
    await connection.set_type_codec(
        "jsonb",
        schema="pg_catalog",
        format="binary",
        encoder=lambda value: _JSONB_VERSION + msgspec.json.encode(value),
        decoder=lambda raw: msgspec.json.decode(raw[1:]),
    )
    # The journal's column: bytes in, the same bytes out.
    await connection.set_type_codec(
        "json", schema="pg_catalog", format="binary", encoder=lambda value: value, decoder=bytes
    )


async def as_it_is(_connection: Connection) -> None:
    """What a pool does with a connection that comes back: nothing."""


@asynccontextmanager
async def transaction(pool: Pool) -> AsyncGenerator[Tx]:
    """One transaction on one connection: committed at the end of the block, rolled back when it raises.

    Raises:
        TimeoutError: no connection was free within ACQUIRE_TIMEOUT_S.

    """
    async with pool.acquire(timeout=ACQUIRE_TIMEOUT_S) as connection, connection.transaction():
        yield connection


@asynccontextmanager
async def transaction_after(pool: Pool, first: str) -> AsyncGenerator[Tx]:
    """The same, with statements without parameters that go along with BEGIN and save a round trip; commits likewise.

    Raises:
        TimeoutError: no connection was free within ACQUIRE_TIMEOUT_S.

    """
    async with pool.acquire(timeout=ACQUIRE_TIMEOUT_S) as connection:
        try:
            await connection.execute(f"BEGIN;\n{first}")
            yield connection
            await connection.execute("COMMIT")
        except BaseException:
            if not connection.is_closed():
                await connection.execute("ROLLBACK")
            raise


async def close_pool(pool: Pool) -> None:
    """Closes the pool, by force when a frozen server keeps it from closing (asyncpg issue 1356)."""
    try:
        async with asyncio.timeout(CLOSE_TIMEOUT_S):
            await pool.close()
    except TimeoutError:
        pool.terminate()


def to_struct(kind: type[Row], record: asyncpg.Record) -> Row:
    """One row as a Struct whose fields are named as the columns.

    Raises:
        msgspec.ValidationError: they do not fit.

    """
    return msgspec.convert(dict(record), kind, builtin_types=(bytes,))


async def fetch_all(tx: Tx, kind: type[Row], sql: str, *args: Any) -> list[Row]:
    """All rows of the statement."""
    return [to_struct(kind, record) for record in await tx.fetch(sql, *args)]


async def fetch_one(tx: Tx, kind: type[Row], sql: str, *args: Any) -> Row | None:
    """The first row of the statement, or None."""
    record = await tx.fetchrow(sql, *args)
    return None if record is None else to_struct(kind, record)
