"""SQL of domains: added, shown with what their DNS said, looked at again; a DKIM key goes in sealed, never out."""

from datetime import datetime, timedelta
from uuid import UUID

import msgspec

from libs.schema.runtime.db import Tx, fetch_all, fetch_one
from services.api.resources import DnsRecord
from services.api.rules.records.found import Part, Remark
from services.api.rules.records.publish import Sender

ADD_DOMAIN = """
INSERT INTO domains (id, team_id, domain, dkim_selector, created_at)
VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (team_id, domain) DO NOTHING
"""
FIND_DOMAIN = """
SELECT id
FROM domains
WHERE team_id = $1
    AND domain = $2
"""
LIST_DOMAINS = """
SELECT d.id, d.domain, CASE WHEN d.spf_checked_at IS NOT NULL THEN d.spf_valid END AS spf_valid, d.spf_checked_at,
    d.spf_record, CASE WHEN d.dkim_checked_at IS NOT NULL THEN d.dkim_valid END AS dkim_valid, d.dkim_checked_at,
    d.dkim_selector, d.dkim_record, d.dkim_public_record,
    CASE WHEN d.dmarc_checked_at IS NOT NULL THEN d.dmarc_valid END AS dmarc_valid, d.dmarc_checked_at,
    d.dmarc_policy, d.dmarc_record, d.check_remarks, d.check_asked_at, d.last_checked_at, d.verified_at,
    d.health_score, d.health_known, d.created_at, d.updated_at,
    coalesce((
        SELECT jsonb_agg(DISTINCT jsonb_build_object('provider', i.provider, 'smtp_host', i.smtp_host))
        FROM inboxes AS i
        WHERE i.domain_id = d.id
            AND i.deleted_at IS NULL
    ), '[]') AS senders
FROM domains AS d
WHERE d.team_id = $1
    AND ($2::uuid IS NULL OR d.id = $2)
    AND ($3::uuid IS NULL OR d.id < $3)
ORDER BY d.id DESC
LIMIT $4
"""
# LEAST and GREATEST pass NULL over: a domain that nobody looked at yet is due, and stays so.
ASK_FOR_CHECK = """
UPDATE domains
SET check_due_at = least(check_due_at, greatest($3, check_asked_at + $4::interval))
WHERE team_id = $1
    AND id = $2
RETURNING id
"""
SET_SELECTOR = """
UPDATE domains
SET dkim_selector = $3,
    dkim_set_at = $4,
    check_due_at = $4,
    revision = revision + 1
WHERE team_id = $1
    AND id = $2
    AND dkim_public_record IS NULL
RETURNING id
"""
SET_DKIM = """
UPDATE domains
SET dkim_selector = $3,
    dkim_private_key = $4,
    dkim_public_record = $5,
    dkim_set_at = $6,
    check_due_at = $6,
    revision = revision + 1
WHERE team_id = $1
    AND id = $2
RETURNING id
"""
CLEAR_DKIM = """
UPDATE domains
SET dkim_private_key = NULL,
    dkim_public_record = NULL,
    check_due_at = $3,
    revision = revision + 1
WHERE team_id = $1
    AND id = $2
RETURNING id
"""
GET_DKIM = """
SELECT dkim_selector || '._domainkey.' || domain AS name, dkim_public_record AS value
FROM domains
WHERE team_id = $1
    AND id = $2
    AND dkim_selector IS NOT NULL
    AND dkim_public_record IS NOT NULL
"""


class DomainRow(msgspec.Struct, frozen=True, kw_only=True):
    """A domain, what is known of its DNS, and where its mail goes out; a verdict is None where there is none."""

    id: UUID
    domain: str
    spf_valid: bool | None
    spf_checked_at: datetime | None
    spf_record: str | None
    dkim_valid: bool | None
    dkim_checked_at: datetime | None
    dkim_selector: str | None
    dkim_record: str | None
    dkim_public_record: str | None
    dmarc_valid: bool | None
    dmarc_checked_at: datetime | None
    dmarc_policy: str | None
    dmarc_record: str | None
    check_remarks: dict[Part, list[Remark]]
    check_asked_at: datetime | None
    last_checked_at: datetime | None
    verified_at: datetime | None
    health_score: int
    health_known: bool
    created_at: datetime
    updated_at: datetime
    senders: list[Sender]


async def find_or_add_domain(  # noqa: PLR0913, PLR0917  the row has that many facts
    tx: Tx, team_id: UUID, domain: str, new_id: UUID, at: datetime, dkim_selector: str | None = None
) -> UUID:
    """The id of the team's domain, made under `new_id` where it is not there yet."""
    await tx.execute(ADD_DOMAIN, new_id, team_id, domain, dkim_selector, at)
    return await tx.fetchval(FIND_DOMAIN, team_id, domain)


async def list_domains(tx: Tx, team_id: UUID, before: UUID | None, limit: int) -> list[DomainRow]:
    """The team's domains, newest first, those after the given one."""
    return await fetch_all(tx, DomainRow, LIST_DOMAINS, team_id, None, before, limit)


async def get_domain(tx: Tx, team_id: UUID, domain_id: UUID) -> DomainRow | None:
    """One domain of the team."""
    return await fetch_one(tx, DomainRow, LIST_DOMAINS, team_id, domain_id, None, 1)


async def ask_for_check(tx: Tx, team_id: UUID, domain_id: UUID, at: datetime, rest: timedelta) -> bool:
    """Whether there was such a domain; its DNS is looked up next, but not before `rest` is over since the last time."""
    return await tx.fetchval(ASK_FOR_CHECK, team_id, domain_id, at, rest) is not None


async def set_selector(tx: Tx, team_id: UUID, domain_id: UUID, selector: str | None, at: datetime) -> bool:
    """Whether there was such a domain without a key of ours; its DKIM record is looked for there from now on."""
    return await tx.fetchval(SET_SELECTOR, team_id, domain_id, selector, at) is not None


async def set_dkim(  # noqa: PLR0913, PLR0917  the row has that many facts
    tx: Tx, team_id: UUID, domain_id: UUID, selector: str, sealed: str, record: str, at: datetime
) -> bool:
    """Whether there was such a domain; its mail over its own server is signed with this key from now on."""
    return await tx.fetchval(SET_DKIM, team_id, domain_id, selector, sealed, record, at) is not None


async def clear_dkim(tx: Tx, team_id: UUID, domain_id: UUID, at: datetime) -> bool:
    """Whether there was such a domain; its mail is signed no more."""
    return await tx.fetchval(CLEAR_DKIM, team_id, domain_id, at) is not None


async def get_dkim(tx: Tx, team_id: UUID, domain_id: UUID) -> DnsRecord | None:
    """What the domain's DNS must say, where it has a key."""
    return await fetch_one(tx, DnsRecord, GET_DKIM, team_id, domain_id)
