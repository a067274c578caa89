"""Where the links of a text lead: http, https and mailto, and nothing else (reliability.md B23). Never follows one."""

import html
import re
from collections.abc import Iterator
from typing import NamedTuple

SCHEMES = frozenset({"http", "https", "mailto"})
_LINK = re.compile(
    r"""\b(?:href|src|action|formaction|background|poster)\s*=\s*("[^"]*"|'[^']*'|[^\s>]*)""", re.IGNORECASE
)
_SCHEME = re.compile(r"([a-z][a-z0-9+.-]*):", re.IGNORECASE)
# A browser drops tabs and line breaks from an address, and the space around it.
_DROPPED = re.compile(r"[\x00-\x20]")


class Link(NamedTuple):
    """A link: where it stands, and its scheme in lower case; None where it names none."""

    place: int
    scheme: str | None

    @property
    def is_allowed(self) -> bool:
        """Whether a mail may hold it."""
        return self.scheme is None or self.scheme in SCHEMES


def links(text: str) -> Iterator[Link]:
    """The links of an HTML text, in their order, read as a browser reads them."""
    for found in _LINK.finditer(text):
        target = _DROPPED.sub("", html.unescape(found[1].strip("\"'")))
        scheme = _SCHEME.match(target)
        yield Link(found.start(1), scheme[1].lower() if scheme else None)
