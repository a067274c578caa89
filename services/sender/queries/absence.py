"""What decides how long a person's absence holds their sequences: where they are, the team's setting, earlier notes."""

from typing import Any
from uuid import UUID

import msgspec

from libs.schema.runtime.db import Tx, fetch_one

ABSENCE = """
SELECT ld.timezone, ld.country, ld.city, coalesce(s.send_window_timezone, 'UTC') AS inbox_zone, t.settings, e.lead_key,
    (SELECT count(*)
        FROM replies AS r
        WHERE r.team_id = $1 AND r.lead_id = $2 AND r.intent = 'out_of_office'
            AND r.received_at >= e.enrolled_at
            AND NOT EXISTS (SELECT FROM replies AS h
                WHERE h.team_id = $1 AND h.lead_id = $2 AND h.received_at >= r.received_at
                    AND coalesce(h.intent NOT IN ('out_of_office', 'auto_reply', 'bounce'), true)))::int AS notes
FROM leads AS ld
JOIN teams AS t ON t.id = ld.team_id
JOIN LATERAL (
    SELECT o.lead_key, o.enrolled_at
    FROM enrollments AS o
    WHERE o.team_id = $1 AND o.lead_id = $2 AND o.state IN ('active', 'held')
    ORDER BY o.enrolled_at
    LIMIT 1
) AS e ON true
LEFT JOIN inbox_settings AS s ON s.inbox_id = $3
WHERE ld.team_id = $1
    AND ld.id = $2
"""


class Absence(msgspec.Struct, frozen=True, kw_only=True):
    """A person in a sequence who is away; `notes`: how many absence notes came since its start and no answer after."""

    timezone: str | None
    country: str | None
    city: str | None
    inbox_zone: str
    settings: dict[str, Any]
    lead_key: bytes
    notes: int


async def read_absence(tx: Tx, team_id: UUID, lead_id: UUID, inbox_id: UUID) -> Absence | None:
    """What is known of the person's absence; None when they are in no sequence any more."""
    return await fetch_one(tx, Absence, ABSENCE, team_id, lead_id, inbox_id)
