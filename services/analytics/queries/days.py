"""The daily rows of teams and inboxes, read and written whole: one writer, one transaction at a time."""

from collections.abc import Collection

from libs.schema.runtime.db import Tx
from services.analytics.queries.unnest import columns
from services.analytics.rules.numbers import Counts, InboxDay, Move, Moves, TeamDay, day_id, inbox_day_id, rates

READ_DAYS = """
SELECT
    d.team_id, d.date, d.emails_sent, d.emails_delivered, d.emails_opened, d.emails_clicked, d.emails_replied,
    d.emails_bounced, d.emails_refused, d.emails_unsubscribed, d.created_at, d.updated_at
FROM unnest($1::uuid[], $2::date[]) AS k(team_id, date)
JOIN daily_stats AS d ON d.team_id = k.team_id AND d.date = k.date
"""


async def read_days(tx: Tx, keys: Collection[TeamDay]) -> Moves[TeamDay]:
    """The numbers of these days of teams as they stand; a day without a row is missing."""
    records = await tx.fetch(READ_DAYS, *columns(keys, TeamDay._fields)) if keys else []
    return {
        TeamDay(record["team_id"], record["date"]): Move(
            Counts(
                sent=record["emails_sent"],
                delivered=record["emails_delivered"],
                opened=record["emails_opened"],
                clicked=record["emails_clicked"],
                replied=record["emails_replied"],
                bounced=record["emails_bounced"],
                refused=record["emails_refused"],
                unsubscribed=record["emails_unsubscribed"],
            ),
            record["created_at"],
            record["updated_at"],
        )
        for record in records
    }


WRITE_DAYS = """
INSERT INTO daily_stats (
    id, team_id, date, emails_sent, emails_delivered, emails_opened, emails_clicked, emails_replied, emails_bounced,
    emails_refused, emails_unsubscribed, delivery_rate, open_rate, click_rate, reply_rate, bounce_rate,
    created_at, updated_at
)
SELECT
    d.id, d.team_id, d.date, d.sent, d.delivered, d.opened, d.clicked, d.replied, d.bounced,
    d.refused, d.unsubscribed, d.delivery_rate, d.open_rate, d.click_rate, d.reply_rate, d.bounce_rate,
    d.created_at, d.updated_at
FROM unnest(
    $1::uuid[], $2::uuid[], $3::date[], $4::integer[], $5::integer[], $6::integer[], $7::integer[], $8::integer[],
    $9::integer[], $10::integer[], $11::integer[], $12::numeric[], $13::numeric[], $14::numeric[], $15::numeric[],
    $16::numeric[], $17::timestamptz[], $18::timestamptz[]
) AS d(
    id, team_id, date, sent, delivered, opened, clicked, replied, bounced, refused, unsubscribed,
    delivery_rate, open_rate, click_rate, reply_rate, bounce_rate, created_at, updated_at
)
JOIN teams ON teams.id = d.team_id
ON CONFLICT (team_id, date) DO UPDATE SET
    emails_sent = excluded.emails_sent,
    emails_delivered = excluded.emails_delivered,
    emails_opened = excluded.emails_opened,
    emails_clicked = excluded.emails_clicked,
    emails_replied = excluded.emails_replied,
    emails_bounced = excluded.emails_bounced,
    emails_refused = excluded.emails_refused,
    emails_unsubscribed = excluded.emails_unsubscribed,
    delivery_rate = excluded.delivery_rate,
    open_rate = excluded.open_rate,
    click_rate = excluded.click_rate,
    reply_rate = excluded.reply_rate,
    bounce_rate = excluded.bounce_rate,
    created_at = excluded.created_at,
    updated_at = excluded.updated_at
"""


async def write_days(tx: Tx, days: Moves[TeamDay]) -> None:
    """Stores the days' numbers and rates as given; those of a team that is gone are left out."""
    if not days:
        return
    rows = [
        (day_id(*key), *key, *day.counts[1:], *rates(day.counts), day.first_at, day.last_at)
        for key, day in days.items()
    ]
    await tx.execute(WRITE_DAYS, *zip(*rows, strict=True))


READ_INBOX_DAYS = """
SELECT
    d.team_id, d.inbox_id, d.date, d.campaign_sent, d.campaign_delivered, d.campaign_opened, d.campaign_replied,
    d.campaign_bounced, d.campaign_refused, d.created_at, d.updated_at
FROM unnest($1::uuid[], $2::uuid[], $3::date[]) AS k(team_id, inbox_id, date)
JOIN inbox_daily_stats AS d ON d.team_id = k.team_id AND d.inbox_id = k.inbox_id AND d.date = k.date
"""


async def read_inbox_days(tx: Tx, keys: Collection[InboxDay]) -> Moves[InboxDay]:
    """The same for days of inboxes."""
    records = await tx.fetch(READ_INBOX_DAYS, *columns(keys, InboxDay._fields)) if keys else []
    return {
        InboxDay(record["team_id"], record["inbox_id"], record["date"]): Move(
            Counts(
                sent=record["campaign_sent"],
                delivered=record["campaign_delivered"],
                opened=record["campaign_opened"],
                replied=record["campaign_replied"],
                bounced=record["campaign_bounced"],
                refused=record["campaign_refused"],
            ),
            record["created_at"],
            record["updated_at"],
        )
        for record in records
    }


WRITE_INBOX_DAYS = """
INSERT INTO inbox_daily_stats (
    id, team_id, inbox_id, date, campaign_sent, campaign_delivered, campaign_opened, campaign_replied,
    campaign_bounced, campaign_refused, created_at, updated_at
)
SELECT
    d.id, d.team_id, d.inbox_id, d.date, d.sent, d.delivered, d.opened, d.replied,
    d.bounced, d.refused, d.created_at, d.updated_at
FROM unnest(
    $1::uuid[], $2::uuid[], $3::uuid[], $4::date[], $5::integer[], $6::integer[], $7::integer[], $8::integer[],
    $9::integer[], $10::integer[], $11::timestamptz[], $12::timestamptz[]
) AS d(id, team_id, inbox_id, date, sent, delivered, opened, replied, bounced, refused, created_at, updated_at)
JOIN inboxes ON inboxes.id = d.inbox_id AND inboxes.team_id = d.team_id
ON CONFLICT (inbox_id, date) DO UPDATE SET
    campaign_sent = excluded.campaign_sent,
    campaign_delivered = excluded.campaign_delivered,
    campaign_opened = excluded.campaign_opened,
    campaign_replied = excluded.campaign_replied,
    campaign_bounced = excluded.campaign_bounced,
    campaign_refused = excluded.campaign_refused,
    created_at = excluded.created_at,
    updated_at = excluded.updated_at
"""


async def write_inbox_days(tx: Tx, days: Moves[InboxDay]) -> None:
    """The same for days of inboxes."""
    if not days:
        return
    names = ("sent", "delivered", "opened", "replied", "bounced", "refused")
    rows = [
        (
            inbox_day_id(key.inbox_id, key.date),
            *key,
            *(getattr(day.counts, name) for name in names),
            day.first_at,
            day.last_at,
        )
        for key, day in days.items()
    ]
    await tx.execute(WRITE_INBOX_DAYS, *zip(*rows, strict=True))
