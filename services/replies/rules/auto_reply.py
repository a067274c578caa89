"""Was it a machine that answered (RFC 3834, field.md 4.6), and is somebody away or gone.

Never answers anything (B41), and never takes a person's words for a machine's: without a sign in the header a note must
say little else than that its writer is away, and nothing that only somebody says who has read our mail.
"""

import re
from datetime import date
from typing import Literal

import msgspec

from services.replies.rules.dates import Locale, only_date, return_date
from services.replies.rules.folding import fold
from services.replies.rules.intent import read_phrases
from services.replies.rules.parse import Mailbox, Message, addresses, mailbox
from services.replies.rules.signs import Signs, read_signs
from services.replies.rules.vocabulary import Field, spoken, telling, words

MAX_CHARS = 5000  # of a note that are read
MAX_OTHER_WORDS = 60  # of a note that says typical things: beside them
FEW_OTHER_WORDS = 5  # of one that says only that somebody is away
SHORT_QUESTION = 5  # "urgent?", "need help sooner?" are asked by notes
NAME_WORDS = 3  # so few words alone are a name
GREETING_WORDS = 6  # so few before a comma a greeting
WIDE_FAMILY_NAME = 2  # how many characters the family name mostly has that stands before the given one

# Not behind a number or before one: "am 5. März", "inkl. 5.3."; nor behind a title: "el Sr. Ortega".
_SENTENCE_END = re.compile(
    r"(?<=[!?])\s+|(?:(?<=[^\W\d_]{2}\.)(?<!\b[sdm]r\.)(?<!\b(?:[sd]ra|mrs)\.)"
    r"|(?<=\)\.)|(?<=\d{4}\.)|(?<=/\d\d\.))\s+(?=[^\W\d])|(?<=[\u3002!?])(?![\u3002!?])"
)
_PARAGRAPH = re.compile(r"\n\s*\n|\n(?=\s*[-*\u2022])|\n(?<=[.!?:,]\n)")
_LINK = re.compile(r"(?:https?://|(?<!\w)www\.)\S+")
_ASKS = re.compile(r"\?(?![\w&=/])")
_NAME = re.compile(r"[^\W\d_]{3,}|[\u3400-\u9fff]{2,}")
_WIDE = re.compile("[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")
# Where another clause begins, which may say more than a note does.
_CLAUSE = re.compile(
    r"(?<!\w)(?:but|however|so|aber|jedoch|mais|donc|pero|mas|porem"
    r"|(?<!nie )ma|maar|dus|echter|ale|jednak|wiec|men"
    r"|and|und|et|y|(?<!till )och"
    # Those that are other words, too, only before what begins a refusal.
    r"|en(?= (?:we|wij|het|dat|dit|eerlijk)\b)|e(?= (?:nao|non|comunque|sinceramente|francamente)\b)"
    r"|i(?= (?:nie|nam|poza|szczerze)\b))(?!\w)"
    r"|\u3067\u3059\u304c|\u307e\u3059\u304c|\u306e\u3067"
)
# What notes say.
_USUAL: tuple[Field, ...] = ("absence", "away", "note", "automatic", "thanks", "urgent", "receipt", "return_cue")


class AutoReply(msgspec.Struct, frozen=True, kw_only=True):
    """A machine's answer; the return date is the one that the text names, None where it names none."""

    intent: Literal["out_of_office", "auto_reply"]
    confidence: float
    return_date: date | None = None
    left_company: bool = False  # whose address it is does not work there any more
    replacement: str | None = None  # then: the address that is named instead


class _Note(msgspec.Struct, frozen=True, kw_only=True):
    """A text as it is looked at: folded, cut into sentences, with its languages."""

    sentences: tuple[str, ...]
    languages: tuple[str, ...]

    def says(self, *fields: Field) -> bool:
        return any(self.are_in(each, *fields) for each in self.sentences)

    def are_in(self, sentence: str, *fields: Field) -> bool:
        return any(words(language, field).search(sentence) for language in self.languages for field in fields)

    def is_away(self) -> bool:
        """Whether its writer is away, in words of people too; tickets and the like say so of others."""
        return self.says("away") and not any(self._is_of_ticket(each) for each in self.sentences)

    def _is_of_ticket(self, sentence: str) -> bool:
        """Whether only a machine says so, and more than that it is one."""
        for language in self.languages:
            sentence = words(language, "automatic").sub(" ", sentence)
        return self.are_in(sentence, "machine")


def read_auto_reply(message: Message, text: str, received_on: date | None) -> AutoReply | None:
    """The automatic answer in the message; None where a person wrote it, or where it is nobody's answer (a mailing).

    `text` is what its writer wrote, without quotes. `received_on` makes dates without a year whole; without it there
    is no return date.
    """
    signs = read_signs(message)
    lowered = fold(text[:MAX_CHARS])
    languages = spoken(lowered)
    is_machine = signs.strong or signs.says_absent or signs.says_automatic or (signs.weak > 1 and not signs.is_mailing)
    flat = " ".join(lowered.split())
    if not is_machine and not any(telling(language).search(flat) for language in languages):
        return None
    note = _Note(sentences=_sentences(lowered), languages=languages)
    if signs.is_mailing and not _answers_us(signs, note):
        return None
    return _of_machine(note, signs, received_on) if is_machine else _of_anybody(note, signs, text, received_on)


def _answers_us(signs: Signs, note: _Note) -> bool:
    """Whether what came with a mailing's marks is an answer even so: a moderator's notice, an absence."""
    return signs.says_absent or note.says("machine", "absence")


def _of_machine(note: _Note, signs: Signs, received_on: date | None) -> AutoReply:
    """The header leaves no doubt that it is automatic; the words say what it is."""
    gone = _left(note, signs, is_machine=True)
    if gone:
        return gone
    if signs.says_absent or note.says("absence") or note.is_away():
        return _absence(note, signs, received_on)
    if signs.says_automatic and not note.says("machine", "automatic", "receipt"):
        return _absence(note, signs, received_on)
    return AutoReply(intent="auto_reply", confidence=0.95)


def _of_anybody(note: _Note, signs: Signs, text: str, received_on: date | None) -> AutoReply | None:
    """The header does not say so; the words alone must."""
    if (
        _is_personal(note, mailbox(signs.fields.get("from", "")))
        or read_phrases(text).intent == "unsubscribe"
        or _wants_something(note)
    ):
        return None
    gone = _left(note, signs, is_machine=signs.weak > 0 or note.says("machine", "automatic"))
    if gone:
        return gone
    if _is_absence_note(note, has_sign=signs.weak > 0):
        return _absence(note, signs, received_on)
    if note.says("machine", "automatic") or (signs.weak and note.says("receipt")):
        return AutoReply(intent="auto_reply", confidence=0.90)
    return None


def _is_personal(note: _Note, sender: Mailbox) -> bool:
    """Whether somebody speaks who has read our mail: asks or wants something of us, is back, tells of somebody else."""
    return any(
        (note.are_in(each, "others") and not _speaks_of(sender, each))
        or (_ASKS.search(each) and not (len(each.split()) <= SHORT_QUESTION and note.are_in(each, "urgent")))
        or (note.are_in(each, "answers") and not note.are_in(each, "urgent", "machine"))
        for each in note.sentences
    )


def _wants_something(note: _Note) -> bool:
    """Whether there is more in it than a note: an answer to us. "Not yet" and its like stand in notes, too."""
    intent = read_phrases("\n".join(_besides(note))).intent
    return intent not in {"neutral", "not_interested"} or (
        intent == "not_interested" and not note.says("note", "thanks", "urgent")
    )


def _besides(note: _Note) -> list[str]:
    """What the text says besides what notes say: other sentences, and other clauses of the same."""
    besides: list[str] = []
    for sentence in note.sentences:
        said = _CLAUSE.split(sentence) if note.are_in(sentence, *_USUAL) else [sentence]
        besides += [each for each in said if not note.are_in(each, *_USUAL, "machine", "left", "left_self")]
    return besides


def _is_absence_note(note: _Note, *, has_sign: bool) -> bool:
    """Whether the text says that its writer is away, what notes say beside that, and little else."""
    absent, away = note.says("absence"), note.is_away()
    if not (absent or away):
        return False
    others = sum(_words(each) for each in note.sentences if not note.are_in(each, *_USUAL, "contact"))
    typical = sum(note.says(field) for field in ("note", "automatic", "thanks", "urgent")) + has_sign
    if absent:
        return others <= (MAX_OTHER_WORDS if typical else FEW_OTHER_WORDS)
    return others <= (MAX_OTHER_WORDS if typical > 1 else FEW_OTHER_WORDS if typical else -1)


def _left(note: _Note, signs: Signs, *, is_machine: bool) -> AutoReply | None:
    """The answer of an address whose owner is gone: a machine says so, or it says so of its own owner."""
    sender = mailbox(signs.fields.get("from", ""))
    for sentence in note.sentences:
        of_self = note.are_in(sentence, "left_self")
        if not of_self and not note.are_in(sentence, "left"):
            continue
        if of_self and not is_machine:
            is_machine = note.says("thanks", "urgent") or (note.says("contact") and not signs.answered)
        if is_machine or _speaks_of(sender, sentence):
            replacement = _replacement(note, sender)
            return AutoReply(intent="auto_reply", confidence=0.95, left_company=True, replacement=replacement)
    return None


def _speaks_of(sender: Mailbox, sentence: str) -> bool:
    """Whether the sentence names whom the message is from: a person does not write so of themselves."""
    names = set(_NAME.findall(fold(f"{sender.name} {sender.address.partition('@')[0]}")))
    names |= {each[:WIDE_FAMILY_NAME] for each in names if _WIDE.match(each)}
    # Whole, but for a genitive: "no longer here" does not speak of Ms Long.
    ends = "" if _WIDE.search(sentence) else r"(?:'?s)?(?!\w)"
    return any(re.search(rf"(?<!\w){re.escape(name)}{ends}", sentence) for name in names)


def _replacement(note: _Note, sender: Mailbox) -> str | None:
    """The first other address that stands in a sentence, or right behind one, that says whom to turn to."""
    near = ""
    for sentence in note.sentences:
        near = near if note.are_in(near, "contact") else ""
        named = [each for each in addresses(sentence) if each != sender.address]
        if named and note.are_in(f"{near} {sentence.replace(named[0], '')}", "contact"):
            return named[0]
        near = sentence
    return None


def _absence(note: _Note, signs: Signs, received_on: date | None) -> AutoReply:
    until = None
    if received_on:
        fields = signs.fields
        locale = Locale(
            languages=note.languages,
            sent_at=fields.get("date", ""),
            tags=f"{fields.get('content-language', '')},{fields.get('accept-language', '')}",
            domain=mailbox(fields.get("from", "")).address.rpartition(".")[2],
        )
        said = "\n".join((*note.sentences, _head(signs)))
        until = return_date(said, received_on, locale)
        if not until and (signs.strong or signs.says_automatic):
            until = only_date(said, received_on, locale)
    return AutoReply(intent="out_of_office", confidence=0.97, return_date=until)


def _head(signs: Signs) -> str:
    """What the subject says of the absence ("away until 5 March"), without our own subject behind a colon."""
    subject = signs.subject.removeprefix("auto:")  # Notes writes "AUTO: … is out of the office (returning …)"
    return subject.partition(":")[0] if signs.says_absent else ""


def _sentences(text: str) -> tuple[str, ...]:
    paragraphs = (" ".join(each.split()) for each in _PARAGRAPH.split(_LINK.sub(" ", text)))
    return tuple(each.strip() for paragraph in paragraphs for each in _SENTENCE_END.split(paragraph) if each.strip())


def _words(sentence: str) -> int:
    """How many words it has, a name's or a greeting's not counted; where none are written, three characters are one."""
    wide = len(_WIDE.findall(sentence)) // 3
    count = wide + len(_WIDE.sub("", sentence).split())
    return 0 if count <= (GREETING_WORDS if sentence.endswith((",", "!")) else NAME_WORDS) else count
