r"""Spintax: `{Hi|Hello|{Hey|Ho} there}` becomes one of its variants, for the same lead and step for ever the same one.

Works on a template's text before Liquid does, so that a lead's value is never spun. Braces without a bar between them
are left alone (CSS, JSON), so are Liquid tags, style and script; `\{`, `\|` and `\}` are these characters themselves.
Never chooses by chance.
"""

import re
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import NamedTuple, TypeAlias
from uuid import UUID

from libs.planning.seed import unit_hash

# Beyond both, no author sees what is sent (reliability.md B20).
MAX_DEPTH = 10
MAX_VARIANTS = 10_000
# What is never looked into, unclosed ones to the end of the text: then Liquid says what is wrong with them. Of many
# braces in a row the last two are Liquid's, so that an option may begin with a tag: `{{{ city }}|your town}`.
_MARK = re.compile(
    r"""(?P<kept> <(style|script)\b .*? (?: </\2\s*> | \Z)
        | \{%-?\s*raw\s*-?%\} .*? (?: \{%-?\s*endraw\s*-?%\} | \Z)
        | \{\{(?![{%]) .*? (?: \}\} | \Z)
        | \{% .*? (?: %\} | \Z))
    | \\(?P<escaped> \{(?![{%]) | [|}])
    | (?P<mark> [{|}])""",
    re.DOTALL | re.IGNORECASE | re.VERBOSE,
)


class SpintaxError(ValueError):
    """The text is no spintax; `index` is where the fault lies."""

    def __init__(self, message: str, index: int) -> None:
        super().__init__(message)
        self.index = index


class Span(NamedTuple):
    """A part of the source that is taken as it stands."""

    start: int
    end: int


class Group(NamedTuple):
    """A choice, named by the place of its brace."""

    place: int
    options: tuple["Nodes", ...]


Nodes: TypeAlias = tuple[Span | Group, ...]


def parse(source: str) -> Nodes:
    """The text as spans and choices.

    Raises:
        SpintaxError: a brace with a bar is never closed, choices lie too deep, or there are too many variants.

    """
    if "{" not in source and "\\" not in source:
        return (Span(0, len(source)),)
    return _Parser(source).parse()


_known = lru_cache(maxsize=1024)(parse)


def spin(source: str, lead_key: bytes, step_id: UUID, part: str) -> str:
    """The variant that this lead gets of the step's `part` ("subject", "body").

    Raises:
        SpintaxError: see `parse`.

    """

    def choose(group: Group) -> Nodes:
        share = unit_hash(lead_key, step_id.bytes, part.encode(), str(group.place).encode())
        return group.options[min(int(share * len(group.options)), len(group.options) - 1)]

    return "".join(source[start:end] for start, end in _chosen(_known(source), choose))


def every_word(nodes: Nodes) -> Iterator[Span]:
    """All that can be sent, in its order: every option of every choice."""
    for node in nodes:
        if isinstance(node, Span):
            yield node
        else:
            for option in node.options:
                yield from every_word(option)


def options(nodes: Nodes) -> Iterator[Nodes]:
    """Every option of every choice, outer ones first."""
    for node in nodes:
        if isinstance(node, Group):
            for option in node.options:
                yield option
                yield from options(option)


def _chosen(nodes: Nodes, choose: Callable[[Group], Nodes]) -> Iterator[Span]:
    for node in nodes:
        if isinstance(node, Span):
            yield node
        else:
            yield from _chosen(choose(node), choose)


class _Open:
    """A brace that is not closed yet: its options so far, the last of them still growing."""

    def __init__(self, place: int) -> None:
        self.place = place
        self.options: list[list[Span | Group]] = [[]]

    def add(self, node: Span | Group) -> None:
        """Adds to the last option; a span that touches the one before becomes one with it."""
        nodes = self.options[-1]
        last = nodes[-1] if nodes else None
        if isinstance(node, Span) and isinstance(last, Span) and last.end == node.start:
            nodes[-1] = Span(last.start, node.end)
        elif isinstance(node, Group) or node.start < node.end:
            nodes.append(node)


class _Parser:
    """Goes through the marks once, with a stack of open braces."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._stack = [_Open(-1)]

    def parse(self) -> Nodes:
        at = 0
        for found in _MARK.finditer(self._source):
            self._stack[-1].add(Span(at, found.start()))
            at = found.end()
            self._take(found)
        self._stack[-1].add(Span(at, len(self._source)))
        while len(self._stack) > 1:
            if len(self._stack[-1].options) > 1:
                raise SpintaxError("the brace is never closed", self._stack[-1].place)
            self._dissolve()
        nodes = tuple(self._stack[0].options[0])
        _variants(nodes)
        return nodes

    def _take(self, found: re.Match[str]) -> None:
        place, mark = found.start(), found["mark"]
        if found["escaped"]:
            self._stack[-1].add(Span(place + 1, found.end()))
        elif mark == "{":
            self._stack.append(_Open(place))
        elif mark == "|" and len(self._stack) > 1:
            self._stack[-1].options.append([])
        elif mark == "}" and len(self._stack) > 1:
            self._close(place)
        else:
            self._stack[-1].add(Span(place, found.end()))

    def _close(self, place: int) -> None:
        if len(self._stack[-1].options) == 1:
            self._dissolve()
            self._stack[-1].add(Span(place, place + 1))
            return
        closed = self._stack.pop()
        group = Group(closed.place, tuple(tuple(option) for option in closed.options))
        if _depth(group) > MAX_DEPTH:
            raise SpintaxError(f"choices lie more than {MAX_DEPTH} deep in each other", closed.place)
        _variants((group,))
        self._stack[-1].add(group)

    def _dissolve(self) -> None:
        """A brace without a bar is nothing but a brace."""
        plain = self._stack.pop()
        self._stack[-1].add(Span(plain.place, plain.place + 1))
        for node in plain.options[0]:
            self._stack[-1].add(node)


def _depth(group: Group) -> int:
    inner = (node for option in group.options for node in option if isinstance(node, Group))
    return 1 + max((_depth(node) for node in inner), default=0)


def _variants(nodes: Nodes) -> int:
    """How many texts these can become.

    Raises:
        SpintaxError: too many, with the place of the choice that makes them so.

    """
    count = 1
    for group in (node for node in nodes if isinstance(node, Group)):
        count *= sum(_variants(option) for option in group.options)
        if count > MAX_VARIANTS:
            raise SpintaxError(f"the text has more than {MAX_VARIANTS:,} variants", group.place)
    return count
