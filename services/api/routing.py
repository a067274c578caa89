"""A route and the one transaction in which a request does all it does; never open without a declared permission."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Final, TypeVar
from uuid import UUID

import asyncpg
from fastapi import Depends, Request
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from prometheus_client import Histogram
from starlette.responses import Response

from libs.schema.runtime.db import ACQUIRE_TIMEOUT_S, Tx
from libs.schema.runtime.service import Runtime
from libs.schema.runtime.telemetry import span
from services.api.auth import Caller, Permission, authenticate
from services.api.idempotency import answer_once
from services.api.positions import wait_for
from services.api.problems import Problem, of_database, of_validation
from services.api.requests import CheckedRequest

REQUESTS: Final = Histogram(
    "coldstream_http_request_duration_seconds", "One request of the API, with its commit", ["route", "status"]
)
_TRIES = 3  # deadlocks and serialization failures are the database's way to say "again" (reliability.md F25)
# The role and the two settings end with the transaction; both values are checked before they are written into the text.
_BEGIN = """BEGIN;
SET LOCAL ROLE coldstream_tenant;
SELECT set_config('app.team_id', '{team_id}', true), set_config('app.role', '{role}', true)"""

Handle = Callable[[Request], Awaitable[Response]]


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
            checked = CheckedRequest(request.scope, request.receive)
            started = time.perf_counter()
            with span(name):
                response, problem = await _answered(checked, needed, check, handle)
                _tell(checked, name, response, problem, time.perf_counter() - started)
            return response

        return scoped


async def _answered(
    request: CheckedRequest, needed: Permission, check: "Check | None", handle: Handle
) -> tuple[Response, Problem | None]:
    """The answer; a problem is one too. What is a fault of ours rises on."""
    try:
        await _admit(request, needed, check)
        return await _carried_out(request, handle), None
    except Problem as error:
        problem = error
    except RequestValidationError as error:
        problem = of_validation(error)
    except Exception as error:
        outage = of_database(error)
        if outage is None:
            raise
        problem = outage
    return problem.response(), problem


async def _admit(request: CheckedRequest, needed: Permission, check: "Check | None") -> None:
    """All that needs no transaction: no connection is held while a slow client sends or a slow name server thinks."""
    runtime: Runtime = request.app.state.runtime
    caller = await authenticate(runtime.pool, request.headers.get("authorization"))
    request.state.caller = caller
    caller.require(needed)
    request.app.state.limiter.take(caller.key_id)
    async with asyncio.timeout(ACQUIRE_TIMEOUT_S):
        await runtime.clock.follow(runtime.pool)
    await request.parse()
    if check is not None:
        await check(runtime, request.parsed)
    await wait_for(runtime, caller.team_id, request)


async def _carried_out(request: CheckedRequest, handle: Handle) -> Response:
    for _ in range(_TRIES - 1):
        try:
            return await _in_transaction(request, handle)
        except (asyncpg.DeadlockDetectedError, asyncpg.SerializationError):
            request.app.state.runtime.log.info("http.again", path=request.url.path)
    return await _in_transaction(request, handle)


async def _in_transaction(request: CheckedRequest, handle: Handle) -> Response:
    runtime: Runtime = request.app.state.runtime
    caller: Caller = request.state.caller
    now = runtime.clock.now()
    async with runtime.pool.acquire(timeout=ACQUIRE_TIMEOUT_S) as connection:
        try:
            await connection.execute(_BEGIN.format(team_id=UUID(str(caller.team_id)), role=caller.role))
            request.state.scope = Scope(tx=connection, caller=caller, runtime=runtime, now=now)
            response = await answer_once(connection, caller.team_id, request, lambda: handle(request), now)
            ended = await connection.execute("COMMIT")
        except BaseException:
            if not connection.is_closed():
                await connection.execute("ROLLBACK")
            raise
    # COMMIT rolls a transaction back, without an error, in which a statement had failed.
    if ended != "COMMIT":
        raise AssertionError("a failed transaction was about to be answered as done")
    return response


def _tell(request: CheckedRequest, name: str, response: Response, problem: Problem | None, seconds: float) -> None:
    """One wide line and one observation for each request."""
    REQUESTS.labels(name, str(response.status_code)).observe(seconds)
    caller: Caller | None = getattr(request.state, "caller", None)
    request.app.state.runtime.log.info(
        "http.request",
        route=name,
        status=response.status_code,
        ms=round(seconds * 1000, 1),
        team_id=str(caller.team_id) if caller else None,
        key_id=str(caller.key_id) if caller else None,
        code=problem.code if problem else None,
    )


def _scope(request: Request) -> Scope:
    return request.state.scope


Here = Annotated[Scope, Depends(_scope)]
