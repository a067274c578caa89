"""Conditions: which fact decides what, when they are asked, and that no accepted sequence traps or loses a step."""

from typing import Any
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.planning.conditions import Go, Goto, Skip, Stop, asks, decide
from libs.planning.sequence import Condition, Step, in_newer
from services.api.rules.conditions import EVERYTHING, faults


class Did(msgspec.Struct, frozen=True, kw_only=True):
    replied: bool = False
    reply_intent: str | None = None
    opened: bool = False
    clicked: bool = False


def step(number: int, *conditions: Condition, **more: Any) -> Step:
    return Step(step_id=UUID(int=number), step_number=number, subject="s", body="b", conditions=conditions, **more)


def found(*steps: Step) -> list[tuple[str, str]]:
    return [(pointer, reason.code) for pointer, reason in faults(steps)]


SEED = Condition("no_reply", "continue")
ANSWERED = Did(replied=True, reply_intent="interested")
OUT = Did(reply_intent="out_of_office")


@pytest.mark.parametrize(
    ("kind", "holds", "fails"),
    [
        ("no_reply", [Did(), OUT], [ANSWERED]),
        ("replied", [ANSWERED], [Did(), OUT]),
        ("opened", [Did(opened=True)], [Did(clicked=True)]),
        ("not_opened", [Did()], [Did(opened=True)]),
        ("clicked", [Did(clicked=True)], [Did(opened=True)]),
        ("not_clicked", [Did(opened=True)], [Did(clicked=True)]),
    ],
)
def test_each_type_asks_for_its_fact(kind: Any, holds: list[Did], fails: list[Did]) -> None:
    assert {type(decide(step(2, Condition(kind, "skip")), did)) for did in holds} == {Skip}
    assert {type(decide(step(2, Condition(kind, "skip")), did)) for did in fails} == {Go}


@pytest.mark.parametrize("intent", ["interested", ("question", "interested")])
def test_an_intent_is_one_or_one_of_several(intent: Any) -> None:
    asked = step(2, Condition("intent_is", "stop", intent=intent))
    assert decide(asked, ANSWERED) == Stop()
    assert decide(asked, Did(replied=True, reply_intent="neutral")) == Go()
    assert decide(asked, Did()) == Go()


def test_the_first_condition_that_holds_decides_and_none_means_go_on() -> None:
    asked = step(1, Condition("opened", "continue"), Condition("not_clicked", "goto", 3), Condition("clicked", "stop"))
    assert decide(asked, Did(opened=True)) == Go()
    assert decide(asked, Did()) == Goto(3)
    assert decide(asked, Did(clicked=True)) == Stop()
    assert decide(step(1), Did()) == Go()


def test_only_conditions_that_can_lead_elsewhere_are_waited_for() -> None:
    assert not asks(step(1, SEED))
    assert asks(step(1, SEED, Condition("replied", "stop")))


def test_a_condition_is_read_as_the_seed_writes_it() -> None:
    branch = '{"type": "intent_is", "action": "goto", "step": 3, "intent": "x"}'
    written = f'[{{"type": "no_reply", "action": "continue"}}, {branch}]'
    read = msgspec.json.decode(written, type=tuple[Condition, ...])
    assert read == (SEED, Condition("intent_is", "goto", 3, "x"))
    assert msgspec.json.encode(read[:1]) == b'[{"type":"no_reply","action":"continue"}]'


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        ((step(1, SEED), step(2, Condition("opened", "skip")), step(3)), []),
        ((step(1), step(2, Condition("opened", "goto", 3)), step(3)), []),
        ((step(1, Condition("replied", "goto", 1)),), [("/0/conditions/0/step", "goto_step")]),
        ((step(1), step(2, SEED, Condition("replied", "goto", 1))), [("/1/conditions/1/step", "goto_step")]),
        ((step(1, Condition("replied", "goto", 9)), step(2)), [("/0/conditions/0/step", "goto_step")]),
        ((step(1, Condition("replied", "goto")), step(2)), [("/0/conditions/0/step", "goto_step")]),
        (
            (step(1, Condition("opened", "goto", 3), Condition("not_opened", "goto", 3)), step(2), step(3)),
            [("/1", "unreachable_step")],
        ),
        ((step(1, Condition("replied", "stop"), Condition("no_reply", "stop")), step(2)), [("/1", "unreachable_step")]),
        ((step(1, Condition("intent_is", "goto", 3, ("interested",))), step(2), step(3)), []),
    ],
)
def test_a_sequence_that_leads_back_nowhere_or_past_a_step_is_refused(
    steps: tuple[Step, ...], expected: list[tuple[str, str]]
) -> None:
    assert found(*steps) == expected


kinds = st.sampled_from(["no_reply", "replied", "opened", "not_opened", "clicked", "not_clicked"])
conditions = st.builds(
    Condition, kinds, st.sampled_from(["continue", "skip", "stop", "goto"]), st.integers(min_value=0, max_value=6)
)


@given(st.lists(st.lists(conditions, max_size=3), min_size=1, max_size=5))
def test_every_way_through_an_accepted_sequence_ends_and_every_step_is_on_one(asked: list[list[Condition]]) -> None:
    steps = [step(number, *each) for number, each in enumerate(asked, start=1)]
    if found(*steps):
        return
    seen, ways = set[int](), {1}
    while ways:
        number = ways.pop()
        if number > len(steps):
            continue
        seen.add(number)
        for did in EVERYTHING:
            decision = decide(steps[number - 1], did)
            target = decision.step_number if isinstance(decision, Goto) else number + 1
            assert target > number
            if not isinstance(decision, Stop):
                ways.add(target)
    assert seen == set(range(1, len(steps) + 1))


def test_a_lead_goes_on_in_a_newer_version_at_its_step_or_the_next_one_still_there() -> None:
    one, two, three = step(1), step(2), step(3)
    newer = [msgspec.structs.replace(three, step_number=1), msgspec.structs.replace(one, step_number=2), step(4)]
    at = [in_newer([one, two, three], newer, number) for number in (1, 2, 3, 4)]
    assert [each and each.step_number for each in at] == [2, 1, 1, None]
