"""How leads on their way move to a newer version of their steps, when it was saved for all: batch by batch.

What is under way keeps its words; its lead moves when it is settled. Never changes a mail whose step says the same.
"""

from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

from libs.planning.sequence import in_newer, same_mail, step_at
from libs.schema.events.lead import LeadCompleted
from libs.schema.runtime.db import Tx, transaction
from libs.schema.runtime.outbox import Fact, record_all
from services.sender import outcomes
from services.sender.deps import Deps
from services.sender.outcomes import BY
from services.sender.queries import moves as move_queries
from services.sender.queries.moves import Behind, Version
from services.sender.queries.plan import lock_planning
from services.sender.rules.lifecycle import LEAD_STATUSES

BATCH = 1000  # leads in one transaction: a campaign of 100,000 holds nobody's rows for long


async def move_leads(deps: Deps) -> bool:
    """Moves one batch of one campaign; True when there may be more. Moves nobody twice."""
    async with transaction(deps.pool) as tx:
        # No slot is given meanwhile, so a lead that has no queued mail gets none before it has moved.
        newer = await move_queries.newer_version(tx) if await lock_planning(tx) else None
        return newer is not None and await _move_batch(deps, tx, newer) == BATCH


async def _move_batch(deps: Deps, tx: Tx, newer: Version) -> int:
    now = deps.clock.now()
    behind = await move_queries.lock_behind(tx, newer, BATCH)
    older = {each.version: each for each in await move_queries.older_versions(tx, newer)}
    moves: list[tuple[UUID, int, timedelta]] = []
    ends: list[Behind] = []
    anew: list[UUID | None] = []
    for lead in behind:
        old = older[lead.sequence_version]
        step, after = step_at(old.steps, lead.step_number), in_newer(old.steps, newer.steps, lead.step_number)
        if step is None or after is None:
            ends.append(lead)
            anew.append(lead.send_id)
            continue
        stays = step.step_id == after.step_id and same_mail(step, after)
        if not stays:
            anew.append(lead.send_id)
        moves.append((lead.id, after.step_number, after.delay - step.delay))
    await outcomes.replan(tx, [send_id for send_id in anew if send_id], now, None, "edited")
    await move_queries.change_version(tx, newer, moves)
    await _finish(deps, tx, newer, ends)
    return len(behind)


async def _finish(deps: Deps, tx: Tx, newer: Version, ends: Sequence[Behind]) -> None:
    now = deps.clock.now()
    await move_queries.finish(tx, newer, [lead.id for lead in ends], now, LEAD_STATUSES)
    facts = [
        Fact(
            team_id=newer.team_id,
            event=LeadCompleted(lead_id=lead.lead_id, enrollment_id=lead.id, campaign_id=newer.campaign_id),
        )
        for lead in ends
    ]
    await record_all(tx, facts, by=BY, at=now)
