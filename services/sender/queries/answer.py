"""Answers by hand: the reply that is answered, what the inbox's limits leave, the mail that is queued and its thread.

In the ledger an answer is no campaign's mail, whatever thread it goes on in: no count of a campaign may meet it.
"""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import msgspec

from libs.schema.runtime.db import Tx, fetch_all, fetch_one
from services.sender.rules.answer import Caps


class Answered(msgspec.Struct, frozen=True, kw_only=True):
    """A reply that somebody wants to answer: who wrote it, the mailbox that it came to, and its thread."""

    lead_id: UUID
    lead_key: bytes | None  # the lead's own: the writer may be somebody else
    campaign_id: UUID | None
    message_id: str | None
    from_email: str
    subject: str
    thread_id: str | None
    received_at: datetime
    inbox_id: UUID
    inbox_email: str
    from_name: str | None
    inbox_status: str
    inbox_archived: bool


READ_REPLY = """
SELECT r.lead_id, l.lead_key, coalesce(r.campaign_id, m.campaign_id) AS campaign_id, r.message_id, r.from_email,
    coalesce(nullif(r.subject, ''), m.subject, '') AS subject,
    coalesce(r.thread_id, m.thread_id, m.message_id) AS thread_id, r.received_at, r.inbox_id, i.email AS inbox_email,
    i.from_name, i.status::text AS inbox_status, i.deleted_at IS NOT NULL AS inbox_archived
FROM replies AS r
JOIN inboxes AS i ON i.id = r.inbox_id
LEFT JOIN emails AS m ON m.id = r.email_id
LEFT JOIN send_ledger AS l ON l.send_id = r.email_id
WHERE r.team_id = $1
    AND r.id = $2
"""


async def read_reply(tx: Tx, team_id: UUID, reply_id: UUID) -> Answered | None:
    """The team's reply; None when it is gone, or another team's."""
    return await fetch_one(tx, Answered, READ_REPLY, team_id, reply_id)


class Bars(msgspec.Struct, frozen=True, kw_only=True):
    """What forbids an answer to a person."""

    suppressed: str | None
    erased: bool


READ_BARS = """
SELECT (SELECT sl.reason FROM suppression_list AS sl
        WHERE (sl.team_id = $1 OR sl.team_id IS NULL)
            AND (sl.value_hash = $2 OR sl.email = $3 OR sl.email = split_part($3, '@', 2))
        LIMIT 1) AS suppressed,
    EXISTS (SELECT FROM lead_stop AS ls
        WHERE ls.team_id = $1 AND ls.lead_key IN ($2, $4) AND ls.reason = 'erased' AND ls.stopped_at >= $5) AS erased
"""


async def read_bars(tx: Tx, team_id: UUID, person: bytes, reply: Answered) -> Bars:
    """What forbids to answer the writer of the reply, whose key is `person`."""
    found = await fetch_one(
        tx, Bars, READ_BARS, team_id, person, reply.from_email.lower(), reply.lead_key, reply.received_at
    )
    return found or Bars(suppressed=None, erased=False)


READ_CAPS = """
SELECT s.send_window_timezone AS zone, s.daily_send_limit AS daily_limit, s.hourly_limit,
    s.min_delay_seconds AS min_delay_s,
    ARRAY(
        SELECT l.committed_at FROM send_ledger AS l
        WHERE l.inbox_id = s.inbox_id AND l.committed_at > $2::timestamptz - INTERVAL '26 hours'
        UNION ALL
        SELECT greatest(l.not_before, $2) FROM send_ledger AS l
        WHERE l.inbox_id = s.inbox_id AND l.kind = 'reply' AND l.state = 'queued'
        UNION ALL
        SELECT $2 FROM send_ledger AS l WHERE l.inbox_id = s.inbox_id AND l.state = 'claimed'
    ) AS busy,
    coalesce(t.settings ->> 'timezone', 'UTC') AS team_zone, t.daily_email_limit AS team_limit,
    (SELECT count(*) FROM send_ledger AS l
        WHERE l.team_id = t.id
            AND l.committed_at >= date_trunc('day', $2, coalesce(t.settings ->> 'timezone', 'UTC')))::int AS team_used
FROM inbox_settings AS s
JOIN teams AS t ON t.id = s.team_id
WHERE s.inbox_id = $1
"""


async def read_caps(tx: Tx, inbox_id: UUID, now: datetime) -> Caps | None:
    """The inbox's limits and its team's, with what counts against them; None when it has no settings."""
    return await fetch_one(tx, Caps, READ_CAPS, inbox_id, now)


class NewAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """An answer as it is written: ledger and email."""

    send_id: UUID
    team_id: UUID
    lead_id: UUID
    lead_key: bytes  # the recipient's
    inbox_id: UUID
    message_id: str
    slot_at: datetime
    created_at: datetime
    email_status: str
    campaign_id: UUID | None
    thread_id: str | None
    in_reply_to: str | None
    from_email: str
    from_name: str | None
    to_email: str
    subject: str
    text: str
    html: str | None


QUEUE_ANSWER = """
WITH queued AS (
    INSERT INTO send_ledger (send_id, kind, team_id, lead_id, lead_key, inbox_id, message_id, slot_at, not_before,
        created_at)
    VALUES ($1, 'reply', $2, $3, $4, $5, $6, $7, $7, $8)
    ON CONFLICT (send_id) DO NOTHING
    RETURNING send_id
),
shown AS (
    INSERT INTO emails (id, team_id, lead_id, inbox_id, message_id, scheduled_at, created_at, status, campaign_id,
        thread_id, in_reply_to, from_email, from_name, to_email, subject, body_text, body_html, kind)
    SELECT queued.send_id, $2, $3, $5, $6, $7, $8, $9::text::email_status, $10, $11, $12, $13, $14, $15, $16, $17, $18,
        'reply'
    FROM queued
)
SELECT count(*) FROM queued
"""


async def queue_answer(tx: Tx, answer: NewAnswer) -> bool:
    """Queues it; False when it was queued before, which then stands."""
    return await tx.fetchval(QUEUE_ANSWER, *msgspec.structs.astuple(answer)) == 1


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """A queued answer with its thread: whom it goes to, what it says, and what forbids it by now."""

    send_id: UUID
    recipient: str
    subject: str
    text: str
    html: str | None
    thread_id: str | None
    in_reply_to: str | None
    thread: list[str]  # every Message-ID of the thread, oldest first: ours, those that providers gave, and the lead's
    suppressed: str | None
    erased: bool


# A server tells only the second in which a reply came: within one, ours came first. What is answered comes last
# (RFC 5322 §3.6.4).
LOAD_ANSWERS = """
SELECT m.id AS send_id, m.to_email AS recipient, m.subject, coalesce(m.body_text, '') AS text, m.body_html AS html,
    m.thread_id, m.in_reply_to,
    ARRAY(
        SELECT known.id
        FROM (
            SELECT unnest(ARRAY[s.message_id, s.provider_message_id]) AS id, s.committed_at AS at,
                false AS is_theirs
            FROM emails AS o
            JOIN send_ledger AS s ON s.send_id = o.id
            WHERE o.team_id = m.team_id AND o.lead_id = m.lead_id AND o.thread_id = m.thread_id
                AND s.state IN ('accepted', 'unknown')
            UNION ALL
            SELECT r.message_id, r.received_at, true
            FROM replies AS r
            LEFT JOIN emails AS o ON o.id = r.email_id
            WHERE r.team_id = m.team_id AND r.lead_id = m.lead_id AND coalesce(r.thread_id, o.thread_id) = m.thread_id
        ) AS known
        WHERE known.id IS NOT NULL
        ORDER BY known.id IS NOT DISTINCT FROM m.in_reply_to, date_trunc('second', known.at), known.is_theirs
    ) AS thread,
    (SELECT sl.reason FROM suppression_list AS sl
        WHERE (sl.team_id = l.team_id OR sl.team_id IS NULL)
            AND (sl.value_hash = l.lead_key OR sl.email = m.to_email OR sl.email = split_part(m.to_email, '@', 2))
        LIMIT 1) AS suppressed,
    EXISTS (SELECT FROM lead_stop AS ls
        WHERE ls.team_id = l.team_id AND ls.lead_key = l.lead_key AND ls.reason = 'erased'
            AND ls.stopped_at >= l.created_at) AS erased
FROM send_ledger AS l
JOIN emails AS m ON m.id = l.send_id
WHERE l.send_id = ANY ($1::uuid[])
"""


async def load_answers(tx: Tx, send_ids: Sequence[UUID]) -> dict[UUID, Answer]:
    """The answers among the sends, by their ids; one whose lead was erased with all its mail is missing."""
    return {answer.send_id: answer for answer in await fetch_all(tx, Answer, LOAD_ANSWERS, send_ids)}


OVERDUE_ANSWERS = """
SELECT l.send_id
FROM send_ledger AS l
WHERE l.kind = 'reply'
    AND l.state = 'queued'
    AND l.slot_at <= $1
ORDER BY l.slot_at
LIMIT 500
FOR UPDATE SKIP LOCKED
"""


async def overdue_answers(tx: Tx, planned_before: datetime) -> list[UUID]:
    """Answers that wait still and should have gone before that, locked until the transaction ends."""
    return [record["send_id"] for record in await tx.fetch(OVERDUE_ANSWERS, planned_before)]
