"""Mailboxes: which are due, who speaks for them, how far they have been read, what came."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Literal
from uuid import UUID

import msgspec

from libs.schema.runtime.db import Tx, fetch_all


class Cursor(msgspec.Struct, frozen=True, kw_only=True):
    """How far a folder has been read."""

    folder: str
    uidvalidity: int
    last_uid: int
    last_internal_date: datetime | None


class DueInbox(msgspec.Struct, frozen=True, kw_only=True):
    """A mailbox to be asked, with its sealed credentials, and how far its folders have been read.

    `way` changes with whatever a login depends on; of `cursors` a folder that was never read has none.
    """

    id: UUID
    team_id: UUID
    host: str
    port: int
    tls: Literal["implicit", "none"]
    username: str
    imap_password: str | None
    smtp_password: str | None
    created_at: datetime
    oauth_access_token: str | None = None
    way: str = ""
    was_shut: bool = False  # and that was told
    cursors: Sequence[Cursor] = ()


class Pace(msgspec.Struct, frozen=True, kw_only=True):
    """How often mailboxes are asked, business seconds.

    Every `fastest` until `fresh` after something was sent or came, then ever slower in proportion, but every `slowest`.
    """

    fastest: float
    slowest: float
    fresh: float = 6 * 3600.0


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """Where messages lie."""

    team_id: UUID
    inbox_id: UUID
    folder: str
    uidvalidity: int


class NewRaw(msgspec.Struct, frozen=True, kw_only=True):
    """A message as it came, to be stored."""

    id: UUID
    uid: int
    dedupe: bytes
    internal_date: datetime
    size_bytes: int
    raw: bytes
    truncated: bool


# A token past its life is no credential: its mailbox waits for the API to renew it. Where every login was refused only
# other credentials help, or somebody who sets the mailbox going again.
DUE_INBOXES = """
SELECT i.id, i.team_id, i.imap_host AS host, coalesce(i.imap_port, 993) AS port, i.imap_tls AS tls,
    coalesce(i.imap_username, i.smtp_username, i.email) AS username, i.imap_password, i.smtp_password, i.created_at,
    i.oauth_access_token, i.imap_way AS way,
    coalesce(i.imap_refused, i.imap_unreachable_since::text) IS NOT NULL AS was_shut, q.cursors
FROM inboxes AS i
CROSS JOIN LATERAL (
    SELECT extract(epoch FROM $1::timestamptz - greatest(i.created_at, i.last_sent_at, max(c.updated_at))) AS quiet_s,
        coalesce(jsonb_agg(to_jsonb(c)) FILTER (WHERE c.folder IS NOT NULL), '[]') AS cursors
    FROM imap_cursor AS c
    WHERE c.inbox_id = i.id
) AS q
CROSS JOIN LATERAL (
    SELECT i.last_reply_checked_at
        + make_interval(secs => greatest($2, least($3, $2 * greatest(1, q.quiet_s::float8 / $4)))) AS at
) AS due
WHERE i.deleted_at IS NULL
    AND i.imap_host IS NOT NULL
    AND CASE WHEN i.oauth_access_token IS NOT NULL THEN coalesce(i.oauth_expires_at > clock_timestamp(), TRUE)
        ELSE i.provider = 'smtp' OR i.imap_password IS NOT NULL OR i.smtp_password IS NOT NULL END
    AND (i.imap_refused IS DISTINCT FROM i.imap_way OR i.status IN ('active', 'warming_up'))
    AND (due.at IS NULL OR due.at <= $1 OR i.id = ANY ($5::uuid[]))
    AND NOT EXISTS (SELECT FROM unnest($6::uuid[], $7::text[]) AS p(id, way) WHERE p.id = i.id AND p.way = i.imap_way)
ORDER BY due.at NULLS FIRST, i.id
LIMIT $8
"""


async def due_inboxes(  # noqa: PLR0913, PLR0917 - who, when, how often, who else and who not
    tx: Tx, now: datetime, pace: Pace, called: Sequence[UUID], pausing: Mapping[UUID, str], limit: int
) -> list[DueInbox]:
    """The mailboxes whose time has come and those that `called`, longest due first, without those that pause.

    A pause is for one way in: where that has changed since, it is over.
    """
    args = (list(called), list(pausing), list(pausing.values()), limit)
    return await fetch_all(tx, DueInbox, DUE_INBOXES, now, pace.fastest, pace.slowest, pace.fresh, *args)


# Without its new value where the credentials are others by now, which nobody has refused.
MARK_REFUSED = """
WITH box AS MATERIALIZED (
    SELECT i.id, i.imap_refused, i.status
    FROM inboxes AS i
    WHERE i.id = $1
        AND i.imap_way = $2
        AND i.deleted_at IS NULL
    FOR NO KEY UPDATE
)
UPDATE inboxes AS i
SET imap_refused = i.imap_way
FROM box
WHERE i.id = box.id
RETURNING box.imap_refused IS NULL OR box.status <> 'error'
"""


async def mark_refused(tx: Tx, inbox_id: UUID, way: str) -> bool:
    """Notes that the mailbox's server refuses this way in; whether that is news."""
    return await tx.fetchval(MARK_REFUSED, inbox_id, way) or False


MARK_UNREACHABLE = """
UPDATE inboxes
SET imap_unreachable_since = $3
WHERE id = $1
    AND imap_way = $2
    AND (imap_unreachable_since IS NULL OR status IN ('active', 'warming_up'))
    AND deleted_at IS NULL
RETURNING TRUE
"""


async def mark_unreachable(tx: Tx, inbox_id: UUID, way: str, since: datetime) -> bool:
    """Notes that nobody gets in by this way; whether that is news, or somebody has set the mailbox going again."""
    return await tx.fetchval(MARK_UNREACHABLE, inbox_id, way, since) or False


MARK_OPEN = """
UPDATE inboxes
SET imap_refused = NULL, imap_unreachable_since = NULL
WHERE id = $1
    AND (imap_refused IS NOT NULL OR imap_unreachable_since IS NOT NULL)
RETURNING CASE WHEN status = 'error' THEN provider::text END
"""


async def mark_open(tx: Tx, inbox_id: UUID) -> str | None:
    """Notes that the mailbox lets us in again; the provider's name where it is still shown as broken."""
    return await tx.fetchval(MARK_OPEN, inbox_id)


TRY_LOCK = "SELECT pg_try_advisory_lock(hashtextextended($1, 0))"


async def try_lock(connection: Tx, inbox_id: UUID) -> bool:
    """Whether this connection now speaks for the mailbox, until it unlocks or ends; counts like a semaphore."""
    return await connection.fetchval(TRY_LOCK, f"replies/inbox/{inbox_id}")


UNLOCK = "SELECT pg_advisory_unlock(hashtextextended($1, 0))"


async def unlock(connection: Tx, inbox_id: UUID) -> None:
    """Lets another process speak for the mailbox."""
    await connection.execute(UNLOCK, f"replies/inbox/{inbox_id}")


# One statement, so that nothing lies between the messages and the cursor behind them, and it costs one round trip.
STORE = """
WITH stored AS (
    INSERT INTO inbound_raw
        (id, team_id, inbox_id, folder, uidvalidity, uid, dedupe, internal_date, size_bytes, raw, truncated, stored_at)
    SELECT id, $1, $2, $3, $4, uid, dedupe, internal_date, size_bytes, raw, truncated, $5
    FROM unnest($6::uuid[], $7::bigint[], $8::bytea[], $9::timestamptz[], $10::bigint[], $11::bytea[], $12::boolean[])
        AS m(id, uid, dedupe, internal_date, size_bytes, raw, truncated)
    ON CONFLICT DO NOTHING
)
INSERT INTO imap_cursor (inbox_id, team_id, folder, uidvalidity, last_uid, last_internal_date, updated_at)
SELECT $2, $1, $3, $4, $13::bigint, (SELECT max(at) FROM unnest($9::timestamptz[]) AS at), $5
WHERE $13::bigint IS NOT NULL
ON CONFLICT (inbox_id, folder) DO UPDATE
SET uidvalidity = excluded.uidvalidity,
    last_uid = excluded.last_uid,
    last_internal_date = greatest(imap_cursor.last_internal_date, excluded.last_internal_date),
    updated_at = excluded.updated_at
WHERE imap_cursor.uidvalidity <> excluded.uidvalidity OR imap_cursor.last_uid < excluded.last_uid
"""


async def store(tx: Tx, place: Place, messages: Sequence[NewRaw], upto: int | None, now: datetime) -> None:
    """Stores the messages of a folder, and notes that it has been read up to there; None leaves the cursor alone.

    A message that is known, under this or another UIDVALIDITY, is not stored again. Within one UIDVALIDITY the cursor
    never goes back.
    """
    await tx.execute(
        STORE,
        place.team_id,
        place.inbox_id,
        place.folder,
        place.uidvalidity,
        now,
        [each.id for each in messages],
        [each.uid for each in messages],
        [each.dedupe for each in messages],
        [each.internal_date for each in messages],
        [each.size_bytes for each in messages],
        [each.raw for each in messages],
        [each.truncated for each in messages],
        upto,
    )


MARK_CHECKED = """
UPDATE inboxes
SET last_reply_checked_at = $2
WHERE id = $1 AND (last_reply_checked_at IS NULL OR last_reply_checked_at < $2)
"""


async def mark_checked(tx: Tx, inbox_id: UUID, at: datetime) -> None:
    """Notes that what had arrived at `at` has been stored."""
    await tx.execute(MARK_CHECKED, inbox_id, at)
