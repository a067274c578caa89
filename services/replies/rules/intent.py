"""What a person wants, read from their own words (field.md 4.9, labels.md); never from quotes or signatures.

Never takes a refusal for half of a yes: what refuses is taken out of the text before the rest of it is read.
"""

import math
import re
from collections.abc import Callable, Sequence
from functools import cached_property

import msgspec

from libs.schema.events.reply import Intent
from services.replies.rules.evidence import Field, Sign, Text, languages_of
from services.replies.rules.folding import plain
from services.replies.rules.likeness import Likeness, likeness

MODEL = "rules-3"  # replies.intent_model; raised when the rules change what they say
REVIEW_BELOW = 0.60  # field.md 4.9
# What stops mail for good, or tells a person that nobody wants it: never said on a guess.
FINAL: frozenset[Intent] = frozenset({"unsubscribe", "not_interested"})
WANTS: tuple[Intent, ...] = ("interested", "meeting_request", "question")
NOT_FINAL: tuple[Intent, ...] = (*WANTS, "neutral")
FIRM = 0.90  # of a refusal in plain words
# By how much a likeness counts against a phrase: then confidences are shares of right readings (tests/labelled/README).
SHARPNESS = 4.0
UNSURE = 0.55  # signs on both sides: a person should look
MAX_CHARS = 5000  # of a text that are read
MAX_WHOLE_CHARS = 80  # a text no longer than this may be taken whole: "stop", "no thanks"
SLOT_WORDS = 6  # a sentence of no more words that names a time proposes it: "Tuesday, 3pm?"
RUN_ON_CHARS = 25  # behind a refusal: what it may run on into
MAX_BECAUSE = 3

_BREAK = re.compile(r"[.,;:!?\n()-]")
_ENDS = " \t\n.,;:!?\"'*_-()~\u3002\u3001\u2026"
_SYMBOLS = re.compile(r"[^\w\s'?*/@-]")  # marks and emoji
_LAST_NAME = re.compile(r"\n[^\W\d_][\w.'-]{0,20}(?: [^\W\d_][\w.'-]{0,20}){0,2}\s*$")
_SENTENCE = re.compile("[^.!?\n\u3002]{1,1000}[.!?\n\u3002]*|\\?+")
_CALENDAR = re.compile(
    r"calendly\.com/|\bcal\.com/|meetings[\w-]*\.hubspot\.com|savvycal\.com/|tidycal\.com/|zcal\.co/|koalendar\.com/"
    r"|youcanbook\.me|doodle\.com/|calendar\.app\.google|calendar\.google\.com|bookwithme|outlook\.office\w*\.com/book"
    r"|chilipiper\.com|meet\.google\.com/|zoom\.us/j/|teams\.(?:microsoft|live)\.com/"
)
_CLOCK = re.compile(
    r"(?<![\d.,:/+-])(?:[01]?\d|2[0-3])(?:[:.h][0-5]\d)?\s?(?:a\.?m|p\.?m|uhr|uur|h|o'clock)(?!\w)"
    r"|(?<![\d.,:/+-])(?:[01]?\d|2[0-3])[:.][0-5]\d(?![\d.,%]\d|\d)|(?<!\d)\d{1,2}\s?\u6642"
    r"|(?<!\w)(?:kl\.?|om|um|at|a las|as|alle|ore|o|godz\.?) (?:[01]?\d|2[0-3])(?:[:.][0-5]\d)?(?![\w%])"
)


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """What a text means and how sure that is; `needs_review` asks for a person's look, the sequence stops anyway.

    `because` holds the words that decided, as they were read: in lower case and without diacritics.
    """

    intent: Intent
    confidence: float
    needs_review: bool = False
    because: tuple[str, ...] = ()


NOTHING = Reading(intent="neutral", confidence=0.40, needs_review=True)


def read_intent(text: str) -> Reading:
    """The intent of the text; the same text always gives the same answer."""
    words = plain(text[:MAX_CHARS])
    likely, others = languages_of(words)
    phrases = _phrases(words, likely, others)
    if phrases.intent == "unsubscribe":  # in plain words: it stays, whatever the text is like
        return phrases
    like = likeness(words, likely)
    return _weighed(phrases, like) if like else phrases


def read_phrases(text: str) -> Reading:
    """What the known phrases alone say; NOTHING where there is none."""
    words = plain(text[:MAX_CHARS])
    return _phrases(words, *languages_of(words))


def _phrases(words: str, likely: tuple[str, ...], others: tuple[str, ...]) -> Reading:
    reading = _read(Text(words, likely))
    # A short text may look like another language than its own.
    return _read(Text(words, others)) if reading is NOTHING and others else reading


def _weighed(phrases: Reading, like: Likeness) -> Reading:
    """What is likeliest: what the text is like, and what its phrases say, added up as log-odds.

    A refusal in plain words never becomes a yes; nor is anything final said on a guess, or by likeness alone against
    words that want something.
    """
    refuses = phrases.intent == "not_interested" and phrases.confidence >= FIRM
    odds: dict[Intent, float] = {
        intent: SHARPNESS * score for intent, score in like.scores.items() if not (refuses and intent in WANTS)
    }
    if phrases is not NOTHING:
        odds[phrases.intent] += math.log(phrases.confidence / (1 - phrases.confidence))
    most = max(odds.values())
    whole = sum(math.exp(each - most) for each in odds.values())
    intent = max(odds, key=lambda each: odds[each])
    if intent in FINAL and not refuses and (1 / whole < REVIEW_BELOW or phrases.intent in WANTS):
        intent = max(NOT_FINAL, key=lambda each: odds[each])
    confidence = round(math.exp(odds[intent] - most) / whole, 2)
    return Reading(
        intent=intent,
        confidence=confidence,
        needs_review=confidence < REVIEW_BELOW or (phrases is not NOTHING and phrases.needs_review),
        because=phrases.because if phrases.intent == intent else like.because(intent),
    )


def _read(text: Text) -> Reading:
    """The first judgement that has one; the order is field.md 4.9's, with "later" and "somebody else" in it."""
    found = _Evidence(text)
    return next((reading for judge in _JUDGES if (reading := judge(found))), NOTHING)


class _Evidence:
    """What there is in a text, looked for when it is first asked for."""

    def __init__(self, text: Text) -> None:
        self.text = text

    @cached_property
    def affirmed(self) -> list[Sign]:
        """Negations that are a yes: "not bad", "not happy with what we have" up to the end of the clause."""
        return [self._to_end_of_clause(each) for each in self.text.signs("affirms", "unserved")]

    @cached_property
    def refusals(self) -> list[Sign]:
        rest = self.text.without(self.affirmed) if self.affirmed else self.text
        return rest.signs("negated", "declines", "served", "not_now", "sarcasm")

    @cached_property
    def rest(self) -> Text:
        """The text without what refuses."""
        return self.text.without([*self.refusals, *self.affirmed])

    @cached_property
    def defers(self) -> list[Sign]:
        return self.text.signs("defers")

    @cached_property
    def refers(self) -> list[Sign]:
        return self.text.signs("refers")

    @cached_property
    def slots(self) -> list[Sign]:
        return _slots(self.rest)

    @cached_property
    def meetings(self) -> list[Sign]:
        links = [_sign("meeting", found) for found in _CALENDAR.finditer(self.rest.words)]
        return self._unrefused(self.rest.signs("meeting"), links, self.slots)

    @cached_property
    def interests(self) -> list[Sign]:
        return self._unrefused(self.rest.signs("interested"), self.affirmed)

    @cached_property
    def asks(self) -> list[Sign]:
        return _in_order(self.rest.signs("asks"), _questions(self.rest))

    def _to_end_of_clause(self, sign: Sign) -> Sign:
        if sign.field != "unserved":
            return sign
        found = _BREAK.search(self.text.words, sign.end)
        return msgspec.structs.replace(sign, end=found.start() if found else len(self.text.words))

    def _unrefused(self, *signs: Sequence[Sign]) -> list[Sign]:
        """Without those that a refusal runs on into: "no need | for a call"."""
        return [each for each in _in_order(*signs) if not self._is_refused(each)]

    def _is_refused(self, sign: Sign) -> bool:
        before = max((each.end for each in self.refusals if each.end <= sign.start), default=None)
        if before is None or sign.start - before > RUN_ON_CHARS:
            return False
        between = self.text.words[before : sign.start]
        return not _BREAK.search(between) and not Text(between, self.text.languages).has("turns")


def _whole(found: _Evidence) -> Reading | None:
    """A text that is no more than an opt-out, a no or a yes, with a greeting and a name around it."""
    core = _core(found.text)
    if not core.words:
        return None
    if core.is_whole("unsubscribe_whole"):
        return Reading(intent="unsubscribe", confidence=0.97, because=(core.words,))
    if core.is_whole("declines_whole"):
        return Reading(intent="not_interested", confidence=0.95, because=(core.words,))
    if core.is_whole("interested_whole"):
        return Reading(intent="interested", confidence=0.95, because=(core.words,))
    return None


def _core(text: Text) -> Text:
    """A short text without greeting, thanks, name and marks; nothing of a longer one."""
    if len(text.words) > 2 * MAX_WHOLE_CHARS:
        return Text("", text.languages)
    greeting, _, below = _LAST_NAME.sub("", text.words).partition("\n")
    words = below if below and greeting.endswith(",") else f"{greeting}\n{below}"
    plain = " ".join(_SYMBOLS.sub(" ", words).split()).strip(_ENDS)
    core = Text(plain or words.strip(), text.languages)  # of nothing but emoji they are the words
    while 0 < (end := core.after("courtesy")) < len(core.words):
        core = Text(core.words[end:].lstrip(_ENDS), text.languages)
    for each in reversed(core.signs("courtesy")):
        if each.start > 0 and each.end == len(core.words):
            core = Text(core.words[: each.start].rstrip(_ENDS), text.languages)
    return Text(core.words if len(core.words) <= MAX_WHOLE_CHARS else "", text.languages)


def _opt_out(found: _Evidence) -> Reading | None:
    """They ask for no more mail, or for their data to be deleted; from something else than us does not count."""
    asked = [each for each in found.text.signs("unsubscribe") if not _is_elsewhere(found.text, each)]
    return _reading("unsubscribe", 0.92, asked) if asked else None


def _is_elsewhere(text: Text, sign: Sign) -> bool:
    """Whether their sentence names another list than ours: "take me off the list of speakers"."""
    start = max(text.words.rfind(mark, 0, sign.start) for mark in ".!?\n") + 1
    sentence = _SENTENCE.match(text.words, start)
    return sentence is not None and Text(sentence[0], text.languages).has("other_list")


def _later(found: _Evidence) -> Reading | None:
    """Not now, but we are asked to come back; a meeting named after that is a meeting."""
    if not found.defers:
        return None
    if found.meetings and found.meetings[-1].start > found.defers[-1].end:
        return _reading("meeting_request", UNSURE, found.meetings)
    return _reading("neutral", 0.90, found.defers)


def _refused(found: _Evidence) -> Reading | None:
    """A refusal; with a yes in the same text a person should look, and what was said last counts."""
    refusals, positive = found.refusals, _in_order(found.meetings, found.interests)
    if not refusals:
        return None
    if any(each.field == "sarcasm" for each in refusals):
        return _reading("not_interested", 0.65, refusals)
    last = refusals[-1].end
    if positive and positive[-1].end > last:
        after = any(each.end > last for each in found.meetings)
        return _reading("meeting_request" if after else "interested", UNSURE, [*refusals, *positive])
    if positive:
        return _reading("not_interested", UNSURE, [*refusals, *positive])
    is_soft = all(each.field in {"served", "not_now"} for each in refusals)
    if is_soft and found.asks and found.asks[-1].end > last:
        return _reading("question", UNSURE, [*refusals, *found.asks])
    return _reading("not_interested", 0.90, refusals)


def _referred(found: _Evidence) -> Reading | None:
    """Somebody else is to be asked; a time named beside that is a meeting."""
    if not found.refers or (found.asks and found.text.has("first")):
        return None
    return _reading("meeting_request", UNSURE, found.slots) if found.slots else _reading("neutral", 0.90, found.refers)


def _positive(found: _Evidence) -> Reading | None:
    """A meeting or interest, unless something must be answered first."""
    positive = found.meetings or found.interests
    if positive and found.asks and (firsts := found.text.signs("first")):
        return _reading("question", 0.65, [*firsts, *found.asks])
    if found.meetings:
        return _reading("meeting_request", 0.88, found.meetings)
    return _reading("interested", 0.85, found.interests) if positive else None


def _asked(found: _Evidence) -> Reading | None:
    return _reading("question", 0.70, found.asks) if found.asks else None


def _acknowledged(found: _Evidence) -> Reading | None:
    acknowledged = found.text.signs("acknowledges")
    return _reading("neutral", 0.75, acknowledged) if acknowledged else None


_JUDGES: tuple[Callable[[_Evidence], Reading | None], ...] = (
    *(_whole, _opt_out, _later, _refused, _referred, _positive, _asked, _acknowledged),
)


def _slots(text: Text) -> list[Sign]:
    """Sentences that offer or accept a time: a day or an hour, with words such as "works for me", or little else."""
    if not (text.has("days") or _CLOCK.search(text.words)):
        return []
    text = text.without(text.signs("unsuited"))
    slots: list[Sign] = []
    for sentence in _SENTENCE.finditer(text.words):
        words = Text(sentence[0], text.languages)
        days, clock = words.has("days"), _CLOCK.search(sentence[0]) is not None
        is_short = len(sentence[0].split()) <= SLOT_WORDS
        if (days or clock) and ((days and clock) or is_short or words.has("suits")):
            slots.append(_sign("days", sentence))
    return slots


def _questions(text: Text) -> list[Sign]:
    """Sentences that ask by their mark or by how they begin, also behind a name and a comma."""

    def asks(words: str) -> bool:
        begun = (words, words.partition(",")[2].lstrip())
        return words.rstrip().endswith("?") or any(Text(each, text.languages).after("question") for each in begun)

    return [_sign("asks", found) for found in _SENTENCE.finditer(text.words) if asks(found[0].lstrip())]


def _sign(field: Field, found: re.Match[str]) -> Sign:
    return Sign(field, found.start(), found.end(), found[0].strip(_ENDS))


def _in_order(*signs: Sequence[Sign]) -> list[Sign]:
    return sorted((each for some in signs for each in some), key=lambda each: each.end)


def _reading(intent: Intent, confidence: float, signs: Sequence[Sign]) -> Reading:
    because = tuple(dict.fromkeys(each.words for each in signs))[:MAX_BECAUSE]
    return Reading(intent=intent, confidence=confidence, needs_review=confidence < REVIEW_BELOW, because=because)
