"""A campaign's steps as they are written: checked as a whole, kept in versions, and what a change would do."""

from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

import msgspec

from libs.planning import sequence as planning
from services.api.bodies.campaigns import SequenceChange, StepIn
from services.api.links import keep_links
from services.api.problems import Fault, Problem, not_found
from services.api.queries import sequences
from services.api.resources import Campaign, Step, Variant
from services.api.routing import Scope
from services.api.rules import impact
from services.api.rules.conditions import faults
from services.api.rules.impact import SequenceImpact

QUEUED_DAYS = timedelta(days=7)  # how far ahead an impact counts the mails that wait


async def save_steps(at: Scope, campaign_id: UUID, wanted: Sequence[StepIn]) -> None:
    """Makes these the campaign's steps.

    Raises:
        Problem: see `drafted`.

    """
    live = await sequences.list_steps(at.tx, at.team_id, campaign_id)
    steps = drafted(at, campaign_id, live, wanted)
    await sequences.save_steps(at.tx, at.team_id, campaign_id, steps, at.now)


def drafted(at: Scope, campaign_id: UUID, live: Sequence[Step], wanted: Sequence[StepIn]) -> list[Step]:
    """The steps as they would be shown once they are written; a variant whose words stay keeps its id.

    Raises:
        Problem: not_found, when a named step is not one of the campaign's; invalid, when conditions lead nowhere.

    """
    known = {step.id: step for step in live}
    for place, step in enumerate(wanted):
        if step.id is not None and step.id not in known:
            raise not_found("step in this campaign", pointer=f"/sequences/{place}/id")
    steps = [
        Step(
            id=step.id or at.runtime.new_id(),
            campaign_id=campaign_id,
            step_number=number,
            delay_days=step.delay_days,
            delay_hours=step.delay_hours,
            subject=step.subject,
            body=step.body,
            conditions=[condition.model_dump(exclude_none=True) for condition in step.conditions],
            variants=_arms(at, known[step.id].variants if step.id else [], step),
        )
        for number, step in enumerate(wanted, start=1)
    ]
    _check_conditions(steps)
    return steps


def _arms(at: Scope, live: Sequence[Variant], step: StepIn) -> list[Variant]:
    known = {(variant.subject, variant.body): variant.id for variant in reversed(live)}
    return [
        Variant(
            id=known.pop((variant.subject, variant.body), None) or at.runtime.new_id(),
            variant_index=index,
            weight=variant.weight,
            subject=variant.subject,
            body=variant.body,
        )
        for index, variant in enumerate(step.variants)
    ]


def _check_conditions(steps: Sequence[Step]) -> None:
    found = [
        Fault(code=reason.code, detail=str(reason), mend=reason.mend, pointer=f"/sequences{pointer}")
        for pointer, reason in faults(frozen(steps))
    ]
    if found:
        raise Problem("invalid", errors=found)


def frozen(steps: Sequence[Step]) -> list[planning.Step]:
    """The steps as a version keeps them (migration 018): their content, without counters."""
    return [_frozen(step) for step in steps]


def _frozen(step: Step) -> planning.Step:
    return planning.Step(
        step_id=step.id,
        step_number=step.step_number,
        subject=step.subject,
        body=step.body,
        delay_days=step.delay_days,
        delay_hours=step.delay_hours,
        conditions=msgspec.convert(step.conditions, tuple[planning.Condition, ...]),
        variants=tuple(
            planning.Variant(
                variant_id=variant.id,
                variant_index=variant.variant_index,
                subject=variant.subject,
                body=variant.body,
                weight=variant.weight,
            )
            for variant in step.variants
        ),
    )


async def save_version(at: Scope, campaign_id: UUID, *, moves_leads: bool = False) -> int:
    """Keeps the steps as they are now, unless the last version says the same; returns the newest version's number.

    Raises:
        Problem: invalid, when conditions lead nowhere: a direct client of the database may write such.

    """
    listed = await sequences.list_steps(at.tx, at.team_id, campaign_id)
    _check_conditions(listed)
    await keep_links(at, campaign_id, listed)
    last = await sequences.last_version(at.tx, at.team_id, campaign_id)
    version = _next_version(last, frozen(listed), moves_leads=moves_leads)
    if version is not last:
        await sequences.add_version(at.tx, at.runtime.new_id(), at.team_id, campaign_id, version, at.now)
    return version.version


def _next_version(
    last: sequences.Version | None, steps: list[planning.Step], *, moves_leads: bool
) -> sequences.Version:
    """The last version where it says and does the same already, else the one after it."""
    if last is not None and last.steps == steps and (last.moves_leads or not moves_leads):
        return last
    return sequences.Version(version=last.version + 1 if last else 1, steps=steps, moves_leads=moves_leads)


async def impact_of(at: Scope, campaign: Campaign, change: SequenceChange) -> SequenceImpact:
    """What the change would do; writes nothing.

    Raises:
        Problem: see `drafted`.

    """
    live = await sequences.list_steps(at.tx, at.team_id, campaign.id)
    new = frozen(drafted(at, campaign.id, live, change.sequences))
    moves = change.apply_to == "all"
    last = await sequences.last_version(at.tx, at.team_id, campaign.id)
    version = _next_version(last, new, moves_leads=moves).version
    versions = {each.version: each.steps for each in await sequences.versions_in_use(at.tx, at.team_id, campaign.id)}
    standing = [
        each for each in await sequences.leads_on_their_way(at.tx, at.team_id, campaign.id) if each.version != version
    ]
    waiting = await sequences.waiting_mails(at.tx, at.team_id, campaign.id, at.now + QUEUED_DAYS) if moves else []
    leads = sum(each.leads for each in standing)
    return SequenceImpact(
        apply_to=change.apply_to,
        sequence_version=None if campaign.status == "draft" else version,
        steps=impact.changes(frozen(live), new, [arm.id for step in live for arm in step.variants if arm.is_winner]),
        leads_keeping=0 if moves else leads,
        leads_moving=leads if moves else 0,
        leads_finishing=impact.finishing(versions, new, standing) if moves else 0,
        queued=impact.rewritten(versions, new, [each for each in waiting if each.version != version]),
    )
