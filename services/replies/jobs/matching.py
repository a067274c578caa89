"""Looking for the email that a message answers: the way most messages go costs one statement, the others one more each.

Decides nothing: rules/match.py does.
"""

from collections.abc import Sequence
from uuid import UUID

import msgspec

from libs.planning.limits.domains import company_domain
from services.replies.outcomes import Sorting
from services.replies.queries import sent
from services.replies.rules.inspection import Inbound
from services.replies.rules.match import (
    ADDRESS_DAYS,
    COLLEAGUE_DAYS,
    Housemate,
    Match,
    before,
    candidates,
    match_by_address,
    match_by_colleague,
    match_by_id,
    match_by_thread,
    match_by_token,
    token_ids,
)


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """Whose answer it is; where nobody's, the leads whom a person may think of."""

    match: Match | None = None
    candidates: Sequence[UUID] = ()


async def find(at: Sorting, inbound: Inbound, writer: bytes | None) -> Finding:
    """Whose answer the message is, by the first of the ways that finds somebody."""
    named = [*inbound.references, *inbound.in_reply_to]
    tokens = token_ids(inbound.headers)
    between = before(at.raw.internal_date, ADDRESS_DAYS)
    known = await sent.find_candidates(at.tx, at.team_id, [*named, *tokens], writer, between)
    match = match_by_id(inbound.in_reply_to, inbound.references, known)
    if match is None and named:
        match = match_by_thread(named, await sent.find_answered(at.tx, at.team_id, named))
    match = match or match_by_token(tokens, known) or match_by_address(known, at.raw.inbox_id, between)
    # What a machine says under our subject need not be about our lead.
    if match or inbound.auto:
        return Finding(match=match)
    house = await _house(at, inbound.sender.address)
    return Finding(match=match_by_colleague(inbound.subject, house), candidates=candidates(house))


async def newest_to(at: Sorting, person: bytes) -> UUID | None:
    """The newest email to the person before the message came, of this mailbox rather than another's."""
    between = before(at.raw.internal_date, ADDRESS_DAYS)
    known = await sent.find_candidates(at.tx, at.team_id, [], person, between)
    match = match_by_address(known, at.raw.inbox_id, between)
    return match.email_id if match else None


async def _house(at: Sorting, address: str) -> list[Housemate]:
    domain = company_domain(address)
    if domain is None:
        return []
    between = before(at.raw.internal_date, COLLEAGUE_DAYS)
    return await sent.find_housemates(at.tx, at.team_id, at.raw.inbox_id, domain, between)
