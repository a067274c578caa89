"""Mailboxes: which are due, who speaks for them, how far they have been read, what came."""

from collections.abc import Sequence
from datetime import datetime
from typing import Literal
from uuid import UUID

import msgspec

from libs.schema.runtime.db import Tx, fetch_all


class DueInbox(msgspec.Struct, frozen=True, kw_only=True):
    """A mailbox to be asked, with its sealed credentials."""

    id: UUID
    team_id: UUID
    host: str
    port: int
    tls: Literal["implicit", "none"]
    username: str
    imap_password: str | None
    smtp_password: str | None
    created_at: datetime


class Cursor(msgspec.Struct, frozen=True, kw_only=True):
    """How far a folder has been read."""

    folder: str
    uidvalidity: int
    last_uid: int
    last_internal_date: datetime | None


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


DUE_INBOXES = """
SELECT id, team_id, imap_host AS host, coalesce(imap_port, 993) AS port, imap_tls AS tls,
    coalesce(imap_username, smtp_username, email) AS username, imap_password, smtp_password, created_at
FROM inboxes
WHERE deleted_at IS NULL
    AND imap_host IS NOT NULL
    AND (last_reply_checked_at IS NULL OR last_reply_checked_at <= $1)
    AND NOT (id = ANY($2::uuid[]))
ORDER BY last_reply_checked_at NULLS FIRST, id
LIMIT $3
"""


async def due_inboxes(tx: Tx, before: datetime, but: Sequence[UUID], limit: int) -> list[DueInbox]:
    """The mailboxes that were last asked at `before` or earlier, longest ago first, without those in `but`."""
    return await fetch_all(tx, DueInbox, DUE_INBOXES, before, list(but), limit)


TRY_LOCK = "SELECT pg_try_advisory_lock(hashtextextended($1, 0))"


async def try_lock(connection: Tx, inbox_id: UUID) -> bool:
    """Whether this connection now speaks for the mailbox, until it unlocks or ends; counts like a semaphore."""
    return await connection.fetchval(TRY_LOCK, f"replies/inbox/{inbox_id}")


UNLOCK = "SELECT pg_advisory_unlock(hashtextextended($1, 0))"


async def unlock(connection: Tx, inbox_id: UUID) -> None:
    """Lets another process speak for the mailbox."""
    await connection.execute(UNLOCK, f"replies/inbox/{inbox_id}")


READ_CURSORS = """
SELECT folder, uidvalidity, last_uid, last_internal_date
FROM imap_cursor
WHERE inbox_id = $1
"""


async def read_cursors(tx: Tx, inbox_id: UUID) -> dict[str, Cursor]:
    """How far the mailbox's folders have been read; one that never was is not among them."""
    return {cursor.folder: cursor for cursor in await fetch_all(tx, Cursor, READ_CURSORS, inbox_id)}


STORE_RAW = """
INSERT INTO inbound_raw
    (id, team_id, inbox_id, folder, uidvalidity, uid, dedupe, internal_date, size_bytes, raw, truncated, stored_at)
SELECT id, $1, $2, $3, $4, uid, dedupe, internal_date, size_bytes, raw, truncated, $5
FROM unnest($6::uuid[], $7::bigint[], $8::bytea[], $9::timestamptz[], $10::bigint[], $11::bytea[], $12::boolean[])
    AS m(id, uid, dedupe, internal_date, size_bytes, raw, truncated)
ON CONFLICT DO NOTHING
"""


async def store_raw(tx: Tx, place: Place, messages: Sequence[NewRaw], now: datetime) -> None:
    """Stores the messages of a folder; one that is known, under this or another UIDVALIDITY, is not stored again."""
    await tx.execute(
        STORE_RAW,
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
    )


MOVE_CURSOR = """
INSERT INTO imap_cursor (inbox_id, team_id, folder, uidvalidity, last_uid, last_internal_date, updated_at)
VALUES ($1, $2, $3, $4, $5, $6, $7)
ON CONFLICT (inbox_id, folder) DO UPDATE
SET uidvalidity = excluded.uidvalidity,
    last_uid = excluded.last_uid,
    last_internal_date = greatest(imap_cursor.last_internal_date, excluded.last_internal_date),
    updated_at = excluded.updated_at
WHERE imap_cursor.uidvalidity <> excluded.uidvalidity OR imap_cursor.last_uid < excluded.last_uid
"""


async def move_cursor(tx: Tx, place: Place, last_uid: int, last_internal_date: datetime | None, now: datetime) -> None:
    """Notes that the folder has been read up to `last_uid`; within one UIDVALIDITY never goes back."""
    await tx.execute(
        MOVE_CURSOR,
        place.inbox_id,
        place.team_id,
        place.folder,
        place.uidvalidity,
        last_uid,
        last_internal_date,
        now,
    )


MARK_CHECKED = """
UPDATE inboxes
SET last_reply_checked_at = $2
WHERE id = $1 AND (last_reply_checked_at IS NULL OR last_reply_checked_at < $2)
"""


async def mark_checked(tx: Tx, inbox_id: UUID, at: datetime) -> None:
    """Notes that what had arrived at `at` has been stored."""
    await tx.execute(MARK_CHECKED, inbox_id, at)
