"""A person says whose answer an unmatched message is: from then on it is one like any other, with all its effects.

Never assigns a message twice, nor one of another team.
"""

from typing import Any
from uuid import UUID

from libs.schema.commands import AssignMessage
from libs.schema.runtime.db import Tx
from libs.schema.runtime.jobs import Job, RefusedError
from services.replies.deps import Deps
from services.replies.jobs.answer import tell_answer
from services.replies.jobs.matching import newest_to
from services.replies.outcomes import Sorting
from services.replies.queries import messages, sent
from services.replies.queries.sent import Person
from services.replies.rules.inspection import read
from services.replies.rules.match import Match


async def assign(deps: Deps, tx: Tx, job: Job, command: AssignMessage) -> dict[str, Any]:
    """The message's outcome and, where it became one, the reply's id; its effects are in the transaction.

    Raises:
        RefusedError: it is no unmatched message of the team, or lead and email do not go together.
        asyncpg.LockNotAvailableError: a send to the person holds the barrier; the command must come again.

    """
    raw = await messages.take_unmatched(tx, job.team_id, command.raw_id)
    if raw is None:
        raise RefusedError(_why(await messages.outcome_of(tx, job.team_id, command.raw_id)))
    lead = await sent.find_lead(tx, job.team_id, command.lead_id)
    if lead is None:
        raise RefusedError("the team has no such lead: choose another, or import the lead first")
    now = deps.clock.now()
    at = Sorting(tx=tx, team_id=job.team_id, raw=raw, pepper=deps.settings.pepper, now=now)
    match = Match(lead_id=lead.id, email_id=await _email(at, lead, command.email_id), method="manual")
    outcome = await tell_answer(at, read(raw.raw, raw.internal_date.date()), match)
    if outcome is None:
        raise RefusedError("the lead has no address any more: choose another")
    await messages.settle_raw(tx, raw.id, outcome.name, outcome.detail, now)
    return {"outcome": outcome.name, "reply_id": outcome.detail.get("reply_id")}


async def _email(at: Sorting, lead: Person, email_id: UUID | None) -> UUID | None:
    """The email that is answered: the one named, else the newest one to the lead before it; None: there is none."""
    if email_id is None:
        person = at.person(lead.email)
        return await newest_to(at, person) if person else None
    email = next(iter(await sent.read_sent(at.tx, at.team_id, [email_id])), None)
    if email is None or email.lead_id != lead.id:
        raise RefusedError("that email did not go to this lead: name one that did, or none")
    return email_id


def _why(outcome: str | None) -> str:
    if outcome is None:
        return "there is no such message, or it is being sorted: load the list again"
    return f"the message has become '{outcome}' already: load the list again"
