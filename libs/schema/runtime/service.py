"""One process: what it is made of, how it starts and how it ends."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from uuid import UUID

import structlog

from libs.schema.events.base import Event
from libs.schema.runtime.clock import Clock, new_id
from libs.schema.runtime.consume import Handler
from libs.schema.runtime.db import Pool, open_pool
from libs.schema.runtime.project import Projection
from libs.schema.runtime.settings import Settings
from libs.schema.runtime.telemetry import configure, logger


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
    """Work that the clock starts. `tick` returns True when it did something and wants to run again at once."""

    name: str
    tick: Callable[[], Awaitable[bool]]
    idle_s: float = 0.25


@dataclass(frozen=True, kw_only=True)
class HttpServer:
    """An ASGI application on an address."""

    app: Callable[..., Awaitable[None]]
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
