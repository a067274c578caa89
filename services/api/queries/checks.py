"""SQL of what the DNS says about sending domains, which no request waits for: it runs as coldstream_api."""

from datetime import datetime, timedelta
from uuid import UUID

import msgspec

from libs.schema.runtime.db import Tx, fetch_all, fetch_one
from services.api.rules.records.found import PARTS, Part, Remark
from services.api.rules.records.verdict import Known

# Taken by being put off to the end of the claim: another process takes others, and a dead one's come again.
CLAIM_CHECKS = """
WITH due AS (
    SELECT id
    FROM domains
    WHERE check_due_at IS NULL
        OR check_due_at <= $1
    ORDER BY check_due_at NULLS FIRST
    LIMIT $3
    FOR UPDATE SKIP LOCKED
)
UPDATE domains AS d
SET check_due_at = $1 + $2::interval,
    check_asked_at = $1
FROM due
WHERE d.id = due.id
RETURNING d.id, d.team_id, d.domain, d.dkim_selector, d.dkim_public_record, d.check_due_at,
    greatest(d.created_at, d.dkim_set_at) AS changed_at
"""
KNOWN = """
SELECT spf_valid, spf_checked_at, spf_record, dkim_valid, dkim_checked_at, dkim_record, dmarc_valid, dmarc_checked_at,
    dmarc_record, dmarc_policy, check_remarks
FROM domains
WHERE id = $1
    AND dkim_selector IS NOT DISTINCT FROM $2
    AND dkim_public_record IS NOT DISTINCT FROM $3
FOR UPDATE
"""
# Who asked for another look while this one was on its way keeps the place.
STORE_CHECK = """
UPDATE domains
SET spf_valid = $2,
    spf_checked_at = $3,
    spf_record = $4,
    dkim_valid = $5,
    dkim_checked_at = $6,
    dkim_record = $7,
    dmarc_valid = $8,
    dmarc_checked_at = $9,
    dmarc_record = $10,
    dmarc_policy = $11,
    check_remarks = $12,
    last_checked_at = greatest(last_checked_at, $3, $6, $9),
    verified_at = CASE WHEN $2 AND $5 AND $8 THEN coalesce(verified_at, $13) ELSE verified_at END,
    check_due_at = CASE WHEN check_due_at = $14 THEN $15 ELSE check_due_at END
WHERE id = $1
"""
PUT_OFF = """
UPDATE domains
SET check_due_at = $3
WHERE id = $1
    AND check_due_at = $2
"""


class Due(msgspec.Struct, frozen=True, kw_only=True):
    """A domain to look at, claimed until `check_due_at`; `changed_at`: when it was added or got its key."""

    id: UUID
    team_id: UUID
    domain: str
    dkim_selector: str | None
    dkim_public_record: str | None
    check_due_at: datetime
    changed_at: datetime


class _Row(msgspec.Struct, frozen=True, kw_only=True):
    spf_valid: bool
    spf_checked_at: datetime | None
    spf_record: str | None
    dkim_valid: bool
    dkim_checked_at: datetime | None
    dkim_record: str | None
    dmarc_valid: bool
    dmarc_checked_at: datetime | None
    dmarc_record: str | None
    dmarc_policy: str | None
    check_remarks: dict[Part, tuple[Remark, ...]]


async def claim(tx: Tx, now: datetime, lease: timedelta, limit: int) -> list[Due]:
    """Domains whose time has come, the new ones first; nobody else looks at them while the lease lasts."""
    return await fetch_all(tx, Due, CLAIM_CHECKS, now, lease, limit)


async def known(tx: Tx, due: Due) -> dict[Part, Known] | None:
    """What is known of the domain, locked; None when it got another key or went away since it was claimed."""
    row = await fetch_one(tx, _Row, KNOWN, due.id, due.dkim_selector, due.dkim_public_record)
    return None if row is None else {part: _known(row, part) for part in PARTS}


def _known(row: _Row, part: Part) -> Known:
    checked_at: datetime | None = getattr(row, f"{part}_checked_at")
    return Known(
        valid=getattr(row, f"{part}_valid") if checked_at else None,
        checked_at=checked_at,
        record=getattr(row, f"{part}_record"),
        policy=row.dmarc_policy if part == "dmarc" else None,
        remarks=row.check_remarks.get(part, ()),
    )


async def store(tx: Tx, due: Due, found: dict[Part, Known], now: datetime, next_at: datetime) -> None:
    """Writes what is known now, and when to look again."""
    parts = [found[part] for part in PARTS]
    values = [value for each in parts for value in (each.valid is True, each.checked_at, each.record)]
    remarks = {part: msgspec.to_builtins(found[part].remarks) for part in PARTS if found[part].remarks}
    await tx.execute(STORE_CHECK, due.id, *values, found["dmarc"].policy, remarks, now, due.check_due_at, next_at)


async def put_off(tx: Tx, due: Due, next_at: datetime) -> None:
    """Looks at the domain then, where nobody wants it sooner; nothing is written of what was not asked."""
    await tx.execute(PUT_OFF, due.id, due.check_due_at, next_at)
