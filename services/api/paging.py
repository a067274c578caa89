"""Cursors: the last row's sort key, signed, so that a client can neither make one up nor carry it to another list."""

import base64
import binascii
import hmac
from collections.abc import Sequence
from typing import Annotated
from uuid import UUID

import msgspec
from fastapi import Query

from services.api.problems import Fault, Problem

_MAC_BYTES = 16
DEFAULT_LIMIT = 50

Limit = Annotated[int, Query(ge=1, le=100, description="how many rows at most")]
Cursor = Annotated[str | None, Query(max_length=500, description="`next_cursor` of the page before")]


def write_cursor(key: bytes, team_id: UUID, listing: str, values: Sequence[str]) -> str:
    """The cursor behind a row with these sort values, good for this team's listing only."""
    body = msgspec.json.encode(list(values))
    return base64.urlsafe_b64encode(body + _mac(key, team_id, listing, body)).decode("ascii").rstrip("=")


def read_cursor(key: bytes, team_id: UUID, listing: str, cursor: str) -> list[str]:
    """The sort values again.

    Raises:
        Problem: it is not a cursor of ours for this listing.

    """
    try:
        raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise _forged() from None
    body, mac = raw[:-_MAC_BYTES], raw[-_MAC_BYTES:]
    if not hmac.compare_digest(mac, _mac(key, team_id, listing, body)):
        raise _forged()
    return msgspec.json.decode(body, type=list[str])


def _mac(key: bytes, team_id: UUID, listing: str, body: bytes) -> bytes:
    purpose = f"coldstream/cursor/{team_id}/{listing}|".encode()
    return hmac.digest(key, purpose + body, "sha256")[:_MAC_BYTES]


def _forged() -> Problem:
    fault = Fault(
        code="cursor",
        detail="this is not a cursor of this list",
        parameter="cursor",
        mend="use next_cursor as it came, with the same filters, or leave it out to start again",
    )
    return Problem("invalid", errors=[fault])
