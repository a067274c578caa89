"""SQL of opens and clicks, which have a token and no caller: it runs as coldstream_api.

Never trusts row level security, which lets that role through: every statement names the team.
"""

from collections.abc import Sequence
from datetime import date
from typing import Literal
from uuid import UUID

import msgspec

from libs.schema.runtime.db import Tx, fetch_all

# Mail that was never sent cannot be opened. A hit that is in the log already comes from a flush whose commit was not
# heard of: it is not told twice.
SENT_BEHIND = """
SELECT h.event_id, l.send_id AS email_id, l.kind, l.lead_id, l.inbox_id, l.campaign_id, l.enrollment_id, l.step_id,
    s.step_number, e.variant_id, l.sent_on, l.inbox_sent_on
FROM unnest($1::uuid[], $2::uuid[], $3::uuid[]) AS h(event_id, team_id, email_id)
JOIN send_ledger AS l ON l.team_id = h.team_id AND l.send_id = h.email_id
LEFT JOIN emails AS e ON e.team_id = l.team_id AND e.id = l.send_id
LEFT JOIN sequences AS s ON s.team_id = l.team_id AND s.id = l.step_id
WHERE l.state IN ('accepted', 'unknown')
    AND l.kind IN ('campaign', 'reply')
    AND l.sent_on IS NOT NULL
    AND l.inbox_sent_on IS NOT NULL
    AND NOT EXISTS (SELECT FROM event_log AS t WHERE t.event_id = h.event_id)
"""


class Opened(msgspec.Struct, frozen=True, kw_only=True):
    """A sent email behind a hit: what every event of it says."""

    event_id: UUID
    email_id: UUID
    kind: Literal["campaign", "reply"]
    lead_id: UUID | None
    inbox_id: UUID
    campaign_id: UUID | None
    enrollment_id: UUID | None
    step_id: UUID | None
    step_number: int | None
    variant_id: UUID | None
    sent_on: date
    inbox_sent_on: date


async def sent_behind(
    tx: Tx, event_ids: Sequence[UUID], team_ids: Sequence[UUID], email_ids: Sequence[UUID]
) -> list[Opened]:
    """The emails behind the hits that are to be told, in no order; a hit on mail that was not sent has none."""
    return await fetch_all(tx, Opened, SENT_BEHIND, event_ids, team_ids, email_ids)


TEAM_IS_THERE = """
SELECT EXISTS (SELECT FROM teams WHERE id = $1)
"""
LINK_TARGET = """
SELECT url
FROM tracked_link
WHERE team_id = $1
    AND id = $2
"""


async def team_is_there(tx: Tx, team_id: UUID) -> bool:
    """Whether the team exists."""
    return await tx.fetchval(TEAM_IS_THERE, team_id)


async def link_target(tx: Tx, team_id: UUID, link_id: UUID) -> str | None:
    """Where the team's link leads."""
    return await tx.fetchval(LINK_TARGET, team_id, link_id)
