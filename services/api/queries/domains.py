"""SQL of a domain's DKIM key, which goes in sealed and never comes back."""

from uuid import UUID

from libs.schema.runtime.db import Tx, fetch_one
from services.api.resources import DkimRecord

SET_DKIM = """
UPDATE domains
SET dkim_selector = $3,
    dkim_private_key = $4,
    dkim_public_record = $5,
    revision = revision + 1
WHERE team_id = $1
    AND id = $2
RETURNING id
"""
CLEAR_DKIM = """
UPDATE domains
SET dkim_private_key = NULL,
    dkim_public_record = NULL,
    revision = revision + 1
WHERE team_id = $1
    AND id = $2
RETURNING id
"""
GET_DKIM = """
SELECT dkim_selector || '._domainkey.' || domain AS name, dkim_public_record AS value
FROM domains
WHERE team_id = $1
    AND id = $2
    AND dkim_selector IS NOT NULL
    AND dkim_public_record IS NOT NULL
"""


async def set_dkim(tx: Tx, team_id: UUID, domain_id: UUID, selector: str, sealed: str, record: str) -> bool:  # noqa: PLR0913, PLR0917  the row has that many facts
    """Whether there was such a domain; its mail over its own server is signed with this key from now on."""
    return await tx.fetchval(SET_DKIM, team_id, domain_id, selector, sealed, record) is not None


async def clear_dkim(tx: Tx, team_id: UUID, domain_id: UUID) -> bool:
    """Whether there was such a domain; its mail is signed no more."""
    return await tx.fetchval(CLEAR_DKIM, team_id, domain_id) is not None


async def get_dkim(tx: Tx, team_id: UUID, domain_id: UUID) -> DkimRecord | None:
    """What the domain's DNS must say, where it has a key."""
    return await fetch_one(tx, DkimRecord, GET_DKIM, team_id, domain_id)
