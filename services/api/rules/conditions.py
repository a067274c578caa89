"""Can the conditions of these steps be kept? They may only lead on, and every step must be reachable (B27)."""

from collections.abc import Iterator, Sequence
from itertools import product
from typing import get_args

import msgspec

from libs.planning.conditions import Decision, Goto, Stop, decide
from libs.planning.sequence import Step
from libs.schema.events.reply import Intent
from services.api.rules.text import Refused

AUTOMATIC = frozenset({"out_of_office", "auto_reply", "bounce"})


class _Facts(msgspec.Struct, frozen=True, kw_only=True):
    """One of the few things that a lead can have done."""

    reply_intent: str | None
    opened: bool
    clicked: bool

    @property
    def replied(self) -> bool:
        return self.reply_intent is not None and self.reply_intent not in AUTOMATIC


EVERYTHING = tuple(
    _Facts(reply_intent=intent, opened=opened, clicked=clicked)
    for intent, opened, clicked in product((None, *get_args(Intent)), (False, True), (False, True))
)


def faults(steps: Sequence[Step]) -> Iterator[tuple[str, Refused]]:
    """What is wrong with the steps' conditions, each with its pointer below the list of steps."""
    wrong = list(_wrong_targets(steps))
    yield from wrong or _unreachable(steps)


def _wrong_targets(steps: Sequence[Step]) -> Iterator[tuple[str, Refused]]:
    for place, step in enumerate(steps):
        for nth, condition in enumerate(step.conditions):
            target = condition.step
            if condition.action != "goto" or (target is not None and place + 1 < target <= len(steps)):
                continue
            reason = "does not exist" if target is None or target > len(steps) else "is not a later one"
            yield (
                f"/{place}/conditions/{nth}/step",
                Refused(
                    "goto_step",
                    f"step {place + 1} leads to step {target}, which {reason}",
                    f"name a step from {place + 2} to {len(steps)}" if place + 1 < len(steps) else "use stop",
                ),
            )


def _unreachable(steps: Sequence[Step]) -> Iterator[tuple[str, Refused]]:
    """A step to which no lead ever comes, whatever it does: every way stops before or jumps over it."""
    reachable = {1}
    for number, step in enumerate(steps, start=1):
        if number not in reachable:
            yield (
                f"/{number - 1}",
                Refused(
                    "unreachable_step",
                    f"no lead ever comes to step {number}: the conditions before it stop or jump over it",
                    "change those conditions, or leave the step out",
                ),
            )
            continue
        reachable |= {_after(number, decide(step, facts)) for facts in EVERYTHING}


def _after(number: int, decision: Decision) -> int:
    match decision:
        case Goto(target):
            return target
        case Stop():
            return number
        case _:
            return number + 1
