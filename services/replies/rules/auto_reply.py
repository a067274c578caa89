"""Was it a machine that answered (RFC 3834, field.md 4.6), is somebody away, and when will they be back.

Never answers anything (B41), and never takes a person's words for a machine's on a weak sign alone.
"""

import re
from datetime import date, timedelta
from typing import Literal

import msgspec

from services.replies.rules.lexicon import Lexicon
from services.replies.rules.lexicon.de import GERMAN
from services.replies.rules.lexicon.en import ENGLISH
from services.replies.rules.parse import Message
from services.replies.rules.wording import any_of

LEXICONS: tuple[Lexicon, ...] = (ENGLISH, GERMAN)
MAX_DAYS_AWAY = 90  # field.md 4.6: a date further off is more often read wrongly than meant
NEARBY_CHARS = 60  # between the word ("until") and its date
MAX_CHARS = 5000  # of a note that are read

# Subjects in more languages than there are lexicons for (field.md 4.6).
_OTHER_SUBJECTS = """
    réponse automatique|absence du bureau|respuesta automática|fuera de la oficina|resposta automática
    automatisch antwoord|risposta automatica|fuori sede|autosvar|automatiskt svar|automatické odpověď
    automatyczna odpowiedź|不在|自動返信
    """
_ANSWERED = re.compile(
    r"^\s*(?:(?:re|aw|fwd?|wg|sv|vs|antw|odp|tr|rv|res)\s?(?:\[\d+\])?\s?[:\uff1a]\s*)+", re.IGNORECASE
)
_STRONG_FIELDS = ("x-autoreply", "x-autorespond", "x-auto-reply", "x-autoresponder")
_NO_REPLY = re.compile(r"(?:no|do-?not|nicht)[-_.]?(?:reply|antworten)", re.IGNORECASE)


def _together(field: str) -> re.Pattern[str]:
    return any_of("\n".join(getattr(each, field).strip() for each in LEXICONS), words=True)


_ABSENCE_SUBJECT = any_of("\n".join(each.absence_subject for each in LEXICONS) + _OTHER_SUBJECTS)
_ABSENCE, _ABSENCE_NOTE, _AUTOMATIC = _together("absence"), _together("absence_note"), _together("automatic")
_MONTHS: dict[str, int] = {
    name.strip(): number
    for lexicon in LEXICONS
    for number, names in enumerate(lexicon.months.split(","), start=1)
    for name in names.split("|")
}
_MONTH = "|".join(sorted(_MONTHS, key=len, reverse=True))
_DATE = re.compile(
    r"(?P<iso>\d{4}-\d\d-\d\d)"
    rf"|(?<!\d)(?P<day>\d{{1,2}})(?:st|nd|rd|th|\.)?\s?(?:of )?(?P<month>{_MONTH})\b\.?,?\s?(?P<year>\d{{4}})?"
    rf"|\b(?P<month2>{_MONTH})\b\.?\s(?P<day2>\d{{1,2}})(?:st|nd|rd|th)?(?!\d)(?:,?\s(?P<year2>\d{{4}}))?"
    r"|(?<!\d)(?P<first>\d{1,2})(?P<mark>[./-])(?P<second>\d{1,2})(?:[./-](?P<year3>\d{4}|\d\d))?(?!\d)",
    re.IGNORECASE,
)
_RETURN_CUE, _UNTIL_CUE = _together("return_cue"), _together("until_cue")


class AutoReply(msgspec.Struct, frozen=True, kw_only=True):
    """A machine's answer; the return date is the one that the text names, None where it names none."""

    intent: Literal["out_of_office", "auto_reply"]
    confidence: float
    return_date: date | None = None


def read_auto_reply(
    message: Message, text: str, received_on: date | None, *, day_first: bool = True
) -> AutoReply | None:
    """The automatic answer in the message, None where a person wrote it.

    `received_on` makes dates without a year whole; without it there is no return date. `day_first`: how 5/3 is read.
    """
    text = text[:MAX_CHARS]
    subject = _ANSWERED.sub("", message.headers.first("subject"))
    away = bool(_ABSENCE.search(text))
    # Behind "Re:" it may be our own subject that speaks of absence: then the text must do so too.
    says_absent = bool(_ABSENCE_SUBJECT.match(subject.strip())) and (
        away or subject == message.headers.first("subject")
    )
    if not (
        _is_automatic(message)
        or says_absent
        or (away and _ABSENCE_NOTE.search(text))
        or _is_machine_text(message, text)
    ):
        return None
    if not (says_absent or away):
        return AutoReply(intent="auto_reply", confidence=0.95)
    until = return_date(text, received_on, day_first=day_first) if received_on else None
    return AutoReply(intent="out_of_office", confidence=0.97, return_date=until)


def return_date(text: str, received_on: date, *, day_first: bool = True) -> date | None:
    """The day of return that the text names, else the last day of absence; None for none within MAX_DAYS_AWAY."""
    text = text[:MAX_CHARS].lower()
    for cue in (_RETURN_CUE, _UNTIL_CUE):
        for found in cue.finditer(text):
            near = text[found.end() : found.end() + NEARBY_CHARS]
            named = _DATE.search(near)
            day = _day(named, received_on, day_first=day_first) if named else None
            if day and timedelta(0) <= day - received_on <= timedelta(days=MAX_DAYS_AWAY):
                return day
    return None


def _is_automatic(message: Message) -> bool:
    """One strong sign, or two weak ones."""
    headers = message.headers
    submitted = headers.first("auto-submitted").partition(";")[0].strip().lower()
    if submitted not in {"", "no"} or any(name in headers for name in _STRONG_FIELDS):
        return True
    precedence = headers.first("precedence").strip().lower()
    if precedence == "auto_reply":
        return True
    weak = (
        "x-auto-response-suppress" in headers,
        precedence in {"bulk", "junk", "list"},
        headers.first("return-path").strip() == "<>",
        bool(_NO_REPLY.search(headers.first("from"))),
        "list-id" in headers,
    )
    return sum(weak) > 1


def _is_machine_text(message: Message, text: str) -> bool:
    """Words of a machine, with at least one weak sign beside them: people quote such words too."""
    if not _AUTOMATIC.search(text):
        return False
    headers = message.headers
    return (
        "x-auto-response-suppress" in headers
        or headers.first("return-path").strip() == "<>"
        or bool(_NO_REPLY.search(headers.first("from")))
        or "precedence" in headers
    )


def _day(named: re.Match[str], received_on: date, *, day_first: bool) -> date | None:
    """The date as the match names it; without a year the next such day, None where there is no such day."""
    found = named.groupdict()
    if found["iso"]:
        year, month, day = (int(each) for each in found["iso"].split("-"))
        return _date(year, month, day)
    if found["first"]:
        first, second = int(found["first"]), int(found["second"])
        swap = found["mark"] == "/" and not day_first
        day, month = (second, first) if (swap and first <= 12) or second > 12 else (first, second)
        year_text = found["year3"]
    else:
        day = int(found["day"] or found["day2"])
        month = _MONTHS[(found["month"] or found["month2"]).lower()]
        year_text = found["year"] or found["year2"]
    if year_text:
        year = int(year_text)
        return _date(year + 2000 if year < 100 else year, month, day)
    this_year = _date(received_on.year, month, day)
    return this_year if this_year and this_year >= received_on else _date(received_on.year + 1, month, day)


def _date(year: int, month: int, day: int) -> date | None:
    try:
        return date(year, month, day)
    except ValueError:  # there is no such day
        return None
