"""Counters in rows that are somebody else's: only ever moved, and only where the row still exists."""

from collections.abc import Sequence
from uuid import UUID

from libs.schema.runtime.db import Tx
from services.analytics.rules.numbers import Moves

ADD_TO_CAMPAIGNS = """
UPDATE campaigns
SET lead_count = campaigns.lead_count + d.leads,
    sent_count = campaigns.sent_count + d.sent,
    delivered_count = campaigns.delivered_count + d.delivered,
    opened_count = campaigns.opened_count + d.opened,
    clicked_count = campaigns.clicked_count + d.clicked,
    replied_count = campaigns.replied_count + d.replied,
    bounced_count = campaigns.bounced_count + d.bounced,
    unsubscribed_count = campaigns.unsubscribed_count + d.unsubscribed
FROM unnest(
    $1::uuid[], $2::integer[], $3::integer[], $4::integer[], $5::integer[], $6::integer[], $7::integer[], $8::integer[],
    $9::integer[]
) AS d(id, leads, sent, delivered, opened, clicked, replied, bounced, unsubscribed)
WHERE campaigns.id = d.id
"""


async def add_to_campaigns(tx: Tx, moves: Moves[UUID]) -> None:
    """Moves the counters of campaigns."""
    names = ("leads", "sent", "delivered", "opened", "clicked", "replied", "bounced", "unsubscribed")
    await _add(tx, ADD_TO_CAMPAIGNS, moves, names)


ADD_TO_SEQUENCES = """
UPDATE sequences
SET sent_count = sequences.sent_count + d.sent,
    opened_count = sequences.opened_count + d.opened,
    replied_count = sequences.replied_count + d.replied
FROM unnest($1::uuid[], $2::integer[], $3::integer[], $4::integer[]) AS d(id, sent, opened, replied)
WHERE sequences.id = d.id
"""


async def add_to_sequences(tx: Tx, moves: Moves[UUID]) -> None:
    """Moves the counters of steps."""
    await _add(tx, ADD_TO_SEQUENCES, moves, ("sent", "opened", "replied"))


ADD_TO_SEQUENCE_VARIANTS = """
UPDATE sequence_variants
SET sent_count = sequence_variants.sent_count + d.sent,
    opened_count = sequence_variants.opened_count + d.opened,
    replied_count = sequence_variants.replied_count + d.replied
FROM unnest($1::uuid[], $2::integer[], $3::integer[], $4::integer[]) AS d(id, sent, opened, replied)
WHERE sequence_variants.id = d.id
"""


async def add_to_sequence_variants(tx: Tx, moves: Moves[UUID]) -> None:
    """Moves the counters of A/B variants."""
    await _add(tx, ADD_TO_SEQUENCE_VARIANTS, moves, ("sent", "opened", "replied"))


ADD_TO_INBOXES = """
UPDATE inboxes
SET sent_total = inboxes.sent_total + d.sent
FROM unnest($1::uuid[], $2::integer[]) AS d(id, sent)
WHERE inboxes.id = d.id
"""


async def add_to_inboxes(tx: Tx, moves: Moves[UUID]) -> None:
    """Moves the totals of inboxes; what depends on the day is the work of jobs.refresh_inboxes."""
    await _add(tx, ADD_TO_INBOXES, moves, ("sent",))


ADD_TO_CAMPAIGN_INBOXES = """
UPDATE campaign_inboxes
SET sent_count = campaign_inboxes.sent_count + d.sent
FROM unnest($1::uuid[], $2::uuid[], $3::integer[]) AS d(campaign_id, inbox_id, sent)
WHERE campaign_inboxes.campaign_id = d.campaign_id AND campaign_inboxes.inbox_id = d.inbox_id
"""


async def add_to_campaign_inboxes(tx: Tx, moves: Moves[tuple[UUID, UUID]]) -> None:
    """Moves what each inbox has sent for each campaign."""
    changed = sorted(key for key, move in moves.items() if move.counts.sent)
    if changed:
        campaigns, inboxes = zip(*changed, strict=True)
        await tx.execute(ADD_TO_CAMPAIGN_INBOXES, campaigns, inboxes, [moves[key].counts.sent for key in changed])


async def _add(tx: Tx, sql: str, moves: Moves[UUID], names: Sequence[str]) -> None:
    """One statement for all rows that move in one of these numbers, in the order of their ids; none for none."""
    rows = {key: [getattr(move.counts, name) for name in names] for key, move in sorted(moves.items())}
    changed = [(key, *numbers) for key, numbers in rows.items() if any(numbers)]
    if changed:
        await tx.execute(sql, *zip(*changed, strict=True))
