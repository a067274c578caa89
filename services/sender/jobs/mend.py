"""What time settles: claims of workers that are gone, ends that nobody knows, mail that has not come back.

Never sends, and never queues again what has passed the point of no return.
"""

from libs.schema.events.email import EmailUnknown
from libs.schema.runtime.db import transaction
from libs.schema.runtime.outbox import Fact, record_all
from services.sender import outcomes
from services.sender.deps import Deps
from services.sender.queries import evidence, resolve
from services.sender.queries.evidence import Evidence
from services.sender.rules.lifecycle import email_status
from services.sender.rules.settling import first_look, next_look


async def reap(deps: Deps) -> bool:
    """Claims whose lease is over or whose owner is gone: queued again before T2, unknown after it."""
    now = deps.clock.now()
    async with transaction(deps.pool) as tx:
        dead = await resolve.dead_owners(tx)
        await resolve.reap_claimed(tx, dead, email_status("queued"))
        lost = await resolve.reap_in_data(tx, dead, first_look(deps.unknown_patience), email_status("unknown"))
        facts = [
            Fact(
                team_id=send.team_id,
                event=EmailUnknown(
                    **send.identity(),
                    sent_on=send.sent_on or now.date(),
                    inbox_sent_on=send.inbox_sent_on or now.date(),
                    reason="worker_gone",
                ),
            )
            for send in lost
        ]
        await record_all(tx, facts, by=outcomes.BY, at=now)
    return False


async def settle_unknown(deps: Deps) -> bool:
    """Looks for evidence of unknown ends; the last look counts them as sent, unconfirmed, and never sent again."""
    now = deps.clock.now()
    async with transaction(deps.pool) as tx:
        due = await evidence.due_looks(tx, now)
        for one in due:
            later = next_look(one.committed_at, deps.unknown_patience, now)
            if one.found is None and later is not None:
                await evidence.look_again(tx, one.send_id, later)
                continue
            found = one.found or "expired"
            await outcomes.resolve_unknown(tx, [one.send_id], Evidence(resolved_by=found), now, found)
    return bool(due)


async def tell_delivered(deps: Deps) -> bool:
    """Mail that was sent a day ago and has not come back has arrived, as far as anybody can know."""
    now = deps.clock.now()
    async with transaction(deps.pool) as tx:
        status = email_status("accepted", delivered=True)
        calm = await evidence.mark_delivered(tx, now, now - deps.delivered_after, status)
        await outcomes.delivered(tx, calm, now, by_dsn=False)
    return bool(calm)
