"""`coldstream up`: everything runs, drains on SIGTERM, and goes on where it was, whatever ended it."""

import asyncio
import os
import signal
import ssl
import stat
import sys
from pathlib import Path

import asyncpg
import msgspec
import psutil

from deploy.local.client import ApiClient
from deploy.local.platform import Ready
from deploy.local.stream import opened
from tests.command import coldstream, without_settings
from tests.support import eventually

START_TIMEOUT_S = 120.0  # five interpreters beside whatever else the machine does
STOP_TIMEOUT_S = 120.0


class Launcher:
    """A `coldstream up --json` that has printed its line."""

    def __init__(self, process: asyncio.subprocess.Process, ready: Ready) -> None:
        self.process = process
        self.ready = ready
        self.api = ApiClient(ready.api, ready.api_key)
        self.family = psutil.Process(process.pid).children(recursive=True)

    @classmethod
    async def start(cls, directory: Path) -> "Launcher":
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "deploy.cli", "up", "--json", "--data-dir", str(directory)),
            env=without_settings(),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
        assert process.stdout is not None
        async with asyncio.timeout(START_TIMEOUT_S):
            line = await process.stdout.readline()
        return cls(process, msgspec.json.decode(line, type=Ready))

    async def end(self, number: signal.Signals) -> tuple[int | None, bytes]:
        """Its exit code and what it printed besides; returns when nothing that it started is left."""
        self.process.send_signal(number)
        async with asyncio.timeout(STOP_TIMEOUT_S):
            rest, _ = await self.process.communicate()
        await eventually(lambda: not [each for each in self.family if _lives(each)], timeout_s=STOP_TIMEOUT_S)
        return self.process.returncode, rest


async def test_what_up_prints_is_there_and_the_next_start_goes_on_with_it_after_sigterm_and_after_kill_9(
    tmp_path: Path,
) -> None:
    first = await Launcher.start(tmp_path)
    try:
        await everything_answers(first)
        await sends_can_be_verified(first.ready, tmp_path)
        made = await first.api.post("/v1/lead-lists", {"name": "Spring"})
    finally:
        ended = await first.end(signal.SIGTERM)
    assert ended == (0, b"")
    for name in ("secrets.json", "access.json", "mail/server-key.pem"):
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o600
    second = await Launcher.start(tmp_path)
    await goes_on(second, first, made["id"])
    for each in second.family:
        os.kill(each.pid, signal.SIGKILL)
    await second.end(signal.SIGKILL)
    third = await Launcher.start(tmp_path)
    try:
        await goes_on(third, first, made["id"])
    finally:
        assert await third.end(signal.SIGINT) == (0, b"")


async def goes_on(launcher: Launcher, first: Launcher, list_id: str) -> None:
    """The same addresses, keys and rows as at the first start."""
    assert launcher.ready == first.ready
    assert [each["id"] for each in (await launcher.api.get("/v1/lead-lists"))["data"]] == [list_id]


async def everything_answers(launcher: Launcher) -> None:
    ready = launcher.ready
    assert (await launcher.api.get("/v1/team"))["id"] == ready.team_id
    database = await asyncpg.connect(ready.database_url)
    assert str(await database.fetchval("SELECT id FROM teams")) == ready.team_id
    await database.close()
    async with opened(ready.nats_url) as link:
        assert (await link.state()).last_seq == 0
    assert (await banner(ready.smtp_host, ready.smtp_port, None)).startswith(b"220 ")
    trusting = ssl.create_default_context()
    trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
    assert (await banner(ready.imap_host, ready.imap_port, trusting)).startswith(b"* OK")
    assert ready.public.startswith("http://127.0.0.1:")


async def sends_can_be_verified(ready: Ready, data_dir: Path) -> None:
    urls = ("--database-url", ready.database_url, "--nats-url", ready.nats_url)
    done = await coldstream("verify-sends", *urls, "--data-dir", str(data_dir), "--json")
    assert (done.code, done.json()["sent"]["unread"], done.json()["disagreements"]) == (0, [], []), done.err


async def banner(host: str, port: int, tls: ssl.SSLContext | None) -> bytes:
    reader, writer = await asyncio.open_connection(host, port, ssl=tls)
    async with asyncio.timeout(5):
        line = await reader.readline()
    writer.close()
    await writer.wait_closed()
    return line


def _lives(process: psutil.Process) -> bool:
    """A zombie holds nothing any more; in a container nobody may ever reap it."""
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
