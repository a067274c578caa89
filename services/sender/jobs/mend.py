"""What time settles: claims of workers that are gone, ends that nobody knows, mail that has not come back.

Never sends, and never queues again what has passed the point of no return.
"""

from libs.schema.events.email import EmailDelivered, EmailUnknown
from libs.schema.runtime.db import transaction
from libs.schema.runtime.outbox import Fact, record_all
from services.sender import outcomes
from services.sender.deps import Deps
from services.sender.queries import resolve
from services.sender.rules.lifecycle import email_status


async def reap(deps: Deps) -> bool:
    """Claims whose lease is over or whose owner is gone: queued again before T2, unknown after it."""
    now = deps.clock.now()
    async with transaction(deps.pool) as tx:
        dead = await resolve.dead_owners(tx)
        await resolve.reap_claimed(tx, dead, email_status("queued"))
        lost = await resolve.reap_in_data(tx, dead, deps.unknown_patience, email_status("unknown"))
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
    """Unknown ends for which no evidence came: counted as sent, shown as unconfirmed, never sent again."""
    now = deps.clock.now()
    async with transaction(deps.pool) as tx:
        overdue = await resolve.overdue_unknown(tx, now)
        evidence = resolve.Evidence(resolved_by="expired")
        return await outcomes.resolve_unknown(tx, overdue, evidence, now, "expired") > 0


async def tell_delivered(deps: Deps) -> bool:
    """Mail that was sent a day ago and has not come back has arrived, as far as anybody can know."""
    now = deps.clock.now()
    async with transaction(deps.pool) as tx:
        status = email_status("accepted", delivered=True)
        calm = await resolve.mark_delivered(tx, now, now - deps.delivered_after, status)
        facts = [
            Fact(
                team_id=send.team_id,
                event=EmailDelivered(
                    **send.identity(),
                    sent_on=send.sent_on or now.date(),
                    inbox_sent_on=send.inbox_sent_on or now.date(),
                    by_dsn=False,
                ),
            )
            for send in calm
        ]
        await record_all(tx, facts, by=outcomes.BY, at=now)
    return bool(calm)
