"""The sender's jobs put together on a bench's own ground, with a clock that the bench moves; no process, no relay."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

from benchmarks.ground import Place
from libs.schema.runtime.clock import FixedClock, new_id
from libs.schema.runtime.db import Pool
from libs.schema.runtime.service import Runtime
from libs.schema.runtime.telemetry import logger
from services.sender.app import close, make_deps
from services.sender.deps import Deps, SenderSettings
from services.sender.jobs.enrol import enrol
from services.sender.jobs.plan import plan_slots
from tests.support import PEPPER, SECRET_KEY


@asynccontextmanager
async def office(place: Place, pool: Pool, clock: FixedClock, *, ca_file: Path | None = None) -> AsyncGenerator[Deps]:
    """The sender's Deps as `services.sender.app` makes them; loopback is open to them."""
    settings = SenderSettings(
        database_url=place.role_url("sender"),
        nats_url=place.nats_url,
        secret_key=SECRET_KEY,
        pepper=PEPPER,
        dangerous_allow_networks=("127.0.0.0/8", "::1/128"),
        extra_ca_file=str(ca_file) if ca_file else None,
    )
    runtime = Runtime(settings=settings, pool=pool, clock=clock, new_id=new_id, log=logger(), stopping=asyncio.Event())
    deps = make_deps(runtime, settings)
    try:
        yield deps
    finally:
        await close(deps)


async def plan_all(deps: Deps) -> None:
    """Enrols every lead of the active campaigns' lists and gives each a slot."""
    await enrol(deps)
    while await plan_slots(deps):
        pass
