"""What machines and absent people say, compiled once, and which of the languages a text is written in.

Data and its lookup only: never decides what a message is.
"""

import re
from dataclasses import dataclass
from typing import Literal

import msgspec

from services.replies.rules.folding import alternatives, fold
from services.replies.rules.lexicon import load

MAX_GUESS_WORDS = 150  # of a text that tell its language
ALSO_SPOKEN = 0.5  # of the best language's score: another one that comes so near is read too (bilingual notes)

_WORD = re.compile(r"[^\W\d_]+")


class Automatic(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How absence and machines sound in one language; each field is a block of alternatives, "" for none.

    An alternative is a pattern over folded text (folding.py) with single blanks. Diacritics are written as they should
    be and found with and without, so no character class may hold one. It is matched as whole words, or anywhere where
    the language writes no borders (`borders = false`).
    """

    language: str
    borders: bool = True
    script: str = ""  # a character that only this language's texts hold
    common: str = ""  # frequent words that tell the language from the others, with blanks between; no patterns

    # Subjects that begin so.
    absence_subject: str  # an absence note's
    automatic_subject: str  # any automatic answer's, mostly an absence note's

    # What an absence note says.
    absence: str  # the writer, or their office, is away now or will be
    away: str  # the same, but people who write by hand say so too
    note: str  # what stands beside it in a note: "with no access to e-mail", "I will answer when I return"
    thanks: str  # "thank you for your message"
    urgent: str  # whom to turn to meanwhile; whatever such a sentence asks for is not asked of us
    answers: str  # what only a person says who has read our mail

    # What other machines say.
    machine: str  # nobody else says so
    receipt: str  # people may say so too
    others: str  # somebody is away who is spoken of in the third person
    left: str  # somebody does not work there any more
    left_self: str  # the writer does not
    contact: str  # "please contact", "my successor": an address near it is the successor's

    # Dates (dates.py).
    return_cue: str  # before a date: the day of return
    return_after: str  # behind a date: it is the day of return
    until_cue: str  # right before a date: the last day of absence
    until_after: str = ""  # the same, right behind it
    start_cue: str  # right before a date: where it is no return, the absence begins
    range_to: str  # between two dates
    order: Literal["day", "month", ""]  # what 5/3 begins with; "": it depends on the writer
    months: str  # twelve, in their order, with commas between, each with its short forms joined by bars; "": numbers
    weekdays: str  # seven from Monday, in the same way
    the_day: str  # right before a bare number: a day of the month ("the" 15th); "": none
    ordinal: str = ""  # right behind a bare number: the same (15"th")
    day_after: str  # tomorrow
    tomorrow: str
    today: str
    next_week: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Vocabulary:
    """One language's words, compiled: a pattern for each field."""

    language: str
    common: frozenset[str]
    script: re.Pattern[str] | None
    absence: re.Pattern[str]
    away: re.Pattern[str]
    note: re.Pattern[str]
    thanks: re.Pattern[str]
    urgent: re.Pattern[str]
    answers: re.Pattern[str]
    machine: re.Pattern[str]
    receipt: re.Pattern[str]
    left: re.Pattern[str]
    left_self: re.Pattern[str]
    contact: re.Pattern[str]
    return_cue: re.Pattern[str]
    others: re.Pattern[str]
    telling: re.Pattern[str]  # any of those that can make a message automatic; cheap to look for first


def any_of(block: str) -> str:
    """The block's alternatives joined by bars, folded; a pattern that never matches where there are none."""
    return alternatives(block) or "(?!)"


def found(block: str, *, borders: bool) -> re.Pattern[str]:
    """A pattern that finds any of the block's alternatives in folded text."""
    return re.compile(rf"(?<!\w)(?:{any_of(block)})(?!\w)" if borders else f"(?:{any_of(block)})")


def begins(*fields: str) -> re.Pattern[str]:
    """A pattern for the head of a folded subject, in any of the languages."""
    blocks = (any_of(getattr(each, field)) for each in LEXICONS for field in fields if getattr(each, field))
    return re.compile(rf"[\s\[(*]*(?:{'|'.join(blocks)})")


def spoken(text: str) -> list[Vocabulary]:
    """The languages of a folded text, the likeliest first; all of them where nothing tells."""
    words = set(_WORD.findall(text)[:MAX_GUESS_WORDS])
    scores = [(_score(each, text, words), each) for each in VOCABULARIES]
    best = max(score for score, _ in scores)
    if not best:
        return list(VOCABULARIES)
    near = [each for each in scores if each[0] >= best * ALSO_SPOKEN]
    return [each for _, each in sorted(near, key=lambda each: -each[0])]


def _score(vocabulary: Vocabulary, text: str, words: set[str]) -> int:
    if vocabulary.script is not None:
        return 20 if vocabulary.script.search(text) else 0
    return len(words & vocabulary.common)


def _compiled(lexicon: Automatic) -> Vocabulary:
    patterns = {field: found(getattr(lexicon, field), borders=lexicon.borders) for field in _FIELDS}
    telling = "\n".join(getattr(lexicon, field) for field in _TELLING)
    return Vocabulary(
        language=lexicon.language,
        common=frozenset(fold(lexicon.common).split()),
        script=re.compile(lexicon.script) if lexicon.script else None,
        telling=found(telling, borders=lexicon.borders),
        **patterns,
    )


_TELLING = ("absence", "away", "machine", "receipt", "left", "left_self")
_FIELDS = (*_TELLING, "note", "thanks", "urgent", "answers", "others", "contact", "return_cue")
LEXICONS = load("automatic", Automatic)
VOCABULARIES = tuple(_compiled(each) for each in LEXICONS)
