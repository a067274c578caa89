"""SQL of what came of it: emails, days, events. All read only; other services write these rows."""

from datetime import date, datetime
from typing import Any
from uuid import UUID

import msgspec

from libs.schema.runtime.db import Tx, fetch_all, fetch_one
from services.api.resources import DailyStats, Email, EmailContent

LIST_EMAILS = """
SELECT id, campaign_id, sequence_id, variant_id, lead_id, inbox_id, message_id, thread_id, from_email, from_name,
    to_email, subject, status, error_message, open_tracked, click_tracked, open_count, click_count, scheduled_at,
    sent_at, delivered_at, created_at, updated_at
FROM emails
WHERE team_id = $1
    AND ($2::uuid IS NULL OR campaign_id = $2)
    AND ($3::uuid IS NULL OR lead_id = $3)
    AND ($4::uuid IS NULL OR inbox_id = $4)
    AND ($5::email_status IS NULL OR status = $5)
    AND ($6::timestamptz IS NULL OR (created_at, id) < ($6, $7::uuid))
ORDER BY created_at DESC, id DESC
LIMIT $8
"""
GET_EMAIL = """
SELECT id, campaign_id, sequence_id, variant_id, lead_id, inbox_id, message_id, thread_id, from_email, from_name,
    to_email, subject, status, error_message, open_tracked, click_tracked, open_count, click_count, scheduled_at,
    sent_at, delivered_at, created_at, updated_at, body_html, body_text
FROM emails
WHERE team_id = $1
    AND id = $2
"""


class EmailFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which emails are wanted, in the order of the statement's arguments; None asks for no such thing."""

    campaign_id: UUID | None = None
    lead_id: UUID | None = None
    inbox_id: UUID | None = None
    status: str | None = None


Place = tuple[datetime, UUID] | None


async def list_emails(tx: Tx, team_id: UUID, wanted: EmailFilter, before: Place, limit: int) -> list[Email]:
    """The team's emails, newest first, those after the given place."""
    at, after_id = before or (None, None)
    arguments = msgspec.structs.astuple(wanted)
    return await fetch_all(tx, Email, LIST_EMAILS, team_id, *arguments, at, after_id, limit)


async def get_email(tx: Tx, team_id: UUID, email_id: UUID) -> EmailContent | None:
    """One email of the team, with its text."""
    return await fetch_one(tx, EmailContent, GET_EMAIL, team_id, email_id)


LIST_DAILY_STATS = """
SELECT date, emails_sent, emails_delivered, emails_opened, emails_clicked, emails_replied, emails_bounced,
    emails_unsubscribed, delivery_rate::float8, open_rate::float8, click_rate::float8, reply_rate::float8,
    bounce_rate::float8
FROM daily_stats
WHERE team_id = $1
    AND ($2::date IS NULL OR date >= $2)
    AND ($3::date IS NULL OR date <= $3)
    AND ($4::date IS NULL OR date < $4)
ORDER BY date DESC
LIMIT $5
"""


async def list_daily_stats(  # noqa: PLR0913, PLR0917  the statement has that many filters
    tx: Tx, team_id: UUID, first: date | None, last: date | None, before: date | None, limit: int
) -> list[DailyStats]:
    """The team's days from `first` to `last`, newest first, those before the given one."""
    return await fetch_all(tx, DailyStats, LIST_DAILY_STATS, team_id, first, last, before, limit)


# In log order, which is the stream's; what the relay has not published yet may still get a lower place (migration 017).
# Behind an event that is not on the stream just now there is nothing yet.
LIST_EVENTS = """
SELECT event_id, body
FROM event_log
WHERE team_id = $1
    AND stream_seq > coalesce((
        SELECT CASE WHEN a.stream_seq > 0 THEN a.stream_seq ELSE 9223372036854775807 END
        FROM event_log AS a
        WHERE a.event_id = $2
            AND a.team_id = $1
    ), 0)
    AND ($3::text[] IS NULL OR type = ANY ($3))
    AND ($4::text[] IS NULL OR subject = ANY ($4))
ORDER BY stream_seq
LIMIT $5
"""
KNOWS_EVENT = """
SELECT EXISTS (SELECT FROM event_log WHERE team_id = $1 AND event_id = $2)
"""
SUBJECTS_OF_LEAD = """
SELECT 'lead/' || $2::uuid AS subject
UNION ALL
SELECT 'email/' || e.send_id FROM send_ledger AS e WHERE e.team_id = $1 AND e.lead_id = $2
UNION ALL
SELECT 'reply/' || r.id FROM replies AS r WHERE r.team_id = $1 AND r.lead_id = $2
"""


class LoggedEvent(msgspec.Struct, frozen=True, kw_only=True):
    """An event's id and its bytes, as they were written."""

    event_id: UUID
    body: bytes


async def list_events(  # noqa: PLR0913, PLR0917  the statement has that many filters
    tx: Tx, team_id: UUID, after: UUID | None, types: list[str] | None, subjects: list[str] | None, limit: int
) -> list[LoggedEvent]:
    """The team's published events in log order, those after the given one."""
    return await fetch_all(tx, LoggedEvent, LIST_EVENTS, team_id, after, types, subjects, limit)


async def knows_event(tx: Tx, team_id: UUID, event_id: UUID) -> bool:
    """Whether the team has this event."""
    return await tx.fetchval(KNOWS_EVENT, team_id, event_id)


async def subjects_of_lead(tx: Tx, team_id: UUID, lead_id: UUID) -> list[str]:
    """What a lead's events are about: the lead, its emails, its replies."""
    records: list[Any] = await tx.fetch(SUBJECTS_OF_LEAD, team_id, lead_id)
    return [record["subject"] for record in records]
