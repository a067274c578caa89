"""SQL of replies: read one by one, and marked by people (read, archived, looked at); what they say is replies' own."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import msgspec

from libs.schema.runtime.db import Tx, fetch_all, fetch_one
from services.api.unibox import Reply, UnreadOf

LIST_REPLIES = """
SELECT id, conversation_id, email_id, lead_id, inbox_id, campaign_id, message_id, thread_id, in_reply_to, from_email,
    from_name, is_alias, subject, body_text, body_preview, intent, intent_confidence::float8, intent_model,
    intent_manual_override, needs_review, match_method, match_confidence::float8, return_date, left_company,
    replacement, is_read, read_at, is_archived, received_at, created_at
FROM replies
WHERE team_id = $1
    AND ($2::uuid IS NULL OR id = $2)
    AND ($3::uuid IS NULL OR campaign_id = $3)
    AND ($4::uuid IS NULL OR lead_id = $4)
    AND ($5::uuid IS NULL OR inbox_id = $5)
    AND ($6::reply_intent IS NULL OR intent = $6)
    AND ($7::timestamptz IS NULL OR (received_at, id) < ($7, $8::uuid))
ORDER BY received_at DESC, id DESC
LIMIT $9
"""


class ReplyFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which replies are wanted, in the order of the statement's arguments; None asks for no such thing."""

    reply_id: UUID | None = None
    campaign_id: UUID | None = None
    lead_id: UUID | None = None
    inbox_id: UUID | None = None
    intent: str | None = None


async def list_replies(
    tx: Tx, team_id: UUID, wanted: ReplyFilter, before: tuple[datetime, UUID] | None, limit: int
) -> list[Reply]:
    """The team's replies, newest first, those after the given place."""
    at, after_id = before or (None, None)
    arguments = msgspec.structs.astuple(wanted)
    return await fetch_all(tx, Reply, LIST_REPLIES, team_id, *arguments, at, after_id, limit)


async def get_reply(tx: Tx, team_id: UUID, reply_id: UUID) -> Reply | None:
    """One reply of the team."""
    found = await list_replies(tx, team_id, ReplyFilter(reply_id=reply_id), None, 1)
    return found[0] if found else None


# What is marked as it is already is not written again.
MARK_REPLIES = """
WITH wanted AS (
    SELECT id
    FROM replies
    WHERE team_id = $1
        AND (id = ANY ($2::uuid[]) OR conversation_id = $3)
), marked AS (
    UPDATE replies AS r
    SET is_read = coalesce($4::boolean, r.is_read),
        read_at = CASE WHEN $4::boolean THEN coalesce(r.read_at, $7) WHEN NOT $4::boolean THEN NULL ELSE r.read_at END,
        is_archived = coalesce($5::boolean, r.is_archived),
        needs_review = coalesce($6::boolean, r.needs_review)
    FROM wanted AS w
    WHERE r.team_id = $1
        AND r.id = w.id
        AND (r.is_read, r.is_archived, r.needs_review)
            <> (coalesce($4::boolean, r.is_read), coalesce($5::boolean, r.is_archived),
                coalesce($6::boolean, r.needs_review))
    RETURNING r.id
)
SELECT id
FROM wanted
"""


class Marks(msgspec.Struct, frozen=True, kw_only=True):
    """What a person says of replies, in the order of the statement's arguments; None leaves it as it is."""

    is_read: bool | None = None
    is_archived: bool | None = None
    needs_review: bool | None = None


async def mark_replies(tx: Tx, team_id: UUID, ids: Sequence[UUID], marks: Marks, at: datetime) -> set[UUID]:
    """Which of these replies the team has; they are marked. A second call changes nothing."""
    rows = await tx.fetch(MARK_REPLIES, team_id, list(ids), None, *msgspec.structs.astuple(marks), at)
    return {row["id"] for row in rows}


async def mark_conversation(tx: Tx, team_id: UUID, conversation_id: UUID, marks: Marks, at: datetime) -> bool:
    """Whether the team has the conversation; all its replies are marked. A second call changes nothing."""
    rows = await tx.fetch(MARK_REPLIES, team_id, [], conversation_id, *msgspec.structs.astuple(marks), at)
    return bool(rows)


# Over the seed's partial index of what is unread. Automatic notes are nobody's work, so they are not counted.
COUNT_UNREAD = """
SELECT CASE grouping(inbox_id, campaign_id, intent)
        WHEN 7 THEN 'total' WHEN 3 THEN 'inbox' WHEN 5 THEN 'campaign' ELSE 'intent'
    END AS by,
    coalesce(inbox_id::text, campaign_id::text, intent::text) AS key, count(*) AS unread
FROM replies
WHERE team_id = $1
    AND is_read = FALSE
    AND NOT is_archived
    AND by_person
GROUP BY GROUPING SETS ((), (inbox_id), (campaign_id), (intent))
ORDER BY unread DESC, key
"""


async def count_unread(tx: Tx, team_id: UUID) -> dict[str, list[UnreadOf]]:
    """How many replies of people nobody has read: under `total`, `inbox`, `campaign` and `intent`, most first."""
    counts: dict[str, list[UnreadOf]] = {"total": [], "inbox": [], "campaign": [], "intent": []}
    for row in await tx.fetch(COUNT_UNREAD, team_id):
        counts[row["by"]].append(UnreadOf(key=row["key"], unread=row["unread"]))
    return counts


# As the sender asks again when it carries the answer out, and once more before it goes.
READ_ANSWERABLE = """
SELECT i.status::text AS inbox_status, i.deleted_at IS NOT NULL AS inbox_is_gone,
    (SELECT sl.reason FROM suppression_list AS sl
        WHERE (sl.team_id = r.team_id OR sl.team_id IS NULL)
            AND (sl.email = lower(r.from_email) OR sl.email = split_part(lower(r.from_email), '@', 2)
                OR sl.value_hash = $3)
        LIMIT 1) AS suppressed
FROM replies AS r
JOIN inboxes AS i ON i.id = r.inbox_id
WHERE r.team_id = $1
    AND r.id = $2
"""


class Answerable(msgspec.Struct, frozen=True, kw_only=True):
    """What may keep a reply from being answered: its mailbox, and why its writer is suppressed."""

    inbox_status: str
    inbox_is_gone: bool
    suppressed: str | None


async def read_answerable(tx: Tx, team_id: UUID, reply_id: UUID, writer: bytes | None) -> Answerable | None:
    """The state of what an answer needs; `writer` is the key of the reply's writer."""
    return await fetch_one(tx, Answerable, READ_ANSWERABLE, team_id, reply_id, writer)
