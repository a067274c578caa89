"""The servers that benches stand on, from their wheels; must never share a database or a stream between two benches."""

import tempfile
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import msgspec

from deploy.local.servers import Nats, Postgres
from libs.schema.migrate import migrate
from libs.schema.runtime.db import Connection, Pool, close_pool, open_pool, prepare_connection
from libs.schema.runtime.streams import StreamLink, ensure_streams
from tests.support import DB_PASSWORDS, role_url


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """A migrated database and an empty stream of a bench's own, and the owner's connection to the former."""

    directory: Path
    database_url: str
    nats_url: str
    postgres_pid: int
    owner: Connection
    link: StreamLink

    def role_url(self, service: str) -> str:
        """The URL with which a service logs in."""
        return role_url(self.database_url, service)

    async def analyse(self) -> None:
        """Does what autovacuum does within a minute: plans made for empty tables are forgotten, foreign keys' too."""
        await self.owner.execute("ANALYZE")

    @asynccontextmanager
    async def pool(self, service: str) -> AsyncGenerator[Pool]:
        """A service's own pool, as `open_runtime` opens it."""
        pool = await open_pool(self.role_url(service), application_name=f"bench-{service}")
        try:
            yield pool
        finally:
            await close_pool(pool)


class Ground:
    """`async with Ground() as ground:`; PostgreSQL is started by the first bench that needs it."""

    def __init__(self) -> None:
        self._stack = AsyncExitStack()
        self._postgres: Postgres | None = None
        self._places = 0

    async def __aenter__(self) -> Self:
        self._directory = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="coldstream-bench-")))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    @asynccontextmanager
    async def place(self) -> AsyncGenerator[Place]:
        """A fresh database and a fresh NATS server with its stream."""
        postgres = await self._template()
        self._places += 1
        name, directory = f"bench_{self._places}", self._directory / str(self._places)
        async with AsyncExitStack() as stack:
            nats = await Nats.start(directory)
            stack.push_async_callback(nats.stop)
            await ensure_streams(nats.url)
            link = StreamLink(nats.url, "bench")
            await link.open()
            stack.push_async_callback(link.close)
            url = await _copy(postgres.url, name)
            owner = await asyncpg.connect(url)
            stack.push_async_callback(owner.close)
            await prepare_connection(owner)
            yield Place(
                directory=directory,
                database_url=url,
                nats_url=nats.url,
                postgres_pid=postgres.pid,
                owner=owner,
                link=link,
            )

    async def _template(self) -> Postgres:
        """The running server; its own database is migrated, left alone, and copied."""
        if self._postgres is None:
            self._postgres = await Postgres.start(self._directory / "postgres")
            self._stack.push_async_callback(self._postgres.stop)
            await migrate(self._postgres.url, passwords=DB_PASSWORDS)
        return self._postgres


async def _copy(template_url: str, name: str) -> str:
    parts = urlsplit(template_url)
    admin = await asyncpg.connect(urlunsplit(parts._replace(path="/postgres")))
    try:
        await admin.execute(f"CREATE DATABASE {name} TEMPLATE {parts.path.strip('/')}")
    finally:
        await admin.close()
    return urlunsplit(parts._replace(path=f"/{name}"))
