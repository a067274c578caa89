"""One process: what it is made of, how it starts, and how it ends.

Never ends by an outage of Postgres or NATS, and never leaves work in hand behind: a signal lets each loop finish its
tick and each handler its event; the relay publishes what they recorded; NATS closes last.
"""

import asyncio
import os
import signal
import time
from collections.abc import Awaitable, Callable, Coroutine, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import UUID

import structlog
from nats.errors import Error as NatsError

from libs.schema.events.base import Event
from libs.schema.runtime.clock import Clock, new_id
from libs.schema.runtime.consume import Consumer
from libs.schema.runtime.db import Pool, close_pool, open_pool
from libs.schema.runtime.handle import Handler
from libs.schema.runtime.ops import AsgiApp, Health, ops_app, serve
from libs.schema.runtime.project import IDLE_S as PROJECTION_IDLE_S
from libs.schema.runtime.project import Projection, Projector
from libs.schema.runtime.relay import FLUSH_S, pause, run_relay
from libs.schema.runtime.relay import IDLE_S as RELAY_IDLE_S
from libs.schema.runtime.settings import Settings
from libs.schema.runtime.streams import StreamLink, ensure_declared
from libs.schema.runtime.telemetry import LOOP_ERRORS, configure, logger

MAX_BACK_OFF_S: Final = 30.0


@dataclass(frozen=True, kw_only=True)
class Runtime:
    """What every part of a service needs; the base of each service's Deps."""

    settings: Settings
    pool: Pool
    clock: Clock
    new_id: Callable[[], UUID]
    log: structlog.stdlib.BoundLogger
    stopping: asyncio.Event


@dataclass(frozen=True, kw_only=True)
class Loop:
    """Work that the clock starts. `tick` returns True when it did something and wants to run again at once.

    A tick that raises is logged, counted and run again after a pause that grows; it never ends the process.
    """

    name: str
    tick: Callable[[], Awaitable[bool]]
    idle_s: float = 0.25


@dataclass(frozen=True, kw_only=True)
class HttpServer:
    """An ASGI application on an address; port 0 takes a free one."""

    app: AsgiApp
    host: str
    port: int


@dataclass(frozen=True, kw_only=True)
class Service:
    """Everything that one process runs."""

    name: str
    runtime: Runtime
    loops: Sequence[Loop] = ()
    handlers: Mapping[type[Event], Handler] = field(default_factory=dict[type[Event], Handler])
    consumer: str | None = None  # the durable's name
    projections: Sequence[Projection] = ()
    servers: Sequence[HttpServer] = ()
    close: Callable[[], Awaitable[None]] | None = None


async def open_runtime(settings: Settings, name: str) -> Runtime:
    """The pool, the logs and the clock of a process called `name`.

    Raises:
        OSError, asyncpg.PostgresError: the database cannot be reached or refuses the login.

    """
    configure(name, log_level=settings.log_level, otlp_endpoint=settings.otlp_endpoint)
    pool = await open_pool(settings.database_url, application_name=f"coldstream-{name}")
    clock = Clock()
    await clock.refresh(pool)
    return Runtime(settings=settings, pool=pool, clock=clock, new_id=new_id, log=logger(), stopping=asyncio.Event())


async def run(service: Service) -> None:
    """Runs the service until SIGTERM or SIGINT, or until `runtime.stopping` is set; a second signal ends it at once.

    Raises:
        ExceptionGroup: a part ended by itself (an address in use, a stalled consumer, a foreign stream): start it anew.

    """
    runtime = service.runtime
    link = StreamLink(runtime.settings.nats_url, service.name)
    nothing_more = asyncio.Event()
    with _signals(runtime.stopping):
        idle_s = RELAY_IDLE_S * runtime.settings.idle_factor
        relaying = run_relay(runtime.settings.database_url, link, runtime.clock, nothing_more, idle_s=idle_s)
        relay = asyncio.create_task(relaying)
        parts = [asyncio.create_task(part) for part in _parts(service, link)]
        runtime.log.info("service.started", consumer=service.consumer, loops=[loop.name for loop in service.loops])
        try:
            await _until_stopping(runtime.stopping, [relay, *parts])
        finally:
            runtime.stopping.set()
            await _end(parts, runtime.settings.drain_timeout_s)
            if service.close is not None:
                await service.close()  # what it still records is the relay's last work
            nothing_more.set()
            await _end([relay], FLUSH_S + 1)
            await link.close()
            await close_pool(runtime.pool)
        runtime.log.info("service.stopped")
    failures = [error for part in [relay, *parts] if not part.cancelled() and (error := part.exception())]
    if failures:
        raise BaseExceptionGroup(f"{service.name} ended by itself", failures)


def _parts(service: Service, link: StreamLink) -> Generator[Coroutine[Any, Any, None]]:
    runtime = service.runtime
    settings = runtime.settings
    health = Health(pool=runtime.pool, link=link, stopping=runtime.stopping)
    yield _connect(link, runtime.stopping)
    for loop in service.loops:
        yield _run_loop(service, loop, health)
    for projection in service.projections:
        projector = Projector(projection=projection, pool=runtime.pool, link=link, clock=runtime.clock)
        name = f"projection.{projection.name}"
        yield _run_loop(service, Loop(name=name, tick=projector.tick, idle_s=PROJECTION_IDLE_S), health)
    if service.consumer is not None:
        yield Consumer(
            name=service.consumer,
            handlers=service.handlers,
            pool=runtime.pool,
            link=link,
            nats_url=settings.nats_url,
            stopping=runtime.stopping,
        ).run()
    for server in service.servers:
        yield serve(server.app, server.host, server.port, runtime.stopping, drain_s=settings.drain_timeout_s)
    if settings.ops_port:
        yield serve(ops_app(health), settings.ops_host, settings.ops_port, runtime.stopping, drain_s=1)


async def _connect(link: StreamLink, stopping: asyncio.Event) -> None:
    """Connects, and asserts that the stream is the one that this release declares."""
    opening = asyncio.create_task(link.open())
    told = asyncio.create_task(stopping.wait())
    try:
        await asyncio.wait({opening, told}, return_when=asyncio.FIRST_COMPLETED)
        while not stopping.is_set():
            try:
                await ensure_declared(link.jetstream)
            except NatsError as error:  # JetStream may come up later than the server
                logger().warning("stream.unchecked", error=type(error).__name__)
                await pause(stopping, 1.0)
            else:
                break
    finally:
        told.cancel()
        opening.cancel()


async def _run_loop(service: Service, loop: Loop, health: Health) -> None:
    runtime = service.runtime
    back_off_s, told = 0.0, ""
    while not runtime.stopping.is_set():
        health.beats[loop.name] = time.monotonic()
        try:
            await runtime.clock.follow(runtime.pool)
            jump = runtime.clock.jump  # one that comes during the tick counts too
            again = await loop.tick()
        except Exception as error:  # the edge: whatever a tick raises is told once and tried again
            LOOP_ERRORS.labels(service.name, loop.name).inc()
            if told != (told := f"{type(error).__name__}: {error}"):
                runtime.log.exception("loop.failed", loop=loop.name)
            back_off_s = min(max(back_off_s * 2, loop.idle_s), MAX_BACK_OFF_S)
            await pause(runtime.stopping, back_off_s)
            continue
        if told:
            runtime.log.info("loop.recovered", loop=loop.name)
        back_off_s, told = 0.0, ""
        await _idle(runtime.stopping, jump, 0 if again else loop.idle_s * runtime.settings.idle_factor)


async def _idle(stopping: asyncio.Event, jump: asyncio.Event, seconds: float) -> None:
    """Waits so long, or until told to stop, or until a sandbox's clock has jumped."""
    if not seconds:
        await asyncio.sleep(0)
        return
    waits = [asyncio.create_task(event.wait()) for event in (stopping, jump)]
    await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    for each in waits:
        each.cancel()


async def _until_stopping(stopping: asyncio.Event, parts: Sequence[asyncio.Task[None]]) -> None:
    """Waits for the signal, or for a part that failed, which stops the others too."""
    told = asyncio.create_task(stopping.wait())
    running: set[asyncio.Task[Any]] = {told, *parts}
    while not stopping.is_set():
        done, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
        if any(part.exception() for part in done if part is not told):
            stopping.set()
    told.cancel()


async def _end(parts: Sequence[asyncio.Task[None]], within_s: float) -> None:
    """Waits for the parts to end by themselves, then ends them."""
    _, late = await asyncio.wait(parts, timeout=within_s)
    for part in late:
        logger().error("part.cancelled", part=str(part.get_coro()))
        part.cancel()
    if late:
        await asyncio.wait(late, timeout=FLUSH_S)


@contextmanager
def _signals(stopping: asyncio.Event) -> Generator[None]:
    def on_signal(number: signal.Signals) -> None:
        if stopping.is_set():
            os._exit(128 + number)  # the shell's way of saying "ended by a signal"
        logger().info("service.stopping", signal=number.name)
        stopping.set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal, number)
    try:
        yield
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)
