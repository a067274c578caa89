"""SQL of who runs which domain's mail, which no request waits for: it runs as coldstream_api."""

from collections.abc import Mapping
from datetime import datetime, timedelta

from libs.schema.runtime.db import Tx

# Taken by being dated to the end of the claim: another process takes others, and a dead one's come again.
CLAIM_DOMAINS = """
WITH due AS (
    SELECT domain
    FROM recipient_domain
    WHERE (provider IS NULL AND (resolved_at IS NULL OR resolved_at <= $1))
        OR (provider IS NOT NULL AND resolved_at <= $2)
    ORDER BY resolved_at NULLS FIRST
    LIMIT $4
    FOR UPDATE SKIP LOCKED
)
UPDATE recipient_domain AS r
SET resolved_at = CASE WHEN r.provider IS NULL THEN $1 ELSE $2 END + $3::interval
FROM due
WHERE r.domain = due.domain
RETURNING r.domain
"""
STORE_PROVIDERS = """
UPDATE recipient_domain AS r
SET provider = p.provider,
    resolved_at = $1
FROM unnest($2::text[], $3::text[]) AS p(domain, provider)
WHERE r.domain = p.domain
"""


async def claim_domains(
    tx: Tx, unknown_since: datetime, known_since: datetime, claim: timedelta, limit: int
) -> list[str]:
    """Domains that nobody has asked about yet, or not since then; nobody else asks about them while the claim lasts."""
    return [row["domain"] for row in await tx.fetch(CLAIM_DOMAINS, unknown_since, known_since, claim, limit)]


async def store_providers(tx: Tx, at: datetime, providers: Mapping[str, str | None]) -> None:
    """Writes who runs each domain's mail; None: nobody can say."""
    await tx.execute(STORE_PROVIDERS, at, list(providers), list(providers.values()))
