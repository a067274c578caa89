"""The job that looks up what the DNS says about sending domains: each day, and sooner when somebody works on it.

Never decides for a request, never holds a transaction open while a name server thinks, and tells only what changed.
"""

import asyncio
from datetime import timedelta
from typing import Final

from prometheus_client import Counter

from libs.schema.events.inbox import DomainChecked
from libs.schema.runtime.db import Tx, transaction
from libs.schema.runtime.outbox import record
from libs.schema.runtime.service import Runtime
from services.api.dns import Resolver
from services.api.queries import checks
from services.api.queries.checks import Due
from services.api.records import look_up
from services.api.rules.records.found import Found, Part
from services.api.rules.records.verdict import DAY, Verdicts, says_the_same, settle, wait_for

AT_ONCE = 20
LOOKED_AT_ONCE = 5  # with three questions each on their way
CLAIM = timedelta(minutes=5)  # longer than so many can take: AT_ONCE / LOOKED_AT_ONCE turns of 20 s
CHECKS: Final = Counter("coldstream_domain_checks_total", "Parts of sending domains looked up", ["part", "verdict"])
_VERDICTS = {True: "valid", False: "invalid", None: "undecided"}


async def check_domains(runtime: Runtime, resolver: Resolver) -> bool:
    """Looks up the domains whose time has come, some at a time; True while there may be more.

    Many workers at once look at each once. Ends with the process: what was claimed and not stored comes again.
    """
    async with transaction(runtime.pool) as tx:
        claimed = await checks.claim(tx, runtime.clock.now(), CLAIM, AT_ONCE)
    if not claimed:
        return False
    turns = asyncio.Semaphore(LOOKED_AT_ONCE)
    looking = asyncio.gather(*(_check(runtime, resolver, due, turns) for due in claimed), return_exceptions=True)
    told = asyncio.create_task(runtime.stopping.wait())
    try:
        await asyncio.wait({looking, told}, return_when=asyncio.FIRST_COMPLETED)
        if not looking.done():
            return False
        failures = [each for each in looking.result() if each is not None]
    finally:
        told.cancel()
        looking.cancel()
    if failures:  # the others have been stored; these come again when the claim is over
        raise BaseExceptionGroup("domains could not be looked up", failures)
    return len(claimed) == AT_ONCE


async def _check(runtime: Runtime, resolver: Resolver, due: Due, turns: asyncio.Semaphore) -> None:
    if not resolver.asks_about(due.domain):
        async with transaction(runtime.pool) as tx:
            await checks.put_off(tx, due, runtime.clock.now() + DAY)
        return
    async with turns:
        found = await look_up(resolver, due.domain, due.dkim_selector, due.dkim_public_record)
    async with transaction(runtime.pool) as tx:
        changed = await _store(tx, runtime, due, found)
    for part, each in found.items():
        CHECKS.labels(part, "unanswered" if each is None else _VERDICTS[each.valid]).inc()
    runtime.log.info(
        "domain.checked",
        domain_id=str(due.id),
        team_id=str(due.team_id),
        changed=changed,
        **{part: None if each is None else each.valid for part, each in found.items()},
    )


async def _store(tx: Tx, runtime: Runtime, due: Due, found: dict[Part, Found | None]) -> bool:
    """Whether there was something new; what was found about a key that is replaced by now is worth nothing."""
    before, now = await checks.known(tx, due), runtime.clock.now()
    if before is None:
        return False
    after = settle(before, found, now)
    await checks.store(tx, due, after, now, now + wait_for(due.id, found, now - due.changed_at))
    if says_the_same(before, after):
        return False
    await record(tx, due.team_id, _event(due, after), by="api", at=now)
    return True


def _event(due: Due, after: Verdicts) -> DomainChecked:
    return DomainChecked(
        domain_id=due.id,
        spf_valid=after["spf"].valid,
        dkim_valid=after["dkim"].valid,
        dmarc_valid=after["dmarc"].valid,
        dmarc_policy=after["dmarc"].policy,
    )
