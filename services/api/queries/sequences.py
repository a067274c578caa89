"""SQL of a campaign's steps and variants, and of the versions in which enrolled leads keep them."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import msgspec

from libs.planning import sequence as planning
from libs.schema.runtime.db import Tx, fetch_all, fetch_one, to_struct
from services.api.resources import Step, Variant
from services.api.rules.impact import Standing, Waiting

LIST_STEPS = """
SELECT id, campaign_id, step_number, delay_days, delay_hours, subject, body, conditions, sent_count, opened_count,
    replied_count, no_difference
FROM sequences
WHERE team_id = $1
    AND campaign_id = $2
    AND deleted_at IS NULL
ORDER BY step_number
"""
LIST_VARIANTS = """
SELECT v.sequence_id, v.id, v.variant_index, v.weight, v.subject, v.body, v.sent_count, v.opened_count,
    v.replied_count, coalesce(v.won_against @> ARRAY(SELECT a.id FROM sequence_variants AS a
        WHERE a.sequence_id = s.id AND a.deleted_at IS NULL), false) AS is_winner
FROM sequence_variants AS v
JOIN sequences AS s ON s.id = v.sequence_id
WHERE v.team_id = $1
    AND s.campaign_id = $2
    AND s.deleted_at IS NULL
    AND v.deleted_at IS NULL
ORDER BY v.sequence_id, v.variant_index
"""


async def list_steps(tx: Tx, team_id: UUID, campaign_id: UUID) -> list[Step]:
    """The campaign's steps in their order, with their variants."""
    variants: dict[UUID, list[Variant]] = {}
    for record in await tx.fetch(LIST_VARIANTS, team_id, campaign_id):
        variants.setdefault(record["sequence_id"], []).append(to_struct(Variant, record))
    steps = await fetch_all(tx, Step, LIST_STEPS, team_id, campaign_id)
    return [msgspec.structs.replace(step, variants=variants.get(step.id, [])) for step in steps]


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
    (id, team_id, campaign_id, step_number, delay_days, delay_hours, subject, body, conditions, created_at)
SELECT r.id, $1, $2, r.step_number, r.delay_days, r.delay_hours, r.subject, r.body, r.conditions, $4
FROM jsonb_to_recordset($3::jsonb)
    AS r(id uuid, step_number int, delay_days int, delay_hours int, subject text, body text, conditions jsonb)
ON CONFLICT (id) DO UPDATE
SET step_number = excluded.step_number,
    delay_days = excluded.delay_days,
    delay_hours = excluded.delay_hours,
    subject = excluded.subject,
    body = excluded.body,
    conditions = excluded.conditions,
    revision = sequences.revision + 1
"""
ARCHIVE_VARIANTS = """
UPDATE sequence_variants AS v
SET deleted_at = $4
FROM sequences AS s
WHERE v.team_id = $1
    AND s.id = v.sequence_id
    AND s.campaign_id = $2
    AND v.deleted_at IS NULL
    AND v.id <> ALL ($3::uuid[])
"""
SHIFT_VARIANTS = """
UPDATE sequence_variants AS v
SET variant_index = variant_index + 1000000
FROM sequences AS s
WHERE v.team_id = $1
    AND s.id = v.sequence_id
    AND s.campaign_id = $2
    AND v.deleted_at IS NULL
"""
SAVE_VARIANTS = """
INSERT INTO sequence_variants (id, team_id, sequence_id, variant_index, weight, subject, body, created_at)
SELECT r.id, $1, r.sequence_id, r.variant_index, r.weight, r.subject, r.body, $3
FROM jsonb_to_recordset($2::jsonb)
    AS r(id uuid, sequence_id uuid, variant_index int, weight int, subject text, body text)
ON CONFLICT (id) DO UPDATE
SET variant_index = excluded.variant_index,
    weight = excluded.weight
"""


async def save_steps(tx: Tx, team_id: UUID, campaign_id: UUID, steps: Sequence[Step], at: datetime) -> None:
    """Makes these the campaign's steps and variants: known ids are changed, new ones added, the others archived.

    A variant's words never change; other words are another variant.
    """
    variants = [
        {"sequence_id": step.id, **msgspec.structs.asdict(variant)} for step in steps for variant in step.variants
    ]
    await tx.execute(ARCHIVE_STEPS, team_id, campaign_id, [step.id for step in steps], at)
    await tx.execute(SHIFT_STEPS, team_id, campaign_id)
    await tx.execute(SAVE_STEPS, team_id, campaign_id, steps, at)
    await tx.execute(ARCHIVE_VARIANTS, team_id, campaign_id, [variant["id"] for variant in variants], at)
    await tx.execute(SHIFT_VARIANTS, team_id, campaign_id)
    await tx.execute(SAVE_VARIANTS, team_id, variants, at)


class Version(msgspec.Struct, frozen=True, kw_only=True):
    """A sequence as it was saved; the newest of a campaign is what new enrolments get."""

    version: int
    steps: list[planning.Step]
    moves_leads: bool = False  # leads on their way in an older version go on in this one


LAST_VERSION = """
SELECT version, steps, moves_leads
FROM sequence_version
WHERE team_id = $1
    AND campaign_id = $2
ORDER BY version DESC
LIMIT 1
"""
ADD_VERSION = """
INSERT INTO sequence_version (id, team_id, campaign_id, version, steps, moves_leads, created_at)
VALUES ($1, $2, $3, $4, $5, $6, $7)
"""


async def last_version(tx: Tx, team_id: UUID, campaign_id: UUID) -> Version | None:
    """The newest saved version; the caller holds the campaign's row."""
    return await fetch_one(tx, Version, LAST_VERSION, team_id, campaign_id)


async def add_version(  # noqa: PLR0913, PLR0917  the row has that many facts
    tx: Tx, version_id: UUID, team_id: UUID, campaign_id: UUID, version: Version, at: datetime
) -> None:
    """Adds the next version."""
    await tx.execute(
        ADD_VERSION, version_id, team_id, campaign_id, version.version, version.steps, version.moves_leads, at
    )


VERSIONS_IN_USE = """
SELECT v.version, v.steps, v.moves_leads
FROM sequence_version AS v
WHERE v.team_id = $1
    AND v.campaign_id = $2
    AND EXISTS (SELECT FROM enrollments AS e
        WHERE e.campaign_id = v.campaign_id AND e.sequence_version = v.version AND e.state IN ('active', 'held'))
"""
LEADS_ON_THEIR_WAY = """
SELECT e.sequence_version AS version, e.step_number, count(*) AS leads
FROM enrollments AS e
WHERE e.team_id = $1
    AND e.campaign_id = $2
    AND e.state IN ('active', 'held')
GROUP BY e.sequence_version, e.step_number
"""
WAITING_MAILS = """
SELECT e.sequence_version AS version, l.step_id,
    (l.not_before AT TIME ZONE coalesce(c.settings ->> 'timezone', 'UTC'))::date AS date, count(*) AS mails
FROM enrollments AS e
JOIN campaigns AS c ON c.id = e.campaign_id
JOIN send_ledger AS l ON l.team_id = e.team_id AND l.lead_key = e.lead_key AND l.enrollment_id = e.id
WHERE e.team_id = $1
    AND e.campaign_id = $2
    AND e.state = 'active'
    AND e.next_at IS NULL
    AND l.state = 'queued'
    AND l.not_before < $3
GROUP BY 1, 2, 3
"""


async def versions_in_use(tx: Tx, team_id: UUID, campaign_id: UUID) -> list[Version]:
    """The versions that leads on their way are in."""
    return await fetch_all(tx, Version, VERSIONS_IN_USE, team_id, campaign_id)


async def leads_on_their_way(tx: Tx, team_id: UUID, campaign_id: UUID) -> list[Standing]:
    """How many leads stand where."""
    return await fetch_all(tx, Standing, LEADS_ON_THEIR_WAY, team_id, campaign_id)


async def waiting_mails(tx: Tx, team_id: UUID, campaign_id: UUID, until: datetime) -> list[Waiting]:
    """How many mails have their second before that, by day."""
    return await fetch_all(tx, Waiting, WAITING_MAILS, team_id, campaign_id, until)


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
