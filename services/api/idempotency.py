"""Idempotency-Key: the same request twice is done once and answered twice, even if the first answer was lost.

The answer is kept in the transaction of the work, so there is no moment at which one is there without the other. Only
successes are kept: a refused request did nothing, and may be mended under the same key.
"""

import hashlib
from collections.abc import Awaitable, Callable
from datetime import datetime
from uuid import UUID

from starlette.responses import Response

from libs.schema.runtime.db import Tx
from services.api.problems import Fault, Problem
from services.api.queries import answers
from services.api.requests import CheckedRequest

HEADER = "Idempotency-Key"
REPLAYED = "Idempotency-Replayed"
MAX_KEY_CHARS = 255
_KEPT_HEADERS = ("location", "etag", "content-type")


def key_of(request: CheckedRequest) -> str | None:
    """The request's key, or None where it has none or its method has no use for one.

    Raises:
        Problem: the key is empty, too long or not plain ASCII.

    """
    key = request.headers.get(HEADER)
    if key is None or request.method != "POST":
        return None
    if not 0 < len(key) <= MAX_KEY_CHARS or not key.isascii() or not key.isprintable():
        detail = f"a key has 1 to {MAX_KEY_CHARS} printable ASCII characters"
        raise Problem("invalid", errors=[Fault(code="idempotency_key", detail=detail, parameter=HEADER)])
    return key


async def answer_once(
    tx: Tx, team_id: UUID, request: CheckedRequest, answer: Callable[[], Awaitable[Response]], now: datetime
) -> Response:
    """The kept answer of an earlier request with the same key, else the answer, kept if it is a success.

    Raises:
        Problem: idempotency_in_flight, idempotency_mismatch, or what `answer` raises.

    """
    key = key_of(request)
    if key is None:
        return await answer()
    if not await answers.lock_answer(tx, team_id, key):
        raise Problem("idempotency_in_flight", retry_after_s=1)
    digest = await _digest(request)
    kept = await answers.find_answer(tx, team_id, key)
    if kept is not None:
        return _replay(kept, digest)
    response = await answer()
    if response.status_code < 300:
        headers = {name: response.headers[name] for name in _KEPT_HEADERS if name in response.headers}
        fresh = answers.KeptAnswer(
            request_hash=digest,
            response_status=response.status_code,
            response_headers=headers,
            response_body=bytes(response.body),
        )
        await answers.keep_answer(tx, team_id, key, fresh, now)
    return response


def _replay(kept: answers.KeptAnswer, digest: bytes) -> Response:
    if kept.request_hash != digest:
        raise Problem("idempotency_mismatch", "use a new key for a new request")
    return Response(kept.response_body, kept.response_status, kept.response_headers | {REPLAYED: "true"})


async def _digest(request: CheckedRequest) -> bytes:
    target = f"{request.method} {request.url.path}?{request.url.query}\n".encode()
    return hashlib.sha256(target + await request.body()).digest()
