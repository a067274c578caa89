"""Whether a campaign may start: the preflight's own findings, those that are errors. Decides nothing of its own."""

from uuid import UUID

from libs.planning.preflight.check import of_campaign
from libs.planning.preflight.queries import read_plan
from services.api.problems import Fault, Problem, not_found
from services.api.routing import Scope
from services.api.rules.reach import can_be_reached


async def check_ready(at: Scope, campaign_id: UUID) -> None:
    """Says nothing when the campaign lacks nothing.

    Raises:
        Problem: not_found; not_ready with everything that is missing, each with its mend.

    """
    plan = await read_plan(at.tx, at.team_id, campaign_id, at.now)
    if plan is None:
        raise not_found("campaign", parameter="campaign_id")
    faults = [
        Fault(code=finding.code, detail=finding.detail, mend=finding.mend, pointer=finding.pointer)
        for finding in of_campaign(plan, can_unsubscribe=can_unsubscribe(at))
        if finding.severity == "error"
    ]
    if faults:
        raise Problem("not_ready", "the campaign cannot be started yet", errors=faults)


def can_unsubscribe(at: Scope) -> bool:
    """Whether the links that this installation writes into its mails lead anywhere."""
    settings = at.runtime.settings
    return can_be_reached(settings.public_url, settings.dangerous_allow_networks)
