"""The embedded servers keep their data, own their ports, and survive the death of whoever launched them."""

import asyncio
import os
import signal
import stat
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import psutil
import pytest
from nats.aio.client import Client
from nats.errors import Error as NatsError
from nats.js.api import StreamConfig

from deploy.local.kept import kept_secret, kept_secrets
from deploy.local.servers import Nats, Postgres, ServerError
from tests.support import eventually

LAUNCHER = """
import asyncio, sys
from pathlib import Path
from deploy.local.servers import Nats, Postgres

async def main():
    postgres, nats = await Postgres.start(Path(sys.argv[1]) / "postgres"), await Nats.start(Path(sys.argv[1]) / "nats")
    print(postgres.pid, nats.pid, postgres.url, nats.url, flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


@asynccontextmanager
async def running(server: type[Postgres] | type[Nats], directory: Path) -> AsyncGenerator[str]:
    started = await server.start(directory)
    try:
        yield started.url
    finally:
        await started.stop()


async def ask(url: str, sql: str) -> object:
    connection = await asyncpg.connect(url)
    try:
        return await connection.fetchval(sql)
    finally:
        await connection.close()


async def store(url: str, *, make: bool) -> int:
    """Makes the stream, or finds it; adds one message to it; how many it has then."""
    client = Client()
    await client.connect(url)
    try:
        jetstream = client.jetstream()  # pyright: ignore[reportUnknownMemberType] - nats-py's options are untyped
        if make:
            config = StreamConfig(name="KEPT", subjects=["kept"])
            await jetstream.add_stream(config)  # pyright: ignore[reportUnknownMemberType] - the same
        await jetstream.publish("kept", b"x")
        return (await jetstream.stream_info("KEPT")).state.messages
    finally:
        await client.close()


async def test_postgres_goes_on_where_it_was_at_a_second_start(tmp_path: Path) -> None:
    async with running(Postgres, tmp_path) as url:
        await ask(url, "CREATE TABLE kept AS SELECT 7 AS n")
    async with running(Postgres, tmp_path) as url:
        assert await ask(url, "SELECT n FROM kept") == 7


async def test_nats_goes_on_where_it_was_at_a_second_start(tmp_path: Path) -> None:
    async with running(Nats, tmp_path) as url:
        assert await store(url, make=True) == 1
    async with running(Nats, tmp_path) as url:
        assert await store(url, make=False) == 2


async def test_two_at_once_do_not_see_each_other(tmp_path: Path) -> None:
    async with running(Postgres, tmp_path / "a") as first, running(Postgres, tmp_path / "b") as second:
        await ask(first, "CREATE TABLE mine (n int)")
        assert await ask(second, "SELECT to_regclass('mine')") is None
    async with running(Nats, tmp_path / "c") as first, running(Nats, tmp_path / "d") as second:
        assert await store(first, make=True) == 1
        assert await store(second, make=True) == 1


async def test_postgres_is_durable_and_checks_its_pages(tmp_path: Path) -> None:
    async with running(Postgres, tmp_path) as url:
        for setting in ("fsync", "full_page_writes", "synchronous_commit", "data_checksums"):
            assert await ask(url, f"SHOW {setting}") == "on"
        assert await ask(url, "SHOW listen_addresses") == "127.0.0.1"


async def test_nobody_enters_without_the_password(tmp_path: Path) -> None:
    async with running(Postgres, tmp_path / "postgres") as url:
        password = (tmp_path / "postgres" / "owner-password").read_text().strip()
        with pytest.raises(asyncpg.InvalidPasswordError):
            await ask(url.replace(password, "guessed"), "SELECT 1")
    async with running(Nats, tmp_path / "nats") as url:
        password = (tmp_path / "nats" / "password").read_text().strip()
        client = Client()
        with pytest.raises(NatsError, match="Authorization Violation"):
            await client.connect(url.replace(password, "guessed"), allow_reconnect=False)
        await client.close()


@pytest.mark.parametrize("server", [Postgres, Nats])
async def test_a_directory_in_use_is_refused(server: type[Postgres] | type[Nats], tmp_path: Path) -> None:
    async with running(server, tmp_path):
        with pytest.raises(ServerError, match="in use by another launcher"):
            await server.start(tmp_path)


@pytest.mark.parametrize("server", [Postgres, Nats])
async def test_a_taken_port_is_an_error_and_not_somebody_elses_server(
    server: type[Postgres] | type[Nats], tmp_path: Path
) -> None:
    async with running(server, tmp_path / "first") as url:
        port = int(url.partition("@")[2].partition(":")[2].partition("/")[0])
        with pytest.raises(ServerError, match="did not start"):
            await server.start(tmp_path / "second", port=port)


async def test_a_killed_launcher_leaves_nothing_damaged_and_nothing_running(tmp_path: Path) -> None:
    launcher = await asyncio.create_subprocess_exec(
        sys.executable, "-c", LAUNCHER, str(tmp_path), stdout=asyncio.subprocess.PIPE
    )
    assert launcher.stdout is not None
    postgres_pid, nats_pid, postgres_url, nats_url = (await launcher.stdout.readline()).decode().split()
    await ask(postgres_url, "CREATE TABLE kept AS SELECT 7 AS n")
    await store(nats_url, make=True)
    launcher.kill()
    await launcher.wait()
    async with running(Postgres, tmp_path / "postgres") as url:
        assert await ask(url, "SELECT n FROM kept") == 7
    async with running(Nats, tmp_path / "nats") as url:
        assert await store(url, make=False) == 2
    for pid in (int(postgres_pid), int(nats_pid)):
        assert not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


async def test_postgres_recovers_after_its_own_death(tmp_path: Path) -> None:
    server = await Postgres.start(tmp_path)
    await ask(server.url, "CREATE TABLE kept AS SELECT 7 AS n")
    os.kill(server.pid, signal.SIGKILL)
    await eventually(lambda: psutil.Process(server.pid).status() == psutil.STATUS_ZOMBIE)
    assert (tmp_path / "data" / "postmaster.pid").exists()
    await server.stop()
    async with running(Postgres, tmp_path) as url:
        assert await ask(url, "SELECT n FROM kept") == 7


async def test_a_stale_pid_file_with_a_strangers_pid_harms_nobody(tmp_path: Path) -> None:
    async with running(Postgres, tmp_path):
        lines = (tmp_path / "data" / "postmaster.pid").read_text().split("\n")
    stranger = await asyncio.create_subprocess_exec(sys.executable, "-c", "input()", stdin=asyncio.subprocess.PIPE)
    (tmp_path / "data" / "postmaster.pid").write_text("\n".join([str(stranger.pid), *lines[1:]]))
    async with running(Postgres, tmp_path) as url:
        assert await ask(url, "SELECT 1") == 1
    assert stranger.returncode is None
    await stranger.communicate(b"\n")


def test_a_kept_secret_stays_the_same_and_is_private(tmp_path: Path) -> None:
    first = kept_secret(tmp_path / "one")
    assert kept_secret(tmp_path / "one") == first
    many = kept_secrets(tmp_path / "many", ["a", "b"])
    assert kept_secrets(tmp_path / "many", ["a", "b", "c"]).items() > many.items()
    for name in ("one", "many"):
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o600
