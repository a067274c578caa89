"""SQL of a campaign's steps and variants, and of the versions in which enrolled leads keep them."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from libs.schema.runtime.db import Tx, fetch_all, fetch_one, to_struct
from services.api.resources import Step, Variant

LIST_STEPS = """
SELECT id, campaign_id, step_number, delay_days, delay_hours, subject, body, conditions, sent_count, opened_count,
    replied_count
FROM sequences
WHERE team_id = $1
    AND campaign_id = $2
    AND deleted_at IS NULL
ORDER BY step_number
"""
LIST_VARIANTS = """
SELECT v.sequence_id, v.id, v.variant_index, v.weight, v.subject, v.body, v.sent_count, v.opened_count,
    v.replied_count, v.is_winner
FROM sequence_variants AS v
JOIN sequences AS s ON s.id = v.sequence_id
WHERE v.team_id = $1
    AND s.campaign_id = $2
    AND s.deleted_at IS NULL
ORDER BY v.sequence_id, v.variant_index
"""


async def list_steps(tx: Tx, team_id: UUID, campaign_id: UUID) -> list[Step]:
    """The campaign's steps in their order, with their variants."""
    variants: dict[UUID, list[Variant]] = {}
    for record in await tx.fetch(LIST_VARIANTS, team_id, campaign_id):
        variants.setdefault(record["sequence_id"], []).append(to_struct(Variant, record))
    steps = await fetch_all(tx, Step, LIST_STEPS, team_id, campaign_id)
    return [msgspec.structs.replace(step, variants=variants.get(step.id, [])) for step in steps]


class NewStep(msgspec.Struct, frozen=True, kw_only=True):
    """A step to be written; its fields are those of the statements' records."""

    id: UUID
    step_number: int
    delay_days: int
    delay_hours: int
    subject: str
    body: str


class NewVariant(msgspec.Struct, frozen=True, kw_only=True):
    """A variant to be written."""

    id: UUID
    sequence_id: UUID
    variant_index: int
    weight: int
    subject: str
    body: str


ARCHIVE_STEPS = """
UPDATE sequences
SET deleted_at = $4,
    revision = revision + 1
WHERE team_id = $1
    AND campaign_id = $2
    AND deleted_at IS NULL
    AND id <> ALL ($3::uuid[])
"""
# Out of the way, so that two steps may change places without meeting on the same number.
SHIFT_STEPS = """
UPDATE sequences
SET step_number = step_number + 1000000
WHERE team_id = $1
    AND campaign_id = $2
    AND deleted_at IS NULL
"""
SAVE_STEPS = """
INSERT INTO sequences
    (id, team_id, campaign_id, step_number, delay_days, delay_hours, subject, body, created_at)
SELECT r.id, $1, $2, r.step_number, r.delay_days, r.delay_hours, r.subject, r.body, $4
FROM jsonb_to_recordset($3::jsonb)
    AS r(id uuid, step_number int, delay_days int, delay_hours int, subject text, body text)
ON CONFLICT (id) DO UPDATE
SET step_number = excluded.step_number,
    delay_days = excluded.delay_days,
    delay_hours = excluded.delay_hours,
    subject = excluded.subject,
    body = excluded.body,
    revision = sequences.revision + 1
"""
DROP_VARIANTS = """
DELETE FROM sequence_variants AS v
USING sequences AS s
WHERE v.team_id = $1
    AND s.id = v.sequence_id
    AND s.campaign_id = $2
    AND (v.sequence_id, v.variant_index) NOT IN (
        SELECT k.sequence_id, k.variant_index FROM unnest($3::uuid[], $4::int[]) AS k(sequence_id, variant_index)
    )
"""
SAVE_VARIANTS = """
INSERT INTO sequence_variants (id, team_id, sequence_id, variant_index, weight, subject, body, created_at)
SELECT r.id, $1, r.sequence_id, r.variant_index, r.weight, r.subject, r.body, $3
FROM jsonb_to_recordset($2::jsonb)
    AS r(id uuid, sequence_id uuid, variant_index int, weight int, subject text, body text)
ON CONFLICT (sequence_id, variant_index) DO UPDATE
SET weight = excluded.weight,
    subject = excluded.subject,
    body = excluded.body
"""


async def save_steps(  # noqa: PLR0913, PLR0917  the whole sequence is written at once
    tx: Tx,
    team_id: UUID,
    campaign_id: UUID,
    steps: Sequence[NewStep],
    variants: Sequence[NewVariant],
    at: datetime,
) -> None:
    """Makes these the campaign's steps: known ids are changed, new ones added, the others archived."""
    await tx.execute(ARCHIVE_STEPS, team_id, campaign_id, [step.id for step in steps], at)
    await tx.execute(SHIFT_STEPS, team_id, campaign_id)
    await tx.execute(SAVE_STEPS, team_id, campaign_id, steps, at)
    owners, places = [v.sequence_id for v in variants], [v.variant_index for v in variants]
    await tx.execute(DROP_VARIANTS, team_id, campaign_id, owners, places)
    await tx.execute(SAVE_VARIANTS, team_id, variants, at)


class Version(msgspec.Struct, frozen=True, kw_only=True):
    """A sequence as it was saved; the newest of a campaign is what new enrolments get."""

    version: int
    steps: list[dict[str, Any]]


LAST_VERSION = """
SELECT version, steps
FROM sequence_version
WHERE team_id = $1
    AND campaign_id = $2
ORDER BY version DESC
LIMIT 1
"""
ADD_VERSION = """
INSERT INTO sequence_version (id, team_id, campaign_id, version, steps, created_at)
VALUES ($1, $2, $3, $4, $5, $6)
"""


async def last_version(tx: Tx, team_id: UUID, campaign_id: UUID) -> Version | None:
    """The newest saved version; the caller holds the campaign's row."""
    return await fetch_one(tx, Version, LAST_VERSION, team_id, campaign_id)


async def add_version(  # noqa: PLR0913, PLR0917  the row has that many facts
    tx: Tx, version_id: UUID, team_id: UUID, campaign_id: UUID, version: Version, at: datetime
) -> None:
    """Adds the next version."""
    await tx.execute(ADD_VERSION, version_id, team_id, campaign_id, version.version, version.steps, at)


CUSTOM_FIELD_NAMES = """
SELECT DISTINCT jsonb_object_keys(custom_fields) AS name
FROM (
    SELECT custom_fields
    FROM leads
    WHERE team_id = $1
        AND deleted_at IS NULL
    ORDER BY id DESC
    LIMIT $2
) AS latest
"""


async def custom_field_names(tx: Tx, team_id: UUID, sample: int) -> frozenset[str]:
    """The names of the custom fields of the team's latest leads."""
    return frozenset(record["name"] for record in await tx.fetch(CUSTOM_FIELD_NAMES, team_id, sample))
