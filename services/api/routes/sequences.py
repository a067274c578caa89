"""A campaign's steps: written whole, kept in versions, so that leads on their way keep what they started with."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Header, Query
from starlette.responses import Response

from services.api.bodies.campaigns import SequenceChange
from services.api.changes import campaign_changed, terms_of
from services.api.positions import MinPosition
from services.api.problems import Problem, not_found
from services.api.queries import campaigns, sequences
from services.api.resources import Campaign, Notice, Sequence, Step
from services.api.responses import answer, etag, problems, shows, shows_either
from services.api.routing import Here, Scope, ScopedRoute, needs
from services.api.rules.impact import SequenceImpact
from services.api.rules.templates import unknown_variables
from services.api.steps import impact_of, save_steps, save_version

router = APIRouter(prefix="/v1/campaigns", tags=["campaigns"], route_class=ScopedRoute, responses=problems())

# Of the leads imported last: enough to know the team's custom fields, and no more than a moment's work.
SAMPLE_LEADS = 1000

DryRun = Annotated[bool, Query(description="say what would happen, and write nothing")]
IfMatch = Annotated[str | None, Header(description="the ETag that the change is based on; 412 when it has moved on")]


@router.get("/{campaign_id}/sequences", responses=shows(Sequence), openapi_extra=needs("campaigns:read"))
async def get_sequences(
    campaign_id: UUID,
    at: Here,
    min_position: MinPosition = None,  # noqa: ARG001  waited for before the transaction (positions.py)
) -> Response:
    """The campaign's steps in their order, with their variants and counters."""
    campaign = await get_or_404(at, campaign_id)
    steps = await sequences.list_steps(at.tx, at.team_id, campaign_id)
    return answer(Sequence(data=steps), etag=etag(campaign.revision))


@router.put(
    "/{campaign_id}/sequences",
    responses=shows_either(Sequence, SequenceImpact),
    openapi_extra=needs("campaigns:write"),
)
async def put_sequences(
    campaign_id: UUID, body: SequenceChange, at: Here, *, dry_run: DryRun = False, if_match: IfMatch = None
) -> Response:
    """Writes all steps: those with a known id are changed, new ones added, the others archived.

    Leads on their way keep the version they are in, or with `apply_to` "all" move to the new one. With `dry_run` the
    answer says what would happen to them, and nothing is written.
    """
    campaign = await lock(at, campaign_id, if_match)
    if not body.sequences and campaign.status in {"active", "scheduled"}:
        raise Problem("wrong_state", "an active or scheduled campaign needs at least one step; pause it first")
    if dry_run:
        return answer(await impact_of(at, campaign, body), etag=etag(campaign.revision))
    await save_steps(at, campaign_id, body.sequences)
    await campaigns.update_campaign(at.tx, at.team_id, campaign_id, {}, {})  # raises the revision
    version, migrate = None, body.apply_to == "all"
    if campaign.status != "draft":
        version = await save_version(at, campaign_id, moves_leads=migrate)
    was = await terms_of(at, campaign)  # steps are none of them
    await campaign_changed(at, campaign, was, ["sequences"], sequence_version=version, migrate=migrate)
    steps = await sequences.list_steps(at.tx, at.team_id, campaign_id)
    return answer(
        Sequence(data=steps, warnings=await warnings_of(at, steps, "/sequences")), etag=etag(campaign.revision + 1)
    )


async def get_or_404(at: Scope, campaign_id: UUID) -> Campaign:
    """The team's campaign.

    Raises:
        Problem: not_found.

    """
    campaign = await campaigns.get_campaign(at.tx, at.team_id, campaign_id)
    if campaign is None:
        raise not_found("campaign", parameter="campaign_id")
    return campaign


async def lock(at: Scope, campaign_id: UUID, if_match: str | None = None) -> Campaign:
    """The team's campaign, which nobody else changes until the transaction ends.

    Raises:
        Problem: not_found, or stale_revision when `if_match` is not its entity tag.

    """
    await campaigns.lock_campaign(at.tx, at.team_id, campaign_id)
    campaign = await get_or_404(at, campaign_id)
    if if_match not in {None, "*", etag(campaign.revision)}:
        raise Problem("stale_revision", f"the campaign is at revision {campaign.revision}")
    return campaign


async def warnings_of(at: Scope, steps: list[Step], root: str) -> list[Notice]:
    """The variables in the steps that would be empty for every lead: neither a lead's field nor a custom one."""
    custom = await sequences.custom_field_names(at.tx, at.team_id, SAMPLE_LEADS)
    notices: list[Notice] = []
    for place, step in enumerate(steps):
        texts = {f"{root}/{place}/{name}": getattr(step, name) for name in ("subject", "body")}
        for index, variant in enumerate(step.variants):
            texts |= {f"{root}/{place}/variants/{index}/{name}": getattr(variant, name) for name in ("subject", "body")}
        notices += [
            Notice(
                code="unknown_variable",
                detail=f"line {found.row}, column {found.column}: no lead has {found.name!r}; give it a default",
                pointer=pointer,
            )
            for pointer, text in texts.items()
            for found in unknown_variables(text, custom)
        ]
    return notices
