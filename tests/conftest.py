"""The test rig: real servers, and a fresh database or stream for each test; must never share state between two tests.

PostgreSQL comes from TEST_POSTGRES_URL (a superuser's URL), else a container where Docker answers, else its wheel. NATS
comes from TEST_NATS_URL, else a container, else every test gets its own server from the wheel. Only the process that
the user started starts servers; xdist's workers find their addresses in the environment.
"""

import asyncio
import fcntl
import hashlib
import os
import shutil
import tempfile
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import asyncpg
import nats
import pytest
from hypothesis import settings
from xdist.remote import Producer  # pyright: ignore[reportMissingTypeStubs] - typed, but does not say so
from xdist.scheduler import LoadScopeScheduling  # pyright: ignore[reportMissingTypeStubs] - the same

from deploy.local.servers import Nats, Postgres
from libs.schema.migrate import migrate
from libs.schema.runtime.db import Connection, prepare_connection
from libs.schema.runtime.streams import ensure_streams
from tests.support import DB_PASSWORDS

MIGRATIONS = Path(__file__).parent.parent / "libs" / "schema" / "migrations"
DOCKER_SOCKET = Path("/var/run/docker.sock")
LOCK_TEMPLATE = "SELECT pg_advisory_lock(hashtextextended('coldstream/test-template', 0))"
TEMPLATE_IS_READY = "SELECT datistemplate FROM pg_database WHERE datname = $1"
PLENTY = 8 << 30  # bytes
PLATFORMS = frozenset({"test_crash.py", "test_demo.py", "test_up.py"})  # each starts and fills six processes
# How long an example takes says how busy the machine is, not whether the property holds.
settings.register_profile("coldstream", deadline=None)
settings.load_profile("coldstream")
running = pytest.StashKey[ExitStack]()


@pytest.hookimpl(tryfirst=True)  # before pytest's own, which reads basetemp
def pytest_configure(config: pytest.Config) -> None:
    """Starts what no URL names, once, and tells the workers by the environment."""
    if hasattr(config, "workerinput"):
        return
    config.stash[running] = stack = ExitStack()
    directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="coldstream-test-", dir=_scratch())))
    # At each start pytest takes the search bit off its common folder, which a PostgreSQL in another run's tmp_path
    # needs when it was started by root. (--basetemp DIR keeps what a failed test left.)
    config.option.basetemp = config.option.basetemp or directory / "tmp"
    needs_no_server = config.args and all("unit" in Path(arg).parts for arg in config.args)
    missing = {"TEST_POSTGRES_URL", "TEST_NATS_URL"} - os.environ.keys()
    if missing and not needs_no_server:
        started = _containers(stack, missing) or _embedded(stack, missing, directory)
        os.environ.update(started)
        for name in started:
            stack.callback(os.environ.pop, name)


def _scratch() -> str | None:
    """Memory, where there is plenty: a database of one test lives for a second, and its 900 files cost a disk 0.4 s."""
    memory = Path("/dev/shm")  # noqa: S108 - the folder made in it has a name of chance and no other reader
    return str(memory) if memory.is_dir() and shutil.disk_usage(memory).free > PLENTY else None


class _OnePlatformAtATime(LoadScopeScheduling):
    """Gives the tests of whole platforms to one worker, first of all: begun last, they would run on alone."""

    def _split_scope(self, nodeid: str) -> str:
        return "platform" if Path(nodeid.partition("::")[0]).name in PLATFORMS else nodeid


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadScopeScheduling:
    """How xdist's workers share the tests, whatever `--dist` says."""
    return _OnePlatformAtATime(config, log)


def pytest_unconfigure(config: pytest.Config) -> None:
    """Stops what pytest_configure started."""
    if running in config.stash:
        config.stash[running].close()


def _containers(stack: ExitStack, missing: set[str]) -> dict[str, str]:
    if "DOCKER_HOST" not in os.environ and not DOCKER_SOCKET.exists():
        return {}
    from tests import containers  # noqa: PLC0415 - slow, and only for machines with Docker

    if not containers.answer():
        return {}
    kinds = {"TEST_POSTGRES_URL": containers.postgres, "TEST_NATS_URL": containers.nats}
    return {name: stack.enter_context(kinds[name]()) for name in missing}


def _embedded(stack: ExitStack, missing: set[str], directory: Path) -> dict[str, str]:
    if "TEST_POSTGRES_URL" not in missing:
        return {}
    postgres = asyncio.run(Postgres.start(directory / "postgres"))
    stack.callback(lambda: asyncio.run(postgres.stop()))
    asyncio.run(_spare_the_disk(postgres.url))
    return {"TEST_POSTGRES_URL": postgres.url}


async def _spare_the_disk(url: str) -> None:
    """Hundreds of databases live for a second here. Tests of crashes start servers of their own, which do sync."""
    async with _connected(url) as admin:
        for setting in ("fsync", "full_page_writes"):
            await admin.execute(f"ALTER SYSTEM SET {setting} = off")
        await admin.execute("SELECT pg_reload_conf()")


@pytest.fixture(scope="session")
def postgres_url() -> str:
    """A superuser's URL to the test cluster."""
    return os.environ["TEST_POSTGRES_URL"]


@pytest.fixture(scope="session")
async def template_database(postgres_url: str) -> str:
    """The name of a migrated database to copy; made by the first who comes, named by what the migrations say."""
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in sorted(MIGRATIONS.glob("*.sql")))).hexdigest()
    name = f"coldstream_template_{digest[:12]}"
    async with _connected(postgres_url) as admin:
        await admin.execute(LOCK_TEMPLATE)  # held until the connection ends
        ready = await admin.fetchval(TEMPLATE_IS_READY, name)
        if ready is None:
            await admin.execute(f"CREATE DATABASE {name}")
        if not ready:
            await migrate(_named(postgres_url, name), passwords=DB_PASSWORDS)
            await admin.execute(f"ALTER DATABASE {name} IS_TEMPLATE true")  # the mark of a finished one
    return name


@pytest.fixture
async def database(postgres_url: str, template_database: str) -> AsyncIterator[str]:
    """The owner's URL of a migrated database of this test's own."""
    async with _copied(postgres_url, template_database) as url:
        yield url


@pytest.fixture(scope="module")
async def module_database(postgres_url: str, template_database: str) -> AsyncIterator[str]:
    """The owner's URL of a migrated database that the tests of one module share."""
    async with _copied(postgres_url, template_database) as url:
        yield url


@pytest.fixture
async def owner(database: str) -> AsyncIterator[Connection]:
    """A connection to `database` as its owner, with our codecs: for setting up and looking at rows."""
    async with _connected(database) as connection:
        await prepare_connection(connection)
        yield connection


@pytest.fixture
async def nats_url(tmp_path: Path) -> AsyncIterator[str]:
    """A NATS server with an empty JetStream: this test's own, or the given one, emptied and locked for this test."""
    if "TEST_NATS_URL" not in os.environ:
        server = await Nats.start(tmp_path / "nats")
        yield server.url
        await server.stop()
        return
    url = os.environ["TEST_NATS_URL"]
    with _only_test_on(url):
        await _empty(url)
        yield url


@pytest.fixture
async def nats_streams(nats_url: str) -> str:
    """`nats_url` with the platform's streams and consumers set up."""
    await ensure_streams(nats_url)
    return nats_url


@asynccontextmanager
async def _copied(postgres_url: str, template: str) -> AsyncGenerator[str]:
    name = f"test_{uuid4().hex}"
    async with _connected(postgres_url) as admin:
        await admin.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        yield _named(postgres_url, name)
        await admin.execute(f"DROP DATABASE {name} WITH (FORCE)")


@asynccontextmanager
async def _connected(url: str) -> AsyncGenerator[Connection]:
    connection = await asyncpg.connect(url)
    try:
        yield connection
    finally:
        await connection.close()


def _named(url: str, database: str) -> str:
    return urlunsplit(urlsplit(url)._replace(path=f"/{database}"))


def _only_test_on(url: str) -> ExitStack:
    """A lock that xdist's workers take in turn: JetStream has room for one EVENTS stream on a server."""
    stack = ExitStack()
    name = hashlib.sha256(url.encode()).hexdigest()[:16]
    lock = stack.enter_context((Path(tempfile.gettempdir()) / f"coldstream-test-nats-{name}.lock").open("wb"))
    fcntl.flock(lock, fcntl.LOCK_EX)
    return stack


async def _empty(url: str) -> None:
    client = await nats.connect(url)  # pyright: ignore[reportUnknownMemberType] - nats-py's options are untyped
    try:
        jetstream = client.jetstream()  # pyright: ignore[reportUnknownMemberType] - the same
        for stream in await jetstream.streams_info():
            await jetstream.delete_stream(stream.config.name or "")
    finally:
        await client.close()
