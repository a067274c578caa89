"""Steps and variants as a sequence version keeps them, and which of them a lead gets.

Never chooses by chance: the same lead gets the same arm for ever.
"""

from collections.abc import Collection, Sequence
from datetime import timedelta
from typing import Literal
from uuid import UUID

import msgspec

from libs.planning.seed import unit_hash


class Variant(msgspec.Struct, frozen=True):
    """One arm of a step's A/B test."""

    variant_id: UUID
    subject: str
    body: str
    weight: int = 50
    variant_index: int = 0


ConditionType = Literal["no_reply", "replied", "opened", "not_opened", "clicked", "not_clicked", "intent_is"]
Action = Literal["continue", "skip", "stop", "goto"]


class Condition(msgspec.Struct, frozen=True, omit_defaults=True):
    """What must hold, and where the lead goes then; `step` belongs to goto, `intent` to intent_is."""

    type: ConditionType
    action: Action
    step: int | None = None
    intent: str | tuple[str, ...] | None = None

    @property
    def intents(self) -> tuple[str, ...]:
        """The intents that it asks for, however many were written."""
        return (self.intent,) if isinstance(self.intent, str) else self.intent or ()


class Step(msgspec.Struct, frozen=True):
    """One step of a sequence as its version keeps it."""

    step_id: UUID
    step_number: int
    subject: str
    body: str
    delay_days: int = 0
    delay_hours: int = 0
    variants: tuple[Variant, ...] = ()
    conditions: tuple[Condition, ...] = ()

    @property
    def delay(self) -> timedelta:
        """The time between the step before and this one."""
        return timedelta(days=self.delay_days, hours=self.delay_hours)


def step_at(steps: Sequence[Step], number: int) -> Step | None:
    """The step with this number, or the first after it: a number may be missing. None when the sequence ends before."""
    return next((step for step in steps if step.step_number >= number), None)


def in_newer(old: Sequence[Step], new: Sequence[Step], number: int) -> Step | None:
    """The step of a newer version at which a lead goes on that stands at `number` of the old one, by the steps' ids.

    Where its step was taken out that is the next later one still there; None when there is none: the lead is through.
    """
    there = {step.step_id: step for step in new}
    return next((there[step.step_id] for step in old if step.step_number >= number and step.step_id in there), None)


def same_mail(one: Step, other: Step) -> bool:
    """Whether two versions of a step send the same words on the same conditions; when does not matter."""
    return (one.subject, one.body, one.variants, one.conditions) == (
        other.subject,
        other.body,
        other.variants,
        other.conditions,
    )


class Words(msgspec.Struct, frozen=True):
    """A step's templates as one lead gets them: the step's own, or those of the lead's arm of its test."""

    step_id: UUID
    subject: str
    body: str


def variant_of(step: Step, lead_key: bytes, winners: Collection[UUID] = ()) -> Variant | None:
    """The lead's arm of the test: the winner once there is one, else by weight, for ever the same.

    A new arm, or new words for one, begin a new test: who had won is one of the arms again, until it is decided anew
    (field.md 4.10). Fewer arms, or other weights, begin none. Leads in an older version, which does not have the new
    arm, go on with its winner. None when the step has no variants.
    """
    won = next((variant for variant in step.variants if variant.variant_id in winners), None)
    if won is not None:
        return won
    total = sum(variant.weight for variant in step.variants)
    point = unit_hash(lead_key, step.step_id.bytes, b"variant") * total
    for variant in step.variants:
        point -= variant.weight
        if point < 0:
            return variant
    return None


def words_of(step: Step, variant_id: UUID | None) -> Words:
    """The step in the words of this variant of its; in its own when it has no such variant."""
    words = next((variant for variant in step.variants if variant.variant_id == variant_id), step)
    return Words(step_id=step.step_id, subject=words.subject, body=words.body)
