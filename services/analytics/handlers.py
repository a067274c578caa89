"""Every event once into every number: event → rows; decides nothing, and never asks the database once per event."""

from collections.abc import Sequence

from libs.schema.runtime.db import Tx
from libs.schema.runtime.project import Projected
from services.analytics.queries import counters, days, emails
from services.analytics.rules.history import SUMMED, Happening, email_event
from services.analytics.rules.numbers import Tally, join, mark, tally

PROJECTION = "analytics"


class Counting:
    """The one projection: `email_events`, the daily rows and all counters, in one transaction with the offset.

    The offset keeps a batch from being applied twice. Where it cannot help (an event that lies twice in a stream, a
    parked one that is run again), marks are idempotent, email_events has the event's id, and event_handled guards sums.
    """

    name = PROJECTION

    async def apply(self, tx: Tx, batch: Sequence[Projected]) -> None:
        """Writes what the events of the batch mean, in about a dozen statements."""
        happenings = [
            Happening(each.envelope.id, each.envelope.teamid, each.envelope.time, each.event) for each in batch
        ]
        await emails.insert_email_events(tx, [row for each in happenings if (row := email_event(each))])
        happenings = await _without_counted(tx, happenings)
        outcomes = await emails.read_outcomes(tx, {known.email_id for each in happenings if (known := mark(each))})
        moves = tally(outcomes, happenings)
        await emails.write_outcomes(tx, outcomes.values())
        await _write(tx, moves)


async def _without_counted(tx: Tx, happenings: Sequence[Happening]) -> list[Happening]:
    """All but those that add to a sum and have done so before, in an earlier batch or earlier in this one."""
    fresh = await emails.count_once(tx, {each.event_id for each in happenings if type(each.event) in SUMMED})
    left: list[Happening] = []
    for each in happenings:
        if type(each.event) in SUMMED:
            if each.event_id not in fresh:
                continue
            fresh.remove(each.event_id)
        left.append(each)
    return left


async def _write(tx: Tx, moves: Tally) -> None:
    await counters.add_to_campaigns(tx, moves.campaigns)
    await counters.add_to_campaign_inboxes(tx, moves.campaign_inboxes)
    await counters.add_to_sequences(tx, moves.sequences)
    await counters.add_to_sequence_variants(tx, moves.sequence_variants)
    await counters.add_to_inboxes(tx, moves.inboxes)
    await days.write_days(tx, join(await days.read_days(tx, moves.days.keys()), moves.days))
    await days.write_inbox_days(tx, join(await days.read_inbox_days(tx, moves.inbox_days.keys()), moves.inbox_days))
