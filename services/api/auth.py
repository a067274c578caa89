"""Who calls, for which team, in which role; and the one transaction in which a request does all that it does.

Never lets a route run without a declared permission, and never as a role that sees more than the caller's team.
"""

import hashlib
import hmac
import secrets
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated, Any, Literal, TypeVar
from uuid import UUID

import asyncpg
from fastapi import Depends, Request
from fastapi.routing import APIRoute
from starlette.responses import Response

from libs.schema.runtime.db import ACQUIRE_TIMEOUT_S, Tx
from libs.schema.runtime.service import Runtime
from libs.schema.runtime.telemetry import span
from services.api.idempotency import answer_once
from services.api.positions import wait_for
from services.api.problems import Problem, of_database
from services.api.queries import gate
from services.api.requests import CheckedRequest

KEY_MARK = "cs_"
_KEY_BYTES = 32
_PREFIX_CHARS = len(KEY_MARK) + 8  # 48 bits: enough to find one key among many, far too few to guess the rest
_TOUCH_EVERY = timedelta(minutes=1)
_TRIES = 3  # deadlocks and serialization failures are the database's way to say "again" (reliability.md F25)

Permission = Literal[
    "team:read",
    "team:write",
    "inboxes:read",
    "inboxes:write",
    "leads:read",
    "leads:write",
    "campaigns:read",
    "campaigns:write",
    "campaigns:send",
    "results:read",
]
# What the row policies want of a role (migration 015); a scope alone does not lift a viewer.
_MANAGERS = frozenset({"owner", "admin"})
_WORKERS = _MANAGERS | {"member"}
_ROLES: dict[Permission, frozenset[str]] = {
    "team:write": _MANAGERS,
    "inboxes:write": _MANAGERS,
    "leads:write": _WORKERS,
    "campaigns:write": _WORKERS,
    "campaigns:send": _WORKERS,
}

# The role and the two settings end with the transaction; both values are checked before they are written into the text.
_BEGIN = """BEGIN;
SET LOCAL ROLE coldstream_tenant;
SELECT set_config('app.team_id', '{team_id}', true), set_config('app.role', '{role}', true)"""


@dataclass(frozen=True, kw_only=True)
class Caller:
    """An API key that has been checked."""

    key_id: UUID
    team_id: UUID
    role: str
    scopes: frozenset[str]

    def require(self, needed: Permission) -> None:
        """Says nothing when the key may do it; a key without scopes may do all that its role may.

        Raises:
            Problem: missing_scope.

        """
        noun = needed.partition(":")[0]
        if self.scopes and not self.scopes & {needed, f"{noun}:*", "*"}:
            raise Problem("missing_scope", f"this key lacks the scope {needed}")
        if self.role not in _ROLES.get(needed, {self.role}):
            raise Problem("missing_scope", f"the role {self.role} may not do this; it takes {needed}")


@dataclass(frozen=True, kw_only=True)
class Scope:
    """What a route works with: the caller's transaction, the caller, the time at which it all happens."""

    tx: Tx
    caller: Caller
    runtime: Runtime
    now: datetime

    @property
    def team_id(self) -> UUID:
        """The team for which everything here happens."""
        return self.caller.team_id


def new_key() -> tuple[str, str, bytes]:
    """A fresh key, its prefix and its hash; the key itself is shown once and kept nowhere."""
    key = KEY_MARK + secrets.token_urlsafe(_KEY_BYTES)
    return key, key[:_PREFIX_CHARS], hashlib.sha256(key.encode()).digest()


async def authenticate(runtime: Runtime, authorization: str | None, now: datetime) -> Caller:
    """The caller behind an Authorization header.

    Raises:
        Problem: unauthenticated, without saying whether the key is unknown, expired or revoked.

    """
    kind, _, token = (authorization or "").partition(" ")
    if kind.lower() != "bearer" or not token.startswith(KEY_MARK) or not token.isascii():
        raise Problem("unauthenticated", "send Authorization: Bearer cs_…")
    async with runtime.pool.acquire(timeout=ACQUIRE_TIMEOUT_S) as connection:
        key = await gate.find_key(connection, token[:_PREFIX_CHARS])
        digest = hashlib.sha256(token.encode()).digest()
        if key is None or not hmac.compare_digest(digest, key.key_hash) or not _is_valid(key, now):
            raise Problem("unauthenticated", "the key is not known, expired or revoked")
        if key.last_used_at is None or now - key.last_used_at > _TOUCH_EVERY:
            await gate.touch_key(connection, key.id, now)
    return Caller(key_id=key.id, team_id=key.team_id, role=key.role, scopes=frozenset(key.scopes))


def _is_valid(key: gate.Key, now: datetime) -> bool:
    return key.revoked_at is None and (key.expires_at is None or key.expires_at > now)


Check = Callable[[Runtime, Any], Awaitable[None]]
Endpoint = TypeVar("Endpoint", bound=Callable[..., Any])


def first(check: Check) -> Callable[[Endpoint], Endpoint]:
    """Lets `check` look at the body before the transaction begins: for what may be slow, like asking a name server."""

    def marked(endpoint: Endpoint) -> Endpoint:
        endpoint.first_check = check  # pyright: ignore[reportFunctionMemberAccess]  a mark that ScopedRoute reads
        return endpoint

    return marked


def needs(permission: Permission) -> dict[str, Any]:
    """The declaration that every route carries in its `openapi_extra`: documented, and enforced by ScopedRoute."""
    return {"security": [{"api_key": [permission]}]}


def _declared(extra: dict[str, Any] | None) -> Permission:
    if extra is None:
        raise TypeError("a route without openapi_extra=needs(...) would be open to everybody")
    return extra["security"][0]["api_key"][0]


class ScopedRoute(APIRoute):
    """A route that runs in its caller's transaction; the transaction is committed before the answer leaves."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """FastAPI's handler inside ours.

        Raises:
            TypeError: the route declares no permission.

        """
        handle = super().get_route_handler()
        needed = _declared(self.openapi_extra)
        check: Check | None = getattr(self.endpoint, "first_check", None)
        name = f"{min(self.methods or ())} {self.path}"

        async def scoped(request: Request) -> Response:
            runtime: Runtime = request.app.state.runtime
            checked = CheckedRequest(request.scope, request.receive)
            try:
                with span(name):
                    await _admit(runtime, checked, needed, check)
                    return await _answer(runtime, checked, handle)
            except Exception as error:
                problem = None if isinstance(error, Problem) else of_database(error)
                if problem is None:
                    raise
                runtime.log.warning("http.database", route=name, error=type(error).__name__, code=problem.code)
                raise problem from error

        return scoped


async def _admit(runtime: Runtime, request: CheckedRequest, needed: Permission, check: Check | None) -> None:
    """All that needs no transaction: no connection is held while a slow client sends or a slow name server thinks."""
    caller = await authenticate(runtime, request.headers.get("authorization"), runtime.clock.now())
    caller.require(needed)
    request.app.state.limiter.take(caller.key_id)
    request.state.caller = caller
    await request.parse()
    if check is not None:
        await check(runtime, request.parsed)
    await wait_for(runtime, caller.team_id, request)


async def _answer(
    runtime: Runtime, request: CheckedRequest, handle: Callable[[Request], Awaitable[Response]]
) -> Response:
    for _ in range(_TRIES - 1):
        try:
            return await _in_transaction(runtime, request.state.caller, request, handle)
        except (asyncpg.DeadlockDetectedError, asyncpg.SerializationError):
            runtime.log.info("http.again", path=request.url.path)
    return await _in_transaction(runtime, request.state.caller, request, handle)


async def _in_transaction(
    runtime: Runtime, caller: Caller, request: CheckedRequest, handle: Callable[[Request], Awaitable[Response]]
) -> Response:
    now = runtime.clock.now()
    async with runtime.pool.acquire(timeout=ACQUIRE_TIMEOUT_S) as connection:
        await connection.execute(_BEGIN.format(team_id=UUID(str(caller.team_id)), role=caller.role))
        try:
            request.state.scope = Scope(tx=connection, caller=caller, runtime=runtime, now=now)
            response = await answer_once(connection, caller.team_id, request, lambda: handle(request), now)
            # A transaction in which a statement failed would be rolled back by COMMIT without an error.
            ended = await connection.execute("COMMIT")
        except BaseException:
            if not connection.is_closed():
                await connection.execute("ROLLBACK")
            raise
    if ended != "COMMIT":
        raise AssertionError("a failed transaction was about to be answered as done")
    return response


def _scope(request: Request) -> Scope:
    return request.state.scope


Here = Annotated[Scope, Depends(_scope)]
