"""May we connect to the mail servers that somebody names? Asked at saving, and again by who connects (S13)."""

import asyncio
from collections.abc import Collection
from typing import Any, Literal

from pydantic import ValidationError

from libs.schema.runtime.network import MAIL_PORTS, ForbiddenAddressError, resolve_public
from libs.schema.runtime.service import Runtime
from services.api.bodies.inboxes import InboxIn, InboxPatch
from services.api.problems import Fault, Problem

Protocol = Literal["smtp", "imap"]
LOOK_UP_TIMEOUT_S = 3.0
# Where the two providers' mail servers are, for those who name no host themselves.
KNOWN_HOSTS = {
    "google": {"smtp_host": "smtp.gmail.com", "imap_host": "imap.gmail.com"},
    "microsoft": {"smtp_host": "smtp.office365.com", "imap_host": "outlook.office365.com"},
}


def with_known_hosts(body: InboxIn) -> InboxIn:
    """The body with its provider's hosts where it names none."""
    known = KNOWN_HOSTS.get(body.provider, {})
    missing = {name: host for name, host in known.items() if getattr(body, name) is None}
    return body.model_copy(update=missing)


async def check_new(runtime: Runtime, value: Any) -> None:
    """Says nothing about an inbox whose servers may be connected to, nor about a body that is refused anyway.

    Raises:
        Problem: invalid, with the host or port.

    """
    try:
        body = with_known_hosts(InboxIn.model_validate(value))
    except ValidationError:
        return  # the route's own validation says what is wrong
    await _check(runtime, "smtp", str(body.smtp_host), body.smtp_port, body.smtp_tls)
    await _check(runtime, "imap", str(body.imap_host), body.imap_port, body.imap_tls)


async def check_patch(runtime: Runtime, value: Any) -> None:
    """The same for changes: a server's host, port and TLS mode change together.

    Raises:
        Problem: invalid, with the host or port.

    """
    try:
        body = InboxPatch.model_validate(value)
    except ValidationError:
        return  # as above
    given = body.given()
    if "smtp_host" in given:
        await _check(runtime, "smtp", body.smtp_host, body.smtp_port, body.smtp_tls)
    if "imap_host" in given:
        await _check(runtime, "imap", body.imap_host, body.imap_port, body.imap_tls)


async def _check(runtime: Runtime, protocol: Protocol, host: str, port: int, tls: str) -> None:
    in_clear = tls == "none"
    # No port is good enough for a password in clear text, except in a network that the operator opened.
    ports: Collection[int] = () if in_clear else MAIL_PORTS[protocol.upper()]
    try:
        async with asyncio.timeout(LOOK_UP_TIMEOUT_S):
            await resolve_public(host, port, allow=runtime.settings.dangerous_allow_networks, ports=ports)
    except ForbiddenAddressError as error:
        detail = f"an unencrypted line to {host} is not allowed" if in_clear else str(error)
        raise _refused(protocol, "host_forbidden", detail, "name a public mail server, with TLS") from None
    except OSError:
        raise _refused(protocol, "host_unknown", f"{host} cannot be looked up", "check the name") from None


def _refused(protocol: Protocol, code: str, detail: str, mend: str) -> Problem:
    return Problem("invalid", errors=[Fault(code=code, detail=detail, pointer=f"/{protocol}_host", mend=mend)])
