"""SQL of recipients' mail domains as an import meets them: bare names, about which the resolver finds out the rest."""

from collections.abc import Iterable

from libs.schema.runtime.db import Tx

# In their order, so that two imports of the same domains wait for each other instead of deadlocking.
ADD_DOMAINS = """
INSERT INTO recipient_domain (domain)
SELECT domain
FROM unnest($1::text[]) AS d(domain)
ORDER BY domain
ON CONFLICT (domain) DO NOTHING
"""


async def add_domains(tx: Tx, domains: Iterable[str]) -> None:
    """Notes the domains that are not known yet."""
    await tx.execute(ADD_DOMAINS, sorted(set(domains)))
