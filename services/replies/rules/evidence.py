"""Words that speak for something a person wants: lexicon/intent made ready, and its words found in a text.

Decides nothing: what the signs mean together is intent.py's.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from typing import Literal, get_args

import msgspec

from services.replies.rules.folding import alternatives, fold
from services.replies.rules.lexicon import Wants, load

TELLING_CHARS = 1000  # of a text by which its language is told
MAX_LIKELY = 2  # languages in which a text is read at first
ALSO_LIKELY = 0.7  # of the first one's known words
MIN_STEM_CHARS, MAX_STEM_CHARS = 4, 16

Field = Literal[
    "unsubscribe_whole",
    "unsubscribe",
    "other_list",
    "declines_whole",
    "declines",
    "served",
    "not_now",
    "sarcasm",
    "defers",
    "refers",
    "acknowledges",
    "meeting",
    "days",
    "suits",
    "interested_whole",
    "interested",
    "question",
    "asks",
    "first",
    "courtesy",
    "affirms",
    "turns",
    "negated",  # a negator before `wanted`
    "unsuited",  # a negator before `suits`
    "unserved",  # a negator before `served`
]
FILLER = "\N{HORIZONTAL ELLIPSIS}"  # stands where words were taken out, one for each character
_WORD = re.compile(r"[^\W\d_]+")
_LITERAL = re.compile(r"(?<![\\\w])[^\W\d_]{2,}")  # a word of a pattern
_STEM = re.compile(r"(?<![\\\w])[^\W\d_]{4,}(?=[(\[\\])")  # a word of a pattern that goes on
_KANA_OR_HAN = re.compile("[\u3040-\u30ff\u4e00-\u9fff]")

_LEXICONS = {each.language: each for each in load("intent", Wants)}
_SPACELESS = tuple(name for name, each in _LEXICONS.items() if not each.borders or name == "en")


class Sign(msgspec.Struct, frozen=True):
    """Words of a text that speak for something, and where they stand."""

    field: Field
    start: int
    end: int
    words: str


class Text(msgspec.Struct, frozen=True):
    """A folded text, and the languages it is read in."""

    words: str
    languages: tuple[str, ...]

    def signs(self, *fields: Field) -> list[Sign]:
        """Every place where one of the languages has words of the fields, in the order of their ends."""
        found = (each for name in self.languages for field in fields for each in self._signs(name, field))
        return sorted(found, key=lambda each: each.end)

    def has(self, field: Field) -> bool:
        """Whether the text has such words at all."""
        return any(pattern.search(self.words) for pattern in self._patterns(field))

    def is_whole(self, field: Field) -> bool:
        """Whether the text is nothing but such words."""
        return any(pattern.fullmatch(self.words) for pattern in self._patterns(field))

    def after(self, field: Field) -> int:
        """Where such words at the very beginning of the text end; 0 where it does not begin so."""
        ends = [found.end() for each in self._patterns(field) if (found := each.match(self.words))]
        return max(ends, default=0)

    def without(self, signs: Iterable[Sign]) -> "Text":
        """The text with those words taken out; all else keeps its place."""
        words = self.words
        for each in signs:
            words = words[: each.start] + FILLER * (each.end - each.start) + words[each.end :]
        return Text(words, self.languages)

    def _patterns(self, field: Field) -> Iterator[re.Pattern[str]]:
        return (pattern for name in self.languages if (pattern := _ready(name).get(field)))

    def _signs(self, name: str, field: Field) -> Iterator[Sign]:
        pattern = _ready(name).get(field)
        for found in pattern.finditer(self.words) if pattern else ():
            yield Sign(field, found.start(), found.end(), found[0])


def languages_of(words: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The languages that a folded text is in, one or two, and the others of which it has any word.

    Only a text without any known word is told by the stems that its words begin with.
    """
    if _KANA_OR_HAN.search(words):
        return _SPACELESS, ()
    found = set(_WORD.findall(words, 0, TELLING_CHARS))
    known = _counted(found, _vocabulary()) or _counted({stem for each in found for stem in _beginnings(each)}, _stems())
    ranked = sorted(known, key=lambda name: -known[name])
    likely = tuple(name for name in ranked[:MAX_LIKELY] if known[name] >= ALSO_LIKELY * known[ranked[0]])
    return likely, tuple(ranked[len(likely) :])


def _counted(words: Iterable[str], vocabulary: Mapping[str, tuple[str, ...]]) -> dict[str, int]:
    """How many of the words each language has."""
    known: dict[str, int] = {}
    for word in words:
        for language in vocabulary.get(word, ()):
            known[language] = known.get(language, 0) + 1
    return known


def _beginnings(word: str) -> Iterator[str]:
    return (word[:length] for length in range(MIN_STEM_CHARS, min(len(word), MAX_STEM_CHARS) + 1))


@cache
def _vocabulary() -> dict[str, tuple[str, ...]]:
    """The languages of every word that stands in a lexicon; what has no such word means nothing to its patterns."""
    return _by_word(lambda wants, blocks: _LITERAL.findall(blocks) + fold(wants.common).split())


@cache
def _stems() -> dict[str, tuple[str, ...]]:
    """The languages of every beginning of a word that a lexicon lets go on in several ways."""
    return _by_word(lambda _, blocks: _STEM.findall(blocks))


def _by_word(words_of: Callable[[Wants, str], Iterable[str]]) -> dict[str, tuple[str, ...]]:
    languages: dict[str, set[str]] = {}
    for name, wants in _LEXICONS.items():
        blocks = (getattr(wants, field) for field in Wants.__struct_fields__ if field not in {"language", "borders"})
        for word in words_of(wants, fold("\n".join(blocks))):
            languages.setdefault(word, set()).add(name)
    return {word: tuple(sorted(names)) for word, names in languages.items()}


@cache
def _ready(language: str) -> dict[Field, re.Pattern[str]]:
    """A language's patterns, compiled when it is first met; what it has no words for is not in it."""
    wants = _LEXICONS[language]

    def bordered(block: str) -> str:
        found = alternatives(block)
        return found and (rf"(?<!\w)(?:{found})(?!\w)" if wants.borders else f"(?:{found})")

    patterns: dict[Field, str] = {name: bordered(getattr(wants, name, "")) for name in get_args(Field)}
    if negators := bordered(wants.negators):
        between = rf"(?: (?!{bordered(wants.turns)})[\w'-]+){{0,4}}? "
        patterns["negated"] = negators + between + bordered(wants.wanted)
        patterns["unsuited"] = negators + between + patterns["suits"]
        patterns["unserved"] = negators + between + patterns["served"]
    # The text is folded, so no pattern has to try both cases.
    return {name: re.compile(pattern, re.MULTILINE) for name, pattern in patterns.items() if pattern}
