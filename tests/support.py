"""What tests share: waiting for a condition, keys, logins, a campaign's rows in few words; must never patch code."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from inspect import isawaitable
from typing import Any, TypeVar, overload
from urllib.parse import urlsplit, urlunsplit
from uuid import UUID

import msgspec

from libs.schema.ids import lead_key
from libs.schema.runtime.clock import new_id
from libs.schema.runtime.db import Tx

PEPPER = b"the test pepper of thirty-2 byte"
SECRET_KEY = b"the test secret of thirty-2 byte"
SERVICES = ("api", "sender", "warmup", "replies", "analytics")
# Roles belong to the whole cluster, so every database of a test run knows the same ones.
DB_PASSWORDS = {service: f"test-{service}" for service in SERVICES}
EPOCH = datetime(2026, 3, 2, 8, 0, tzinfo=UTC)  # a Monday morning

Answer = TypeVar("Answer")


@overload
async def eventually(check: Callable[[], Awaitable[Answer]], *, timeout_s: float = ...) -> Answer: ...
@overload
async def eventually(check: Callable[[], Answer], *, timeout_s: float = ...) -> Answer: ...
async def eventually(check: Callable[[], Any], *, timeout_s: float = 10.0) -> Any:
    """The first truthy answer of `check` (plain or async), asked every few milliseconds; fails with the last one."""
    deadline = time.monotonic() + timeout_s
    pause_s = 0.002
    while True:
        answer = check()
        if isawaitable(answer):
            answer = await answer
        if answer:
            return answer
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout_s} s; the last answer was {answer!r}")
        await asyncio.sleep(pause_s)
        pause_s = min(pause_s * 1.5, 0.1)


def role_url(url: str, service: str) -> str:
    """The URL of the same database for the login of one service."""
    parts = urlsplit(url)
    return urlunsplit(
        parts._replace(netloc=f"coldstream_{service}:{DB_PASSWORDS[service]}@{parts.hostname}:{parts.port}")
    )


class Team(msgspec.Struct, frozen=True, kw_only=True):
    id: UUID
    owner_id: UUID


class Inbox(msgspec.Struct, frozen=True, kw_only=True):
    id: UUID
    email: str


class Lead(msgspec.Struct, frozen=True, kw_only=True):
    id: UUID
    email: str
    key: bytes


class Step(msgspec.Struct, frozen=True, kw_only=True):
    subject: str = "Hello {{ first_name }}"
    body: str = "A word with you, {{ first_name }}?"
    delay_days: int = 0
    delay_hours: int = 0
    conditions: Sequence[dict[str, Any]] = ()


class Campaign(msgspec.Struct, frozen=True, kw_only=True):
    id: UUID
    lead_list_id: UUID
    step_ids: tuple[UUID, ...]
    version: int


async def make_team(owner: Tx, *, slug: str = "acme") -> Team:
    """A team with an owner (owner@<slug>.test), an address for the footer, and no limit that a test does not set."""
    team = Team(id=new_id(), owner_id=new_id())
    await owner.execute(
        """INSERT INTO teams
            (id, name, slug, physical_address, company_name, daily_email_limit, max_inboxes, max_campaigns, settings)
        VALUES ($1, $2, $2, '1 Main Street, Springfield', $2, 1000000, 1000, 1000, $3)""",
        team.id,
        slug,
        {"contact_gap_hours": 0, "domain_daily_limit": 0, "domain_gap_minutes": 0},
    )
    await owner.execute("INSERT INTO auth.users (id, email) VALUES ($1, $2)", team.owner_id, f"owner@{slug}.test")
    await owner.execute(
        "INSERT INTO team_members (team_id, user_id, role, accepted_at) VALUES ($1, $2, 'owner', $3)",
        team.id,
        team.owner_id,
        EPOCH,
    )
    return team


async def make_inbox(owner: Tx, team: Team, *, email: str = "ann@acme.test", **columns: Any) -> Inbox:
    """An inbox that may send at any hour of any day (UTC), 500 a day and an hour; more columns of `inboxes` by name."""
    inbox = Inbox(id=new_id(), email=email)
    domain = email.rpartition("@")[2]
    domain_id = await owner.fetchval(
        """INSERT INTO domains (team_id, domain) VALUES ($1, $2)
        ON CONFLICT (team_id, domain) DO UPDATE SET domain = excluded.domain RETURNING id""",
        team.id,
        domain,
    )
    values = {
        "id": inbox.id,
        "team_id": team.id,
        "domain_id": domain_id,
        "email": email,
        "from_name": "Ann",
        "provider": "smtp",
        "status": "active",
        "smtp_host": "127.0.0.1",
        "imap_host": "127.0.0.1",
        "smtp_username": email,
    }
    await insert(owner, "inboxes", values | columns)
    await owner.execute(
        """INSERT INTO inbox_settings (inbox_id, daily_send_limit, hourly_limit, min_delay_seconds, max_delay_seconds,
            send_window_start, send_window_end, send_window_timezone, send_days, weekends_enabled,
            auto_throttle_enabled)
        VALUES ($1, 500, 500, 1, 2, '00:00', '23:59:59', 'UTC',
            ARRAY['mon', 'tue', 'wed', 'thu', 'fri', 'sat', 'sun'], true, false)""",
        inbox.id,
    )
    return inbox


async def make_lead(
    owner: Tx, team: Team, *, email: str = "silent.bob@lead.test", list_id: UUID | None = None, **columns: Any
) -> Lead:
    """A lead, with more columns of `leads` by name."""
    lead = Lead(id=new_id(), email=email, key=lead_key(PEPPER, email))
    values = {"id": lead.id, "team_id": team.id, "lead_list_id": list_id, "email": email, "first_name": "Bob"}
    await insert(owner, "leads", values | columns)
    return lead


async def make_list(owner: Tx, team: Team, *, name: str = "people") -> UUID:
    """An empty lead list's id."""
    list_id = new_id()
    await insert(owner, "lead_lists", {"id": list_id, "team_id": team.id, "name": name})
    return list_id


async def make_campaign(
    owner: Tx,
    team: Team,
    *,
    inboxes: Sequence[Inbox],
    list_id: UUID,
    steps: Sequence[Step] = (Step(),),
    **columns: Any,
) -> Campaign:
    """An active campaign on UTC and all days with its inboxes, its steps and their version 1; more columns by name."""
    campaign = Campaign(id=new_id(), lead_list_id=list_id, step_ids=tuple(new_id() for _ in steps), version=1)
    settings = {
        "timezone": "UTC",
        "send_days": ["mon", "tue", "wed", "thu", "fri", "sat", "sun"],
        "stop_on_reply": True,
        "stop_on_bounce": True,
        "track_opens": False,
        "track_clicks": False,
        "esp_matching": False,
        "min_health_score": 0,
    }
    values = {
        "id": campaign.id,
        "team_id": team.id,
        "lead_list_id": list_id,
        "name": "Spring",
        "status": "active",
        "settings": settings,
        "started_at": EPOCH,
    }
    await insert(owner, "campaigns", values | columns)
    for inbox in inboxes:
        await insert(owner, "campaign_inboxes", {"campaign_id": campaign.id, "inbox_id": inbox.id})
    await _write_steps(owner, team, campaign, steps)
    return campaign


async def _write_steps(owner: Tx, team: Team, campaign: Campaign, steps: Sequence[Step]) -> None:
    snapshot: list[dict[str, Any]] = []
    for number, (step_id, step) in enumerate(zip(campaign.step_ids, steps, strict=True), start=1):
        content = {"step_number": number, **msgspec.structs.asdict(step)}
        await insert(owner, "sequences", {"id": step_id, "campaign_id": campaign.id, **content})
        snapshot.append({"step_id": str(step_id), **content, "variants": []})
    version = {"id": new_id(), "team_id": team.id, "campaign_id": campaign.id, "version": campaign.version}
    await insert(owner, "sequence_version", {**version, "steps": snapshot, "created_at": EPOCH})


async def insert(owner: Tx, table: str, values: dict[str, Any]) -> None:
    """One row of `table`, columns by name; table and names are the test's own words, never input."""
    names = ", ".join(values)
    places = ", ".join(f"${n}" for n in range(1, len(values) + 1))
    await owner.execute(f"INSERT INTO {table} ({names}) VALUES ({places})", *values.values())  # noqa: S608
