"""What is known of emails: their history, and the marks from which they are counted."""

from collections.abc import Collection, Sequence
from uuid import UUID

from libs.schema.runtime.db import Tx, fetch_all
from services.analytics.queries.unnest import columns
from services.analytics.rules.history import EmailEvent
from services.analytics.rules.numbers import Outcome

INSERT_EMAIL_EVENTS = """
WITH inserted AS (
    INSERT INTO email_events (id, team_id, email_id, event_type, metadata, created_at)
    SELECT e.id, e.team_id, e.email_id, e.event_type::event_type, e.metadata, e.created_at
    FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::text[], $5::jsonb[], $6::timestamptz[])
        AS e(id, team_id, email_id, event_type, metadata, created_at)
    JOIN emails ON emails.id = e.email_id AND emails.team_id = e.team_id
    ON CONFLICT (id, created_at) DO NOTHING
    RETURNING email_id, event_type
)
UPDATE emails
SET open_count = emails.open_count + hits.opens, click_count = emails.click_count + hits.clicks
FROM (
    SELECT
        email_id,
        count(*) FILTER (WHERE event_type = 'opened') AS opens,
        count(*) FILTER (WHERE event_type = 'clicked') AS clicks
    FROM inserted
    WHERE event_type IN ('opened', 'clicked')
    GROUP BY email_id
) AS hits
WHERE emails.id = hits.email_id
"""


async def insert_email_events(tx: Tx, rows: Sequence[EmailEvent]) -> None:
    """Adds to the history of emails that still exist, and counts its opens and clicks; a known row stays as it is."""
    if rows:
        names = ("id", "team_id", "email_id", "event_type", "metadata", "created_at")
        await tx.execute(INSERT_EMAIL_EVENTS, *columns(rows, names))


COUNT_ONCE = """
INSERT INTO event_handled (consumer, event_id)
SELECT 'analytics', e.event_id
FROM unnest($1::uuid[]) AS e(event_id)
ON CONFLICT (consumer, event_id) DO NOTHING
RETURNING event_id
"""


async def count_once(tx: Tx, event_ids: Collection[UUID]) -> set[UUID]:
    """Those of the events that have not been counted before; they have been now."""
    if not event_ids:
        return set()
    return {record["event_id"] for record in await tx.fetch(COUNT_ONCE, event_ids)}


READ_OUTCOMES = """
SELECT
    email_id, team_id, campaign_id, inbox_id, step_id, variant_id, sent_on, inbox_sent_on,
    sent, delivered, returned, bounced, opened, clicked, unsubscribed, human_replies
FROM email_outcome
WHERE email_id = ANY ($1::uuid[])
"""


async def read_outcomes(tx: Tx, email_ids: Collection[UUID]) -> dict[UUID, Outcome]:
    """What is known of these emails; those of which nothing is known are missing."""
    if not email_ids:
        return {}
    return {known.email_id: known for known in await fetch_all(tx, Outcome, READ_OUTCOMES, email_ids)}


WRITE_OUTCOMES = """
INSERT INTO email_outcome (
    email_id, team_id, campaign_id, inbox_id, step_id, variant_id, sent_on, inbox_sent_on,
    sent, delivered, returned, bounced, opened, clicked, unsubscribed, human_replies
)
SELECT
    o.email_id, o.team_id, o.campaign_id, o.inbox_id, o.step_id, o.variant_id, o.sent_on, o.inbox_sent_on,
    o.sent, o.delivered, o.returned, o.bounced, o.opened, o.clicked, o.unsubscribed, o.human_replies
FROM unnest(
    $1::uuid[], $2::uuid[], $3::uuid[], $4::uuid[], $5::uuid[], $6::uuid[], $7::date[], $8::date[],
    $9::boolean[], $10::boolean[], $11::boolean[], $12::boolean[], $13::boolean[], $14::boolean[], $15::boolean[],
    $16::integer[]
) AS o(
    email_id, team_id, campaign_id, inbox_id, step_id, variant_id, sent_on, inbox_sent_on,
    sent, delivered, returned, bounced, opened, clicked, unsubscribed, human_replies
)
JOIN teams ON teams.id = o.team_id
ON CONFLICT (email_id) DO UPDATE SET
    campaign_id = excluded.campaign_id,
    inbox_id = excluded.inbox_id,
    step_id = excluded.step_id,
    variant_id = excluded.variant_id,
    sent_on = excluded.sent_on,
    inbox_sent_on = excluded.inbox_sent_on,
    sent = excluded.sent,
    delivered = excluded.delivered,
    returned = excluded.returned,
    bounced = excluded.bounced,
    opened = excluded.opened,
    clicked = excluded.clicked,
    unsubscribed = excluded.unsubscribed,
    human_replies = excluded.human_replies
"""


async def write_outcomes(tx: Tx, outcomes: Collection[Outcome]) -> None:
    """Stores what is known of each email; emails of a team that is gone are left out."""
    if outcomes:
        await tx.execute(WRITE_OUTCOMES, *columns(outcomes, Outcome.__struct_fields__))
