"""Until when somebody is away, as their note says it: the day of return, else the last day of absence (labels.md).

Never guesses: a vague date ("next month"), one in the past and one that can be read in two ways too far apart is none.
"""

import re
from calendar import monthrange
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import date, timedelta
from functools import cache
from itertools import pairwise
from typing import Literal

import msgspec

from services.replies.rules.folding import fold
from services.replies.rules.vocabulary import LEXICONS, Automatic, any_of, found, words

MAX_DAYS = 366  # a date with its year
MAX_DAYS_NAMED = 182  # without one, its month named: further off it is nearer in the past
MAX_DAYS_NUMERIC = 90  # without one, in figures (field.md 4.6)
NEAR_CHARS = 70  # on either side of a date that say what it is
MAX_MENTIONS = 40  # of one note
MONTHS = 12
REIWA = 2018  # the year before the Japanese era's first

Order = Literal["day", "month", ""]
_Role = Literal["return", "until", "on"]
_BY_WORTH: tuple[_Role, ...] = ("return", "until", "on")

_MONTH_FIRST_ZONE = re.compile(r"-(?:0[4-9]|10)00\b|\b[ECMP][SD]T\b")
_OTHER_ZONE = re.compile(r"[+-](?!0000)\d{4}\b")
_US_WORDS = re.compile(r"(?<!\w)(?:e[sd]t|c[sd]t|p[sd]t|pto|vacation)(?!\w)")
_MONTH_FIRST_TAG = re.compile(r"\ben-us\b")
_DAY_FIRST_TAG = re.compile(r"\ben-(?!us|ca|ph)[a-z]{2}\b")
_DAY_FIRST_DOMAIN = re.compile("uk|au|nz|ie|in|za|sg|hk|my|eu|de|fr|nl|be|ch|at|se|no|dk|fi|it|es|pt|pl|cz|br|mx|ar")
_MONTH_FIRST_DOMAIN = re.compile("us|gov|mil|edu")
_DASH = re.compile(r"(?:\d(?:st|nd|rd|th)?\W{0,2}|^\W{0,2})[-~\u2013\u2014\u301c\uff5e]\s*$")
_ONLY_MARKS = re.compile(r"[\s,.(\[\u3001]*(?:(?:the|den|der|dem|le|el|o|il|dia|de|d\.?) )?")
_AND = re.compile(r"(?<!\w)(?:and|und|et|y|e|en|och)(?!\w)")  # another clause begins
_AHEAD = ("today", "tomorrow", "later")
_IN_A_ROW = re.compile(r"\s?[-,/&\u30fb\u301c\uff5e~]\s?")
_OPENING = re.compile(r"[\s,(\[]*")


class Locale(msgspec.Struct, frozen=True, kw_only=True):
    """What tells how the writer writes dates; everything but the languages may be ""."""

    languages: tuple[str, ...]  # the likeliest first
    sent_at: str = ""  # the Date field, for its zone
    tags: str = ""  # language tags: "en-us"
    domain: str = ""  # the top level of the writer's domain


@dataclass(frozen=True, slots=True, kw_only=True)
class _Mention:
    """A date in the text: whole, or a weekday, a bare day of the month, a number of days from now."""

    start: int
    end: int
    day: int = 0
    month: int = 0
    year: int = 0
    weekday: int | None = None
    ahead: int | None = None
    figures: str = ""  # the mark between its numbers, where there are no words: these may stand the other way round
    ends: bool = False  # the end of a range

    @property
    def is_weekday(self) -> bool:
        return self.weekday is not None and not self.day


@dataclass(frozen=True, slots=True, kw_only=True)
class _Tongue:
    """How dates are written in one language."""

    months: dict[str, int]
    weekdays: dict[str, int]
    order: Order
    mention: re.Pattern[str]
    before_return: re.Pattern[str]
    after_return: re.Pattern[str]
    before_until: re.Pattern[str]
    after_until: re.Pattern[str]
    before_start: re.Pattern[str]
    range_to: re.Pattern[str]
    next_week: re.Pattern[str]
    absence: re.Pattern[str]
    away: re.Pattern[str]
    hours: re.Pattern[str]


def return_date(text: str, received_on: date, locale: Locale) -> date | None:
    """The day of return that the text names, else the last day of absence; None where it names neither.

    `text` is folded (folding.py), a sentence a line. The date is `received_on` or later, and at most a year off.
    """
    named: dict[_Role, date] = {}
    for language in locale.languages:
        tongue = _tongue(language)
        days = _Days(received_on=received_on, order=tongue.order or _order(text, tongue, locale))
        for role, day in _named(text, tongue, days):
            named.setdefault(role, day)
        if "return" in named:
            break
    return next((named[role] for role in _BY_WORTH if role in named), None)


def only_date(text: str, received_on: date, locale: Locale) -> date | None:
    """The one day with its month that the text names, where it lies ahead and nothing begins on it; None otherwise.

    For a text of which it is known that it says until when somebody is away, in words that `return_date` does not know.
    """
    tongue = _tongue(locale.languages[0])
    days = _Days(received_on=received_on, order=tongue.order or _order(text, tongue, locale))
    flat = text.replace("\n", " ")
    named = [each for each in _mentions(flat, tongue, MAX_MENTIONS) if each.month]
    if len(named) != 1 or tongue.before_start.search(flat[: named[0].start][-NEAR_CHARS:]):
        return None
    return days.of(named[0], [], is_next_week=False)


def _named(text: str, tongue: _Tongue, days: "_Days") -> Iterator[tuple[_Role, date]]:
    """Every date of the text that could be meant, with what it is there."""
    left = MAX_MENTIONS
    for sentence in text.split("\n"):
        mentions = _mentions(sentence, tongue, left)
        left -= len(mentions)
        is_absence = bool(mentions) and bool(tongue.absence.search(sentence))
        of_work = set[int]() if is_absence else _working_days(sentence, mentions, tongue)
        for at, mention in enumerate(mentions):
            role = _role(sentence, mentions, at, tongue)
            is_away = is_absence or (mention.ahead is not None and bool(tongue.away.search(sentence)))
            if at in of_work or (role == "on" and not is_away):
                continue
            around = sentence[max(mention.start - 20, 0) : mention.end + 20]
            day = days.of(mention, mentions[:at], is_next_week=bool(tongue.next_week.search(around)))
            if role and day:
                yield role, day


def _working_days(sentence: str, mentions: list[_Mention], tongue: _Tongue) -> set[int]:
    """Which mentions are of the days on which somebody works: weekdays in a row, in a sentence about working."""
    if len(mentions) == 1 or not tongue.hours.search(sentence):
        return set()
    pairs = [
        (at, at + 1)
        for at, (one, other) in enumerate(pairwise(mentions))
        if one.is_weekday
        and other.is_weekday
        and (_IN_A_ROW.fullmatch(gap := sentence[one.end : other.start]) or tongue.range_to.search(gap.strip()))
    ]
    return {at for pair in pairs for at in pair}


def _role(sentence: str, mentions: list[_Mention], at: int, tongue: _Tongue) -> _Role | None:
    """What the date is, by the words on both sides as far as the next dates."""
    mention = mentions[at]
    before = sentence[mentions[at - 1].end if at else 0 : mention.start][-NEAR_CHARS:]
    after = sentence[mention.end : mentions[at + 1].start if at + 1 < len(mentions) else None][:NEAR_CHARS]
    if tongue.before_return.search(before):
        return "return"
    if mention.ends or tongue.before_until.search(before) or tongue.after_until.match(after):
        return "until"
    between = before.strip()
    if _DASH.search(before) or ((at or before[-8:-1].strip(" .")[:1].isdigit()) and tongue.range_to.search(between)):
        return "until"
    behind = tongue.after_return.match(after)
    if behind and not (tongue.absence.search(behind[0]) or _AND.search(behind[0])):
        return "return"
    is_day = mention.ahead is not None or (mention.month and (mention.year or not mention.figures))  # not "24/7"
    return "on" if is_day and not tongue.before_start.search(before) else None


def _mentions(sentence: str, tongue: _Tongue, limit: int) -> list[_Mention]:
    """The dates of the sentence in their order; a weekday beside a date is part of it."""
    found_: list[_Mention] = []
    for match in tongue.mention.finditer(sentence):
        mention = _mention(match, tongue)
        last = found_[-1] if found_ else None
        gap = sentence[last.end : mention.start] if last else ""
        if last and last.is_weekday and mention.month and _ONLY_MARKS.fullmatch(gap):
            found_[-1] = replace(mention, start=last.start, weekday=last.weekday)
        elif last and last.month and mention.is_weekday and _OPENING.fullmatch(gap):
            found_[-1] = replace(last, weekday=mention.weekday)
        elif len(found_) < limit:
            found_.append(mention)
        else:
            break
    return found_


def _mention(match: re.Match[str], tongue: _Tongue) -> _Mention:
    parts = {name: value for name, value in match.groupdict().items() if value}
    start, end = match.span()
    if weekday := parts.get("weekday") or parts.get("named"):
        return _Mention(start=start, end=end, day=int(parts.get("nd", 0)), weekday=tongue.weekdays[weekday])
    ahead = next((days for days, name in enumerate(_AHEAD) if name in parts), None)
    if ahead is not None:
        return _Mention(start=start, end=end, ahead=ahead)
    if bare := parts.get("the") or parts.get("nth") or parts.get("cjk"):
        return _Mention(start=start, end=end, day=int(bare))
    day = next(parts[name] for name in ("d1", "d2", "d3", "e4", "d4", "a") if name in parts)
    month = next(parts[name] for name in ("m1", "m2", "m3", "m4", "b") if name in parts)
    return _Mention(
        start=start,
        end=end,
        day=int(day),
        month=tongue.months.get(month) or int(month),
        year=_year(parts),
        figures=parts.get("mark", ""),
        ends="e4" in parts,
    )


def _year(parts: dict[str, str]) -> int:
    """The year that was written, 0 for none; two figures are of this century."""
    year = int(next((parts[name] for name in ("y1", "y2", "y3", "y4", "y5") if name in parts), 0))
    if "era" in parts:
        return year + REIWA
    return year + 2000 if 0 < year < 100 else year


@dataclass(frozen=True, slots=True, kw_only=True)
class _Days:
    """How a mention becomes a day, seen from the day on which the note came."""

    received_on: date
    order: Order

    def of(self, mention: _Mention, before: list[_Mention], *, is_next_week: bool) -> date | None:
        if mention.ahead is not None:
            return self._ahead(mention.ahead)
        if mention.month:
            return self._whole(mention)
        if mention.weekday is not None and not mention.day:
            today = self.received_on.weekday()
            days = mention.weekday - today + 7 if is_next_week else (mention.weekday - today - 1) % 7 + 1
            return self._ahead(days)
        earlier = next((self._whole(each) for each in reversed(before) if each.month), None)
        return self._next(mention, max(self.received_on, earlier or self.received_on))

    def _ahead(self, days: int) -> date | None:
        try:
            return self.received_on + timedelta(days=days)
        except OverflowError:  # beyond the year 9999
            return None

    def _next(self, mention: _Mention, earliest: date) -> date | None:
        """The first such day of a month, that day or later, if need be in a month where it is the weekday named."""
        months = [divmod(earliest.month - 1 + ahead, MONTHS) for ahead in range(MONTHS // 2)]
        days = [_date(earliest.year + years, month + 1, mention.day) for years, month in months]
        ahead = [each for each in days if each and each >= earliest]
        fitting = [each for each in ahead if each.weekday() == mention.weekday]
        return next(iter(fitting or ahead), None)

    def _whole(self, mention: _Mention) -> date | None:
        """The date in the reading that its weekday, then the writer's habit confirm; in figures only where near."""
        readings = [(mention.day, mention.month)]
        if mention.figures:
            swapped = (mention.month, mention.day)
            is_month_first = self.order == "month" and mention.figures != "."
            if mention.figures != "." or self.order == "month":
                readings = [swapped, *readings] if is_month_first else [*readings, swapped]
        days = [self._dated(day, month, mention) for day, month in readings]
        if mention.weekday is not None and len(days) > 1:
            fitting = [each for each in days if each and each.weekday() == mention.weekday]
            return fitting[0] if fitting else days[0]
        if self.order and _is_day(*readings[0]):
            return days[0]
        known = [each for each in days if each]
        near = [each for each in known if (each - self.received_on).days <= MAX_DAYS_NUMERIC]
        return next(iter(near or known), None)

    def _dated(self, day: int, month: int, mention: _Mention) -> date | None:
        years = [mention.year] if mention.year else [self.received_on.year + each for each in (-1, 0, 1)]
        days = [each for year in years if (each := _date(year, month, day))]
        if not days:
            return None
        nearest = min(days, key=lambda each: abs((each - self.received_on).days))
        limit = MAX_DAYS if mention.year else MAX_DAYS_NUMERIC if mention.figures else MAX_DAYS_NAMED
        return nearest if 0 <= (nearest - self.received_on).days <= limit else None


def _order(text: str, tongue: _Tongue, locale: Locale) -> Order:
    """Whether the writer puts day or month first, "" where nothing tells: other dates, domain, language, zone."""
    for mention in _mentions(text.replace("\n", " "), tongue, MAX_MENTIONS):
        if mention.figures == "/" and max(mention.day, mention.month) > MONTHS:
            return "day" if mention.day > mention.month else "month"
    domain, tags = locale.domain, locale.tags.lower()
    if _DAY_FIRST_DOMAIN.fullmatch(domain) or _DAY_FIRST_TAG.search(tags):
        return "day"
    if _MONTH_FIRST_DOMAIN.fullmatch(domain) or _MONTH_FIRST_ZONE.search(locale.sent_at) or _US_WORDS.search(text):
        return "month"
    if _OTHER_ZONE.search(locale.sent_at):
        return "day"
    return "month" if _MONTH_FIRST_TAG.search(tags) else ""


def _is_day(day: int, month: int) -> bool:
    return 1 <= month <= MONTHS and 1 <= day <= monthrange(2024, month)[1]


def _date(year: int, month: int, day: int) -> date | None:
    try:
        return date(year, month, day)
    except ValueError:  # there is no such day
        return None


@cache
def _tongue(language: str) -> _Tongue:
    """One of the languages there are, compiled when it is first needed: absence notes are a small part of all mail."""
    lexicon = LEXICONS[language]
    between_words = r"(?:\W+[^\W\d_]+)"  # between a cue and its date
    left, right = (r"(?<!\w)", r"(?!\w)") if lexicon.borders else ("", "")

    def cue(block: str, between: int) -> re.Pattern[str]:
        return re.compile(rf"{left}(?:{any_of(block)}){right}{between_words}{{0,{between}}}\W*$")

    return _Tongue(
        months=_numbered(lexicon.months, 1),
        weekdays=_numbered(lexicon.weekdays, 0),
        order=lexicon.order,
        mention=_mention_pattern(lexicon),
        before_return=cue(lexicon.return_cue, 5),
        after_return=re.compile(rf"\W*(?:[^\W\d_]+[\W]+){{0,5}}?(?:{any_of(lexicon.return_after)}){right}"),
        before_until=cue(lexicon.until_cue, 3),
        after_until=re.compile(rf"\W{{0,3}}(?:{any_of(lexicon.until_after)}){right}"),
        before_start=cue(lexicon.start_cue, 3),
        range_to=re.compile(rf"{left}(?:{any_of(lexicon.range_to)}){right}\W*$"),
        next_week=found(lexicon.next_week, borders=lexicon.borders),
        absence=words(language, "absence"),
        away=words(language, "away"),
        hours=found(lexicon.hours, borders=lexicon.borders),
    )


def _mention_pattern(lexicon: Automatic) -> re.Pattern[str]:
    """Every way to write a date; whole dates come first, so that a weekday or a bare day is only what is left."""
    month, weekday = _names(lexicon.months), _names(lexicon.weekdays)
    ordinal = rf"(?:\s?(?:{any_of(lexicon.ordinal)}))"
    left, right = (r"(?<!\w)", r"(?!\w)") if lexicon.borders else ("", "")
    # With two figures each, and neither hours nor a part of a longer number.
    dashed = rf"|(?<=\d\d)-(?=\d\d(?![\d-]|\s?(?:\d|uur|h|timer|{month})))" if lexicon.dashed else ""
    of = r"(?:(?:of|de|del|den|d')\s?)?"
    article = "(?:the|den|dem|der|le|el|il|o|dia|de)"
    ways = [
        r"(?<!\d)(?P<y1>\d{4})(?P<iso>[-/.])(?P<m1>\d{1,2})(?P=iso)(?P<d1>\d{1,2})(?!\d)",
        r"(?:(?P<era>令和)?(?P<y2>\d{1,4})[年년]\s?)?(?P<m2>\d{1,2})[月월]\s?(?P<d2>\d{1,2})[日일]",
        (
            rf"(?<!\d)(?P<d3>\d{{1,2}}){ordinal}?[.\s/-]{{0,2}}{of}(?P<m3>{month})(?![^\W\d_])"
            r"[.,]?(?:[\s/-]?(?:(?:de|del|of)\s)?(?P<y3>\d{4}|(?<=[/'-])\d\d(?!\d)))?"
        ),
        (
            rf"(?<![\d,/:])(?<!\d\.)(?P<a>\d{{1,2}})\s?(?P<mark>[./]|-(?=\d{{1,2}}-\d){dashed})\s?(?P<b>\d{{1,2}})"
            r"(?:(?P=mark)\s?(?P<y5>\d{4}|\d\d))?(?![\d/]|[.:-]\d|\s?%)"
        ),
        (
            rf"{left}(?P<named>{weekday}){right}[,.]?\s(?:{article}\s)?(?P<nd>\d{{1,2}}){ordinal}?"
            rf"(?![\w:%]|[./-]\d|\s?(?:uhr|uur|h|[ap]\.?m|o'clock|{of}(?:{month}))(?![^\W\d_]))"
        ),
        rf"{left}(?P<weekday>{weekday}){right}",
        rf"{left}(?P<later>{any_of(lexicon.day_after)}){right}",
        rf"{left}(?P<tomorrow>{any_of(lexicon.tomorrow)}){right}",
        rf"{left}(?P<today>{any_of(lexicon.today)}){right}",
        (
            rf"(?:(?<!\w)(?:{any_of(lexicon.the_day)})\s?(?P<the>\d{{1,2}}){ordinal}?"
            rf"|(?<![\d.,:/])(?P<nth>\d{{1,2}}){ordinal})(?![\w:%]|[./-]\d|\W{{0,3}}{of}(?:{month})(?![^\W\d_]))"
        ),
        r"(?<!\d)(?P<cjk>\d{1,2})[日일]",
    ]
    if lexicon.language == "en":  # the only one that writes the month first in words
        ways.insert(
            3,
            rf"(?<![^\W\d_])(?P<m4>{month})\.?\s(?:the\s)?(?P<d4>\d{{1,2}}){ordinal}?(?![\d:]|\.\d)"
            rf"(?:\s?[-\u2013]\s?(?P<e4>\d{{1,2}}){ordinal}?(?![\d:]))?(?:,?\s(?P<y4>\d{{4}})(?!\d))?",
        )
    return re.compile("|".join(ways))


def _numbered(names: str, first: int) -> dict[str, int]:
    return {
        name: number
        for number, group in enumerate(fold(names).split(","), start=first)
        for name in (each.strip() for each in group.split("|"))
        if name
    }


def _names(names: str) -> str:
    known = sorted(_numbered(names, 0), key=len, reverse=True)
    return "|".join(re.escape(each) for each in known) or "(?!)"
