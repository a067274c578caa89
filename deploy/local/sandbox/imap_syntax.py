"""IMAP's way of writing (RFC 3501 §9): commands into tokens, sets, dates, search keys; pure, and must never guess."""

import re
from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import NamedTuple, TypeAlias

from deploy.local.sandbox.store import Stored

Token: TypeAlias = "bytes | list[Token]"  # noqa: S105 - of a grammar, not of a login
_LITERAL = re.compile(rb"\{(\d+)\+?\}\r\n")
_ATOM = re.compile(rb'(?:[^\s()"\[\]]|\[[^\]]*\])+')
_RANGE = re.compile(rb"(?:[1-9]\d*|\*)(?::(?:[1-9]\d*|\*))?")
_DATE_TIME = "%d-%b-%Y %H:%M:%S %z"
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


class SyntaxProblem(Exception):  # noqa: N818 - it becomes a BAD, which is an answer
    """The client wrote something that is answered with BAD."""


class Candidate(NamedTuple):
    """A message as a search sees it: its place, its row, and its text when somebody asks."""

    number: int
    stored: Stored
    raw: Callable[[], bytes]


class Largest(NamedTuple):
    """What `*` stands for."""

    uid: int
    number: int


Match: TypeAlias = Callable[[Candidate], bool]


def literal_size(line: bytes) -> int | None:
    """How many bytes of a literal follow this line, or None when the command ends with it."""
    found = _LITERAL.search(line)
    return int(found[1]) if found and found.end() == len(line) else None


def tokens(text: bytes) -> list[Token]:
    """The tokens of a command: atoms, quoted strings and literals as bytes, parenthesised lists as lists.

    Raises:
        SyntaxProblem: it cannot be read.

    """
    found, at = _tokens(text, 0, nested=False)
    if text[at:].strip():
        raise SyntaxProblem("unexpected )")
    return found


def _tokens(text: bytes, at: int, *, nested: bool) -> tuple[list[Token], int]:
    found: list[Token] = []
    while at < len(text):
        char = text[at : at + 1]
        if char.isspace():
            at += 1
        elif char == b"(":
            inner, at = _tokens(text, at + 1, nested=True)
            found.append(inner)
        elif char == b")":
            return found, at + 1 if nested else at
        else:
            token, at = _string(text, at)
            found.append(token)
    if nested:
        raise SyntaxProblem("missing )")
    return found, at


def _string(text: bytes, at: int) -> tuple[bytes, int]:
    if text[at : at + 1] == b'"':
        return _quoted(text, at + 1)
    if literal := _LITERAL.match(text, at):
        end = literal.end() + int(literal[1])
        return text[literal.end() : end], end
    if atom := _ATOM.match(text, at):
        return atom[0], atom.end()
    raise SyntaxProblem(f"cannot read {text[at : at + 20]!r}")


def _quoted(text: bytes, at: int) -> tuple[bytes, int]:
    said = bytearray()
    while at < len(text):
        char = text[at : at + 1]
        if char == b'"':
            return bytes(said), at + 1
        if char == b"\\":
            at += 1
            char = text[at : at + 1]
        said += char
        at += 1
    raise SyntaxProblem("unfinished string")


def quoted(text: str) -> str:
    """The text as a quoted string."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def number_set(text: bytes, largest: int) -> Callable[[int], bool]:
    """Whether a number is in a set like `2,4:7,9:*`; `*` is the largest, and `n:*` holds it even where n is larger.

    Raises:
        SyntaxProblem: it is no set.

    """
    ranges: list[tuple[int, int]] = []
    for part in text.split(b","):
        if not _RANGE.fullmatch(part):
            raise SyntaxProblem(f"no set of numbers: {text!r}")
        ends = [largest if end == b"*" else int(end) for end in part.split(b":")]
        ranges.append((min(ends), max(ends)))
    return lambda number: any(low <= number <= high for low, high in ranges)


def internal_date(at: datetime) -> str:
    """The instant as INTERNALDATE writes it, in UTC."""
    at = at.astimezone(UTC)
    return f'"{at.day:02d}-{_MONTHS[at.month - 1]}-{at:%Y %H:%M:%S} +0000"'


def parse_date_time(text: bytes) -> datetime:
    """The instant of an APPEND's date-time; raises SyntaxProblem."""
    try:
        return datetime.strptime(text.decode("ascii").strip(), _DATE_TIME)  # noqa: DTZ007 - its %z is in the constant
    except ValueError as error:
        raise SyntaxProblem(str(error)) from None


def unfolded_header(raw: bytes, name: bytes) -> list[bytes]:
    """The values of all headers of that name, unfolded."""
    head = raw.partition(b"\r\n\r\n")[0] + b"\r\n"
    found = re.findall(rb"(?im)^" + re.escape(name) + rb"[ \t]*:((?:.*\r?\n)(?:[ \t].*\r?\n)*)", head)
    return [b" ".join(value.split()) for value in found]


def header_fields(raw: bytes, names: set[bytes], *, wanted: bool) -> bytes:
    """The header lines whose (lower-case) name is in the set, or is not, as they stand, and the empty line."""
    head = raw.partition(b"\r\n\r\n")[0] + b"\r\n"
    fields = re.findall(rb"(?m)^([^\s:]+)([ \t]*:(?:.*\r?\n)(?:[ \t].*\r?\n)*)", head)
    return b"".join(name + rest for name, rest in fields if (name.lower() in names) is wanted) + b"\r\n"


def search(keys: list[Token], largest: Largest) -> Match:
    """What all the search keys together ask for (RFC 3501 §6.4.4).

    Raises:
        SyntaxProblem: a key is unknown here or incomplete.

    """
    rest, matches = list(keys), list[Match]()
    if len(rest) > 1 and rest[0] in (b"CHARSET", b"charset"):
        del rest[:2]
    while rest:
        matches.append(_key(rest, largest))
    return lambda candidate: all(match(candidate) for match in matches)


def _key(rest: list[Token], largest: Largest) -> Match:
    if not rest:
        raise SyntaxProblem("a search key is missing")
    token = rest.pop(0)
    if isinstance(token, list):
        return search(token, largest)
    word = token.decode("ascii", "replace").upper()
    if word in _KEYS:
        return _KEYS[word](rest, largest)
    if word.removeprefix("UN") in _FLAG_KEYS:
        flag, has = "\\" + word.removeprefix("UN").title(), not word.startswith("UN")
        return lambda candidate: (flag in candidate.stored.flags) is has
    if _RANGE.match(token):
        numbers = number_set(token, largest.number)
        return lambda candidate: numbers(candidate.number)
    raise SyntaxProblem(f"unknown search key {word}")


def _all(rest: list[Token], largest: Largest) -> Match:
    _ = rest, largest
    return lambda _: True


def _not(rest: list[Token], largest: Largest) -> Match:
    inner = _key(rest, largest)
    return lambda candidate: not inner(candidate)


def _or(rest: list[Token], largest: Largest) -> Match:
    one, other = _key(rest, largest), _key(rest, largest)
    return lambda candidate: one(candidate) or other(candidate)


def _uid(rest: list[Token], largest: Largest) -> Match:
    uids = number_set(_take(rest), largest.uid)
    return lambda candidate: uids(candidate.stored.uid)


def _since(rest: list[Token], largest: Largest) -> Match:
    _, day = largest, _day(rest)
    return lambda candidate: candidate.stored.arrived.date() >= day


def _before(rest: list[Token], largest: Largest) -> Match:
    _, day = largest, _day(rest)
    return lambda candidate: candidate.stored.arrived.date() < day


def _on(rest: list[Token], largest: Largest) -> Match:
    _, day = largest, _day(rest)
    return lambda candidate: candidate.stored.arrived.date() == day


def _header(rest: list[Token], largest: Largest) -> Match:
    _ = largest
    name, wanted = _take(rest), _take(rest).lower()
    return lambda candidate: any(wanted in value.lower() for value in unfolded_header(candidate.raw(), name))


def _named(name: bytes) -> "Callable[[list[Token], Largest], Match]":
    return lambda rest, largest: _header([name, _take(rest)], largest)


_FLAG_KEYS = ("ANSWERED", "DELETED", "DRAFT", "FLAGGED", "SEEN")
_KEYS: "dict[str, Callable[[list[Token], Largest], Match]]" = {
    "ALL": _all,
    "NOT": _not,
    "OR": _or,
    "UID": _uid,
    "SINCE": _since,
    "BEFORE": _before,
    "ON": _on,
    "HEADER": _header,
    "FROM": _named(b"From"),
    "TO": _named(b"To"),
    "CC": _named(b"Cc"),
    "SUBJECT": _named(b"Subject"),
}


def _day(rest: list[Token]) -> date:
    return parse_date_time(_take(rest) + b" 00:00:00 +0000").date()


def _take(rest: list[Token]) -> bytes:
    token = rest.pop(0) if rest else []
    if isinstance(token, list):
        raise SyntaxProblem("a search key lacks its value")
    return token
