"""What the books say: enrollments by state, and each beside what the journal told of it."""

from uuid import UUID

import msgspec

from libs.schema.runtime.db import Tx, fetch_all

NOBODY = UUID(int=0)  # lies before every enrollment's id

COUNT_STATES = """
SELECT e.state, count(*)::int AS leads
FROM enrollments AS e
GROUP BY e.state
"""


async def count_states(tx: Tx) -> dict[str, int]:
    """How many enrollments of the installation are in each state."""
    return {record["state"]: record["leads"] for record in await tx.fetch(COUNT_STATES)}


class Book(msgspec.Struct, frozen=True, kw_only=True):
    """An enrollment, and how often its beginning and its two kinds of end were told."""

    id: UUID
    campaign_id: UUID
    state: str
    moved: bool  # the person has another row by now, and the events lie with the old one
    enrolled: int
    completed: int
    stopped: int

    @property
    def is_told(self) -> bool:
        """Whether the journal says what the row says."""
        if self.moved:
            return True
        ends = {"finished": (1, 0), "stopped": (0, 1), "failed": (0, 1)}.get(self.state, (0, 0))
        return (self.enrolled, self.completed, self.stopped) == (1, *ends)


BOOKS = """
SELECT e.id, e.campaign_id, e.state, ld.created_at > e.enrolled_at AND told.enrolled = 0 AS moved, told.enrolled,
    told.completed, told.stopped
FROM (
    SELECT p.id, p.team_id, p.campaign_id, p.lead_id, p.state, p.enrolled_at
    FROM enrollments AS p
    WHERE p.id > $1
    ORDER BY p.id
    LIMIT $2
) AS e
JOIN leads AS ld ON ld.id = e.lead_id
CROSS JOIN LATERAL (
    SELECT count(*) FILTER (WHERE l.type = 'lead.enrolled')::int AS enrolled,
        count(*) FILTER (WHERE l.type = 'lead.completed')::int AS completed,
        count(*) FILTER (WHERE l.type = 'lead.stopped')::int AS stopped
    FROM event_log AS l
    WHERE l.team_id = e.team_id
        AND l.subject = 'lead/' || e.lead_id
        AND l.type IN ('lead.enrolled', 'lead.completed', 'lead.stopped')
        AND l.body -> 'data' ->> 'enrollment_id' = e.id::text
) AS told
ORDER BY e.id
"""


async def books(tx: Tx, after: UUID, most: int) -> list[Book]:
    """The next enrollments by id, each with what was told of it; one snapshot, so nothing is half-way."""
    return await fetch_all(tx, Book, BOOKS, after, most)


COMPLETED_WITH_OPEN = """
SELECT c.id
FROM campaigns AS c
WHERE c.status = 'completed'
    AND EXISTS (SELECT FROM enrollments AS e WHERE e.campaign_id = c.id AND e.state IN ('active', 'held'))
"""


async def completed_with_open(tx: Tx) -> list[UUID]:
    """Campaigns that are called completed though a lead is still on its way."""
    return [record["id"] for record in await tx.fetch(COMPLETED_WITH_OPEN)]
