"""HTTP inside a process: the ops port (alive, ready, metrics), and how any ASGI app is served and drained."""

import asyncio
import socket
import time
from collections.abc import Awaitable, Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

import uvicorn
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from libs.schema.runtime.db import DATABASE_ERRORS, Pool
from libs.schema.runtime.streams import StreamLink
from libs.schema.runtime.telemetry import logger

AsgiApp: TypeAlias = Callable[..., Awaitable[Any]]
CHECK_TIMEOUT_S: Final = 2.0
STUCK_S: Final = 900.0  # longer than the longest single wait that a tick may hold: an SMTP peer's 600 s after the dot

# Fails on a database that is not there, not migrated, or does not let this service in.
PROBE = "SELECT epoch FROM installation"


class ServerEndedError(Exception):
    """An HTTP server ended by itself; its own log lines say why."""


@dataclass(frozen=True, kw_only=True)
class Health:
    """What a process says about itself; loops write into `beats` whenever they begin a tick."""

    pool: Pool
    link: StreamLink
    stopping: asyncio.Event
    beats: dict[str, float] = field(default_factory=dict[str, float])

    def stuck(self) -> list[str]:
        """The loops that have been in one tick for too long; asks nobody: an outage is no reason to be restarted."""
        return [name for name, at in self.beats.items() if time.monotonic() - at > STUCK_S]

    async def checks(self) -> Mapping[str, bool]:
        """Each thing that this process needs for its work, and whether it is there."""
        return {
            "postgres": await self._has_postgres(),
            "nats": self.link.is_connected,
            "not_draining": not self.stopping.is_set(),
        }

    async def _has_postgres(self) -> bool:
        try:
            async with asyncio.timeout(CHECK_TIMEOUT_S):
                return await self.pool.fetchval(PROBE) is not None
        except DATABASE_ERRORS:
            return False


def ops_app(health: Health) -> AsgiApp:
    """The application of the ops port."""

    async def livez(_: Request) -> Response:
        stuck = health.stuck()
        return JSONResponse({"alive": not stuck, "stuck": stuck}, status_code=503 if stuck else 200)

    async def readyz(_: Request) -> Response:
        checks = await health.checks()
        return JSONResponse(dict(checks), status_code=200 if all(checks.values()) else 503)

    async def metrics(_: Request) -> Response:
        return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)

    return Starlette(routes=[Route("/livez", livez), Route("/readyz", readyz), Route("/metrics", metrics)])


async def serve(app: AsgiApp, host: str, port: int, stopping: asyncio.Event, *, drain_s: float) -> None:
    """Serves until `stopping`, then lets running requests end, for `drain_s` at most. Port 0 takes a free one (logged).

    Raises:
        OSError: the address cannot be bound.
        ServerEndedError: see there.

    """
    listener = socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    logger().info("http.listening", host=host, port=listener.getsockname()[1])
    config = uvicorn.Config(
        app, log_config=None, access_log=False, server_header=False, timeout_graceful_shutdown=max(1, int(drain_s))
    )
    server = _Server(config)
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    told = asyncio.create_task(stopping.wait())
    try:
        await asyncio.wait({serving, told}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        told.cancel()
        server.should_exit = True
        await serving
    if not stopping.is_set():
        raise ServerEndedError(f"{host}:{port}")


class _Server(uvicorn.Server):
    """Leaves the signals to the process: it drains more than HTTP."""

    @contextmanager
    def capture_signals(self) -> Generator[None]:
        yield
