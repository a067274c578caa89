"""The pure planner alone: what a slot costs, and how that grows from 1,000 leads to 100,000 over 1,000 inboxes.

Bare is what no planner can do without, and grows as n log n: the leads in order, each to the freest inbox by a heap.
"""

import math
import time
from collections.abc import Sequence
from datetime import datetime, timedelta
from datetime import time as wall_time
from heapq import heapify, heapreplace
from uuid import UUID

from benchmarks.ground import Ground
from benchmarks.harness import Row, Scale, compare
from libs.planning.hours.windows import DAYS, Window
from libs.planning.limits.diary import Inbox, Team
from libs.planning.schedule import Due, Slot, plan
from libs.schema.runtime.clock import new_id
from tests.support import EPOCH

ZONES = ("UTC", "America/New_York", "Europe/Berlin", "Asia/Tokyo")
INBOXES_OF_A_CAMPAIGN = 50
# At most: so 100 mails of an inbox take five of the nine hours that its window is open.
LONGEST_GAP_S = 240
LONG = 50_000  # leads: a round takes ten seconds, so that two are enough and none is for warming up
TWICE = Scale(rounds=2, warm_ups=0, quick=False)
# Limits per company as a new team has them, and companies of as many people as a day allows.
TEAM = Team(zone="UTC", daily_limit=10**9, used={}, domain_daily_limit=3, domain_gap=timedelta(minutes=10))
ALL_HOURS = (Window(days=frozenset(DAYS), zone="UTC"),)


async def run(ground: Ground, scale: Scale) -> list[Row]:
    """A row for each number of leads, and one for the growth between the first and the last."""
    _ = ground
    inboxes = _inboxes(scale.size(1_000, 100))
    sizes = (1_000, 10_000, 100_000) if not scale.quick else (100, 1_000)
    rows: list[Row] = []
    costs: dict[int, float] = {}
    for size in sizes:
        leads = _leads(size, inboxes)
        spent: list[float] = []

        async def ours(leads: Sequence[Due] = leads, spent: list[float] = spent) -> float:
            started = time.process_time()
            placed = plan(leads, inboxes, TEAM, EPOCH)
            spent.append((time.process_time() - started) / len(leads))
            if not all(isinstance(each, Slot) for each in placed):
                raise AssertionError("every lead has room for a slot here")
            return 1 / spent[-1]

        async def bare(leads: Sequence[Due] = leads) -> float:
            started = time.process_time()
            _spread(leads, inboxes)
            return len(leads) / (time.process_time() - started)

        rounds = scale if size < LONG else TWICE
        pair = await compare(ours, bare, rounds)
        costs[size] = min(spent)  # what others do to the caches is no part of it
        note = f"{costs[size] * 1e6:.0f} µs a slot"
        rows.append(
            Row(
                bench="planner",
                what=f"{size:,} leads, {len(inboxes):,} inboxes",
                unit="slots/s",
                ours=pair.ours,
                bare=pair.bare,
                ratio=pair.ratio,
                note=note,
            )
        )
    return [*rows, _growth(costs)]


def _growth(costs: dict[int, float]) -> Row:
    """How many times the work of the smallest number the largest one is; bare is n log n."""
    small, large = min(costs), max(costs)
    ours = costs[large] * large / (costs[small] * small)
    bare = large * math.log(large) / (small * math.log(small))
    return Row(
        bench="planner",
        what=f"growth {small:,} to {large:,}, bare = n log n",
        unit="times",
        ours=ours,
        bare=bare,
        ratio=bare / ours,
        goal=1.0,
    )


def _inboxes(count: int) -> list[Inbox]:
    return [
        Inbox(
            inbox_id=new_id(),
            window=Window(days=frozenset(DAYS[:5]), zone=ZONES[n % len(ZONES)], start=wall_time(9), end=wall_time(18)),
            daily_limit=150,
            hourly_limit=40,
            min_delay_s=120,
            max_delay_s=LONGEST_GAP_S,
        )
        for n in range(count)
    ]


def _leads(count: int, inboxes: Sequence[Inbox]) -> list[Due]:
    """Every third a follow-up with its own inbox, the others new ones that any inbox of their campaign may get."""
    size = INBOXES_OF_A_CAMPAIGN
    groups = [tuple(inbox.inbox_id for inbox in inboxes[at : at + size]) for at in range(0, len(inboxes), size)]
    campaigns = [(new_id(), group) for group in groups]
    return [_lead(n, *campaigns[n % len(campaigns)]) for n in range(count)]


def _lead(number: int, step_id: UUID, group: tuple[UUID, ...]) -> Due:
    follows_up = number % 3 == 0
    return Due(
        enrollment_id=new_id(),
        lead_key=number.to_bytes(32, "big"),
        step_id=step_id,
        follows_up=follows_up,
        due_at=_spread_over_an_hour(number),
        windows=ALL_HOURS,
        inbox_ids=(group[number // len(group) % len(group)],) if follows_up else group,
        domain=f"company{number // 3}.test",
    )


def _spread_over_an_hour(number: int) -> datetime:
    return EPOCH + timedelta(seconds=number % 3600)


def _spread(leads: Sequence[Due], inboxes: Sequence[Inbox]) -> list[tuple[UUID, UUID]]:
    heap = [(0, inbox.inbox_id) for inbox in inboxes]
    heapify(heap)
    placed: list[tuple[UUID, UUID]] = []
    for due in sorted(leads, key=lambda due: (not due.follows_up, due.due_at, due.enrollment_id)):
        used, inbox_id = heap[0]
        placed.append((due.enrollment_id, inbox_id))
        heapreplace(heap, (used + 1, inbox_id))
    return placed
