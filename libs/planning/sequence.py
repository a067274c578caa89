"""Steps and variants as a sequence version keeps them, and which of them a lead gets.

Never chooses by chance: the same lead gets the same arm for ever.
"""

from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

import msgspec

from libs.planning.seed import unit_hash


class Variant(msgspec.Struct, frozen=True):
    """One arm of a step's A/B test."""

    variant_id: UUID
    subject: str
    body: str
    weight: int = 50


class Step(msgspec.Struct, frozen=True):
    """One step of a sequence as its version keeps it."""

    step_id: UUID
    step_number: int
    subject: str
    body: str
    delay_days: int = 0
    delay_hours: int = 0
    variants: tuple[Variant, ...] = ()

    @property
    def delay(self) -> timedelta:
        """The time between the step before and this one."""
        return timedelta(days=self.delay_days, hours=self.delay_hours)


def step_at(steps: Sequence[Step], number: int) -> Step | None:
    """The step with this number, or the first after it: a number may be missing. None when the sequence ends before."""
    return next((step for step in steps if step.step_number >= number), None)


def variant_of(step: Step, lead_key: bytes) -> Variant | None:
    """The lead's arm of the test, by weight, for ever the same; None when the step has no variants."""
    total = sum(variant.weight for variant in step.variants)
    point = unit_hash(lead_key, step.step_id.bytes, b"variant") * total
    for variant in step.variants:
        point -= variant.weight
        if point < 0:
            return variant
    return None
