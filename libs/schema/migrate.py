"""Applies `migrations/*.sql`, each once and in order, and undoes them for development.

Never applies a file that differs from what it was when it was applied somewhere before: what ran is what is written.
"""

import asyncio
import base64
import hashlib
import hmac
import os
import re
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import asyncpg

from libs.schema.runtime.db import Connection

MIGRATIONS = Path(__file__).parent / "migrations"
SERVICES = ("api", "sender", "warmup", "replies", "analytics")  # each logs in as coldstream_<service>
_FILE_NAME = re.compile(r"(?P<number>\d{3})_[a-z0-9_]+\.sql")
# What a file makes, at the start of a line; what it makes inside a DO block goes with its table or schema.
_CREATED = re.compile(
    r"^CREATE (?:OR REPLACE )?(SCHEMA|TABLE|TYPE|SEQUENCE|FUNCTION) (?:IF NOT EXISTS )?([a-z_.]+)", re.MULTILINE
)
_LOCK_KEY = 6_038_471_192  # any number that is nobody else's
# Polled: for the snapshot of a waiting pg_advisory_lock() the other runner's CREATE INDEX CONCURRENTLY would wait.
_LOCK_POLL_S = 0.1
_LOCK_WAIT_S = 120.0
_CONNECT_TIMEOUT_S = 10.0
_SCRAM_ROUNDS = 4096  # PostgreSQL's own number; the passwords are random, so more would only slow every connection

CREATE_JOURNAL = """
CREATE SCHEMA IF NOT EXISTS ops;
CREATE TABLE IF NOT EXISTS ops.migrations (
    number INTEGER PRIMARY KEY,
    name TEXT NOT NULL,
    sha256 TEXT NOT NULL,
    applied_at TIMESTAMPTZ NOT NULL DEFAULT clock_timestamp()
);
ALTER TABLE ops.migrations ENABLE ROW LEVEL SECURITY;
"""
READ_JOURNAL = "SELECT number, name, sha256 FROM ops.migrations ORDER BY number"
# Supabase's own schema has no such comment (001).
DROP_SHIM = """
DO $$
BEGIN
    IF obj_description(to_regnamespace('auth'), 'pg_namespace') LIKE 'coldstream:%' THEN
        DROP SCHEMA auth CASCADE;
    END IF;
END
$$
"""
WRITE_JOURNAL = "INSERT INTO ops.migrations (number, name, sha256) VALUES ($1, $2, $3)"


class MigrationError(Exception):
    """The files and the database do not agree; the message names the file."""


@dataclass(frozen=True, kw_only=True)
class Migration:
    """One file: its number, its name, what it says."""

    number: int
    name: str
    sql: str

    @property
    def sha256(self) -> str:
        """The checksum under which it is remembered; line ends do not count, since git may change them."""
        return hashlib.sha256(self.sql.encode()).hexdigest()


def read_migrations(folder: Path = MIGRATIONS) -> list[Migration]:
    """The files of the folder in the order of their numbers.

    Raises:
        MigrationError: a name is not NNN_words.sql, or two files have one number.

    """
    migrations: dict[int, Migration] = {}
    for path in sorted(folder.glob("*.sql")):
        match = _FILE_NAME.fullmatch(path.name)
        if match is None:
            raise MigrationError(f"{path.name}: a migration is called NNN_words.sql")
        migration = Migration(number=int(match["number"]), name=path.name, sql=path.read_text("utf-8"))
        if twin := migrations.get(migration.number):
            raise MigrationError(f"{path.name}: has the same number as {twin.name}")
        migrations[migration.number] = migration
    return list(migrations.values())


async def migrate(dsn: str, *, passwords: Mapping[str, str] | None = None, folder: Path = MIGRATIONS) -> list[str]:
    """Brings the database up to date; returns the names of the files that were applied now, none on a second call.

    `passwords` maps a service (api, sender, …) to the password with which it may log in from now on. Two calls at the
    same time are harmless: the second waits for the first.

    Raises:
        ValueError: a password is not of printable ASCII.
        MigrationError: an applied file was changed or is missing, or a new one has a number below an applied one.
        TimeoutError: another migration has been running for two minutes.
        asyncpg.PostgresError: a file failed; it left nothing behind, those before it are applied.

    """
    migrations = read_migrations(folder)
    async with _locked_connection(dsn) as connection:
        await connection.execute(CREATE_JOURNAL)
        journal = await connection.fetch(READ_JOURNAL)
        pending = _pending(migrations, {row["number"]: (row["name"], row["sha256"]) for row in journal})
        for migration in pending:
            await _apply(connection, migration)
        for service, password in (passwords or {}).items():
            await _give_login(connection, service, password)
    return [migration.name for migration in pending]


async def reset(dsn: str, *, folder: Path = MIGRATIONS) -> None:
    """Drops everything that the migrations make in this database, with all its rows; other objects and the roles stay.

    For development; the command line asks for `--yes`. On an empty database it does nothing.
    """
    async with _locked_connection(dsn) as connection, connection.transaction():
        for statement in _drop_statements(read_migrations(folder)):
            await connection.execute(statement)


def _pending(migrations: Sequence[Migration], applied: Mapping[int, tuple[str, str]]) -> list[Migration]:
    known = {migration.number: migration for migration in migrations}
    for number, (name, sha256) in applied.items():
        migration = known.get(number)
        if migration is None or migration.name != name:
            raise MigrationError(f"{name}: was applied to this database and is missing here")
        if migration.sha256 != sha256:
            raise MigrationError(f"{name}: was changed after it was applied; write a new file instead")
    last = max(applied, default=0)
    pending = [migration for migration in migrations if migration.number not in applied]
    for migration in pending:
        if migration.number < last:
            raise MigrationError(f"{migration.name}: its number is below {last:03}, which is applied already")
    return pending


async def _apply(connection: Connection, migration: Migration) -> None:
    async with connection.transaction():
        # A table that is busy for longer stops the migration, not the service that uses it.
        await connection.execute("SET LOCAL lock_timeout = '3s'")
        await connection.execute(migration.sql)
        await connection.execute(WRITE_JOURNAL, migration.number, migration.name, migration.sha256)


async def _give_login(connection: Connection, service: str, password: str) -> None:
    # Hashed here, because ALTER ROLE takes no parameters and its text may end up in the server's log.
    verifier = _scram_verifier(password, os.urandom(16))
    statement = await connection.fetchval(
        "SELECT format('ALTER ROLE %I LOGIN PASSWORD %L', 'coldstream_' || $1::text, $2::text)", service, verifier
    )
    await connection.execute(statement)


def _scram_verifier(password: str, salt: bytes) -> str:
    """What PostgreSQL stores for a password (RFC 5803 with RFC 7677's hash), so that it need not see the password."""
    if not (password.isascii() and password.isprintable()):
        raise ValueError("a service's password has to be of printable ASCII")  # anything else needs SASLprep
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, _SCRAM_ROUNDS)
    stored_key = hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
    server_key = hmac.digest(salted, b"Server Key", "sha256")
    salt64, stored64, server64 = (base64.b64encode(part).decode() for part in (salt, stored_key, server_key))
    return f"SCRAM-SHA-256${_SCRAM_ROUNDS}:{salt64}${stored64}:{server64}"


@asynccontextmanager
async def _locked_connection(dsn: str) -> AsyncGenerator[Connection]:
    connection = await asyncpg.connect(dsn, timeout=_CONNECT_TIMEOUT_S)
    try:
        async with asyncio.timeout(_LOCK_WAIT_S):
            while not await connection.fetchval(  # noqa: ASYNC110 - who holds it is another process
                "SELECT pg_try_advisory_lock($1)", _LOCK_KEY
            ):
                await asyncio.sleep(_LOCK_POLL_S)
        yield connection
    finally:
        await connection.close()  # the session's lock goes with it


def _drop_statements(migrations: Sequence[Migration]) -> list[str]:
    made = [match.groups() for migration in migrations for match in _CREATED.finditer(migration.sql)]
    drops = [f"DROP {kind} IF EXISTS {name} CASCADE" for kind, name in reversed(made) if not name.startswith("app.")]
    return [*drops, "DROP SCHEMA IF EXISTS ops CASCADE", DROP_SHIM]
