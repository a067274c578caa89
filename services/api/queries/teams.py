"""SQL of the team itself, and of the audit trail of what its people do."""

from datetime import datetime
from typing import Any
from uuid import UUID

from libs.schema.runtime.db import Tx, fetch_all, fetch_one
from services.api.resources import Team
from services.api.unibox import Member

GET_TEAM = """
SELECT id, name, slug, plan, daily_email_limit, max_inboxes, max_campaigns, max_team_members, physical_address,
    company_name, settings, created_at, updated_at
FROM teams
WHERE id = $1
"""


async def get_team(tx: Tx, team_id: UUID) -> Team | None:
    """The team."""
    return await fetch_one(tx, Team, GET_TEAM, team_id)


UPDATE_TEAM = """
UPDATE teams AS t
SET (name, physical_address, company_name, settings, revision) = (
    SELECT p.name, p.physical_address, p.company_name, p.settings, t.revision + 1
    FROM jsonb_populate_record(t, $2::jsonb) AS p
)
WHERE t.id = $1
"""


async def update_team(tx: Tx, team_id: UUID, changes: dict[str, Any]) -> None:
    """Writes the named fields; the others stay."""
    await tx.execute(UPDATE_TEAM, team_id, changes)


LOCK_TEAM = """
SELECT id
FROM teams
WHERE id = $1
FOR NO KEY UPDATE
"""


async def lock_team(tx: Tx, team_id: UUID) -> None:
    """Lets one request at a time count what the team has against its limits."""
    await tx.execute(LOCK_TEAM, team_id)


# At most as many as teams.max_team_members.
LIST_MEMBERS = """
SELECT u.id, u.email, u.full_name
FROM team_members AS m
JOIN users AS u ON u.id = m.user_id
WHERE m.team_id = $1
    AND m.accepted_at IS NOT NULL
ORDER BY u.email
"""


async def list_members(tx: Tx, team_id: UUID) -> list[Member]:
    """The people of the team who have accepted their invitation, by address."""
    return await fetch_all(tx, Member, LIST_MEMBERS, team_id)


ADD_AUDIT = """
INSERT INTO audit_log (team_id, actor, action, target, detail, at)
VALUES ($1, $2, $3, $4, $5, $6)
"""


async def add_audit(  # noqa: PLR0913, PLR0917  the row has that many facts
    tx: Tx, team_id: UUID, actor: str, action: str, target: str, detail: dict[str, Any], at: datetime
) -> None:
    """Adds a row to the team's audit trail; a second call adds a second row."""
    await tx.execute(ADD_AUDIT, team_id, actor, action, target, detail, at)
