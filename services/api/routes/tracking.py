"""The public application, on its own port: the opt-out page, the open pixel and the tracked links.

Never needs a key, never tells whose link it is, never opts anybody out on a GET: scanners follow links (RFC 8058 §3).
"""

from collections.abc import Awaitable, Callable

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from libs.schema.runtime.service import Runtime
from services.api.hits import Hits
from services.api.optout import is_known, opt_out
from services.api.problems import of_database
from services.api.routes.hits import clicked, opened

MAX_FORM_BYTES = 10_000
_ONE_CLICK = b"List-Unsubscribe=One-Click"
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "X-Robots-Tag": "noindex",
    "Cache-Control": "no-store",
}
_PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
body {{ font: 1.1rem/1.5 system-ui, sans-serif; max-width: 32rem; margin: 15vh auto; padding: 0 1rem }}
button {{ font: inherit; padding: .6rem 1.2rem }}
</style>
<h1>{title}</h1>
{content}
</html>
"""
_FORM = """<p>You will get no more emails from this sender.</p>
<form method="post"><button>Unsubscribe</button></form>"""


def public_app(runtime: Runtime, hits: Hits) -> Starlette:
    """The application that recipients of mail reach."""
    app = Starlette(
        routes=[
            Route("/t/o/{token}", _guarded(opened)),
            Route("/t/c/{token}", _guarded(clicked)),
            Route("/u/{token}", _guarded(_show), methods=["GET"]),
            Route("/u/{token}", _guarded(_leave), methods=["POST"]),
        ],
        exception_handlers={HTTPException: _refuse},
    )
    app.state.runtime = runtime
    app.state.hits = hits
    return app


async def _show(request: Request) -> Response:
    if not await is_known(request.app.state.runtime, request.path_params["token"]):
        raise HTTPException(404)
    return _page("Unsubscribe", _FORM)


async def _leave(request: Request) -> Response:
    method = "one_click" if (await _form(request)).strip() == _ONE_CLICK else "page"
    if not await opt_out(request.app.state.runtime, request.path_params["token"], method):
        raise HTTPException(404)
    return _page("You are unsubscribed", "<p>You will get no more emails from this sender.</p>")


async def _form(request: Request) -> bytes:
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_FORM_BYTES:
            raise HTTPException(413)
    return body


def _guarded(handle: Callable[[Request], Awaitable[Response]]) -> Callable[[Request], Awaitable[Response]]:
    """The handler, with an outage of the database told as what it is: the mail program tries again."""

    async def guarded(request: Request) -> Response:
        try:
            return await handle(request)
        except (HTTPException, ClientDisconnect):
            raise
        except Exception as error:
            problem = of_database(error)
            if problem is None:
                raise
            request.app.state.runtime.log.warning(
                "http.database", route=request.url.path.rpartition("/")[0], error=type(error).__name__
            )
            raise HTTPException(503, headers={"Retry-After": str(problem.retry_after_s or 1)}) from error

    return guarded


async def _refuse(_: Request, error: Exception) -> Response:
    texts = {
        404: "This link is not valid.",
        413: "This request is too large.",
        503: "We cannot do this just now. Please try again in a moment.",
    }
    status = error.status_code if isinstance(error, HTTPException) else 500
    headers = error.headers if isinstance(error, HTTPException) else None
    content = f"<p>{texts.get(status, 'This request is not understood.')}</p>"
    response = _page("Unsubscribe", content, status)
    response.headers.update(headers or {})
    return response


def _page(title: str, content: str, status: int = 200) -> Response:
    return HTMLResponse(_PAGE.format(title=title, content=content), status, _HEADERS)
