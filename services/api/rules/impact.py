"""What saving a sequence would do: to its steps, to the leads on their way, to the mails that wait for their time.

Says it before anything is written, by the rules by which the sender moves leads (libs/planning/sequence.py).
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import date
from typing import Literal
from uuid import UUID

import msgspec

from libs.planning.sequence import Step, in_newer, same_mail

_FIELDS = ("step_number", "delay_days", "delay_hours", "subject", "body", "conditions")


class StepChange(msgspec.Struct, frozen=True, kw_only=True):
    """What becomes of one step: `fields` names what differs, numbers are the new ones (of a removed step, the old).

    `begins_test`: its A/B test was decided, and a new arm, or the loss of the winner, makes all arms begin anew.
    """

    id: UUID
    step_number: int
    change: Literal["added", "removed", "changed"]
    fields: list[str] = []
    variants_added: int = 0
    variants_removed: int = 0
    begins_test: bool = False


class QueuedDay(msgspec.Struct, frozen=True, kw_only=True):
    """Mails that have their second on that day (the campaign's zone) and would be written and planned anew."""

    date: date
    mails: int


class SequenceImpact(msgspec.Struct, frozen=True, kw_only=True):
    """What saving these steps would do; nothing has been written.

    Leads on their way keep their version, or move to the new one; of those that move, some have no step left to get.
    """

    apply_to: Literal["new", "all"]
    sequence_version: int | None
    steps: list[StepChange]
    leads_keeping: int
    leads_moving: int
    leads_finishing: int
    queued: list[QueuedDay]


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """How many leads on their way stand at this step of that version."""

    version: int
    step_number: int
    leads: int


class Waiting(msgspec.Struct, frozen=True, kw_only=True):
    """How many mails of this step of that version have their second on that day."""

    version: int
    step_id: UUID
    date: date
    mails: int


def changes(old: Sequence[Step], new: Sequence[Step], winners: Collection[UUID] = ()) -> list[StepChange]:
    """What becomes of each step that does not stay as it is, in the new order, removed ones last.

    `winners` are the variants that have won their step's test as it is now.
    """
    before, after = {step.step_id: step for step in old}, {step.step_id: step for step in new}
    found = [
        _changed(before[step.step_id], step, winners)
        if step.step_id in before
        else StepChange(
            id=step.step_id, step_number=step.step_number, change="added", variants_added=len(step.variants)
        )
        for step in new
    ]
    gone = [
        StepChange(id=step.step_id, step_number=step.step_number, change="removed", variants_removed=len(step.variants))
        for step in old
        if step.step_id not in after
    ]
    return [*(change for change in found if change is not None), *gone]


def _changed(old: Step, new: Step, winners: Collection[UUID]) -> StepChange | None:
    fields = [name for name in _FIELDS if getattr(old, name) != getattr(new, name)]
    if old.variants != new.variants:
        fields.append("variants")
    if not fields:
        return None
    arms_before, arms_after = ({variant.variant_id for variant in step.variants} for step in (old, new))
    return StepChange(
        id=new.step_id,
        step_number=new.step_number,
        change="changed",
        fields=fields,
        variants_added=len(arms_after - arms_before),
        variants_removed=len(arms_before - arms_after),
        begins_test=len(arms_after) > 1 and _loses_verdict(arms_before, arms_after, arms_before.intersection(winners)),
    )


def _loses_verdict(before: AbstractSet[UUID], after: AbstractSet[UUID], won: AbstractSet[UUID]) -> bool:
    """Whether there was a winner, which is gone or meets an arm that it has not won against."""
    return bool(won) and not (won <= after <= before)


def finishing(versions: Mapping[int, Sequence[Step]], new: Sequence[Step], standing: Sequence[Standing]) -> int:
    """How many of these leads have no step left when they move."""
    return sum(each.leads for each in standing if in_newer(versions[each.version], new, each.step_number) is None)


def rewritten(
    versions: Mapping[int, Sequence[Step]], new: Sequence[Step], waiting: Sequence[Waiting]
) -> list[QueuedDay]:
    """The mails whose words or conditions differ when their leads move, by day."""
    days: Counter[date] = Counter()
    after = {step.step_id: step for step in new}
    for each in waiting:
        old = next((step for step in versions[each.version] if step.step_id == each.step_id), None)
        if old is None or each.step_id not in after or not same_mail(old, after[each.step_id]):
            days[each.date] += each.mails
    return [QueuedDay(date=day, mails=mails) for day, mails in sorted(days.items())]
