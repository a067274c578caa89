"""SQL of a mailbox's OAuth credentials, as a person gives or replaces them; they go in sealed and never come back."""

from datetime import datetime
from uuid import UUID

import msgspec

from libs.schema.runtime.db import Tx

# In a token's real time. A token of unknown life, or none, is renewed at once.
SET_OAUTH = """
UPDATE inboxes
SET oauth_access_token = $3,
    oauth_refresh_token = $4,
    oauth_expires_at = $5,
    oauth_scope = $6,
    oauth_refresh_at = clock_timestamp() + $7::float8
        * greatest(coalesce($5::timestamptz, clock_timestamp()) - clock_timestamp(), INTERVAL '0'),
    oauth_failures = 0,
    smtp_password = NULL,
    imap_password = NULL,
    cred_version = cred_version + 1
WHERE team_id = $1
    AND id = $2
"""
FORGET_OAUTH = """
UPDATE inboxes
SET oauth_access_token = NULL,
    oauth_refresh_token = NULL,
    oauth_expires_at = NULL,
    oauth_scope = NULL,
    oauth_refresh_at = NULL,
    oauth_failures = 0,
    cred_version = cred_version + 1
WHERE team_id = $1
    AND id = $2
"""
END_WAIT_FOR_CONSENT = """
UPDATE inboxes
SET status = CASE WHEN status = 'error' THEN 'active' ELSE status END,
    status_reason = NULL,
    reauth_required = FALSE
WHERE team_id = $1
    AND id = $2
    AND reauth_required
"""


class Grant(msgspec.Struct, frozen=True, kw_only=True):
    """OAuth credentials, their tokens sealed, in the order of the statement's arguments."""

    access_token: str | None
    refresh_token: str
    expires_at: datetime | None
    scope: str | None


async def set_oauth(tx: Tx, team_id: UUID, inbox_id: UUID, grant: Grant, renew_at: float) -> None:
    """Replaces the credentials; passwords are forgotten, since a mailbox logs in by one of the two."""
    await tx.execute(SET_OAUTH, team_id, inbox_id, *msgspec.structs.astuple(grant), renew_at)
    await tx.execute(END_WAIT_FOR_CONSENT, team_id, inbox_id)


async def forget_oauth(tx: Tx, team_id: UUID, inbox_id: UUID) -> None:
    """Forgets the grant, because the mailbox logs in with a password from now on."""
    await tx.execute(FORGET_OAUTH, team_id, inbox_id)
    await tx.execute(END_WAIT_FOR_CONSENT, team_id, inbox_id)
