"""The jumping clock of a sandbox: when nothing is left to do now, business time goes on to the next due instant.

Must never jump while anything is under way, or the world would seem slower than it is; and never back.
"""

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import asyncpg
import msgspec
from nats.errors import Error as NatsError

from deploy.local.sandbox.control import Control
from libs.planning.schedule import ROUND_EVERY, round_of
from libs.schema.events import STREAM
from libs.schema.runtime import db
from libs.schema.runtime.db import Pool, to_struct
from libs.schema.runtime.streams import StreamLink

# Slots of several inboxes that lie within one step go out together; a longer step would send them visibly late.
STEP = timedelta(seconds=120)
FAR = timedelta(hours=1)
# When nobody has to be mailed meanwhile, people's answers are taken together like this.
ANSWERS_STEP = timedelta(minutes=20)
# The sender calls a mail delivered when no bounce has come for a day.
DELIVERED_AFTER = timedelta(hours=24)
POLL_S = 0.05
STUCK_S = 90.0  # a killed sender needs some seconds; what stands still for longer does not move by itself
CONSUMER = "sender"
# A mailbox is asked every 60 s; one that has not been for longer is still to be asked at this instant.
POLLED_WITHIN = timedelta(seconds=90)

MOVE_CLOCK = "UPDATE installation SET sandbox = true, clock_offset = greatest(clock_offset, $1)"
READ_OFFSET = "SELECT clock_offset FROM installation"
LOOK = """
SELECT
    (SELECT count(*) FROM event_log WHERE stream_seq IS NULL OR stream_seq < 0) AS unpublished,
    (SELECT coalesce(max(stream_seq), 0) FROM event_log)
        - (SELECT coalesce(min(last_seq), 0) FROM projection_offset) AS unprojected,
    (SELECT count(*) FROM send_ledger WHERE state IN ('claimed', 'in_data')) AS flying,
    (SELECT count(*) FROM send_ledger AS l JOIN inbox_settings AS s USING (inbox_id)
        WHERE l.state = 'queued' AND l.not_before <= $1
            AND NOT EXISTS (SELECT FROM send_ledger AS b WHERE b.inbox_id = l.inbox_id
                AND b.committed_at > $1 - make_interval(secs => greatest(s.min_delay_seconds, 60)))
            AND s.hourly_limit > (SELECT count(*) FROM send_ledger AS b
                WHERE b.inbox_id = l.inbox_id AND b.committed_at > $1 - INTERVAL '1 hour')
            AND NOT EXISTS (SELECT FROM breaker AS k
                WHERE k.team_id = l.team_id AND k.state <> 'closed' AND k.retry_at > $1
                    AND (k.scope = 'smtp_host' OR k.scope_key IN (l.inbox_id::text, l.campaign_id::text)))) AS unsent,
    (SELECT count(*) FROM send_ledger WHERE state = 'unknown' AND next_settle_at <= $1) AS unsettled,
    (SELECT count(*) FROM enrollments
        WHERE state = 'active' AND next_at <= $1 AND coalesce(held_until, $4) <= $4) AS unplanned,
    (SELECT count(*) FROM campaigns AS c WHERE c.status = 'active' AND NOT EXISTS (
        SELECT FROM enrollments AS e WHERE e.campaign_id = c.id AND e.state IN ('active', 'held'))) AS unfinished,
    (SELECT count(*) FROM inbound_raw WHERE outcome IS NULL) AS unsorted,
    (SELECT count(*) FROM emails WHERE status = 'sent' AND sent_at <= $3) AS undelivered,
    (SELECT count(*) FROM inboxes
        WHERE deleted_at IS NULL AND coalesce(last_reply_checked_at, '-infinity') < $2) AS unpolled
"""
# Who is held is looked at again in the planner's rounds, which stand on a grid.
NEXT_DUE = """
SELECT least(
    (SELECT min(not_before) FROM send_ledger WHERE state = 'queued'),
    (SELECT min(next_settle_at) FROM send_ledger WHERE state = 'unknown'),
    (SELECT min(next_at) FROM enrollments WHERE state = 'active' AND held_until IS NULL),
    (SELECT date_bin($1, min(greatest(next_at, held_until)) + $1 - INTERVAL '1 microsecond', TIMESTAMPTZ 'epoch')
        FROM enrollments
        WHERE state = 'active' AND next_at IS NOT NULL AND held_until IS NOT NULL)
)
"""
LAST_SENT = "SELECT max(sent_at) FROM emails WHERE status = 'sent'"
COUNT_OPEN = "SELECT count(*) FROM enrollments WHERE state IN ('active', 'held')"
OUTAGES = (*db.OUTAGES, NatsError)


class Waiting(msgspec.Struct, frozen=True, kw_only=True):
    """What is still to be done at this instant; all zero is quiet."""

    unpublished: int
    unprojected: int
    flying: int
    unsent: int  # due, and neither the gap to the inbox's last mail nor its hour nor a breaker holds it back
    unsettled: int
    unplanned: int
    unfinished: int  # campaigns whose leads are not in yet, or all at their end
    unsorted: int
    undelivered: int  # sent a day ago without a bounce, and not told as delivered yet
    unpolled: int
    unhandled: int = 0
    unanswered: bool = False  # the world's people have not done what is due

    @property
    def is_quiet(self) -> bool:
        """Whether nothing is left to do before time goes on by a step."""
        # What a killed sender had fetched comes back after 30 s (ack_wait); stops hold without it: T2 reads their rows.
        return not any(msgspec.structs.astuple(msgspec.structs.replace(self, unhandled=0, unprojected=0)))

    @property
    def is_handled(self) -> bool:
        """Whether also every event has had its effect, as before a long jump."""
        return self.is_quiet and not self.unhandled

    @property
    def is_counted(self) -> bool:
        """Whether also every event has been counted, as at the end."""
        return self.is_handled and not self.unprojected


class StuckError(Exception):
    """Something stays undone although time stands still for it; the text says what."""


async def open_sandbox(database_url: str, begins: datetime) -> None:
    """Makes the installation a sandbox whose business time is at `begins`, or where it is if that is later.

    The URL is the owner's. To be called before any service runs: they ask only now and then whether it is one.
    """
    connection = await asyncpg.connect(database_url, timeout=5)
    try:
        await connection.execute(MOVE_CLOCK, begins - datetime.now(UTC))
    finally:
        await connection.close()


class Driver:
    """Moves the clock of one sandbox; `Driver.open` makes it."""

    def __init__(self, pool: Pool, link: StreamLink, world: Control, offset: timedelta) -> None:
        self._pool = pool
        self._link = link
        self._world = world
        self._offset = offset
        self.jumps = 0

    @classmethod
    async def open(cls, pool: Pool, link: StreamLink, world: Control) -> "Driver":
        """A driver from where the sandbox's clock is; the pool is the owner's."""
        offset = await pool.fetchval(READ_OFFSET)
        await world.set_offset(offset)
        return cls(pool, link, world, offset)

    def now(self) -> datetime:
        """Business time."""
        return datetime.now(UTC) + self._offset

    async def play(self) -> None:
        """Goes from due instant to due instant until every enrollment is at its end and nothing more will come.

        A server that is being started again is waited for.

        Raises:
            StuckError: something stayed undone for STUCK_S.

        """
        failing_since: float | None = None
        while True:
            try:
                await self.settle(lambda waiting: waiting.is_quiet)
                due = await self._next_due()
                if due is None or due > self.now() + FAR:
                    await self.settle(lambda waiting: waiting.is_handled)
                    due = await self._next_due()
                if due is None:
                    return await self.settle(lambda waiting: waiting.is_counted)
                await self.jump(due)
            except OUTAGES:
                failing_since = failing_since or time.monotonic()
                if time.monotonic() - failing_since > STUCK_S:
                    raise
                await asyncio.sleep(POLL_S)
            else:
                failing_since = None

    async def settle(self, is_enough: Callable[[Waiting], bool]) -> None:
        """Returns when enough of what is due has been done.

        Raises:
            StuckError: the same things stayed undone for STUCK_S.

        """
        seen, since = None, time.monotonic()
        while not is_enough(waiting := await self.look()):
            if waiting != seen:
                seen, since = waiting, time.monotonic()
            elif time.monotonic() - since > STUCK_S:
                raise StuckError(f"nothing has moved for {STUCK_S:.0f} s at {self.now():%F %T}: {waiting}")
            await asyncio.sleep(POLL_S)

    async def jump(self, to: datetime) -> None:
        """Sets business time to `to`, for the services and for the mail world."""
        self._offset = max(self._offset, to - datetime.now(UTC))
        await self._pool.execute(MOVE_CLOCK, self._offset)
        await self._world.set_offset(self._offset)
        self.jumps += 1

    async def look(self) -> Waiting:
        """What is left to do at this instant."""
        now = self.now()
        row = await self._pool.fetchrow(LOOK, now, now - POLLED_WITHIN, now - DELIVERED_AFTER, round_of(now))
        assert row is not None  # noqa: S101 - a SELECT without FROM has one row
        consumer = await self._link.jetstream.consumer_info(STREAM, CONSUMER)
        return msgspec.structs.replace(
            to_struct(Waiting, row),
            unhandled=(consumer.num_pending or 0) + (consumer.num_ack_pending or 0),
            unanswered=not (await self._world.state()).quiet,
        )

    async def _next_due(self) -> datetime | None:
        """The next instant worth going to; None when nothing will ever fall due.

        Raises:
            StuckError: and yet somebody is not at their end.

        """
        now = self.now()
        ours = await self._pool.fetchval(NEXT_DUE, ROUND_EVERY)
        theirs = (await self._world.state()).next_due
        instants = [max(ours, now + STEP)] if ours else []
        instants += [max(theirs, now + ANSWERS_STEP)] if theirs else []
        if instants:
            return min(instants)
        if await self._pool.fetchval(COUNT_OPEN):
            raise StuckError("enrollments are open, and nothing will ever fall due for them")
        last_sent: datetime | None = await self._pool.fetchval(LAST_SENT)
        return last_sent and last_sent + DELIVERED_AFTER + STEP
