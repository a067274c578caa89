"""SPF: one record that can be read, needs few look-ups, and ends in a word about everybody else (RFC 7208).

Looked at as the last receiver would: with every mechanism asked for, whichever of them would match first.
"""

import re
from collections.abc import Generator
from ipaddress import IPv4Address, IPv6Address
from typing import NamedTuple

from services.api.rules.records.found import MAX_CHARS, Check, Flaw, Found, Question, shown

MAX_LOOKUPS = 10  # RFC 7208 §4.6.4, of the whole with all it includes
MAX_VOID = 2
MAX_EXCHANGERS = 10
_VERSION = re.compile(r"v=spf1(?: |$)", re.IGNORECASE)
_TERM = re.compile(r"([+?~-]?)([a-z][a-z0-9_.-]*)(?:([:=])([^ ]*?))?((?:/[0-9]{1,3})?(?://[0-9]{1,3})?)", re.IGNORECASE)
_MACRO = re.compile(r"%(?:\{[slodiphcrtv][0-9]{0,3}r?[.+,/_=-]*\}|[%_-])", re.IGNORECASE)
_LABEL = "[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
# The last label is no number: a:192.0.2.1 names no domain (RFC 7208 §7.1).
_NAME = re.compile(rf"(?:{_LABEL}\.)+(?![0-9]+$){_LABEL}", re.IGNORECASE)
_MAX_NAME = 253
_ASKING = ("include", "a", "mx", "ptr", "exists")
_NAMED = ("include", "exists")  # which have no domain of their own to fall back on
_Walk = Generator[Question, list[str], None]


def check_spf(domain: str) -> Check:
    """Whether receivers can tell who may send for the domain, and whether that is not everybody."""
    texts = yield Question("texts", domain)
    records = [text for text in texts if _VERSION.match(text)]
    if not records:
        return _missing().found()
    if len(records) > 1:
        return _several(domain, len(records)).found(records[0])
    try:
        yield from _Reading().of(domain, records[0], is_asked=True)
    except Flaw as flaw:
        return flaw.found(records[0])
    return Found(valid=True, record=records[0])


class _Term(NamedTuple):
    """A mechanism or modifier: `name` is empty where it has no domain, None where only a message would tell it."""

    kind: str
    qualifier: str
    name: str | None


class _Reading:
    """One evaluation, with what it has spent."""

    def __init__(self) -> None:
        self._lookups = 0
        self._void = 0

    def of(self, domain: str, text: str, *, is_asked: bool) -> _Walk:
        """Follows the record at `domain`; `is_asked`: its end is the answer, which an included record's is not."""
        terms = _terms(text)
        ends = [term for term in terms if term.kind == "all"]
        redirects = [term for term in terms if term.kind == "redirect"]
        if len(redirects) > 1:
            raise Flaw("spf_syntax", "redirect= stands in it twice", "keep one")
        if ends and ends[0].qualifier == "+":
            raise Flaw("spf_open", f"+all of {shown(domain)} lets the whole internet send", "end it in ~all or -all")
        if is_asked and not ends and not redirects:
            raise Flaw("spf_endless", "it does not end in -all, ~all or ?all", "put ~all at its end")
        for term in terms[: terms.index(ends[0])] if ends else terms:  # what stands behind `all` is never reached
            if term.kind in _ASKING:
                yield from self._ask(domain, term)
        if redirects and not ends:
            yield from self._follow(redirects[0], is_asked=is_asked)

    def _ask(self, domain: str, term: _Term) -> _Walk:
        if term.kind == "include":
            yield from self._follow(term, is_asked=False)
            return
        self._count()
        if term.name is None or term.kind == "ptr":  # ptr asks about the client
            return
        name = term.name or domain
        answer = yield Question("exchangers" if term.kind == "mx" else "addresses", name)
        if term.kind == "mx" and len(answer) > MAX_EXCHANGERS:
            detail = f"mx of {shown(name)} names {len(answer)} servers, and {MAX_EXCHANGERS} are allowed"
            raise Flaw("spf_many_exchangers", detail, "name addresses with ip4: and ip6: instead")
        if not answer:
            self._void += 1
        if self._void > MAX_VOID:
            detail = f"more than {MAX_VOID} of its names do not exist, the last {shown(name)}"
            raise Flaw("spf_void", detail, "remove what is gone")

    def _follow(self, term: _Term, *, is_asked: bool) -> _Walk:
        self._count()
        if term.name is None:
            return
        texts = yield Question("texts", term.name)
        records = [text for text in texts if _VERSION.match(text)]
        if not records:
            raise Flaw("spf_dangling", f"{term.kind} leads to {shown(term.name)}, which has no SPF record", "remove it")
        if len(records) > 1:
            raise _several(term.name, len(records))
        yield from self.of(term.name, records[0], is_asked=is_asked)

    def _count(self) -> None:
        self._lookups += 1
        if self._lookups > MAX_LOOKUPS:
            mend = "remove what no longer sends for you, or name addresses with ip4: and ip6:"
            raise Flaw("spf_lookups", f"it needs more than {MAX_LOOKUPS} look-ups: receivers give up", mend)


def _terms(text: str) -> list[_Term]:
    if len(text) > MAX_CHARS:
        raise Flaw("spf_long", f"it has {len(text)} characters", "remove what no longer sends for you")
    return [_term(word) for word in text.split(" ")[1:] if word]


def _term(word: str) -> _Term:
    parts = _TERM.fullmatch(word)
    if parts is None:
        raise _unreadable(word)
    qualifier, kind, sign, value, cidr = parts.groups(default="")
    kind = kind.lower()
    if sign == "=":
        return _modifier(word, kind, value + cidr, qualifier)
    if kind in ("ip4", "ip6"):
        _check_network(word, kind, value, cidr)
    elif kind not in (*_ASKING, "all") or _is_misplaced(kind, sign, value, cidr):
        raise _unreadable(word)
    return _Term(kind, qualifier or "+", _named(word, value) if kind in _ASKING else "")


def _is_misplaced(kind: str, sign: str, value: str, cidr: str) -> bool:
    """A mechanism with something that it cannot have, or without what it needs."""
    if kind == "all":
        return bool(sign or cidr)
    if cidr and (kind not in ("a", "mx") or not _is_prefix(cidr)):
        return True
    return not value if sign else kind in _NAMED


def _modifier(word: str, kind: str, value: str, qualifier: str) -> _Term:
    """`redirect=` leads on; `exp=` explains; any other is passed over (RFC 7208 §6)."""
    if qualifier or (kind in ("redirect", "exp") and not value):
        raise _unreadable(word)
    return _Term(kind, "", _named(word, value)) if kind in ("redirect", "exp") else _Term("", "", "")


def _named(word: str, value: str) -> str | None:
    if "%" in value:
        if "%" in _MACRO.sub("", value):
            raise _unreadable(word)
        return None
    name = value.removesuffix(".").lower()
    if value and not (_NAME.fullmatch(name) and len(name) <= _MAX_NAME):
        raise _unreadable(word)
    return name


def _check_network(word: str, kind: str, value: str, cidr: str) -> None:
    family, most = (IPv4Address, 32) if kind == "ip4" else (IPv6Address, 128)
    try:
        family(value)
    except ValueError:
        raise _unreadable(word) from None
    if cidr.startswith("//") or cidr.count("/") > 1 or (cidr and int(cidr[1:]) > most):
        raise _unreadable(word)


def _is_prefix(cidr: str) -> bool:
    """Whether it is like /24, //64 or /24//64, within what an address has."""
    four, _, six = cidr.partition("//")
    return int(four[1:] or 0) <= 32 and int(six or 0) <= 128


def _missing() -> Flaw:
    return Flaw("spf_missing", "the domain has no SPF record", "add the record that is shown")


def _several(domain: str, count: int) -> Flaw:
    detail = f"{shown(domain)} has {count} SPF records: receivers read none of them"
    return Flaw("spf_several", detail, "put all that they name into one record, and remove the others")


def _unreadable(word: str) -> Flaw:
    return Flaw("spf_syntax", f"{shown(word)!r} cannot be read: receivers give up there", "correct or remove it")
