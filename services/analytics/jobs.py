"""What the clock starts: numbers that move with the calendar, and months made ahead; nothing here counts an event."""

from datetime import timedelta

from libs.schema.runtime.db import transaction
from libs.schema.runtime.service import Runtime
from services.analytics.queries import calendar, offset

# Two turns of the month: a job that stands still for weeks still leaves no row to the DEFAULT partition.
MONTHS_AHEAD = timedelta(days=62)


async def refresh_inboxes(runtime: Runtime) -> bool:
    """Brings sent_today, sent_this_week and the 7-day rates to the present moment in each inbox's own zone.

    A function of inbox_daily_stats and the clock, so it can run at any time, twice, or after a day's pause.
    """
    as_of = runtime.clock.now()
    async with transaction(runtime.pool) as tx:
        # The projection counts in the same rows: it waits here, and neither ends in the other's deadlock.
        await offset.hold_offset(tx)
        await calendar.reset_daily_counters(tx, as_of)
        await calendar.write_weeks(tx, await calendar.read_weeks(tx, as_of))
    return False


async def make_months(runtime: Runtime) -> bool:
    """Makes the partitions of this month and the next two where they are missing."""
    now = runtime.clock.now()
    async with transaction(runtime.pool) as tx:
        made = await calendar.make_months(tx, now, now + MONTHS_AHEAD)
    if made:
        runtime.log.info("partitions.made", count=made)
    return False
