"""How the queue follows a change: the mails of that campaign, inbox or team lose their slots, and get others at once.

Only queued ones, batch by batch; what is claimed meets the new settings at its gates. Never gives a slot itself.
"""

from datetime import datetime

from libs.schema.runtime.db import Tx
from services.sender import outcomes
from services.sender.queries import changes as change_queries

BATCH = 1000  # mails in one transaction: as many as an edit moves


async def free_changed(tx: Tx, now: datetime) -> bool:
    """Frees one batch of one scope; True when there was one. The caller holds the planners' lock.

    No lead of the team is planned before the last batch (plan_queries.TEAMS_TO_PLAN): they are planned together, in the
    order in which they fell due, as though no slot had been given. Asked for twice, it is done once.
    """
    changed = await change_queries.next_changed(tx)
    if changed is None:
        return False
    queued = await change_queries.slots_of(tx, changed, BATCH)
    await outcomes.replan(tx, queued, now, None, "settings")
    released = await change_queries.release_of(tx, changed, BATCH)
    if len(queued) < BATCH and released < BATCH and not await change_queries.has_slots(tx, changed):
        await change_queries.end_changed(tx, changed.ids)
    return True
