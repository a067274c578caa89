"""SQL of inboxes and their settings; passwords go in sealed and never come back."""

from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from libs.schema.runtime.db import Tx, fetch_all, fetch_one
from services.api.resources import Inbox, InboxSettings

LIST_INBOXES = """
SELECT id, domain_id, email, from_name, provider, status, status_reason, paused_at, smtp_host, smtp_port,
    smtp_username, smtp_tls, imap_host, imap_port, imap_username, imap_tls, health_score, health_known,
    bounce_rate_7d::float8, open_rate_7d::float8, reply_rate_7d::float8, sent_today, sent_this_week, sent_total,
    circuit_state, last_sent_at, last_reply_checked_at, oauth_expires_at, oauth_scope, reauth_required, created_at,
    updated_at
FROM inboxes
WHERE team_id = $1
    AND ($2::uuid IS NULL OR id = $2)
    AND ($3::inbox_status IS NULL OR status = $3)
    AND ($4::uuid IS NULL OR id < $4)
    AND deleted_at IS NULL
ORDER BY id DESC
LIMIT $5
"""


async def list_inboxes(tx: Tx, team_id: UUID, status: str | None, before: UUID | None, limit: int) -> list[Inbox]:
    """The team's inboxes that are not archived, newest first."""
    return await fetch_all(tx, Inbox, LIST_INBOXES, team_id, None, status, before, limit)


async def get_inbox(tx: Tx, team_id: UUID, inbox_id: UUID) -> Inbox | None:
    """One inbox of the team, unless it is archived."""
    return await fetch_one(tx, Inbox, LIST_INBOXES, team_id, inbox_id, None, None, 1)


COUNT_INBOXES = """
SELECT count(*)
FROM inboxes
WHERE team_id = $1
    AND deleted_at IS NULL
"""


async def count_inboxes(tx: Tx, team_id: UUID) -> int:
    """How many inboxes the team has."""
    return await tx.fetchval(COUNT_INBOXES, team_id)


FIND_ARCHIVED_INBOX = """
SELECT id
FROM inboxes
WHERE team_id = $1
    AND email = $2
    AND deleted_at IS NOT NULL
"""


async def find_archived_inbox(tx: Tx, team_id: UUID, email: str) -> UUID | None:
    """The team's own archived inbox of this address: connecting it again revives it, with its history and its caps."""
    return await tx.fetchval(FIND_ARCHIVED_INBOX, team_id, email)


ADD_INBOX = """
INSERT INTO inboxes
    (id, team_id, domain_id, email, from_name, smtp_host, smtp_port, smtp_username, smtp_tls, imap_host, imap_port,
    imap_username, imap_tls, smtp_password, imap_password, provider, created_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)
"""
REVIVE_INBOX = """
UPDATE inboxes
SET domain_id = $3,
    from_name = $5,
    smtp_host = $6,
    smtp_port = $7,
    smtp_username = $8,
    smtp_tls = $9,
    imap_host = $10,
    imap_port = $11,
    imap_username = $12,
    imap_tls = $13,
    smtp_password = $14,
    imap_password = $15,
    status = 'active',
    status_reason = NULL,
    paused_at = NULL,
    deleted_at = NULL,
    revision = revision + 1
WHERE id = $1
    AND team_id = $2
    AND email = $4
"""


class NewInbox(msgspec.Struct, frozen=True, kw_only=True):
    """An inbox to be connected, its fields in the order of the statements' columns; passwords are sealed."""

    id: UUID
    team_id: UUID
    domain_id: UUID
    email: str
    from_name: str | None
    smtp_host: str
    smtp_port: int
    smtp_username: str
    smtp_tls: str
    imap_host: str
    imap_port: int
    imap_username: str | None
    imap_tls: str
    smtp_password: str | None
    imap_password: str | None


async def add_inbox(tx: Tx, inbox: NewInbox, provider: str, at: datetime) -> None:
    """Adds the inbox.

    Raises:
        asyncpg.UniqueViolationError: the address is connected already, by this team or another.

    """
    await tx.execute(ADD_INBOX, *msgspec.structs.astuple(inbox), provider, at)


async def revive_inbox(tx: Tx, inbox: NewInbox) -> None:
    """Connects the archived inbox with this id again; its provider, history and caps stay."""
    await tx.execute(REVIVE_INBOX, *msgspec.structs.astuple(inbox))


UPDATE_INBOX = """
UPDATE inboxes
SET from_name = $3,
    smtp_host = $4,
    smtp_port = $5,
    smtp_username = $6,
    smtp_tls = $7,
    imap_host = $8,
    imap_port = $9,
    imap_username = $10,
    imap_tls = $11,
    revision = revision + 1
WHERE team_id = $1
    AND id = $2
"""


async def update_inbox(tx: Tx, team_id: UUID, inbox: Inbox) -> None:
    """Writes what may be edited of the inbox, but no password."""
    await tx.execute(
        UPDATE_INBOX,
        team_id,
        inbox.id,
        inbox.from_name,
        inbox.smtp_host,
        inbox.smtp_port,
        inbox.smtp_username,
        inbox.smtp_tls,
        inbox.imap_host,
        inbox.imap_port,
        inbox.imap_username,
        inbox.imap_tls,
    )


# Two statements and no coalesce: who writes a sealed password may not read it.
SET_SMTP_LOGIN = """
UPDATE inboxes
SET smtp_password = $3
WHERE team_id = $1
    AND id = $2
"""
SET_IMAP_LOGIN = """
UPDATE inboxes
SET imap_password = $3
WHERE team_id = $1
    AND id = $2
"""


async def set_smtp_password(tx: Tx, team_id: UUID, inbox_id: UUID, sealed: str) -> None:
    """Replaces the sealed SMTP password."""
    await tx.execute(SET_SMTP_LOGIN, team_id, inbox_id, sealed)


async def set_imap_password(tx: Tx, team_id: UUID, inbox_id: UUID, sealed: str | None) -> None:
    """Replaces the sealed IMAP password; None means that it is the SMTP one."""
    await tx.execute(SET_IMAP_LOGIN, team_id, inbox_id, sealed)


PAUSE_INBOX = """
UPDATE inboxes
SET status = 'paused',
    status_reason = $3,
    paused_at = $4
WHERE team_id = $1
    AND id = $2
    AND status IN ('active', 'warming_up', 'error')
    AND deleted_at IS NULL
RETURNING id
"""
RESUME_INBOX = """
UPDATE inboxes
SET status = 'active',
    status_reason = NULL,
    paused_at = NULL
WHERE team_id = $1
    AND id = $2
    AND status IN ('paused', 'error')
    AND NOT reauth_required
    AND deleted_at IS NULL
RETURNING id
"""
ARCHIVE_INBOX = """
UPDATE inboxes
SET status = 'paused',
    status_reason = 'archived',
    paused_at = $3,
    deleted_at = $3,
    revision = revision + 1
WHERE team_id = $1
    AND id = $2
    AND deleted_at IS NULL
RETURNING id
"""


async def pause_inbox(tx: Tx, team_id: UUID, inbox_id: UUID, reason: str, at: datetime) -> bool:
    """Whether the inbox was in a state that can be paused, and is paused now."""
    return await tx.fetchval(PAUSE_INBOX, team_id, inbox_id, reason, at) is not None


async def resume_inbox(tx: Tx, team_id: UUID, inbox_id: UUID) -> bool:
    """Whether the inbox was paused or in error, and is active now; not while it waits for new OAuth credentials."""
    return await tx.fetchval(RESUME_INBOX, team_id, inbox_id) is not None


async def archive_inbox(tx: Tx, team_id: UUID, inbox_id: UUID, at: datetime) -> bool:
    """Whether there was such an inbox; it is put away and sends no more."""
    return await tx.fetchval(ARCHIVE_INBOX, team_id, inbox_id, at) is not None


ADD_SETTINGS = """
INSERT INTO inbox_settings (inbox_id, min_delay_seconds, max_delay_seconds)
VALUES ($1, $2, $3)
ON CONFLICT (inbox_id) DO NOTHING
"""
GET_SETTINGS = """
SELECT inbox_id, daily_send_limit, hourly_limit, min_delay_seconds, max_delay_seconds, send_window_start,
    send_window_end, send_window_timezone, send_days, weekends_enabled, esp_matching_enabled, auto_throttle_enabled,
    updated_at
FROM inbox_settings
WHERE team_id = $1
    AND inbox_id = $2
"""
UPDATE_SETTINGS = """
UPDATE inbox_settings AS s
SET (daily_send_limit, hourly_limit, min_delay_seconds, max_delay_seconds, send_window_start, send_window_end,
    send_window_timezone, send_days, weekends_enabled, esp_matching_enabled, auto_throttle_enabled, revision) = (
    SELECT p.daily_send_limit, p.hourly_limit, p.min_delay_seconds, p.max_delay_seconds, p.send_window_start,
        p.send_window_end, p.send_window_timezone, p.send_days, p.weekends_enabled, p.esp_matching_enabled,
        p.auto_throttle_enabled, s.revision + 1
    FROM jsonb_populate_record(s, $3::jsonb) AS p
)
WHERE s.team_id = $1
    AND s.inbox_id = $2
"""


async def add_settings(tx: Tx, inbox_id: UUID, min_delay_s: int, max_delay_s: int) -> None:
    """Gives the inbox the default settings with these gaps, unless it has some."""
    await tx.execute(ADD_SETTINGS, inbox_id, min_delay_s, max_delay_s)


async def get_settings(tx: Tx, team_id: UUID, inbox_id: UUID) -> InboxSettings | None:
    """The inbox's settings."""
    return await fetch_one(tx, InboxSettings, GET_SETTINGS, team_id, inbox_id)


async def update_settings(tx: Tx, team_id: UUID, inbox_id: UUID, changes: dict[str, Any]) -> None:
    """Writes the named settings; the others stay."""
    await tx.execute(UPDATE_SETTINGS, team_id, inbox_id, changes)
