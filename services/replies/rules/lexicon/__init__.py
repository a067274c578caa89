"""The words by which replies are understood: TOML files, one a language, read once at import (`load`).

`automatic/` holds what machines say, `intent/` what people want (`Wants`), `layout/` how mail programs and people mark
what is not their own words, and `examples/` what people have answered (JSON lines). Data only: they never decide, the
rules do. A wrong or missing key fails at import.
"""

import tomllib
from importlib.resources import files
from typing import Literal, TypeVar

import msgspec

Kind = Literal["automatic", "intent", "layout"]
# What a person may mean; automatic mail and reports are recognised by their form.
HumanIntent = Literal["interested", "meeting_request", "question", "not_interested", "unsubscribe", "neutral"]
T = TypeVar("T")


def load(kind: Kind, struct: type[T]) -> tuple[T, ...]:
    """Each file of the kind as a `struct`, in the order of their names; `language` is the file's name.

    Raises:
        msgspec.ValidationError: a file has a key that the struct does not know, or lacks one.

    """
    found = (each for each in (files(__name__) / kind).iterdir() if each.name.endswith(".toml"))
    return tuple(
        msgspec.convert({"language": each.name.removesuffix(".toml")} | tomllib.loads(each.read_text("utf-8")), struct)
        for each in sorted(found, key=lambda each: each.name)
    )


class Example(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What somebody answered, in their own words and without quotes and signature, and what it means (labels.md)."""

    intent: HumanIntent
    text: str


def load_examples() -> dict[str, list[Example]]:
    """The examples of each language.

    Raises:
        msgspec.ValidationError: a line is none.

    """
    found = (each for each in (files(__name__) / "examples").iterdir() if each.name.endswith(".jsonl"))
    return {
        each.name.removesuffix(".jsonl"): [
            msgspec.json.decode(line, type=Example) for line in each.read_text("utf-8").splitlines()
        ]
        for each in sorted(found, key=lambda each: each.name)
    }


class Wants(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How people say in one language what they want (labels.md): each field is a block of alternatives.

    An alternative is a pattern over lower-case text without line breaks, and ends at a bar or a line's end. It is
    matched as whole words, or anywhere where the language writes none (`borders = false`). Diacritics are written as
    they should be and also found where the writer left them out ("keine loesung", "pas interesse"), so no character
    class may hold one; apostrophes are straight. `…_whole` is the whole of a short text, without its marks and thanks.
    """

    language: str
    borders: bool = True  # words stand between blanks
    common: str  # frequent words that tell the language from the others, with blanks between; no patterns
    courtesy: str = ""  # greetings, thanks and "please" around a short text that is taken whole

    # unsubscribe: wants no more mail, wants their data deleted.
    unsubscribe_whole: str
    unsubscribe: str
    other_list: str = ""  # in the same sentence: something else than our mail is meant ("the list of speakers")

    # not_interested.
    declines_whole: str  # "no", "no thanks"
    declines: str
    served: str  # they have such a thing already
    not_now: str  # "not at the moment", "no budget this year": with an invitation beside it (`defers`) it is neutral
    sarcasm: str
    negators: str = ""  # up to three words before `wanted`, "not interested"; a negation behind goes into `declines`
    wanted: str = ""
    affirms: str = ""  # a negation that is a yes: "not bad", "can't wait", "couldn't be more interested"
    turns: str  # "but", "however": of yes and no the one behind it counts

    # neutral.
    defers: str  # later, with an invitation: "get back to me in spring", "try again next year"
    refers: str  # the wrong person, another person, "I passed it on", "she has left us"
    acknowledges: str  # "got it", "I'll have a look", "will discuss it with the team"

    # meeting_request.
    meeting: str  # asks for, offers, accepts or moves a call, visit or demo
    days: str  # weekdays, "tomorrow", "next week", "in the morning": with `suits` or a time of day a meeting
    suits: str  # "works for me", "are you free", "how about"

    # interested.
    interested_whole: str  # "yes please", "sure", "tell me more"
    interested: str

    # question.
    question: str  # a sentence that begins so asks, also without a question mark
    asks: str  # words anywhere that ask: "could you tell me whether", "i wonder"
    first: str  # what must be answered before anything else: "before we talk", "it depends on"
