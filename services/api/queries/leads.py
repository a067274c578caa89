"""SQL of lead lists and leads, one by one and by the thousand."""

from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from libs.schema.runtime.db import Tx, fetch_all, fetch_one
from services.api.resources import Lead, LeadList

LIST_LEAD_LISTS = """
SELECT id, name, description, lead_count, source, imported_at, created_at, updated_at
FROM lead_lists
WHERE team_id = $1
    AND ($2::uuid IS NULL OR id = $2)
    AND ($3::uuid IS NULL OR id < $3)
    AND deleted_at IS NULL
ORDER BY id DESC
LIMIT $4
"""


async def list_lead_lists(tx: Tx, team_id: UUID, before: UUID | None, limit: int) -> list[LeadList]:
    """The team's lists that are not archived, newest first."""
    return await fetch_all(tx, LeadList, LIST_LEAD_LISTS, team_id, None, before, limit)


async def get_lead_list(tx: Tx, team_id: UUID, lead_list_id: UUID) -> LeadList | None:
    """One list of the team, unless it is archived."""
    return await fetch_one(tx, LeadList, LIST_LEAD_LISTS, team_id, lead_list_id, None, 1)


ADD_LEAD_LIST = """
INSERT INTO lead_lists (id, team_id, name, description, source, created_at)
VALUES ($1, $2, $3, $4, $5, $6)
"""
UPDATE_LEAD_LIST = """
UPDATE lead_lists AS l
SET (name, description, source, revision) = (
    SELECT p.name, p.description, p.source, l.revision + 1
    FROM jsonb_populate_record(l, $3::jsonb) AS p
)
WHERE l.team_id = $1
    AND l.id = $2
"""
ARCHIVE_LEAD_LIST = """
UPDATE lead_lists
SET deleted_at = $3,
    revision = revision + 1
WHERE team_id = $1
    AND id = $2
    AND deleted_at IS NULL
RETURNING id
"""


async def add_lead_list(  # noqa: PLR0913, PLR0917  the row has that many facts
    tx: Tx, lead_list_id: UUID, team_id: UUID, name: str, description: str | None, source: str | None, at: datetime
) -> None:
    """Adds an empty list."""
    await tx.execute(ADD_LEAD_LIST, lead_list_id, team_id, name, description, source, at)


async def update_lead_list(tx: Tx, team_id: UUID, lead_list_id: UUID, changes: dict[str, Any]) -> None:
    """Writes the named fields; the others stay."""
    await tx.execute(UPDATE_LEAD_LIST, team_id, lead_list_id, changes)


async def archive_lead_list(tx: Tx, team_id: UUID, lead_list_id: UUID, at: datetime) -> bool:
    """Whether there was such a list; its leads stay."""
    return await tx.fetchval(ARCHIVE_LEAD_LIST, team_id, lead_list_id, at) is not None


LIST_LEADS = """
SELECT id, lead_list_id, email, first_name, last_name, company, title, phone, linkedin_url, website, status,
    reply_intent, timezone, country, city, custom_fields, consent_type, consent_source, current_campaign_id,
    current_step, next_send_at, first_contacted_at, last_contacted_at, replied_at, bounced_at, unsubscribed_at,
    created_at, updated_at
FROM leads
WHERE team_id = $1
    AND ($2::uuid IS NULL OR id = $2)
    AND ($3::uuid IS NULL OR lead_list_id = $3)
    AND ($4::lead_status IS NULL OR status = $4)
    AND ($5::text IS NULL OR email = $5)
    AND ($6::text IS NULL OR to_tsvector('simple', coalesce(first_name, '') || ' ' || coalesce(last_name, '') || ' '
        || coalesce(company, '') || ' ' || email) @@ plainto_tsquery('simple', $6))
    AND ($7::uuid IS NULL OR id < $7)
    AND deleted_at IS NULL
ORDER BY id DESC
LIMIT $8
"""


class LeadFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which leads are wanted, in the order of the statement's arguments; None asks for no such thing."""

    lead_list_id: UUID | None = None
    status: str | None = None
    email: str | None = None
    search: str | None = None


async def list_leads(tx: Tx, team_id: UUID, wanted: LeadFilter, before: UUID | None, limit: int) -> list[Lead]:
    """The team's leads that are not archived, newest first."""
    return await fetch_all(tx, Lead, LIST_LEADS, team_id, None, *msgspec.structs.astuple(wanted), before, limit)


async def get_lead(tx: Tx, team_id: UUID, lead_id: UUID) -> Lead | None:
    """One lead of the team, unless it is archived."""
    return await fetch_one(tx, Lead, LIST_LEADS, team_id, lead_id, None, None, None, None, None, 1)


UPDATE_LEAD = """
UPDATE leads AS l
SET (lead_list_id, first_name, last_name, company, title, phone, linkedin_url, website, timezone, country, city,
    consent_type, consent_source, custom_fields, revision) = (
    SELECT p.lead_list_id, p.first_name, p.last_name, p.company, p.title, p.phone, p.linkedin_url, p.website,
        p.timezone, p.country, p.city, p.consent_type, p.consent_source,
        jsonb_strip_nulls(l.custom_fields || $4::jsonb), l.revision + 1
    FROM jsonb_populate_record(l, $3::jsonb) AS p
)
WHERE l.team_id = $1
    AND l.id = $2
"""
ARCHIVE_LEAD = """
UPDATE leads
SET deleted_at = $3,
    revision = revision + 1
WHERE team_id = $1
    AND id = $2
    AND deleted_at IS NULL
RETURNING id
"""
ADD_STOP = """
INSERT INTO lead_stop (id, team_id, lead_key, reason, event_id, stopped_at)
VALUES ($1, $2, $3, $4, $5, $6)
"""


async def update_lead(
    tx: Tx, team_id: UUID, lead_id: UUID, changes: dict[str, Any], custom_fields: dict[str, Any]
) -> None:
    """Writes the named fields and merges the custom ones; a null among them removes one."""
    await tx.execute(UPDATE_LEAD, team_id, lead_id, changes, custom_fields)


async def archive_lead(tx: Tx, team_id: UUID, lead_id: UUID, at: datetime) -> bool:
    """Whether there was such a lead; it is put away, its history and ledger stay."""
    return await tx.fetchval(ARCHIVE_LEAD, team_id, lead_id, at) is not None


async def add_stop(  # noqa: PLR0913, PLR0917  the row has that many facts
    tx: Tx, stop_id: UUID, team_id: UUID, lead_key: bytes, reason: str, event_id: UUID, at: datetime
) -> None:
    """Stops the person's sequences; the caller holds the barrier's lock on them."""
    await tx.execute(ADD_STOP, stop_id, team_id, lead_key, reason, event_id, at)


# What is there already is completed, never emptied: a missing field of a row says nothing. In the order of the address,
# so that two imports of the same people wait for each other instead of deadlocking (reliability.md F25).
UPSERT_LEADS = """
INSERT INTO leads AS l
    (id, team_id, lead_list_id, email, first_name, last_name, company, title, phone, linkedin_url, website, timezone,
    country, city, consent_type, consent_source, custom_fields, created_at)
SELECT r.id, $1, $2, r.email, r.first_name, r.last_name, r.company, r.title, r.phone, r.linkedin_url, r.website,
    r.timezone, r.country, r.city, r.consent_type, r.consent_source, r.custom_fields, $5
FROM jsonb_to_recordset($4::jsonb) AS r(id uuid, email text, first_name text, last_name text, company text, title text,
    phone text, linkedin_url text, website text, timezone text, country text, city text, consent_type text,
    consent_source text, custom_fields jsonb)
ORDER BY r.email
ON CONFLICT (team_id, email) DO UPDATE
SET lead_list_id = coalesce(excluded.lead_list_id, l.lead_list_id),
    first_name = coalesce(excluded.first_name, l.first_name),
    last_name = coalesce(excluded.last_name, l.last_name),
    company = coalesce(excluded.company, l.company),
    title = coalesce(excluded.title, l.title),
    phone = coalesce(excluded.phone, l.phone),
    linkedin_url = coalesce(excluded.linkedin_url, l.linkedin_url),
    website = coalesce(excluded.website, l.website),
    timezone = coalesce(excluded.timezone, l.timezone),
    country = coalesce(excluded.country, l.country),
    city = coalesce(excluded.city, l.city),
    consent_type = coalesce(excluded.consent_type, l.consent_type),
    consent_source = coalesce(excluded.consent_source, l.consent_source),
    custom_fields = l.custom_fields || excluded.custom_fields,
    deleted_at = NULL,
    revision = l.revision + 1
WHERE $3 OR l.deleted_at IS NOT NULL
RETURNING l.id, l.email
"""


async def upsert_leads(  # noqa: PLR0913  the statement has that many facts
    tx: Tx, team_id: UUID, lead_list_id: UUID | None, rows: list[dict[str, Any]], at: datetime, *, update: bool
) -> dict[str, UUID]:
    """Adds the leads whose addresses are new, under the given ids, and completes the others or leaves them alone.

    Returns the id behind each address that was added or completed; an id that was not given is one that was there.
    Archived leads come back. The addresses must be different from each other.
    """
    records = await tx.fetch(UPSERT_LEADS, team_id, lead_list_id, update, rows, at)
    return {record["email"]: record["id"] for record in records}


FIND_LEAD_IDS = """
SELECT id, email
FROM leads
WHERE team_id = $1
    AND email = ANY ($2::text[])
"""


async def find_lead_ids(tx: Tx, team_id: UUID, addresses: list[str]) -> dict[str, UUID]:
    """The ids of the leads with these addresses, archived ones too."""
    return {record["email"]: record["id"] for record in await tx.fetch(FIND_LEAD_IDS, team_id, addresses)}
