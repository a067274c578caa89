"""A sender at work on a database, a standing clock and a scripted server; its jobs run when the test says so."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec
import structlog

from deploy.local.ca import Certificates
from libs.schema.events import open_envelope, open_event
from libs.schema.events.base import Event, seal
from libs.schema.runtime.clock import FixedClock, new_id
from libs.schema.runtime.db import Connection, open_pool, transaction
from libs.schema.runtime.service import Runtime
from libs.schema.secrets import seal_secret
from services.sender.app import HEARS, close, make_deps
from services.sender.deps import Deps, SenderSettings
from services.sender.jobs.enrol import enrol
from services.sender.jobs.plan import plan_slots
from services.sender.jobs.send import send_due
from tests.scripted_smtp import Script, scripted_smtp
from tests.support import (
    PEPPER,
    SECRET_KEY,
    Campaign,
    Inbox,
    Lead,
    Step,
    Team,
    make_campaign,
    make_inbox,
    make_lead,
    make_list,
    make_team,
    role_url,
)

MONDAY = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)


@dataclass
class World:
    """The rows of one team and a sender that works on them."""

    owner: Connection
    database: str
    deps: Deps
    clock: FixedClock
    script: Script
    team: Team
    list_id: UUID
    inboxes: list[Inbox]

    async def leads(self, *names: str, **columns: Any) -> list[Lead]:
        """Leads <name>@lead.test in the list."""
        return [
            await make_lead(self.owner, self.team, email=f"{name}@lead.test", list_id=self.list_id, **columns)
            for name in names
        ]

    async def campaign(self, *steps: Step, **columns: Any) -> Campaign:
        """An active campaign over all inboxes."""
        chosen = steps or (Step(),)
        return await make_campaign(
            self.owner, self.team, inboxes=self.inboxes, list_id=self.list_id, steps=chosen, **columns
        )

    async def plan(self) -> None:
        """Enrols and gives slots."""
        await enrol(self.deps)
        while await plan_slots(self.deps):
            pass

    async def send(self) -> None:
        """Sends what is due at this instant, to the end."""
        while await send_due(self.deps):
            await self.deps.deliveries.drain()

    async def go_on(self, by: timedelta, *, step: timedelta = timedelta(minutes=2)) -> None:
        """Lets time pass in steps, doing in each what is due."""
        end = self.clock.now() + by
        while self.clock.now() < end:
            await self.plan()
            await self.send()
            self.clock.move(step)
        await self.plan()
        await self.send()

    async def ledger(self, *columns: str) -> list[tuple[Any, ...]]:
        """Columns of all sends, in the order of their slots."""
        rows = await self.owner.fetch(f"SELECT {', '.join(columns)} FROM send_ledger ORDER BY slot_at, send_id")  # noqa: S608
        return [tuple(row) for row in rows]

    async def column(self, query: str, *args: Any) -> list[Any]:
        """The first column of a query."""
        return [row[0] for row in await self.owner.fetch(query, *args)]

    async def events(self, kind: str = "%") -> list[Event]:
        """The recorded events whose type is like `kind`, in log order."""
        bodies = await self.column("SELECT body FROM event_log WHERE type LIKE $1 ORDER BY position", kind)
        return [open_event(open_envelope(body)) for body in bodies]

    async def types(self) -> list[str]:
        """The types of all recorded events, in log order."""
        return await self.column("SELECT type FROM event_log ORDER BY position")

    def recipients(self) -> list[str]:
        """Whom the server has accepted mail for."""
        return [command[9:-1] for command in self.script.commands if command.startswith("RCPT")]


async def hear(world: World, event: Event) -> None:
    """The handler's part of a delivery, in a transaction of its own."""
    body = seal(event, event_id=new_id(), team_id=world.team.id, time=world.clock.now(), by="test")
    async with transaction(world.deps.pool) as tx:
        await HEARS[type(event)](world.deps, tx, open_envelope(body), event)


@asynccontextmanager
async def sender_world(
    database: str, owner: Connection, pem: Certificates, *, inboxes: int = 1, **settings: Any
) -> AsyncGenerator[World]:
    """A world with inboxes on a scripted server, at nine on a Monday."""
    async with scripted_smtp(pem.server_context()) as script:
        clock = FixedClock(MONDAY)
        deps = await sender_deps(database, clock, pem, **settings)
        team = await make_team(owner)
        boxes = [await _inbox(owner, team, script, number) for number in range(inboxes)]
        world = World(
            owner=owner,
            database=database,
            deps=deps,
            clock=clock,
            script=script,
            team=team,
            list_id=await make_list(owner, team),
            inboxes=boxes,
        )
        try:
            yield world
        finally:
            await close(deps)
            await deps.pool.close()


async def another_sender(world: World, pem: Certificates, **settings: Any) -> Deps:
    """A second process's worth of sender on the same database; the test closes it."""
    return await sender_deps(world.database, world.clock, pem, **settings)


async def sender_deps(database: str, clock: FixedClock, pem: Certificates, **changes: Any) -> Deps:
    """What a sender works with, under its own login; the test closes it."""
    url = role_url(database, "sender")
    settings = SenderSettings(
        database_url=url,
        nats_url="nats://127.0.0.1:1",
        secret_key=SECRET_KEY,
        pepper=PEPPER,
        dangerous_allow_networks=("127.0.0.0/8",),
        extra_ca_file=str(pem.ca_file),
        smtp_dot_timeout_s=1.0,
    )
    settings = msgspec.structs.replace(settings, **changes)
    runtime = Runtime(
        settings=settings,
        pool=await open_pool(url, application_name="test-sender"),
        clock=clock,
        new_id=new_id,
        log=structlog.get_logger(),
        stopping=asyncio.Event(),
    )
    return make_deps(runtime, settings)


async def _inbox(owner: Connection, team: Team, script: Script, number: int) -> Inbox:
    email = f"inbox{number}@acme.test"
    inbox = await make_inbox(owner, team, email=email, smtp_port=script.port)
    sealed = seal_secret(SECRET_KEY, "s3cret", row_id=inbox.id, column="smtp_password")
    await owner.execute(
        "UPDATE inboxes SET smtp_password = $2, smtp_host = 'localhost' WHERE id = $1", inbox.id, sealed
    )
    return inbox
