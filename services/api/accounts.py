"""The way in, for the operator's own commands (`coldstream up`, `coldstream keys create`): a team, its owner, a key.

Runs over a connection of the database's owner, never in a request: requests cannot make teams or raise their limits.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Literal
from uuid import UUID

from libs.schema.runtime.clock import new_id
from libs.schema.runtime.db import Tx
from services.api.auth import new_key

Role = Literal["owner", "admin", "member", "viewer"]

_ADD_USER = "INSERT INTO auth.users (id, email) VALUES ($1, $2)"
# Whoever hosts it himself sets his own limits: the free plan's five inboxes are a hosted service's.
_ADD_TEAM = """
INSERT INTO teams
    (id, name, slug, plan, physical_address, company_name, daily_email_limit, max_inboxes, max_campaigns,
    max_team_members, created_at)
VALUES ($1, $2, $3, 'enterprise', $4, $5, 100000, 1000, 1000, 1000, $6)
"""
_ADD_OWNER = """
INSERT INTO team_members (team_id, user_id, role, accepted_at)
VALUES ($1, $2, 'owner', $3)
"""
_ADD_KEY = """
INSERT INTO api_keys (id, team_id, name, prefix, key_hash, role, scopes, created_by, created_at, expires_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
"""
_FIND_TEAM = "SELECT id FROM teams WHERE slug = $1"


async def find_team(tx: Tx, slug: str) -> UUID | None:
    """The team with this slug, so that a second `up` goes on with it."""
    return await tx.fetchval(_FIND_TEAM, slug)


async def create_team_and_owner(  # noqa: PLR0913  keywords, each a fact of the rows
    tx: Tx,
    *,
    name: str,
    slug: str,
    email: str,
    now: datetime,
    physical_address: str | None = None,
    company_name: str | None = None,
) -> tuple[UUID, UUID]:
    """Makes a team and the user who owns it; returns both ids. Call it inside a transaction.

    Raises:
        asyncpg.UniqueViolationError: the slug or the address is taken.

    """
    team_id, user_id = new_id(), new_id()
    await tx.execute(_ADD_USER, user_id, email)
    await tx.execute(_ADD_TEAM, team_id, name, slug, physical_address, company_name, now)
    await tx.execute(_ADD_OWNER, team_id, user_id, now)
    return team_id, user_id


async def create_key(  # noqa: PLR0913  keywords, each a fact of the row
    tx: Tx,
    *,
    team_id: UUID,
    name: str,
    now: datetime,
    role: Role = "owner",
    scopes: Sequence[str] = (),
    created_by: UUID | None = None,
    expires_at: datetime | None = None,
) -> str:
    """Makes an API key and returns it; it can never be shown again. No scopes: all that its role may do.

    Raises:
        asyncpg.ForeignKeyViolationError: there is no such team.

    """
    key, prefix, key_hash = new_key()
    await tx.execute(
        _ADD_KEY, new_id(), team_id, name, prefix, key_hash, role, list(scopes), created_by, now, expires_at
    )
    return key
