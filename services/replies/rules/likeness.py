"""What a text is most like of all that people have answered: every word counts, also where no phrase is known.

Complement naive Bayes over `lexicon/examples` (Rennie, Shih, Teevan and Karger, "Tackling the Poor Assumptions of Naive
Bayes Text Classifiers", ICML 2003). Nothing is trained ahead: the examples are counted when their language is first
met. Never decides alone: intent.py weighs it against the phrases that are known.
"""

import math
import re
from array import array
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import cache, cached_property
from itertools import pairwise
from typing import get_args

from libs.schema.events.reply import Intent
from services.replies.rules.folding import plain
from services.replies.rules.lexicon import Example, HumanIntent, load_examples

SMOOTHING = 0.4  # of counts, so that nothing is impossible because it was never seen
STEM, SHORT_STEM = 6, 4  # letters of a word that count: endings differ more than meanings do
CHARACTERS = (1, 2, 3)  # in a row, where a language writes no blanks
LENGTHS, WORDS_A_LENGTH = 5, 6
MAX_CHARS = 2000  # of a text that are weighed
MAX_BECAUSE = 3
INTENTS: tuple[Intent, ...] = get_args(HumanIntent)

_WORD = re.compile(r"[^\W\d_]+|\d+|[?!]")
_NUMBER = re.compile(r"\d+")
_BLANK = re.compile(r"\s+")
_WITHOUT_BLANKS = frozenset({"ja"})


def likeness(words: str, languages: Sequence[str]) -> "Likeness | None":
    """How like the text, as `folding.plain` makes it, is to the examples of the language that knows most of it.

    None where no language has examples, or nothing of the text was ever seen.
    """
    texts = [_counts(name).weigh(words) for name in languages if name in _examples()]
    known = [each for each in texts if each.weights]
    return max(known, key=lambda each: sum(each.weights.values()), default=None)


class Likeness:
    """How like a text is to those of each intent; of its traces only those that the examples have, too."""

    def __init__(self, counts: "_Counts", words: str, weights: Mapping[str, float]) -> None:
        self._counts = counts
        self._words = words
        self.weights = weights

    @cached_property
    def scores(self) -> dict[Intent, float]:
        """The likeness by intent; only the differences mean something."""
        length = math.hypot(*self.weights.values())
        said = [(weight / length, self._counts.says(name)) for name, weight in self.weights.items()]
        return {intent: sum(weight * says[number] for weight, says in said) for number, intent in enumerate(INTENTS)}

    def because(self, intent: Intent) -> tuple[str, ...]:
        """The words that speak most for the intent."""
        at = INTENTS.index(intent)

        def told(name: str) -> float:
            says = self._counts.says(name)
            return self.weights[name] * (says[at] - sum(says) / len(says))

        shown = self._counts.shown(self._words)
        for_it = sorted((name for name in self.weights if name in shown and told(name) > 0), key=told, reverse=True)
        return tuple(shown[name] for name in for_it[:MAX_BECAUSE])


class _Counts:
    """The examples of one language, counted."""

    def __init__(self, language: str, found: Sequence[Example]) -> None:
        self._language = language
        texts = [Counter(_traces(plain(each.text), language)) for each in found]
        seen = Counter(name for text in texts for name in text)
        self._place = {name: number for number, name in enumerate(seen)}
        self._rarity = array("f", (math.log((1 + len(texts)) / (1 + count)) + 1 for count in seen.values()))
        own = [array("d", [0.0]) * len(seen) for _ in INTENTS]
        for text, example in zip(texts, found, strict=True):
            weights = self._weights(text)
            length = math.hypot(*weights.values())
            for name, weight in weights.items():
                own[INTENTS.index(example.intent)][self._place[name]] += weight / length
        self._says = self._complements(own)

    def _complements(self, own: "Sequence[array[float]]") -> "array[float]":
        """For each trace, and each intent, how rare it is in the texts of all the others."""
        everywhere = [sum(column) + SMOOTHING for column in zip(*own, strict=True)]
        whole = sum(everywhere)
        rest = [math.log(whole - sum(each)) for each in own]
        return array(
            "f",
            (
                rest[number] - math.log(total - each[place])
                for place, total in enumerate(everywhere)
                for number, each in enumerate(own)
            ),
        )

    def weigh(self, words: str) -> Likeness:
        """The text beside the examples."""
        found = Counter(_traces(words[:MAX_CHARS], self._language))
        known = {name: count for name, count in found.items() if name in self._place}
        return Likeness(self, words, self._weights(known))

    def shown(self, words: str) -> dict[str, str]:
        """The traces of a text that a person can read, as they stand there."""
        if self._language in _WITHOUT_BLANKS:
            return {row: row for row in _traces(words, self._language) if len(row) == max(CHARACTERS)}
        return {word[:STEM]: word for word in reversed(_WORD.findall(words)) if word.isalpha()}

    def says(self, name: str) -> "array[float]":
        """What a trace says for each intent."""
        at = self._place[name] * len(INTENTS)
        return self._says[at : at + len(INTENTS)]

    def _weights(self, text: Mapping[str, int]) -> dict[str, float]:
        return {name: (1 + math.log(count)) * self._rarity[self._place[name]] for name, count in text.items()}


def _traces(words: str, language: str) -> Iterator[str]:
    """Whatever of a text may be met again: stems, two in a row, two around one, and how long it is."""
    words = _NUMBER.sub("0", words)
    if language in _WITHOUT_BLANKS:
        row = _BLANK.sub("", words)
        yield from (row[at : at + many] for many in CHARACTERS for at in range(len(row) - many + 1))
        return
    found = _WORD.findall(words)
    yield from (word[:STEM] for word in found)
    short = ["^", *(word[:SHORT_STEM] for word in found), "$"]
    yield from (f"{word}-" for word in short)
    yield from (f"{one} {two}" for one, two in pairwise(short))
    yield from (f"{one} … {two}" for one, two in zip(short, short[2:], strict=False))
    yield f"{min(LENGTHS, len(found) // WORDS_A_LENGTH)} long"


@cache
def _examples() -> dict[str, list[Example]]:
    return load_examples()


@cache
def _counts(language: str) -> _Counts:
    return _Counts(language, _examples()[language])
