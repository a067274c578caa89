"""What replies mean: measured on the labelled set, in every shape that mail programs give to the same words."""

from collections import Counter
from datetime import date
from typing import NamedTuple, get_args

import pytest

from libs.schema.events.reply import Intent
from services.replies.rules.inspection import inspect
from services.replies.rules.lexicon import load_examples
from tests.labelled.letters import LANGUAGES, Split, cases, messages, sceneries

SPLITS: tuple[Split, ...] = ("tuned", "held", "blind")
# What stands; a change of the rules may raise it, none may lower it.
REACHED: dict[Split, float] = {"tuned": 0.99, "held": 0.91, "blind": 0.80}
LANGUAGE_REACHED: dict[Split, float] = {"tuned": 0.97, "held": 0.83, "blind": 0.70}
FACTS_REACHED = 0.99  # return dates and people who have left
FINAL: tuple[Intent, ...] = ("unsubscribe", "not_interested")
# Of what stops mail for good, or tells a person that nobody wants it.
PRECISION: dict[Split, float] = {"tuned": 0.98, "held": 0.98, "blind": 0.85}


class Verdict(NamedTuple):
    """What was made of one message."""

    language: str
    shape: str
    text: str
    truth: Intent
    found: Intent | None
    dates: tuple[date | None, date | None]  # the right one, the one that was found
    left: tuple[bool, bool]


def verdicts(split: Split) -> list[Verdict]:
    """The messages of the split, read once; where two labels are right, the one that was found counts as the truth."""
    found: list[Verdict] = []
    apart = 6 if split == "blind" else 3
    for language, scenery in sceneries().items():
        for number, case in enumerate(cases(split, language)):
            # Some of the shapes for each text, in turn: all of them would take too long.
            for shape, raw in list(messages(case, language, scenery).items())[number % apart :: apart]:
                seen = inspect(raw)
                truth = seen.intent if seen.intent in case.right else case.intent
                dates, left = (case.return_date, seen.return_date), (case.left_company, seen.left_company)
                found.append(Verdict(language, shape, case.text, truth or case.intent, seen.intent, dates, left))
    return found


def macro_f1(chosen: list[Verdict]) -> float:
    """The mean over the intents that occur of the harmonic mean of precision and recall."""
    intents: set[Intent] = {each.truth for each in chosen}
    return sum(f1(chosen, intent) for intent in intents) / len(intents)


def f1(chosen: list[Verdict], intent: Intent) -> float:
    """The harmonic mean of precision and recall of one intent."""
    hit = sum(each.truth == each.found == intent for each in chosen)
    asked = sum((each.truth == intent) + (each.found == intent) for each in chosen)
    return 2 * hit / asked if asked else 1.0


def precision(chosen: list[Verdict], intent: Intent) -> float:
    """The share of the messages called that which are that."""
    called = [each for each in chosen if each.found == intent]
    return sum(each.truth == intent for each in called) / len(called) if called else 1.0


def table(chosen: list[Verdict]) -> str:
    """The confusion table, a row a true intent, and some of what was misread."""
    names = sorted({str(each.truth) for each in chosen} | {str(each.found) for each in chosen})
    counts = Counter((str(each.truth), str(each.found)) for each in chosen)
    rows = [" ".join([f"{'truth / found':>16}", *(f"{name[:9]:>9}" for name in names)])]
    rows += [" ".join([f"{row:>16}", *(f"{counts[row, column] or '.':>9}" for column in names)]) for row in names]
    wrong = {(each.language, each.text): each for each in chosen if each.truth != each.found}
    rows += [f"{each.language} {each.shape} {each.truth} as {each.found}: {each.text!r}" for each in wrong.values()]
    return "\n".join(rows)


@pytest.mark.parametrize("split", SPLITS)
def test_replies_are_understood_in_every_language_and_shape(split: Split) -> None:
    found = verdicts(split)  # once, which takes seconds: so all that is asked of them is asked here
    assert macro_f1(found) >= REACHED[split], table(found)
    for language in LANGUAGES:
        own = [each for each in found if each.language == language]
        assert macro_f1(own) >= LANGUAGE_REACHED[split], table(own)
    for intent in FINAL:
        assert precision(found, intent) >= PRECISION[split], table([each for each in found if each.found == intent])
    wrong = [each for each in found if each.dates[0] != each.dates[1] or each.left[0] != each.left[1]]
    assert len(wrong) <= (1 - FACTS_REACHED) * len(found), wrong


@pytest.mark.parametrize("language", LANGUAGES)
def test_each_language_is_asked_enough(language: str) -> None:
    tuned, held, blind = (cases(split, language) for split in SPLITS)
    assert len(tuned) >= 50
    assert 3 * len(held) >= len(tuned)
    seen = {case.text for case in tuned} | {example.text for example in load_examples()[language]}
    assert not seen & {case.text for case in (*held, *blind)}
    assert len(blind) >= 100
    assert {case.intent for case in tuned} == set(get_args(Intent))
