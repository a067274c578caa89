"""What moves with the calendar: columns of inboxes, made anew and never replayed (design.md §9.5), and partitions."""

from collections.abc import Sequence
from datetime import date, datetime
from uuid import UUID

import msgspec

from libs.schema.runtime.db import Tx, fetch_all
from services.analytics.rules.numbers import Counts, rates


class InboxWeek(msgspec.Struct, frozen=True, kw_only=True):
    """What an inbox sent today, since Monday, and in the seven days that end today; days are the inbox's own."""

    inbox_id: UUID
    today: date
    sent_today: int
    sent_this_week: int
    sent: int
    opened: int
    replied: int
    bounced: int
    refused: int


READ_WEEKS = """
SELECT
    inboxes.id AS inbox_id,
    local.today,
    coalesce(sum(d.campaign_sent) FILTER (WHERE d.date = local.today), 0) AS sent_today,
    coalesce(sum(d.campaign_sent) FILTER (WHERE d.date >= date_trunc('week', local.today)), 0) AS sent_this_week,
    coalesce(sum(d.campaign_sent), 0) AS sent,
    coalesce(sum(d.campaign_opened), 0) AS opened,
    coalesce(sum(d.campaign_replied), 0) AS replied,
    coalesce(sum(d.campaign_bounced), 0) AS bounced,
    coalesce(sum(d.campaign_refused), 0) AS refused
FROM inboxes
LEFT JOIN inbox_settings AS s ON s.inbox_id = inboxes.id
CROSS JOIN LATERAL (
    SELECT ($1::timestamptz AT TIME ZONE coalesce(s.send_window_timezone, 'UTC'))::date AS today
) AS local
LEFT JOIN inbox_daily_stats AS d ON d.inbox_id = inboxes.id AND d.date BETWEEN local.today - 6 AND local.today
WHERE inboxes.deleted_at IS NULL
GROUP BY inboxes.id, local.today
"""


async def read_weeks(tx: Tx, as_of: datetime) -> list[InboxWeek]:
    """The last seven days of every inbox, as of a moment of business time."""
    return await fetch_all(tx, InboxWeek, READ_WEEKS, as_of)


WRITE_WEEKS = """
UPDATE inboxes
SET counters_date = w.today,
    sent_today = w.sent_today,
    sent_this_week = w.sent_this_week,
    bounce_rate_7d = w.bounce_rate,
    open_rate_7d = w.open_rate,
    reply_rate_7d = w.reply_rate
FROM unnest($1::uuid[], $2::date[], $3::integer[], $4::integer[], $5::numeric[], $6::numeric[], $7::numeric[])
    AS w(inbox_id, today, sent_today, sent_this_week, bounce_rate, open_rate, reply_rate)
WHERE inboxes.id = w.inbox_id
    AND (inboxes.counters_date, inboxes.sent_today, inboxes.sent_this_week,
            inboxes.bounce_rate_7d, inboxes.open_rate_7d, inboxes.reply_rate_7d)
        IS DISTINCT FROM (w.today, w.sent_today, w.sent_this_week, w.bounce_rate, w.open_rate, w.reply_rate)
"""


async def write_weeks(tx: Tx, weeks: Sequence[InboxWeek]) -> None:
    """Stores them where they differ; a rate of nothing is 0, as the seed's NOT NULL columns want it."""
    rows: list[tuple[object, ...]] = []
    for week in weeks:
        share = rates(
            Counts(sent=week.sent, opened=week.opened, replied=week.replied, bounced=week.bounced, refused=week.refused)
        )
        shares = (share.bounce or 0, share.open or 0, share.reply or 0)
        rows.append((week.inbox_id, week.today, week.sent_today, week.sent_this_week, *shares))
    if rows:
        await tx.execute(WRITE_WEEKS, *zip(*rows, strict=True))


RESET_DAILY_COUNTERS = "SELECT app.reset_daily_counters($1)"


async def reset_daily_counters(tx: Tx, as_of: datetime) -> None:
    """Sets the counters of days and weeks that are over to 0, those of warm-up too; twice is harmless."""
    await tx.execute(RESET_DAILY_COUNTERS, as_of)


MAKE_MONTHS = "SELECT app.make_month_partitions($1, $2)"


async def make_months(tx: Tx, since: datetime, until: datetime) -> int:
    """How many monthly partitions it had to make for the time between the two; twice is harmless."""
    made: int = await tx.fetchval(MAKE_MONTHS, since, until)
    return made
