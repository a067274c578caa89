"""A provider's token endpoint on loopback that says what a test told it to, and remembers what it was asked."""

import asyncio
import ssl
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import parse_qs

import msgspec

from services.api.oauth import Client

HANG = "hang"
LOOPBACK = ("127.0.0.0/8",)
Answer = tuple[int, dict[str, Any] | bytes] | str


class TokenEndpoint:
    """Says `answers` one after another, then a fresh grant each time; or hangs, until the end."""

    def __init__(self) -> None:
        self.answers: list[Answer] = []
        self.asked: list[dict[str, str]] = []
        self.hosts: list[str] = []
        self.server_names: list[str | None] = []
        self.headers: dict[str, str] = {}
        self.port = 0
        self._end = asyncio.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/token"

    def grant(self, **more: Any) -> dict[str, Any]:
        number = len(self.asked)
        return {"access_token": f"access-canary-{number}", "expires_in": 3600, "token_type": "Bearer", **more}

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("ascii")
            headers = dict(line.lower().split(": ", 1) for line in head.split("\r\n")[1:] if line)
            body = (await reader.readexactly(int(headers["content-length"]))).decode("ascii")
            self.hosts.append(headers["host"])
            self.asked.append({name: values[0] for name, values in parse_qs(body).items()})
            answer = self.answers.pop(0) if self.answers else (200, self.grant())
            if isinstance(answer, str):
                await self._end.wait()
                return
            status, said = answer
            raw = said if isinstance(said, bytes) else msgspec.json.encode(said)
            more = "".join(f"{name}: {value}\r\n" for name, value in self.headers.items())
            writer.write(f"HTTP/1.1 {status} x\r\ncontent-length: {len(raw)}\r\n{more}\r\n".encode() + raw)
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # the client has hung up: it has heard enough
        finally:
            writer.close()

    def note_name(self, _: ssl.SSLObject, name: str | None, __: ssl.SSLContext) -> None:
        self.server_names.append(name)

    def end(self) -> None:
        self._end.set()


@asynccontextmanager
async def token_endpoint(tls: ssl.SSLContext | None = None) -> AsyncGenerator[TokenEndpoint]:
    """One on a free port, in clear or with this context."""
    endpoint = TokenEndpoint()
    if tls is not None:
        tls.sni_callback = endpoint.note_name
    server = await asyncio.start_server(endpoint.talk, "127.0.0.1", 0, ssl=tls)
    endpoint.port = server.sockets[0].getsockname()[1]
    try:
        yield endpoint
    finally:
        endpoint.end()
        server.close()
        await server.wait_closed()


def client_of(provider: TokenEndpoint, url: str | None = None) -> Client:
    """What we are to the provider."""
    return Client(client_id="us", client_secret="secret-canary", token_url=url or provider.url)
