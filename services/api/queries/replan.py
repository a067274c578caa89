"""SQL that asks the sender for new slots (migration 046)."""

from datetime import datetime
from uuid import UUID

from libs.schema.runtime.db import Tx

ASK = """
INSERT INTO replan (id, team_id, scope, scope_id, asked_at)
VALUES ($1, $2, $3, $4, $5)
"""


async def ask(  # noqa: PLR0913, PLR0917  the row has that many facts
    tx: Tx, row_id: UUID, team_id: UUID, scope: str, scope_id: UUID, at: datetime
) -> None:
    """All queued mails of the scope want another slot, from the end of this transaction on."""
    await tx.execute(ASK, row_id, team_id, scope, scope_id, at)
