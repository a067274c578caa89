"""Marks of what is not a writer's own words, line by line: quotes' heads, signatures, banners, legal notes, devices.

Knows the marks of all languages of lexicon/layout at once: a quote's head is in the language of a mail program, not in
that of the text. Never decides what becomes of a line: text.py does.
"""

import re
from collections.abc import Sequence

import msgspec

from services.replies.rules.folding import alternatives, fold
from services.replies.rules.lexicon import load

MAX_ATTRIBUTION_CHARS = 400  # "On Monday, 2 March 2026 at 10:00, Ann Example <ann@example.com> wrote:"
ATTRIBUTION_LINES = 3  # over which it may be broken
HEADER_LINES = 5  # below "From:" another field must stand
TELLING_CHARS = 300  # of a line: what a banner or a note is, it says at once
SIGNATURE_LINES = 8  # below a name in which a signature shows itself


class Layout(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A language's wordings, as in `Wants`; all but `wrote` are whole lines without the marks around them."""

    language: str
    wrote: str  # the verb in "… wrote:"
    field: str  # "From:" of a quoted header
    fields: str  # one of the others
    original: str  # "Original message"
    device: str  # "Sent from my …"
    closing: str  # "Kind regards"
    thanks: str  # the same, if a name is below it: "Thanks"
    banner: str  # what gateways put above a message, from its first letter on
    legal: str  # how legal notes and scanners' footers begin, from their first letter on


_LAYOUTS = load("layout", Layout)


def _any(name: str) -> str:
    found = (alternatives(getattr(each, name)) for each in _LAYOUTS)
    return "|".join(each for each in found if each)


_RULE = re.compile(
    rf"(?:[-_=*]\s?){{2,}}\s*\w.{{2,80}}?(?:[-_=*]\s?){{2,}}:?|_{{10,}}|-{{20,}}|(?:{_any('original')})\s?:?"
)
_WROTE = re.compile(
    rf"(?<!\w)(?:{_any('wrote')})(?!\w)|\u306e\u30e1\u30fc\u30eb|\u66f8\u304d\u307e\u3057\u305f|\u5199\u9053|\u5beb\u9053|\uc791\uc131"
)
_LEAD = re.compile(
    r"(?:on|am|le|el|il|em|op|den|w dniu|dnia|pa|kl|dne|mon|tue|wed|thu|fri|sat|sun|pon|wt|sr|czw|pt|sob|niedz|lun|mar"
    r"|mer|jeu|ven|sam|dim|\d{1,4}[-./\u5e74])"
)
_ADDRESS_COLON = re.compile(r".{0,300}<[^<>\s@]{1,200}@[^<>\s@]{1,200}>[^<>@]{0,40}[:\uff1a]\s*")
_FLAT = re.compile(
    r"(?:^|\s)(?:on|am|le|el|il|em|op|den|w dniu|dnia) (?=.{0,60}\d{1,2}[:.h]\d\d).{5,160}?"
    rf"(?:{_any('wrote')}).{{0,80}}?:(?=\s)"
)
_FIELD = re.compile(rf"\*?(?:{_any('field')})\s?\*?\s?:")
_NEXT_FIELD = re.compile(rf"\*?(?:{_any('fields')})\s?\*?\s?:")
_LETTER = re.compile(r"\w")
_SIGNATURE = re.compile(r"(?:--|\u2014|__)\s*")
_DEVICE = re.compile(rf"(?:{_any('device')})")
_CLOSING = re.compile(rf"(?:{_any('closing')})(?=[\s,.!]|$)[\s,.!]*")
_THANKS = re.compile(rf"(?:{_any('thanks')})[\s,.!]*")
_BANNER = re.compile(rf"(?:{_any('banner')})")
_LEGAL = re.compile(rf"(?:{_any('legal')})")
_POSTSCRIPT = re.compile(r"(?:p\.?\s?s\.?|p\.?\s?d\.?|n\.?\s?b\.?|\u8ffd\u4f38)\s?[:.\s\u3001]\s?\w")
_PICTURE = re.compile(r"\[?(?:cid:|image:|logo|inline image|bild:)[^\]]{0,200}\]?")
_NAME = re.compile(
    r"(?:(?:Dr|Mr|Mrs|Ms|Prof|Ing|Dipl)\.?\s){0,2}(?:[^\W\d_a-z][\w.'\u2019-]{0,24}(?:\s|$)){1,4}"
    r"|[\u3040-\u30ff\u4e00-\u9fff\u3005]{1,6}[ \u3000]?[\u3040-\u30ff\u4e00-\u9fff]{0,8}"
)
_CONTACT = re.compile(
    r"\||@|https?://|www\.|\+?\d[\d\s()./-]{6,}\d|\b(?:tel|mob|mobile|phone|fax|cell|direct|office)\b\.?\s?:?|"
    r"\b(?:gmbh|ltd|llc|inc|corp|kg|ag|bv|b\.v|nv|ab|as|a/s|oy|sas|sarl|sa|s\.a|srl|s\.r\.l|spa|s\.p\.a|sl|s\.l|lda"
    r"|sp\. z o\.o|s\.c|plc|pty|co)\b|\u682a\u5f0f\u4f1a\u793e|\u6709\u9650\u4f1a\u793e",
    re.IGNORECASE,
)


def attribution(lines: Sequence[str], at: int) -> int:
    """Over how many folded lines "… wrote:" stands from there on; 0 where it does not."""
    if _is_attribution(lines[at]):
        return 1
    if not (_LEAD.match(lines[at]) or "<" in lines[at]):
        return 0
    for count in range(2, ATTRIBUTION_LINES + 1):
        if not all(lines[at + 1 : at + count]):
            return 0
        if _is_attribution(" ".join(lines[at : at + count])):
            return count
    return 0


def _is_attribution(line: str) -> bool:
    line = line[:MAX_ATTRIBUTION_CHARS].rstrip()
    if not line.endswith((":", "\uff1a")) or not any(each.isdigit() or each == "<" for each in line):
        return False
    return _ADDRESS_COLON.fullmatch(line) is not None or _WROTE.search(line) is not None


def flat_quote(line: str) -> int | None:
    """Where in a folded line "On … wrote:" begins, of mail whose line breaks were lost; None where nowhere."""
    found = _FLAT.search(line) if ":" in line else None
    return found.start() if found else None


def is_original(lines: Sequence[str], at: int) -> bool:
    """Whether the quoted original begins there, unmarked: a rule, or the head of a message."""
    if _RULE.fullmatch(lines[at]):
        return True
    below = lines[at + 1 : at + 1 + HEADER_LINES]
    return _FIELD.match(lines[at]) is not None and any(_NEXT_FIELD.match(each) for each in below)


def is_signature(lines: Sequence[str], folded: Sequence[str], at: int) -> bool:
    """Whether a signature begins there: by its mark, by a closing, or by a name over contact data."""
    line = folded[at]
    if _SIGNATURE.fullmatch(line) or _DEVICE.fullmatch(line):
        return True
    if found := _CLOSING.match(line):
        tail = line[found.end() :]
        if not tail or _is_name(lines[at][-len(tail) :]):
            return True
    below = next((each for each in lines[at + 1 : at + 3] if each), "")
    if _THANKS.fullmatch(line) and _is_name(below):
        return True
    return not lines[at - 1] and _is_name(lines[at]) and _has_contact(lines[at + 1 : at + 1 + SIGNATURE_LINES])


def _is_name(line: str) -> bool:
    return 0 < len(line) <= 60 and _NAME.fullmatch(line.strip(" *,.")) is not None


def _has_contact(lines: Sequence[str]) -> bool:
    """Whether contact data stand in the lines below a name, before the next blank one."""
    for line in lines:
        if not line:
            return False
        if _CONTACT.search(line[:200]):
            return True
    return False


def is_device(line: str) -> bool:
    """Whether a folded line names the device that the message was sent with."""
    return _DEVICE.fullmatch(line) is not None


def is_banner(line: str) -> bool:
    """Whether a folded line is a gateway's, or a picture's name."""
    return _BANNER.fullmatch(_told(line)) is not None or _PICTURE.fullmatch(line) is not None


def is_legal(line: str) -> bool:
    """Whether a legal note or a scanner's footer begins with the folded line."""
    return _LEGAL.match(_told(line)) is not None


def _told(line: str) -> str:
    """The line without the marks before its first word, as far as it can tell what it is."""
    first = _LETTER.search(line)
    return line[first.start() : first.start() + TELLING_CHARS] if first else ""


def is_postscript(line: str) -> bool:
    """Whether a folded line takes up the text again below a signature."""
    return _POSTSCRIPT.match(line) is not None


def folded(lines: Sequence[str]) -> list[str]:
    """The lines as the marks are looked for in them."""
    return [fold(line) for line in lines]
