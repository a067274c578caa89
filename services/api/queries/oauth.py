"""SQL of renewing access tokens, which no request asks for: it runs as coldstream_api.

Never stores what belongs to older credentials: every write after a claim names the version that it is about.
"""

from collections.abc import Sequence
from typing import Literal
from uuid import UUID

import msgspec

from libs.schema.runtime.db import Tx, fetch_all

# Whoever claims pushes the next try ahead: another worker finds nothing due, and a dead one's claim runs out.
CLAIM_DUE = """
WITH due AS (
    SELECT id
    FROM inboxes
    WHERE oauth_refresh_at <= clock_timestamp()
        AND oauth_refresh_token IS NOT NULL
        AND provider::text = ANY ($1::text[])
        AND deleted_at IS NULL
    ORDER BY oauth_refresh_at
    LIMIT $2
    FOR NO KEY UPDATE SKIP LOCKED
)
UPDATE inboxes AS i
SET oauth_refresh_at = clock_timestamp() + make_interval(secs => $3)
FROM due
WHERE i.id = due.id
RETURNING i.id, i.team_id, i.provider, i.oauth_refresh_token, i.oauth_scope, i.cred_version, i.oauth_failures
"""
STORE_GRANT = """
UPDATE inboxes
SET oauth_access_token = $4,
    oauth_refresh_token = coalesce($5, oauth_refresh_token),
    oauth_scope = coalesce($6, oauth_scope),
    oauth_expires_at = clock_timestamp() + make_interval(secs => $7),
    oauth_refresh_at = clock_timestamp() + make_interval(secs => $7 * $8),
    oauth_failures = 0,
    cred_version = cred_version + 1
WHERE team_id = $1
    AND id = $2
    AND cred_version = $3
RETURNING id
"""
PUT_OFF = """
UPDATE inboxes
SET oauth_refresh_at = clock_timestamp() + make_interval(secs => $4),
    oauth_failures = oauth_failures + 1
WHERE team_id = $1
    AND id = $2
    AND cred_version = $3
RETURNING id
"""
# A paused or banned mailbox stays what it is.
ASK_FOR_CONSENT = """
UPDATE inboxes
SET status = CASE WHEN status IN ('active', 'warming_up') THEN 'error' ELSE status END,
    status_reason = 'reauth_required',
    reauth_required = TRUE,
    oauth_refresh_at = NULL,
    cred_version = cred_version + 1
WHERE team_id = $1
    AND id = $2
    AND cred_version = $3
    AND deleted_at IS NULL
RETURNING id
"""


class Due(msgspec.Struct, frozen=True, kw_only=True):
    """A mailbox whose access token is to be renewed; the refresh token is sealed."""

    id: UUID
    team_id: UUID
    provider: Literal["google", "microsoft"]
    oauth_refresh_token: str
    oauth_scope: str | None
    cred_version: int
    oauth_failures: int


async def claim_due(tx: Tx, providers: Sequence[str], limit: int, lease_s: float) -> list[Due]:
    """Mailboxes whose time has come, which nobody else touches for `lease_s`."""
    return await fetch_all(tx, Due, CLAIM_DUE, providers, limit, lease_s)


async def store_grant(  # noqa: PLR0913, PLR0917  the row has that many facts
    tx: Tx,
    due: Due,
    access_token: str,
    refresh_token: str | None,
    scope: str | None,
    lifetime_s: float,
    renew_at: float,
) -> bool:
    """Whether the credentials are still those that were claimed, and are renewed now; tokens come sealed."""
    args = (access_token, refresh_token, scope, lifetime_s, renew_at)
    return await tx.fetchval(STORE_GRANT, due.team_id, due.id, due.cred_version, *args) is not None


async def put_off(tx: Tx, due: Due, wait_s: float) -> bool:
    """Whether the credentials are still those that were claimed; they are tried again after so many seconds."""
    return await tx.fetchval(PUT_OFF, due.team_id, due.id, due.cred_version, wait_s) is not None


async def ask_for_consent(tx: Tx, due: Due) -> bool:
    """Whether the credentials are still those that were claimed; the mailbox now waits for new ones."""
    return await tx.fetchval(ASK_FOR_CONSENT, due.team_id, due.id, due.cred_version) is not None
