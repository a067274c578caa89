"""How a campaign is read before it starts: definition, inboxes with their domains, and leads in bounded pages.

Never locks and never writes.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from libs.planning import queries
from libs.planning.preflight.findings import Plan, Reader, SendingDomain
from libs.planning.sequence import Step
from libs.schema.runtime.db import Tx, fetch_all, fetch_one, to_struct

PAGE = 2_000  # leads in one statement
NOBODY = UUID(int=0)  # lies before every lead's id

PLAN = """
SELECT c.id, c.name, c.status::text AS status, c.settings, c.lead_list_id, t.physical_address, t.company_name,
    coalesce((SELECT l.lead_count FROM lead_lists AS l WHERE l.id = c.lead_list_id AND l.deleted_at IS NULL), 0)
        AS lead_count
FROM campaigns AS c
JOIN teams AS t ON t.id = c.team_id
WHERE c.team_id = $1
    AND c.id = $2
"""
STEPS = """
SELECT s.id AS step_id, s.step_number, s.subject, s.body, s.delay_days, s.delay_hours, s.conditions,
    coalesce((
        SELECT jsonb_agg(jsonb_build_object('variant_id', v.id, 'subject', v.subject, 'body', v.body,
            'weight', v.weight) ORDER BY v.variant_index)
        FROM sequence_variants AS v
        WHERE v.sequence_id = s.id
    ), '[]') AS variants
FROM sequences AS s
WHERE s.team_id = $1
    AND s.campaign_id = $2
    AND s.deleted_at IS NULL
ORDER BY s.step_number
"""
SENDING_DOMAINS = """
SELECT DISTINCT d.id, d.domain, d.check_remarks,
    CASE WHEN d.spf_checked_at IS NOT NULL THEN d.spf_valid END AS spf_valid,
    CASE WHEN d.dkim_checked_at IS NOT NULL THEN d.dkim_valid END AS dkim_valid,
    CASE WHEN d.dmarc_checked_at IS NOT NULL THEN d.dmarc_valid END AS dmarc_valid
FROM campaign_inboxes AS ci
JOIN inboxes AS i ON i.id = ci.inbox_id
JOIN domains AS d ON d.id = i.domain_id
WHERE ci.team_id = $1
    AND ci.campaign_id = $2
    AND i.deleted_at IS NULL
ORDER BY d.domain
"""
READERS = """
SELECT ld.id, ld.email, ld.status::text AS status, ld.first_name, ld.last_name, ld.company, ld.title, ld.phone,
    ld.linkedin_url, ld.website, ld.city, ld.country, ld.timezone, ld.custom_fields,
    EXISTS (SELECT FROM suppression_list AS sl
        WHERE (sl.team_id = ld.team_id OR sl.team_id IS NULL)
            AND (sl.email = ld.email OR sl.email = split_part(ld.email, '@', 2))) AS suppressed,
    EXISTS (SELECT FROM enrollments AS e
        WHERE e.team_id = ld.team_id AND e.lead_id = ld.id AND e.campaign_id <> $3 AND e.state IN ('active', 'held'))
        AS elsewhere
FROM leads AS ld
WHERE ld.team_id = $1
    AND ld.lead_list_id = $2
    AND ld.id > $4
    AND ld.deleted_at IS NULL
ORDER BY ld.id
LIMIT $5
"""


class _Row(msgspec.Struct, frozen=True, kw_only=True):
    id: UUID
    name: str
    status: str
    settings: dict[str, Any]
    lead_list_id: UUID | None
    physical_address: str | None
    company_name: str | None
    lead_count: int


async def read_plan(tx: Tx, team_id: UUID, campaign_id: UUID, now: datetime) -> Plan | None:
    """The campaign as it stands, without its leads; None when the team has none of this id."""
    row = await fetch_one(tx, _Row, PLAN, team_id, campaign_id)
    if row is None:
        return None
    boxes = await queries.planned_inboxes(tx, team_id, now)
    return Plan(
        **msgspec.structs.asdict(row),
        now=now,
        steps=await read_steps(tx, team_id, campaign_id),
        boxes=[box for box in boxes if campaign_id in box.campaign_ids and not box.archived],
        domains=await fetch_all(tx, SendingDomain, SENDING_DOMAINS, team_id, campaign_id),
        team=await queries.team_day(tx, team_id, now),
    )


async def read_steps(tx: Tx, team_id: UUID, campaign_id: UUID) -> list[Step]:
    """The steps as they stand, as a version would keep them."""
    return await fetch_all(tx, Step, STEPS, team_id, campaign_id)


async def read_readers(tx: Tx, team_id: UUID, plan: Plan, most: int) -> list[Reader]:
    """The first `most` leads of the campaign's list, by id."""
    found: list[Reader] = []
    while plan.lead_list_id is not None and len(found) < most:
        after = found[-1].id if found else NOBODY
        page = await _page(tx, team_id, plan, after, min(PAGE, most - len(found)))
        found += page
        if len(page) < PAGE:
            break
    return found


async def _page(tx: Tx, team_id: UUID, plan: Plan, after: UUID, most: int) -> Sequence[Reader]:
    records = await tx.fetch(READERS, team_id, plan.lead_list_id, plan.id, after, most)
    return [to_struct(Reader, record) for record in records]
