"""A process starts without NATS, says when it is ready, finishes what it has in hand, and tells no secret."""

import asyncio
import base64
import os
import signal
import socket
import sys
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from deploy.local.servers import Nats
from libs.schema.runtime.db import Connection
from libs.schema.runtime.service import HttpServer, Loop, Service, open_runtime, run
from libs.schema.runtime.settings import Settings
from libs.schema.runtime.streams import ensure_streams
from tests.contract.journal import unpublished
from tests.support import PEPPER, SECRET_KEY, eventually, role_url


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Process:
    """A running tiny service; its log lines are collected."""

    def __init__(self, process: asyncio.subprocess.Process, ops_port: int) -> None:
        self.process = process
        self.lines: list[dict[str, Any]] = []
        self.raw = b""
        self._ops = f"http://127.0.0.1:{ops_port}"
        self._reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        assert self.process.stdout is not None
        async for line in self.process.stdout:
            self.raw += line
            self.lines.append(msgspec.json.decode(line))

    def says(self, event: str) -> bool:
        return any(line["event"] == event for line in self.lines)

    async def get(self, path: str) -> httpx.Response | None:
        async with httpx.AsyncClient() as client:
            try:
                return await client.get(self._ops + path)
            except httpx.TransportError:
                return None

    async def is_ready(self) -> bool:
        answer = await self.get("/readyz")
        return answer is not None and answer.status_code == 200

    async def ended(self) -> int:
        code = await asyncio.wait_for(self.process.wait(), 20)
        await self._reading
        return code


@asynccontextmanager
async def started(database: str, nats_url: str, **settings: str) -> AsyncGenerator[Process]:
    ops_port = free_port()
    environment = {
        "PATH": os.environ["PATH"],
        "COLDSTREAM_DATABASE_URL": role_url(database, "analytics"),
        "COLDSTREAM_NATS_URL": nats_url,
        "COLDSTREAM_SECRET_KEY": base64.b64encode(SECRET_KEY).decode(),
        "COLDSTREAM_PEPPER": base64.b64encode(PEPPER).decode(),
        "COLDSTREAM_OPS_PORT": str(ops_port),
    }
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.contract.tiny_service"),
        env=environment | {f"COLDSTREAM_{name.upper()}": value for name, value in settings.items()},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    process = Process(child, ops_port)
    try:
        yield process
    finally:
        if child.returncode is None:
            child.kill()
        await process.ended()


async def test_a_signal_lets_the_tick_finish_and_its_event_reaches_the_stream(
    database: str, owner: Connection, nats_streams: str
) -> None:
    async with started(database, nats_streams, tick_s="0.7") as process:
        await eventually(process.is_ready)
        begun = len([line for line in process.lines if line["event"] == "tick.begun"])
        await eventually(lambda: len([line for line in process.lines if line["event"] == "tick.begun"]) > begun)
        before = await owner.fetchval("SELECT count(*) FROM event_log WHERE type = 'campaign.completed'")
        process.process.send_signal(signal.SIGTERM)
        assert await process.ended() == 0
        assert await owner.fetchval("SELECT count(*) FROM event_log WHERE type = 'campaign.completed'") == before + 1
        assert await unpublished(owner) == 0
        assert [line["event"] for line in process.lines[-2:]] == ["tiny.closed", "service.stopped"]


async def test_a_second_signal_ends_the_process_at_once(database: str, nats_streams: str) -> None:
    async with started(database, nats_streams, tick_s="30") as process:
        await eventually(lambda: process.says("tick.begun"))
        process.process.send_signal(signal.SIGTERM)
        await eventually(lambda: process.says("service.stopping"))
        at = time.monotonic()
        process.process.send_signal(signal.SIGTERM)
        assert await process.ended() == 128 + signal.SIGTERM
        assert time.monotonic() - at < 5


async def test_a_process_works_without_nats_is_ready_when_it_comes_and_tells_no_secret(
    database: str, owner: Connection, tmp_path: Path
) -> None:
    server = await Nats.start(tmp_path / "own")
    await ensure_streams(server.url)
    await server.stop()
    async with started(database, server.url, log_level="debug") as process:
        await eventually(lambda: recorded(owner), timeout_s=20)
        answer = await process.get("/readyz")
        assert answer is not None
        assert (answer.status_code, answer.json()) == (503, {"postgres": True, "nats": False, "not_draining": True})
        server = await Nats.start(tmp_path / "own", port=server.port)
        await eventually(process.is_ready)
        await eventually(lambda: handled(owner))
        alive, metrics = await process.get("/livez"), await process.get("/metrics")
        assert alive is not None
        assert metrics is not None
        assert alive.json() == {"alive": True, "stuck": []}
        for name in ("coldstream_handler_duration_seconds_count", "coldstream_events_published_total"):
            assert f"\n{name}" in metrics.text
        process.process.send_signal(signal.SIGINT)
        assert await process.ended() == 0
    await server.stop()
    effect = await owner.fetchrow(
        """SELECT effect.body::jsonb ->> 'correlationid' AS correlation, cause.event_id
        FROM event_log effect JOIN event_log cause ON cause.event_id = (effect.body::jsonb ->> 'causationid')::uuid
        WHERE effect.type = 'campaign.paused' LIMIT 1"""
    )
    assert effect is not None
    assert effect["correlation"] == str(effect["event_id"])
    nats_password = server.url.partition("@")[0].rpartition(":")[2]
    secrets = ["canary-in-a-field", "test-analytics", nats_password, SECRET_KEY.decode(), PEPPER.decode()]
    secrets += [base64.b64encode(key).decode() for key in (SECRET_KEY, PEPPER)]
    assert [secret for secret in secrets if secret.encode() in process.raw] == []
    assert {line["service"] for line in process.lines} == {"tiny"}


async def handled(owner: Connection) -> bool:
    return await owner.fetchval("SELECT count(*) FROM event_handled") > 3


async def recorded(owner: Connection) -> bool:
    return await owner.fetchval("SELECT count(*) FROM event_log") > 3


@asynccontextmanager
async def a_service(database: str, nats_url: str, **parts: Any) -> AsyncGenerator[Service]:
    settings = Settings(
        database_url=role_url(database, "sender"), nats_url=nats_url, secret_key=SECRET_KEY, pepper=PEPPER
    )
    service = Service(name="test", runtime=await open_runtime(settings, "test"))
    running = replace(service, **parts)
    yield running


async def test_a_loop_that_raises_is_told_once_and_tried_again_and_stops_no_other(
    database: str, nats_streams: str, capfd: pytest.CaptureFixture[str]
) -> None:
    ticks = {"bad": 0, "good": 0}

    async def bad() -> bool:
        ticks["bad"] += 1
        if ticks["bad"] < 4:
            raise ZeroDivisionError("always the same")
        return False

    async def good() -> bool:
        ticks["good"] += 1
        return False

    loops = [Loop(name="bad", tick=bad, idle_s=0.01), Loop(name="good", tick=good, idle_s=0.01)]
    async with a_service(database, nats_streams, loops=loops) as service:
        task = asyncio.create_task(run(service))
        await eventually(lambda: ticks["bad"] > 5 and ticks["good"] > 5)
        service.runtime.stopping.set()
        await task
    output = capfd.readouterr().out
    assert output.count("loop.failed") == 1
    assert output.count("loop.recovered") == 1


async def test_a_jump_of_a_sandboxs_clock_wakes_every_loop(database: str, owner: Connection, nats_streams: str) -> None:
    ticks = {"often": 0, "hourly": 0}

    async def often() -> bool:
        ticks["often"] += 1
        return False

    async def hourly() -> bool:
        ticks["hourly"] += 1
        return False

    await owner.execute("UPDATE installation SET sandbox = true")
    loops = [Loop(name="often", tick=often, idle_s=0.01), Loop(name="hourly", tick=hourly, idle_s=3600)]
    async with a_service(database, nats_streams, loops=loops) as service:
        task = asyncio.create_task(run(service))
        await eventually(lambda: ticks["often"] > 5)
        assert ticks["hourly"] == 1
        await owner.execute("UPDATE installation SET clock_offset = INTERVAL '1 day'")
        await eventually(lambda: ticks["hourly"] == 2)
        service.runtime.stopping.set()
        await task


async def test_a_part_that_cannot_run_ends_the_process_with_its_reason(database: str, nats_streams: str) -> None:
    closed: list[bool] = []

    async def close() -> None:
        closed.append(True)

    with socket.create_server(("127.0.0.1", 0)) as taken:
        servers = [HttpServer(app=_nothing, host="127.0.0.1", port=taken.getsockname()[1])]
        async with a_service(database, nats_streams, servers=servers, close=close) as service:
            with pytest.raises(BaseExceptionGroup, match="ended by itself") as ended:
                await asyncio.wait_for(run(service), 10)
    assert ended.value.subgroup(OSError) is not None
    assert closed == [True]


async def _nothing(*_: Any) -> None:
    """An application that is never asked."""
