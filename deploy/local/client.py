"""The API as a user's program calls it, in a few lines; must never know more than the API tells."""

import asyncio
import http.client
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import msgspec

TIMEOUT_S = 30.0


class ApiError(Exception):
    """The API said no; the text has its status and its problem document."""


class ApiClient:
    """Requests of one key, one at a time, each on its own connection."""

    def __init__(self, url: str, api_key: str) -> None:
        parts = urlsplit(url)
        self._host, self._port = parts.hostname or "", parts.port or 80
        self._key = api_key

    async def get(self, path: str) -> Any:
        """The decoded answer; raises ApiError unless it is a success."""
        return await asyncio.to_thread(self._ask, "GET", path, None)

    async def post(self, path: str, body: Any = None) -> Any:
        """The same for a command, each with an Idempotency-Key of its own."""
        return await asyncio.to_thread(self._ask, "POST", path, body)

    async def patch(self, path: str, body: Any) -> Any:
        """The same for changes of what is there."""
        return await asyncio.to_thread(self._ask, "PATCH", path, body)

    def _ask(self, method: str, path: str, body: Any) -> Any:
        headers = {"Authorization": f"Bearer {self._key}", "Accept": "application/json"}
        if method == "POST":
            headers |= {"Idempotency-Key": str(uuid4())}
        if body is not None:
            headers |= {"Content-Type": "application/json"}
        connection = http.client.HTTPConnection(self._host, self._port, timeout=TIMEOUT_S)
        try:
            connection.request(method, path, None if body is None else msgspec.json.encode(body), headers)
            answer = connection.getresponse()
            text = answer.read()
        finally:
            connection.close()
        if answer.status >= http.client.BAD_REQUEST:
            raise ApiError(f"{method} {path}: {answer.status} {text.decode(errors='replace')}")
        return msgspec.json.decode(text) if text else None
