"""A sender at work and an API beside it, on one database and one clock: what the one says, the other does."""

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import msgspec

from deploy.local.ca import Certificates
from libs.schema.runtime.db import Connection
from tests.contract.http_rig import Caller, Rig, expect, rig_on
from tests.sender_world import World, sender_world
from tests.support import Lead


@dataclass(frozen=True, kw_only=True)
class Stage:
    """A sender at work, and an API that looks on at the same clock."""

    world: World
    rig: Rig
    caller: Caller

    async def explain(self, lead: Lead | UUID, **query: Any) -> dict[str, Any]:
        self.follow()
        lead_id = lead if isinstance(lead, UUID) else lead.id
        asked = "&".join(f"{name}={value}" for name, value in query.items())
        return await self.caller.get(f"/v1/leads/{lead_id}/explanation?{asked.replace('+00:00', 'Z')}")

    async def post(self, path: str, body: Any = None, status: int = 202) -> Any:
        self.follow()
        return await self.caller.post(path, body, status)

    async def patch(self, path: str, body: Any) -> Any:
        self.follow()
        return expect(await self.caller.ask("PATCH", path, body), 200)

    async def put(self, path: str, body: Any) -> Any:
        self.follow()
        return expect(await self.caller.ask("PUT", path, body), 200)

    def follow(self) -> None:
        """Sets the API's clock to the sender's."""
        self.rig.clock.move(self.world.clock.now() - self.rig.clock.now())


@asynccontextmanager
async def stage_on(database: str, owner: Connection, pem: Certificates, *, inboxes: int = 1) -> AsyncGenerator[Stage]:
    """A world of the sender, and a key of its team."""
    async with AsyncExitStack() as stack:
        world = await stack.enter_async_context(sender_world(database, owner, pem, inboxes=inboxes))
        rig = await stack.enter_async_context(rig_on(database))
        yield Stage(world=world, rig=rig, caller=await rig.key_of(world.team.id))


def stamp(at: Any) -> str:
    return msgspec.json.decode(msgspec.json.encode(at))
