"""A process made of every kind of part, for the tests of how a process starts, works and ends."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime

from starlette.applications import Starlette

from libs.schema.events.base import Envelope
from libs.schema.events.campaign import CampaignCompleted, CampaignPaused
from libs.schema.runtime.clock import new_id
from libs.schema.runtime.db import Tx, transaction
from libs.schema.runtime.outbox import record
from libs.schema.runtime.project import Projected
from libs.schema.runtime.service import HttpServer, Loop, Service, open_runtime, run
from libs.schema.runtime.settings import Settings, load

TEAM = new_id()


class TinySettings(Settings, frozen=True, kw_only=True):
    """How long one tick takes, seconds."""

    tick_s: float = 0.01


class Counter:
    """Reads everything, keeps nothing."""

    name = "tiny"

    async def apply(self, tx: Tx, batch: Sequence[Projected]) -> None:
        """Leaves the rows as they are."""


async def build(settings: TinySettings) -> Service:
    """A loop that records one event in a tick, a handler that answers it with another, a projection and a server."""
    runtime = await open_runtime(settings, "tiny")

    async def tick() -> bool:
        runtime.log.info("tick.begun", password="canary-in-a-field")
        await asyncio.sleep(settings.tick_s)
        async with transaction(runtime.pool) as tx:
            event = CampaignCompleted(campaign_id=new_id(), finished=1, stopped=0, failed=0)
            await record(tx, TEAM, event, by="tiny", at=datetime.now(UTC))
        return False

    async def answer(tx: Tx, envelope: Envelope, event: CampaignCompleted) -> None:
        paused = CampaignPaused(campaign_id=event.campaign_id)
        await record(tx, envelope.teamid, paused, by="tiny", at=datetime.now(UTC), cause=envelope)

    async def close() -> None:
        runtime.log.info("tiny.closed")

    return Service(
        name="tiny",
        runtime=runtime,
        loops=[Loop(name="tick", tick=tick, idle_s=0.05)],
        handlers={CampaignCompleted: answer},
        consumer="webhooks",
        projections=[Counter()],
        servers=[HttpServer(app=Starlette(), host="127.0.0.1", port=0)],
        close=close,
    )


async def main() -> None:
    """What `python -m services NAME` does."""
    await run(await build(load(TinySettings)))


if __name__ == "__main__":
    asyncio.run(main())
