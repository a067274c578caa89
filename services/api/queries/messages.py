"""SQL of messages that a mailbox got (replies owns them): listed where they matched nobody, and put away by people."""

from datetime import datetime
from uuid import UUID

from libs.schema.runtime.db import Tx, fetch_all
from services.api.unibox import InboundMessage

LIST_MESSAGES = """
SELECT m.id, jsonb_build_object('id', i.id, 'email', i.email) AS inbox, m.folder, m.stored_at AS received_at,
    m.size_bytes, m.outcome, m.dismissed_at IS NOT NULL AS is_dismissed,
    (m.outcome_detail ->> 'reply_id')::uuid AS reply_id, m.outcome_detail ->> 'from' AS from_email,
    m.outcome_detail ->> 'from_name' AS from_name, m.outcome_detail ->> 'subject' AS subject,
    m.outcome_detail ->> 'preview' AS preview,
    CASE WHEN $2::uuid IS NOT NULL THEN m.outcome_detail ->> 'text' END AS text,
    m.outcome_detail ->> 'intent' AS intent, (m.outcome_detail ->> 'confidence')::float8 AS intent_confidence,
    coalesce((
        SELECT jsonb_agg(jsonb_build_object('id', l.id, 'email', l.email, 'first_name', l.first_name,
            'last_name', l.last_name, 'company', l.company, 'status', l.status) ORDER BY c.place)
        FROM jsonb_array_elements_text(m.outcome_detail -> 'candidates') WITH ORDINALITY AS c(lead_id, place)
        JOIN leads AS l ON l.id = c.lead_id::uuid
        WHERE l.team_id = m.team_id
            AND l.deleted_at IS NULL
    ), '[]') AS candidates
FROM inbound_raw AS m
JOIN inboxes AS i ON i.id = m.inbox_id
WHERE m.team_id = $1
    AND ($2::uuid IS NULL OR m.id = $2)
    AND ($3::boolean IS NULL OR (m.outcome = 'unmatched' AND (m.dismissed_at IS NOT NULL) = $3))
    AND ($4::uuid IS NULL OR m.inbox_id = $4)
    AND ($5::timestamptz IS NULL OR (m.stored_at, m.id) < ($5, $6::uuid))
ORDER BY m.stored_at DESC, m.id DESC
LIMIT $7
"""


async def list_unmatched(  # noqa: PLR0913  the statement has that many filters
    tx: Tx,
    team_id: UUID,
    inbox_id: UUID | None,
    before: tuple[datetime, UUID] | None,
    limit: int,
    *,
    dismissed: bool,
) -> list[InboundMessage]:
    """The team's messages that matched nobody, newest first, those after the given place."""
    at, after_id = before or (None, None)
    return await fetch_all(tx, InboundMessage, LIST_MESSAGES, team_id, None, dismissed, inbox_id, at, after_id, limit)


async def get_message(tx: Tx, team_id: UUID, message_id: UUID) -> InboundMessage | None:
    """One message of the team, whatever it turned out to be."""
    found = await fetch_all(tx, InboundMessage, LIST_MESSAGES, team_id, message_id, None, None, None, None, 1)
    return found[0] if found else None


DISMISS = """
UPDATE inbound_raw
SET dismissed_at = CASE WHEN $3 THEN coalesce(dismissed_at, $4) END
WHERE team_id = $1
    AND id = $2
"""


async def dismiss(tx: Tx, team_id: UUID, message_id: UUID, at: datetime, *, dismissed: bool) -> None:
    """Puts the message away, or back on the list; a second call changes nothing."""
    await tx.execute(DISMISS, team_id, message_id, dismissed, at)


EMAIL_IS_OF_LEAD = """
SELECT EXISTS (SELECT FROM emails WHERE team_id = $1 AND id = $2 AND lead_id = $3)
"""


async def email_is_of_lead(tx: Tx, team_id: UUID, email_id: UUID, lead_id: UUID) -> bool:
    """Whether the team has this email, and it is to the lead."""
    return await tx.fetchval(EMAIL_IS_OF_LEAD, team_id, email_id, lead_id)
