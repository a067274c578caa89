"""SQL of the suppression list, the team's own part; global rows belong to the operator and are the sender's to obey."""

from datetime import datetime
from uuid import UUID

import msgspec

from libs.schema.runtime.db import Tx, fetch_all, fetch_one
from services.api.resources import Suppression

LIST_SUPPRESSIONS = """
SELECT id, email, scope, reason, created_at
FROM suppression_list
WHERE team_id = $1
    AND ($2::uuid IS NULL OR id = $2)
    AND ($3::text IS NULL OR email = $3)
    AND ($4::uuid IS NULL OR id < $4)
ORDER BY id DESC
LIMIT $5
"""


async def list_suppressions(
    tx: Tx, team_id: UUID, email: str | None, before: UUID | None, limit: int
) -> list[Suppression]:
    """The team's suppressions, newest first; `email` asks for one address or domain."""
    return await fetch_all(tx, Suppression, LIST_SUPPRESSIONS, team_id, None, email, before, limit)


async def get_suppression(tx: Tx, team_id: UUID, suppression_id: UUID) -> Suppression | None:
    """One suppression of the team."""
    return await fetch_one(tx, Suppression, LIST_SUPPRESSIONS, team_id, suppression_id, None, None, 1)


ADD_SUPPRESSION = """
INSERT INTO suppression_list (id, team_id, email, scope, reason, value_hash, created_at)
VALUES ($1, $2, $3, $4, 'manual', $5, $6)
ON CONFLICT (team_id, email) DO NOTHING
RETURNING id
"""
REMOVE_SUPPRESSION = """
DELETE FROM suppression_list
WHERE team_id = $1
    AND id = $2
"""


async def add_suppression(  # noqa: PLR0913, PLR0917  the row has that many facts
    tx: Tx, suppression_id: UUID, team_id: UUID, value: str, scope: str, value_hash: bytes | None, at: datetime
) -> bool:
    """Whether the address or domain was not on the list yet; the caller holds the barrier's lock."""
    return await tx.fetchval(ADD_SUPPRESSION, suppression_id, team_id, value, scope, value_hash, at) is not None


async def remove_suppression(tx: Tx, team_id: UUID, suppression_id: UUID) -> None:
    """Takes it off the list."""
    await tx.execute(REMOVE_SUPPRESSION, team_id, suppression_id)


FIND_SUPPRESSED = """
SELECT email, value_hash
FROM suppression_list
WHERE team_id = $1
    AND (email = ANY ($2::text[]) OR value_hash = ANY ($3::bytea[]))
"""


class Suppressed(msgspec.Struct, frozen=True, kw_only=True):
    """An address, domain or person that is not to be mailed."""

    email: str
    value_hash: bytes | None


async def find_suppressed(tx: Tx, team_id: UUID, values: list[str], hashes: list[bytes]) -> list[Suppressed]:
    """Which of these addresses and domains, or of these people's keys, the team suppresses."""
    return await fetch_all(tx, Suppressed, FIND_SUPPRESSED, team_id, values, hashes)


LEADS_OF_VALUE = """
SELECT id
FROM leads
WHERE team_id = $1
    AND (email = $2 OR ($3 AND split_part(email, '@', 2) = $2))
    AND deleted_at IS NULL
ORDER BY id
"""


async def leads_of(tx: Tx, team_id: UUID, value: str, *, is_domain: bool) -> list[UUID]:
    """The leads with this address, or in this domain."""
    return [record["id"] for record in await tx.fetch(LEADS_OF_VALUE, team_id, value, is_domain)]
