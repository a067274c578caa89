"""The API's process: two HTTP servers, one for the team's programs and one for the people who get mail."""

from functools import cache, partial
from typing import Any

import msgspec
from fastapi import FastAPI, Request
from starlette.exceptions import HTTPException
from starlette.responses import Response

from libs.schema.runtime.network import tls_context
from libs.schema.runtime.service import HttpServer, Loop, Runtime, Service, open_runtime
from services.api.checks import check_domains
from services.api.dns import Resolver
from services.api.hits import Hits
from services.api.jobs import forget_answers, refresh_tokens, resolve_providers
from services.api.limits import Limiter
from services.api.oauth import Endpoints, clients_of
from services.api.openapi import document
from services.api.problems import Code, Problem
from services.api.routes import (
    batch,
    campaigns,
    circuits,
    domains,
    explain,
    forecast,
    inboxes,
    jobs,
    leads,
    messages,
    replies,
    results,
    schedule,
    sequences,
    suppressions,
    teams,
    threads,
)
from services.api.routes.tracking import public_app
from services.api.settings import ApiSettings

ROUTERS = (
    teams.router,
    inboxes.router,
    domains.router,
    leads.router,
    batch.router,
    suppressions.router,
    campaigns.router,
    sequences.router,
    schedule.router,
    circuits.router,
    results.router,
    replies.router,
    threads.router,
    messages.router,
    jobs.router,
    explain.router,
    forecast.router,
)
_CODES: dict[int, Code] = {404: "not_found", 405: "method_not_allowed"}


SETTINGS = ApiSettings


async def build(settings: ApiSettings) -> Service:
    """The service, ready to run."""
    runtime = await open_runtime(settings, "api")
    hits = Hits(runtime)
    resolver = Resolver(settings.dns_servers)
    endpoints = Endpoints(tls_context(settings.extra_ca_file), allow=settings.dangerous_allow_networks)
    limiter = Limiter(per_second=settings.rate_per_second, burst=settings.rate_burst)
    return Service(
        name="api",
        runtime=runtime,
        loops=[
            Loop(name="forget_answers", tick=partial(forget_answers, runtime), idle_s=60),
            Loop(
                name="refresh_tokens", tick=partial(refresh_tokens, runtime, clients_of(settings), endpoints), idle_s=1
            ),
            Loop(name="resolve_providers", tick=partial(resolve_providers, runtime, resolver), idle_s=2),
            Loop(name="check_domains", tick=partial(check_domains, runtime, resolver), idle_s=2),
            Loop(name="record_hits", tick=hits.record_soon),
        ],
        servers=[
            HttpServer(app=api_app(runtime, limiter), host=settings.api_host, port=settings.api_port),
            HttpServer(app=public_app(runtime, hits), host=settings.public_host, port=settings.public_port),
        ],
        close=hits.drain,
    )


def api_app(runtime: Runtime, limiter: Limiter) -> FastAPI:
    """The application that the team's programs reach."""
    app = _routed()
    app.state.runtime = runtime
    app.state.limiter = limiter
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(Exception, _fault)
    app.add_route("/v1/openapi.json", partial(_described, _description()), include_in_schema=False)
    return app


def _routed() -> FastAPI:
    app = FastAPI(
        title="Coldstream",
        openapi_url=None,  # served below, from our own document
        docs_url=None,  # their pages load scripts from elsewhere
        redoc_url=None,
        redirect_slashes=False,
        generate_unique_id_function=lambda route: route.name,
    )
    for router in ROUTERS:
        app.include_router(router)
    return app


@cache
def _description() -> bytes:
    """Of every application of the process, since their routes are the same: writing it takes half a second."""
    return msgspec.json.encode(document(_routed()))


async def _described(described: bytes, _: Request) -> Response:
    return Response(described, media_type="application/json")


async def _http(_: Request, error: Any) -> Response:
    response = Problem(_CODES.get(error.status_code, "invalid")).response()
    response.headers.update(error.headers or {})
    return response


async def _fault(_: Request, __: Exception) -> Response:
    return Problem("internal", "it has been noted; please report it if it stays").response()
