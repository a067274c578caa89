"""A step's conditions: whether its mail goes, or the lead is moved past it, elsewhere, or out of the sequence.

The first condition that holds decides; when none does, the sequence continues. Never looks anything up.
"""

from collections.abc import Callable, Mapping
from typing import Protocol, TypeAlias

import msgspec

from libs.planning.sequence import Condition, ConditionType, Step


class Facts(Protocol):
    """What a lead has done: a person's answer, and what became of the last mail it was sent in this campaign."""

    @property
    def replied(self) -> bool:
        """A person has answered since the lead was enrolled; no automatic reply counts."""
        ...

    @property
    def reply_intent(self) -> str | None:
        """The intent of the last answer, a person's before an automatic one."""
        ...

    @property
    def opened(self) -> bool:
        """The mail before was opened."""
        ...

    @property
    def clicked(self) -> bool:
        """A link of the mail before was followed."""
        ...


class Go(msgspec.Struct, frozen=True):
    """The step's mail goes."""


class Skip(msgspec.Struct, frozen=True):
    """The lead goes past this step to the next one."""


class Stop(msgspec.Struct, frozen=True):
    """The sequence ends for the lead."""


class Goto(msgspec.Struct, frozen=True):
    """The lead goes on at a later step."""

    step_number: int


Decision: TypeAlias = Go | Skip | Stop | Goto


def asks(step: Step) -> bool:
    """Whether any fact could change the step's way; if not, nothing needs to be waited for."""
    return any(condition.action != "continue" for condition in step.conditions)


def decide(step: Step, facts: Facts) -> Decision:
    """What the conditions make of these facts."""
    decisive = next((condition for condition in step.conditions if _holds(condition, facts)), None)
    if decisive is None or decisive.action == "continue":
        return Go()
    if decisive.action == "skip":
        return Skip()
    if decisive.action == "stop":
        return Stop()
    return Goto(decisive.step or 0)


_TESTS: Mapping[ConditionType, Callable[[Facts], bool]] = {
    "no_reply": lambda facts: not facts.replied,
    "replied": lambda facts: facts.replied,
    "opened": lambda facts: facts.opened,
    "not_opened": lambda facts: not facts.opened,
    "clicked": lambda facts: facts.clicked,
    "not_clicked": lambda facts: not facts.clicked,
}


def _holds(condition: Condition, facts: Facts) -> bool:
    if condition.type == "intent_is":
        return facts.reply_intent in condition.intents
    return _TESTS[condition.type](facts)
