"""What the clock starts: numbers that move with the calendar, verdicts on tests, months ahead; counts no event."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby

from libs.schema.events.campaign import CampaignVariantWon
from libs.schema.runtime.db import transaction
from libs.schema.runtime.outbox import Fact, record_all
from libs.schema.runtime.service import Runtime
from services.analytics.queries import arms, calendar, offset
from services.analytics.queries.arms import ArmCount
from services.analytics.rules.winner import MATURE_DAYS, Arm, NoDifference, Verdict, Won, judge

# Two turns of the month: a job that stands still for weeks still leaves no row to the DEFAULT partition.
MONTHS_AHEAD = timedelta(days=62)
JUDGE_EVERY = timedelta(hours=1)  # a mail grows old by the day


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


@dataclass
class Judge:
    """Judges the A/B tests once an hour of business time; at once after a start, which changes nothing that stands."""

    runtime: Runtime
    last_at: datetime | None = None

    async def judge_tests(self) -> bool:
        """Looks whether an hour has passed, and if so judges."""
        now = self.runtime.clock.now()
        if self.last_at is not None and now - self.last_at < JUDGE_EVERY:
            return False
        await judge_tests(self.runtime, now)
        self.last_at = now
        return False


async def judge_tests(runtime: Runtime, as_of: datetime) -> None:
    """Gives every test that is sure its winner, and says so; shows where there is no difference to find.

    A step whose test was decided is judged again when it has got another arm, and shows no winner until then.
    """
    async with transaction(runtime.pool) as tx:
        await offset.hold_offset(tx)  # as in refresh_inboxes: the projection counts in the same rows
        found = await arms.read_arms(tx, as_of, MATURE_DAYS)
        tests = [list(test) for _, test in groupby(found, lambda arm: arm.step_id)]
        verdicts = [(test, _judged(test)) for test in tests]
        none = [test[0].step_id for test, verdict in verdicts if isinstance(verdict, NoDifference)]
        await arms.show_no_difference(tx, none)
        await arms.show_running(tx, [test[0].step_id for test in tests])
        won = [(test, verdict) for test, verdict in verdicts if isinstance(verdict, Won)]
        facts = [
            _fact(test, verdict)
            for test, verdict in won
            if await arms.crown(tx, test[0].step_id, verdict.variant_id, [arm.variant_id for arm in test])
        ]
        await record_all(tx, facts, by="analytics", at=as_of)


def _judged(test: Sequence[ArmCount]) -> Verdict:
    return judge([Arm(variant_id=arm.variant_id, sent=arm.sent, replied=arm.replied) for arm in test])


def _fact(test: Sequence[ArmCount], verdict: Won) -> Fact:
    event = CampaignVariantWon(
        campaign_id=test[0].campaign_id,
        step_id=test[0].step_id,
        variant_id=verdict.variant_id,
        probability=round(verdict.probability, 4),
        expected_loss=round(verdict.expected_loss, 6),
        arm_ids=[arm.variant_id for arm in test],
        arm_sent=[arm.sent for arm in test],
        arm_replied=[arm.replied for arm in test],
    )
    return Fact(team_id=test[0].team_id, event=event)
