"""A domain's SPF, DKIM and DMARC records asked for: the rules' questions put to name servers, one after the other.

Never waits longer than WITHIN_S for one part, whatever a hostile zone answers.
"""

import asyncio
from collections.abc import Mapping

from services.api.dns import Resolver
from services.api.rules.records.dkim import check_dkim
from services.api.rules.records.dmarc import check_dmarc
from services.api.rules.records.found import Check, Found, Part, Question
from services.api.rules.records.spf import check_spf

WITHIN_S = 20.0


async def look_up(resolver: Resolver, domain: str, selector: str | None, ours: str | None) -> dict[Part, Found | None]:
    """What the name servers say of each part; None: they say nothing now. `ours`: the record of the key that signs."""
    checks: Mapping[Part, Check] = {
        "spf": check_spf(domain),
        "dkim": check_dkim(domain, selector, ours),
        "dmarc": check_dmarc(domain),
    }
    answers = await asyncio.gather(*(_answered(resolver, check) for check in checks.values()))
    return dict(zip(checks, answers, strict=True))


async def _answered(resolver: Resolver, check: Check) -> Found | None:
    try:
        async with asyncio.timeout(WITHIN_S):
            return await _carried_out(resolver, check)
    except TimeoutError:
        return None


async def _carried_out(resolver: Resolver, check: Check) -> Found | None:
    """One silence ends it: what depends on an answer cannot be told without."""
    try:
        question = next(check)
        while (answer := await _answer(resolver, question)) is not None:
            question = check.send(answer)
    except StopIteration as end:
        return end.value
    return None


async def _answer(resolver: Resolver, question: Question) -> list[str] | None:
    match question.kind:
        case "texts":
            return await resolver.texts(question.name)
        case "exchangers":
            return await resolver.mail_exchangers(question.name)
        case "addresses":
            return await resolver.addresses(question.name)
