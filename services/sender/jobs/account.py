"""Counts that never lie: every enrollment is in one state, and the journal has told how it came there.

`enrolled = active + held + finished + stopped + failed` holds by the column's own check as long as each row was told as
enrolled, and each ended one as ended, exactly once: that is what is looked at here. Never mends what it finds.
"""

from typing import Final

from prometheus_client import Counter, Gauge

from libs.schema.runtime.db import ACQUIRE_TIMEOUT_S
from services.sender.deps import Deps
from services.sender.queries import account

STATES: Final = ("active", "held", "finished", "stopped", "failed")
ENROLLMENTS: Final = Gauge("coldstream_enrollments", "Leads in sequences, and what became of the others", ["state"])
VIOLATIONS: Final = Counter(
    "coldstream_invariant_violations_total", "Promises found broken; each is counted once a process", ["invariant"]
)
PAGE = 500  # enrollments in one look: all of them are looked at again and again, a page a minute


async def check_books(deps: Deps) -> bool:
    """Counts all enrollments by state, and compares the next page of them with the journal."""
    async with deps.pool.acquire(timeout=ACQUIRE_TIMEOUT_S) as connection:
        counts = await account.count_states(connection)
        page = await account.books(connection, deps.books.after, PAGE)
        open_ones = await account.completed_with_open(connection)
    for state in STATES:
        ENROLLMENTS.labels(state).set(counts.get(state, 0))
    deps.books.after = page[-1].id if len(page) == PAGE else account.NOBODY
    for book in page:
        if not book.is_told and deps.books.is_news(book.id):
            VIOLATIONS.labels("enrolled").inc()
            deps.log.error("books.enrolled", enrollment_id=str(book.id), campaign_id=str(book.campaign_id))
    for campaign_id in open_ones:
        if deps.books.is_news(campaign_id):
            VIOLATIONS.labels("completed").inc()
            deps.log.error("books.completed", campaign_id=str(campaign_id))
    return False
