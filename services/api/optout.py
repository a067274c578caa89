"""The opt-out: a token becomes a stop, in one transaction, at once (design.md §9.12); twice does no more than once."""

import asyncio
from typing import Literal

import msgspec

from libs.schema.events.lead import LeadUnsubscribed
from libs.schema.ids import lead_key
from libs.schema.runtime import barrier
from libs.schema.runtime.db import ACQUIRE_TIMEOUT_S, Tx, transaction
from libs.schema.runtime.outbox import record
from libs.schema.runtime.service import Runtime
from libs.schema.secrets import TokenError, read_token
from services.api.queries import optout

MAX_TOKEN_CHARS = 200
Method = Literal["one_click", "page"]


async def is_known(runtime: Runtime, token: str) -> bool:
    """Whether the token is somebody's; changes nothing."""
    async with runtime.pool.acquire(timeout=ACQUIRE_TIMEOUT_S) as connection:
        return await _find(connection, runtime, token) is not None


async def opt_out(runtime: Runtime, token: str, method: Method) -> bool:
    """Whether the token is somebody's, who gets no more mail from the team once this has returned."""
    async with asyncio.timeout(ACQUIRE_TIMEOUT_S):
        await runtime.clock.refresh(runtime.pool)  # a stop must not seem older than the enrollment that it stops
    now = runtime.clock.now()
    async with transaction(runtime.pool) as tx:
        person = await _find(tx, runtime, token)
        if person is None:
            return False
        key = person.lead_key or lead_key(runtime.settings.pepper, person.email)
        await barrier.stop_people(tx, person.team_id, [key])
        if await optout.is_out(tx, person.team_id, key, person.email):
            return True
        (event_id,) = await record(tx, person.team_id, _told(person, method), by="api", at=now)
        await optout.suppress_person(tx, runtime.new_id(), person.team_id, person.email, key, now)
        await optout.stop_person(tx, runtime.new_id(), person.team_id, key, event_id, now)
    runtime.log.info("lead.unsubscribed", team_id=str(person.team_id), lead_id=str(person.lead_id), method=method)
    return True


async def _find(tx: Tx, runtime: Runtime, token: str) -> optout.Person | None:
    """The person behind a signed token, or behind the seed's bare one."""
    if not 0 < len(token) <= MAX_TOKEN_CHARS or not token.isascii() or not token.isprintable():
        return None
    try:
        team_id, email_id = read_token(runtime.settings.secret_key, "unsubscribe", token)
    except TokenError:
        return await optout.find_by_token(tx, token)
    return await optout.find_by_email(tx, team_id, email_id)


def _told(person: optout.Person, method: Method) -> LeadUnsubscribed:
    facts = msgspec.structs.asdict(person)
    for secret in ("team_id", "email", "lead_key"):
        del facts[secret]
    return LeadUnsubscribed(method=method, **facts)
