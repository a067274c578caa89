"""Databases for the tests of the data model: on the server that everything runs on, and on the oldest we promise."""

from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import asyncpg
import pytest

from libs.schema.migrate import migrate
from libs.schema.runtime.db import Connection, prepare_connection
from tests import oldest_postgres

# Chosen when tests are collected: where there is no PostgreSQL 15 its leg does not exist, rather than being skipped.
SERVERS = ("newest", "oldest") if oldest_postgres.is_there() else ("newest",)


@pytest.fixture(scope="session", params=SERVERS)
def any_postgres(request: pytest.FixtureRequest) -> Iterator[str]:
    """A superuser's URL to each server version in turn."""
    if request.param == "newest":
        yield request.getfixturevalue("postgres_url")
        return
    with oldest_postgres.running() as url:
        yield url


@pytest.fixture
async def empty_database(postgres_url: str) -> AsyncIterator[str]:
    """The owner's URL of a database in which nothing is yet, on the newest server."""
    async with _created(postgres_url) as url:
        yield url


@pytest.fixture
async def any_empty_database(any_postgres: str) -> AsyncIterator[str]:
    """The same on each server version in turn."""
    async with _created(any_postgres) as url:
        yield url


@pytest.fixture(scope="session")
async def migrated_database(any_postgres: str) -> AsyncIterator[str]:
    """The owner's URL of a migrated database that tests share which roll back what they do."""
    async with _created(any_postgres) as url:
        await migrate(url)
        yield url


@pytest.fixture
async def tx(migrated_database: str) -> AsyncIterator[Connection]:
    """The owner's connection to `migrated_database`, in a transaction that is rolled back after the test."""
    connection = await asyncpg.connect(migrated_database)
    await prepare_connection(connection)
    transaction = connection.transaction()
    await transaction.start()
    yield connection
    await transaction.rollback()
    await connection.close()


@asynccontextmanager
async def _created(server: str) -> AsyncGenerator[str]:
    name = f"test_{uuid4().hex}"
    admin = await asyncpg.connect(server)
    await admin.execute(f"CREATE DATABASE {name}")
    await admin.execute(f"ALTER DATABASE {name} SET synchronous_commit = off")  # none of them outlives its test
    yield urlunsplit(urlsplit(server)._replace(path=f"/{name}"))
    await admin.execute(f"DROP DATABASE {name} WITH (FORCE)")
    await admin.close()
