"""What a person wants, read from their own words (field.md 4.9, labels.md); never from quotes or signatures."""

import re

import msgspec

from libs.schema.events.reply import Intent
from services.replies.rules.lexicon import Wants, load
from services.replies.rules.wording import any_of

MODEL = "rules-1"  # replies.intent_model; raised when the rules change what they say
REVIEW_BELOW = 0.60  # field.md 4.9
MAX_CHARS = 5000  # of a text that are read
WHOLE_WORDS = 5  # a text of no more words is taken whole: "stop", "please remove me"


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """What a text means and how sure that is; `needs_review` asks for a person's look, the sequence stops anyway."""

    intent: Intent
    confidence: float
    needs_review: bool = False


LEXICONS = load("intent", Wants)


def _block(*fields: str) -> str:
    return "\n".join(getattr(each, field).strip() for field in fields for each in LEXICONS)


def _together(*fields: str) -> re.Pattern[str]:
    return any_of(_block(*fields), words=True)


_UNSUBSCRIBE_WHOLE, _UNSUBSCRIBE = _together("unsubscribe_whole"), _together("unsubscribe")
_DECLINES = _together("declines", "served", "not_now")
_MEETING, _INTERESTED, _QUESTION = _together("meeting"), _together("interested"), _together("question")
_NEGATED = re.compile(
    rf"{_together('negators').pattern}(?! only)(?:\s+(?!but|aber)\w+){{0,3}}?\s+{_together('wanted').pattern}",
    re.IGNORECASE,
)
# Another list than ours is meant: "take me off the list of speakers".
_OTHER_LIST = re.compile(rf"\s*(?:{any_of(_block('other_list')).pattern})", re.IGNORECASE)
_SENTENCE = re.compile(r"[^.!?\n]{1,1000}[.!?]*")


def read_intent(text: str) -> Reading:
    """The intent of the text; the same text always gives the same answer."""
    text = text[:MAX_CHARS].replace("\N{RIGHT SINGLE QUOTATION MARK}", "'")
    words = text.split()
    whole = " ".join(words).strip(" .,!?-*\"'").replace(",", "")
    if 0 < len(words) <= WHOLE_WORDS and _UNSUBSCRIBE_WHOLE.fullmatch(whole):
        return Reading(intent="unsubscribe", confidence=0.97)
    if any(not _OTHER_LIST.match(text[found.end() :]) for found in _UNSUBSCRIBE.finditer(text)):
        return Reading(intent="unsubscribe", confidence=0.92)
    # "not interested" is a refusal and never half of "interested": what refuses is taken out before the rest is read.
    rest = _DECLINES.sub(" … ", _NEGATED.sub(" … ", text))
    positive = _positive(rest)
    if rest != text:
        return _refusal(positive)
    if positive:
        return positive
    if any(_is_question(each) for each in _SENTENCE.findall(text)):
        return Reading(intent="question", confidence=0.70)
    return Reading(intent="neutral", confidence=0.40, needs_review=True)


def _positive(text: str) -> Reading | None:
    if _MEETING.search(text):
        return Reading(intent="meeting_request", confidence=0.88)
    if _INTERESTED.search(text):
        return Reading(intent="interested", confidence=0.85)
    return None


def _refusal(positive: Reading | None) -> Reading:
    """A refusal; with a positive word beside it a person should look."""
    if positive:
        return Reading(intent="not_interested", confidence=0.55, needs_review=True)
    return Reading(intent="not_interested", confidence=0.90)


def _is_question(sentence: str) -> bool:
    return sentence.rstrip().endswith("?") or _QUESTION.match(sentence.strip()) is not None
