"""Who calls, for which team, in which role, and how far that goes; never says more about a refused key than that."""

import hashlib
import hmac
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal
from uuid import UUID

from libs.schema.runtime.db import ACQUIRE_TIMEOUT_S, Pool
from services.api.problems import Problem
from services.api.queries import gate

KEY_MARK = "cs_"
_KEY_BYTES = 32
_PREFIX_CHARS = len(KEY_MARK) + 8  # 48 bits: enough to find one key among many, far too few to guess the rest
_TOUCH_EVERY = timedelta(minutes=1)

Permission = Literal[
    "team:read",
    "team:write",
    "inboxes:read",
    "inboxes:write",
    "leads:read",
    "leads:write",
    "campaigns:read",
    "campaigns:write",
    "campaigns:send",
    "results:read",
    "replies:write",
    "replies:send",
]
# What the row policies want of a role (migration 015); a scope alone does not lift a viewer.
_MANAGERS = frozenset({"owner", "admin"})
_WORKERS = _MANAGERS | {"member"}
_ROLES: dict[Permission, frozenset[str]] = {
    "team:write": _MANAGERS,
    "inboxes:write": _MANAGERS,
    "leads:write": _WORKERS,
    "campaigns:write": _WORKERS,
    "campaigns:send": _WORKERS,
    "replies:write": _WORKERS,
    "replies:send": _WORKERS,
}


@dataclass(frozen=True, kw_only=True)
class Caller:
    """An API key that has been checked."""

    key_id: UUID
    team_id: UUID
    role: str
    scopes: frozenset[str]

    def require(self, needed: Permission) -> None:
        """Says nothing when the key may do it; a key without scopes may do all that its role may.

        Raises:
            Problem: missing_scope.

        """
        noun = needed.partition(":")[0]
        if self.scopes and not self.scopes & {needed, f"{noun}:*", "*"}:
            raise Problem("missing_scope", f"this key lacks the scope {needed}")
        if self.role not in _ROLES.get(needed, {self.role}):
            raise Problem("missing_scope", f"the role {self.role} may not do this; it takes {needed}")


def new_key() -> tuple[str, str, bytes]:
    """A fresh key, its prefix and its hash; the key itself is shown once and kept nowhere."""
    key = KEY_MARK + secrets.token_urlsafe(_KEY_BYTES)
    return key, key[:_PREFIX_CHARS], hashlib.sha256(key.encode()).digest()


async def authenticate(pool: Pool, authorization: str | None) -> Caller:
    """The caller behind an Authorization header; keys expire in real time, whatever a sandbox's clock says.

    Raises:
        Problem: unauthenticated, without saying whether the key is unknown, expired or revoked.

    """
    now = datetime.now(UTC)
    kind, _, token = (authorization or "").partition(" ")
    if kind.lower() != "bearer" or not token.startswith(KEY_MARK) or not token.isascii():
        raise Problem("unauthenticated", "send Authorization: Bearer cs_…")
    async with pool.acquire(timeout=ACQUIRE_TIMEOUT_S) as connection:
        key = await gate.find_key(connection, token[:_PREFIX_CHARS])
        digest = hashlib.sha256(token.encode()).digest()
        if key is None or not hmac.compare_digest(digest, key.key_hash) or not _is_valid(key, now):
            raise Problem("unauthenticated", "the key is not known, expired or revoked")
        if key.last_used_at is None or now - key.last_used_at > _TOUCH_EVERY:
            await gate.touch_key(connection, key.id, now)
    return Caller(key_id=key.id, team_id=key.team_id, role=key.role, scopes=frozenset(key.scopes))


def _is_valid(key: gate.Key, now: datetime) -> bool:
    return key.revoked_at is None and (key.expires_at is None or key.expires_at > now)
