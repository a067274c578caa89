"""SQL of circuit breakers, which the sender owns: what of an inbox or campaign is open."""

from uuid import UUID

import msgspec

from libs.schema.events.inbox import CircuitKind, CircuitScope
from libs.schema.runtime.db import Tx, fetch_all

OPEN_OF_INBOX = """
SELECT b.kind, b.scope, b.failures
FROM breaker AS b
JOIN inboxes AS i ON i.team_id = b.team_id
WHERE b.team_id = $1
    AND i.id = $2
    AND (b.scope, b.scope_key) IN (('inbox', i.id::text), ('smtp_host', lower(i.smtp_host)))
    AND b.state <> 'closed'
ORDER BY b.kind, b.scope
"""
OPEN_OF_CAMPAIGN = """
SELECT b.kind, b.failures
FROM breaker AS b
WHERE b.team_id = $1
    AND b.scope = 'campaign'
    AND b.scope_key = $2::uuid::text
    AND b.state <> 'closed'
ORDER BY b.kind
"""


class OpenCircuit(msgspec.Struct, frozen=True, kw_only=True):
    """A breaker that is open, whole or by half, and the failures that it counts."""

    kind: CircuitKind
    failures: int
    scope: CircuitScope = "inbox"


async def open_of_inbox(tx: Tx, team_id: UUID, inbox_id: UUID) -> list[OpenCircuit]:
    """What is open of the inbox, and of the host that it sends through."""
    return await fetch_all(tx, OpenCircuit, OPEN_OF_INBOX, team_id, inbox_id)


async def open_of_campaign(tx: Tx, team_id: UUID, campaign_id: UUID) -> list[OpenCircuit]:
    """What is open of the campaign."""
    return await fetch_all(tx, OpenCircuit, OPEN_OF_CAMPAIGN, team_id, campaign_id)
