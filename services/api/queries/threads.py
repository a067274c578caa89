"""SQL of conversations (`replies.conversation_id`: one mailbox and one thread), and whose they are."""

from datetime import datetime
from uuid import UUID

import msgspec

from libs.schema.runtime.db import Tx, fetch_all
from services.api.unibox import Thread, ThreadMessage

# A conversation's row is its newest reply of a person, or of all where no person has written: found by one probe of
# idx_replies_conversation for each row of idx_replies_team_received, until the page is full.
LIST_THREADS = """
WITH page AS (
    SELECT r.id, r.conversation_id, r.lead_id, r.inbox_id, r.campaign_id, r.thread_id, r.subject, r.intent,
        r.is_archived, r.received_at
    FROM replies AS r
    WHERE r.team_id = $1
        AND ($2::uuid IS NULL OR r.conversation_id = $2)
        AND ($3::uuid IS NULL OR r.inbox_id = $3)
        AND ($4::uuid IS NULL OR r.campaign_id = $4)
        AND ($5::uuid IS NULL OR r.lead_id = $5)
        AND ($6::lead_status IS NULL
            OR EXISTS (SELECT FROM leads AS l WHERE l.id = r.lead_id AND l.status = $6))
        AND ($7::reply_intent IS NULL OR r.intent = $7)
        AND ($8::boolean IS NULL OR r.is_archived = $8)
        AND ($9::boolean IS NULL OR $9 = EXISTS (
            SELECT FROM replies AS u WHERE u.conversation_id = r.conversation_id AND u.by_person AND NOT u.is_read))
        AND ($10::boolean IS NULL OR $10 = EXISTS (
            SELECT FROM replies AS u WHERE u.conversation_id = r.conversation_id AND u.needs_review))
        AND ($11::boolean IS NULL OR $11 = EXISTS (
            SELECT FROM conversation_assignee AS a
            WHERE a.team_id = r.team_id AND a.conversation_id = r.conversation_id
                AND ($12::uuid IS NULL OR a.user_id = $12)))
        AND ($13::text IS NULL
            OR r.conversation_id IN (SELECT app.find_conversations(to_tsquery('simple', $13))))
        AND ($14::timestamptz IS NULL OR (r.received_at, r.id) < ($14, $15::uuid))
        AND NOT EXISTS (
            SELECT FROM replies AS n
            WHERE n.conversation_id = r.conversation_id
                AND (n.by_person, n.received_at, n.id) > (r.by_person, r.received_at, r.id))
    ORDER BY r.received_at DESC, r.id DESC
    LIMIT $16
)
SELECT p.conversation_id AS id, p.subject, p.intent::text, p.is_archived, p.id AS last_reply_id,
    p.received_at AS last_reply_at, n.reply_count, n.unread_count, n.needs_review,
    jsonb_build_object('id', l.id, 'email', l.email, 'first_name', l.first_name, 'last_name', l.last_name,
        'company', l.company, 'status', l.status) AS lead,
    jsonb_build_object('id', i.id, 'email', i.email) AS inbox,
    CASE WHEN c.id IS NOT NULL THEN jsonb_build_object('id', c.id, 'name', c.name) END AS campaign,
    CASE WHEN u.id IS NOT NULL
        THEN jsonb_build_object('id', u.id, 'email', u.email, 'full_name', u.full_name) END AS assigned_to,
    jsonb_build_object('at', m.at, 'direction', m.direction, 'preview', m.preview) AS last_message
FROM page AS p
JOIN leads AS l ON l.id = p.lead_id
JOIN inboxes AS i ON i.id = p.inbox_id
LEFT JOIN campaigns AS c ON c.id = p.campaign_id
LEFT JOIN conversation_assignee AS a ON a.team_id = $1 AND a.conversation_id = p.conversation_id
LEFT JOIN users AS u ON u.id = a.user_id
CROSS JOIN LATERAL (
    SELECT count(*) AS reply_count, count(*) FILTER (WHERE o.by_person AND NOT o.is_read) AS unread_count,
        bool_or(o.needs_review) AS needs_review
    FROM replies AS o
    WHERE o.conversation_id = p.conversation_id
) AS n
CROSS JOIN LATERAL (
    (SELECT o.received_at AS at, 'received' AS direction, o.body_preview AS preview
    FROM replies AS o
    WHERE o.conversation_id = p.conversation_id
    ORDER BY o.received_at DESC
    LIMIT 1)
    UNION ALL
    (SELECT e.sent_at, 'sent', left(e.body_text, 500)
    FROM emails AS e
    WHERE e.lead_id = p.lead_id
        AND coalesce(e.thread_id, e.message_id) = p.thread_id
        AND e.sent_at IS NOT NULL
    ORDER BY e.sent_at DESC
    LIMIT 1)
    ORDER BY at DESC
    LIMIT 1
) AS m
ORDER BY p.received_at DESC, p.id DESC
"""


class ThreadFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which conversations are wanted, in the order of the statement's arguments; None asks for no such thing.

    `assigned` asks for those that are somebody's or nobody's, with `assigned_to` for those that are this member's.
    """

    conversation_id: UUID | None = None
    inbox_id: UUID | None = None
    campaign_id: UUID | None = None
    lead_id: UUID | None = None
    lead_status: str | None = None
    intent: str | None = None
    archived: bool | None = None
    unread: bool | None = None
    needs_review: bool | None = None
    assigned: bool | None = None
    assigned_to: UUID | None = None
    words: str | None = None


Place = tuple[datetime, UUID] | None


async def list_threads(tx: Tx, team_id: UUID, wanted: ThreadFilter, before: Place, limit: int) -> list[Thread]:
    """The team's conversations, newest first, those after the given place."""
    at, after_id = before or (None, None)
    arguments = msgspec.structs.astuple(wanted)
    return await fetch_all(tx, Thread, LIST_THREADS, team_id, *arguments, at, after_id, limit)


async def get_thread(tx: Tx, team_id: UUID, conversation_id: UUID) -> Thread | None:
    """One conversation of the team, archived or not."""
    found = await list_threads(tx, team_id, ThreadFilter(conversation_id=conversation_id), None, 1)
    return found[0] if found else None


# Mail of a campaign counts from when it may have left; an answer by hand is there from the moment it is written. A
# reply may have come to another mailbox than the one that wrote: of our side it is the thread that counts.
LIST_MESSAGES = """
WITH thread AS (
    SELECT DISTINCT r.lead_id, r.thread_id
    FROM replies AS r
    WHERE r.team_id = $1
        AND r.conversation_id = $2
), messages AS (
    SELECT r.id, 'reply' AS kind, r.received_at AS at, r.from_email, r.from_name, i.email AS to_email, r.subject,
        r.body_text AS text, r.body_preview AS preview, NULL AS status, NULL AS error, NULL::integer AS step_number,
        r.intent::text, r.intent_confidence::float8, r.intent_model, r.match_method, r.match_confidence::float8,
        r.needs_review, r.is_alias, r.return_date, r.is_read, r.is_archived
    FROM replies AS r
    JOIN inboxes AS i ON i.id = r.inbox_id
    WHERE r.team_id = $1
        AND r.conversation_id = $2
    UNION ALL
    SELECT e.id, CASE e.kind WHEN 'reply' THEN 'answer' ELSE 'campaign' END,
        coalesce(e.sent_at, e.scheduled_at, e.created_at), e.from_email, e.from_name, e.to_email, e.subject,
        e.body_text, NULL, e.status::text, e.error_message, s.step_number, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
        NULL, NULL, NULL
    FROM thread AS t
    JOIN emails AS e ON e.lead_id = t.lead_id
    LEFT JOIN sequences AS s ON s.id = e.sequence_id
    WHERE e.team_id = $1
        AND coalesce(e.thread_id, e.message_id) = t.thread_id
        AND (e.kind = 'reply' OR e.status NOT IN ('queued', 'cancelled', 'failed'))
    UNION ALL
    SELECT j.id, 'job', j.created_at, i.email, i.from_name, r.from_email, NULL, j.payload ->> 'body_text', NULL,
        j.status::text, j.last_error, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL
    FROM replies AS r
    JOIN inboxes AS i ON i.id = r.inbox_id
    JOIN job_queue AS j ON j.payload ->> 'reply_id' = r.id::text AND j.job_type = 'answer_reply'
    WHERE r.team_id = $1
        AND r.conversation_id = $2
        AND j.team_id = $1
        AND j.status <> 'completed'
)
SELECT id, kind, at, from_email, from_name, to_email, subject, left(text, 20000) AS text,
    coalesce(length(text) > 20000, FALSE) AS text_is_cut, coalesce(preview, left(text, 500)) AS preview, status, error,
    step_number, intent, intent_confidence, intent_model, match_method, match_confidence, needs_review, is_alias,
    return_date, is_read, is_archived
FROM messages
WHERE ($3::timestamptz IS NULL OR (at, id) > ($3, $4::uuid))
ORDER BY at, id
LIMIT $5
"""


async def list_messages(tx: Tx, team_id: UUID, conversation_id: UUID, after: Place, limit: int) -> list[ThreadMessage]:
    """What both sides wrote in the conversation, oldest first, what stands after the given place."""
    at, after_id = after or (None, None)
    return await fetch_all(tx, ThreadMessage, LIST_MESSAGES, team_id, conversation_id, at, after_id, limit)


# Nobody who was only invited: they see nothing yet.
ASSIGN = """
INSERT INTO conversation_assignee (team_id, conversation_id, user_id, assigned_at)
SELECT m.team_id, $2, m.user_id, $4
FROM team_members AS m
WHERE m.team_id = $1
    AND m.user_id = $3
    AND m.accepted_at IS NOT NULL
ON CONFLICT (team_id, conversation_id) DO UPDATE
SET user_id = excluded.user_id,
    assigned_at = excluded.assigned_at
RETURNING user_id
"""
UNASSIGN = """
DELETE FROM conversation_assignee
WHERE team_id = $1
    AND conversation_id = $2
"""


async def assign(tx: Tx, team_id: UUID, conversation_id: UUID, user_id: UUID, at: datetime) -> bool:
    """Whether the person is a member of the team; the conversation is theirs now, and no longer anybody else's."""
    return await tx.fetchval(ASSIGN, team_id, conversation_id, user_id, at) is not None


async def unassign(tx: Tx, team_id: UUID, conversation_id: UUID) -> None:
    """Takes the conversation from whoever has it."""
    await tx.execute(UNASSIGN, team_id, conversation_id)
