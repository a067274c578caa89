"""What the HTTP tests share: both applications of the API over a real database, and a client that acts for one team.

Must never let an answer of 500 pass as something else.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import asyncpg
import httpx
import structlog

from libs.schema.runtime.clock import FixedClock, new_id
from libs.schema.runtime.db import Connection, Pool, close_pool, open_pool, prepare_connection
from libs.schema.runtime.service import Runtime
from services.api.accounts import Role, create_key, create_team_and_owner
from services.api.app import api_app
from services.api.hits import Hits
from services.api.limits import Limiter
from services.api.routes.tracking import public_app
from services.api.settings import ApiSettings
from tests.support import PEPPER, SECRET_KEY, role_url

MONDAY = datetime(2026, 3, 2, 10, 0, tzinfo=UTC)


@dataclass(frozen=True, kw_only=True)
class Caller:
    """A team's program: its key, and what it may ask."""

    team_id: UUID
    key: str
    client: httpx.AsyncClient

    async def ask(self, method: str, path: str, body: Any = None, **headers: str) -> httpx.Response:
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        named = {"Authorization": f"Bearer {self.key}"} | sent
        answer = await self.client.request(method, path, json=body, headers=named)
        assert answer.status_code != 500, answer.text
        assert answer.status_code < 400 or answer.headers["content-type"] == "application/problem+json", answer.text
        return answer

    async def get(self, path: str) -> Any:
        return expect(await self.ask("GET", path), 200)

    async def post(self, path: str, body: Any = None, status: int = 201) -> Any:
        return expect(await self.ask("POST", path, body), status)

    async def refused(self, method: str, path: str, body: Any = None) -> dict[str, Any]:
        answer = await self.ask(method, path, body)
        assert answer.status_code >= 400, answer.text
        return answer.json()


@dataclass(frozen=True, kw_only=True)
class Rig:
    """The applications, the database's owner, and the clock that both see."""

    owner: Connection
    pool: Pool
    runtime: Runtime
    clock: FixedClock
    api: httpx.AsyncClient
    public: httpx.AsyncClient
    hits: Hits

    async def team(self, *, role: Role = "owner", scopes: tuple[str, ...] = ()) -> Caller:
        """A new team with an address, and a caller with a key of this role and these scopes."""
        slug = f"team-{new_id().hex}"
        team_id, _ = await create_team_and_owner(
            self.owner, name=slug, slug=slug, email=f"o@{slug}.test", now=MONDAY, physical_address="1 Main Street"
        )
        return await self.key_of(team_id, role=role, scopes=scopes)

    async def key_of(self, team_id: UUID, *, role: Role = "owner", scopes: tuple[str, ...] = ()) -> Caller:
        key = await create_key(self.owner, team_id=team_id, name="test", now=MONDAY, role=role, scopes=scopes)
        return Caller(team_id=team_id, key=key, client=self.api)


def expect(answer: httpx.Response, status: int) -> Any:
    """The answer's JSON, if it has this status."""
    assert answer.status_code == status, answer.text
    return answer.json() if answer.content else None


def inbox_body(email: str, **more: Any) -> dict[str, Any]:
    """A mailbox on loopback, which the rig's settings allow."""
    servers = {"smtp_host": "127.0.0.1", "smtp_port": 2525, "imap_host": "127.0.0.1", "imap_port": 1143}
    return {"email": email, "provider": "smtp", "smtp_password": "s3cret-canary", **servers, **more}


STEP = {"subject": "Hi {{ first_name }}", "body": "A word with you, {{ first_name }}?"}


async def campaign_of(caller: Caller, **more: Any) -> dict[str, Any]:
    """A draft that lacks nothing: a list with one lead, an inbox, a step."""
    lead_list = await caller.post("/v1/lead-lists", {"name": "People"})
    batch = {"lead_list_id": lead_list["id"], "leads": [{"email": f"bob@{caller.team_id}.test"}]}
    await caller.post("/v1/leads:batch", batch, 200)
    inbox = await caller.post("/v1/inboxes", inbox_body(f"ann@{caller.team_id}.test"))
    body = {"name": "Spring", "lead_list_id": lead_list["id"], "inbox_ids": [inbox["id"]], "sequences": [STEP]}
    return await caller.post("/v1/campaigns", body | more)


@asynccontextmanager
async def rig_on(database: str, **more: Any) -> AsyncGenerator[Rig]:
    """Both applications on this database, as the API's own login; more settings by name."""
    settings = ApiSettings(
        database_url=role_url(database, "api"),
        nats_url="nats://127.0.0.1:1",
        secret_key=SECRET_KEY,
        pepper=PEPPER,
        dangerous_allow_networks=("127.0.0.0/8",),
        **more,
    )
    pool = await open_pool(settings.database_url, application_name="test-api")
    owner = await asyncpg.connect(database)
    await prepare_connection(owner)
    clock = FixedClock(MONDAY)
    runtime = Runtime(
        settings=settings,
        pool=pool,
        clock=clock,
        new_id=new_id,
        log=structlog.stdlib.get_logger(),
        stopping=asyncio.Event(),
    )
    api = httpx.ASGITransport(app=api_app(runtime, Limiter(per_second=1e6, burst=10**6)), raise_app_exceptions=False)
    hits = Hits(runtime)
    public = httpx.ASGITransport(app=public_app(runtime, hits), raise_app_exceptions=False)
    async with (
        httpx.AsyncClient(transport=api, base_url="http://api.test") as api_client,
        httpx.AsyncClient(transport=public, base_url="http://public.test") as public_client,
    ):
        yield Rig(owner=owner, pool=pool, runtime=runtime, clock=clock, api=api_client, public=public_client, hits=hits)
    await owner.close()
    await close_pool(pool)
