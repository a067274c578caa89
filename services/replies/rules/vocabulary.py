"""What machines and absent people say, compiled once, and which of the languages a text is written in.

Data and its lookup only: never decides what a message is.
"""

import re
from functools import cache
from typing import Literal

import msgspec

from services.replies.rules.folding import alternatives, fold
from services.replies.rules.lexicon import load

MAX_GUESS_CHARS = 1000  # of a text that tell its language
SCRIPT_SCORE = 20  # of a language whose own characters are in it
TELLING_SCORE = 2  # one word tells no language: "on" is English and French
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
    receipt_subject: str = ""  # a receipt's, a ticket's, a challenge's

    # What an absence note says.
    absence: str  # the writer, or their office, is away now or will be
    away: str  # the same, but people who write by hand say so too
    note: str  # what stands beside it in a note: "with no access to e-mail", "I will answer when I return"
    thanks: str  # "thank you for your message"
    urgent: str  # whom to turn to meanwhile; whatever such a sentence asks for is not asked of us
    answers: str  # what only a person says who has read our mail

    # What other machines say.
    machine: str  # nobody else says so
    automatic: str = ""  # a machine writes, whatever it has to say, be it that somebody is away
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
    hours: str = ""  # in a sentence without absence: its weekdays from … to … are those of work
    dashed: bool = False  # 02-12 is a day and a month


Field = Literal[
    "absence",
    "away",
    "note",
    "thanks",
    "urgent",
    "answers",
    "machine",
    "automatic",
    "receipt",
    "others",
    "left",
    "left_self",
    "contact",
    "return_cue",
]
_TELLING: tuple[Field, ...] = ("absence", "away", "machine", "automatic", "receipt", "left", "left_self")

LEXICONS = {each.language: each for each in load("automatic", Automatic)}
_SCRIPTS = [(re.compile(each.script), name) for name, each in LEXICONS.items() if each.script]
_COMMON: dict[str, list[str]] = {}
for _name, _lexicon in LEXICONS.items():
    for _word in set(fold(_lexicon.common).split()):
        _COMMON.setdefault(_word, []).append(_name)


def any_of(block: str) -> str:
    """The block's alternatives joined by bars, folded; a pattern that never matches where there are none."""
    return alternatives(block) or "(?!)"


def found(block: str, *, borders: bool) -> re.Pattern[str]:
    """A pattern that finds any of the block's alternatives in folded text."""
    # All of them begin with a letter, a digit or an apostrophe; a text of marks alone is not tried.
    return re.compile(rf"(?<!\w)(?=[\w'])(?:{any_of(block)})(?!\w)" if borders else f"(?:{any_of(block)})")


@cache
def words(language: str, field: Field) -> re.Pattern[str]:
    """The pattern of one field; each is compiled when it is first asked, as most are never."""
    lexicon = LEXICONS[language]
    return found(getattr(lexicon, field), borders=lexicon.borders)


@cache
def telling(language: str) -> re.Pattern[str]:
    """Whatever can make a message automatic: without any of it, a person wrote."""
    lexicon = LEXICONS[language]
    return found("\n".join(getattr(lexicon, field) for field in _TELLING), borders=lexicon.borders)


def begins(*fields: str) -> re.Pattern[str]:
    """A pattern for the head of a folded subject, in any of the languages."""
    blocks = (any_of(getattr(each, field)) for each in LEXICONS.values() for field in fields if getattr(each, field))
    return re.compile(rf"[\s\[(*]*(?:{'|'.join(blocks)})")


def spoken(text: str) -> tuple[str, ...]:
    """The languages of a folded text, the likeliest first; all of them where nothing tells."""
    scores = {name: SCRIPT_SCORE for script, name in _SCRIPTS if script.search(text)}
    for word in set(_WORD.findall(text, 0, MAX_GUESS_CHARS)):
        for name in _COMMON.get(word, ()):
            scores[name] = scores.get(name, 0) + 1
    if max(scores.values(), default=0) < TELLING_SCORE:
        return tuple(sorted(LEXICONS, key=lambda name: -scores.get(name, 0)))
    least = max(scores.values()) * ALSO_SPOKEN
    return tuple(sorted((name for name, score in scores.items() if score >= least), key=lambda name: -scores[name]))
