"""An HTTP request to a host that somebody named: guarded as every outgoing connection is, bounded in time and size.

Never follows a redirect, never goes to an address of our own house, and never trusts a proxy of the environment.
"""

import asyncio
import ssl
from collections.abc import Mapping, Sequence

import httpx
import msgspec

from libs.schema.runtime.network import resolve_public


class Way(msgspec.Struct, frozen=True, kw_only=True):
    """How requests go out: with which certificates, into which networks besides the public ones, and how long."""

    tls: ssl.SSLContext
    allow: Sequence[str] = ()
    timeout_s: float
    max_bytes: int  # of an answer's body


async def post(way: Way, url: str, content: bytes, headers: Mapping[str, str]) -> tuple[int, bytes | None]:
    """Status and body of the answer; no body where it is longer than `max_bytes`.

    The connection goes to the address that was judged, under the name for TLS and Host. Clear text goes only into a
    network that the operator opened: no port is good enough for a secret.

    Raises:
        ForbiddenAddressError: the URL means an address that is not public, or clear text on the public internet.
        httpx.HTTPError, httpx.InvalidURL, OSError: no answer; TimeoutError and ssl.SSLError are OSErrors.

    """
    target = httpx.URL(url)
    port = target.port or (443 if target.scheme == "https" else 80)
    async with asyncio.timeout(way.timeout_s):
        ports = None if target.scheme == "https" else ()
        address = await resolve_public(target.host, port, allow=way.allow, ports=ports)
        named = {"Host": target.netloc.decode("ascii"), "Accept": "application/json", "Accept-Encoding": "identity"}
        async with (
            httpx.AsyncClient(verify=way.tls, trust_env=False, follow_redirects=False, timeout=way.timeout_s) as client,
            client.stream(
                "POST",
                target.copy_with(host=address),
                content=content,
                headers=named | dict(headers),
                extensions={"sni_hostname": target.host},
            ) as response,
        ):
            body = b""
            async for piece in response.aiter_raw():
                body += piece
                if len(body) > way.max_bytes:
                    return response.status_code, None
            return response.status_code, body
