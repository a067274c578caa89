"""What a mail program fetches: the open pixel and the tracked links. Answers first, and records afterwards.

Never redirects to an address that comes with the request: a link is looked up by its signed id (reliability.md B46).
"""

import base64
from uuid import UUID

from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response

from libs.schema.runtime.service import Runtime
from libs.schema.secrets import TokenError, read_token
from services.api.hits import Hit, Hits, network_of, visible
from services.api.optout import MAX_TOKEN_CHARS

# The smallest GIF there is that every program draws: one transparent dot.
_PIXEL = base64.b64decode("R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7")
_HEADERS = {"Cache-Control": "no-store", "Referrer-Policy": "no-referrer", "X-Robots-Tag": "noindex"}


async def opened(request: Request) -> Response:
    """The pixel, whatever the token is worth; 404 only for a team that is gone."""
    runtime, hits = _state(request)
    try:
        team_id, email_id = read_token(runtime.settings.secret_key, "open", _token(request))
    except TokenError:
        return _pixel()
    if not await hits.team_is_there.get(team_id):
        return _nowhere()
    hits.note(_hit(request, runtime, (team_id, email_id)))
    return _pixel()


async def clicked(request: Request) -> Response:
    """The way to the link's target; 404 for a token that is not ours and for a link that is gone."""
    runtime, hits = _state(request)
    try:
        team_id, email_id, link_id = read_token(runtime.settings.secret_key, "click", _token(request))
    except TokenError:
        return _nowhere()
    target = await hits.target.get((team_id, link_id))
    if target is None:
        return _nowhere()
    hits.note(_hit(request, runtime, (team_id, email_id, link_id)))
    return RedirectResponse(target, 302, _HEADERS)


def _state(request: Request) -> tuple[Runtime, Hits]:
    return request.app.state.runtime, request.app.state.hits


def _token(request: Request) -> str:
    token: str = request.path_params["token"]
    if len(token) > MAX_TOKEN_CHARS:
        raise TokenError("not a token")
    return token


def _hit(request: Request, runtime: Runtime, ids: tuple[UUID, ...]) -> Hit:
    team_id, email_id, *link = ids
    return Hit(
        event_id=runtime.new_id(),
        at=runtime.clock.now(),
        team_id=team_id,
        email_id=email_id,
        link_id=link[0] if link else None,
        head=request.method == "HEAD",
        user_agent=visible(request.headers.get("user-agent")),
        network=network_of(request.client.host if request.client else None),
    )


def _pixel() -> Response:
    return Response(_PIXEL, 200, _HEADERS, "image/gif")


def _nowhere() -> Response:
    return PlainTextResponse("This link is not valid.\n", 404, _HEADERS)
