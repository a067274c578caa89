"""Leads that go on elsewhere in their sequence than one step further: moved by a condition, or into another version.

One statement for many, and none that is not harmless the second time.
"""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from libs.schema.runtime.db import Tx

MOVE = """
WITH moved AS (
    UPDATE enrollments AS e
    SET step_number = u.step_number, next_at = u.next_at, held_gate = NULL, held_until = NULL
    FROM unnest($2::uuid[], $3::int[], $4::timestamptz[]) AS u(id, step_number, next_at)
    WHERE e.team_id = $1
        AND e.id = u.id
        AND e.state = 'active'
    RETURNING e.lead_id, e.campaign_id, e.step_number, e.next_at
)
UPDATE leads AS ld
SET current_step = moved.step_number, next_send_at = moved.next_at
FROM moved
WHERE ld.id = moved.lead_id
    AND ld.current_campaign_id = moved.campaign_id
"""


async def move(tx: Tx, team_id: UUID, moves: Sequence[tuple[UUID, int, datetime]]) -> None:
    """These (enrollment, step, due) wait for that step now; their rows are the caller's until its transaction ends."""
    if moves:
        ids, numbers, dues = zip(*moves, strict=True)
        await tx.execute(MOVE, team_id, ids, numbers, dues)
