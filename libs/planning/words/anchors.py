"""The links of a mail's HTML that can be counted: saved with the sequence by the API, found again by the sender.

Never counts an address that is not written out: what Liquid or spintax make of it differs from lead to lead.
"""

import html
import re
from collections.abc import Iterator
from typing import NamedTuple
from urllib.parse import urlsplit

MAX_URL_CHARS = 2000
# Possessive and without `<` outside of quotes: linear, whatever the text is.
_TAG = re.compile(r"""<a\s((?:[^<>"']|"[^"]*"|'[^']*')*+)>""", re.IGNORECASE)
_ATTRIBUTE = re.compile(r"""([^\s=>/"']+)(?:\s*=\s*("[^"]*"|'[^']*'|[^\s>"']+))?""")
# Braces are Liquid's and spintax's; a browser reads `\` as `/`; the others belong into no address (RFC 3986 §2).
_NOT_LITERAL = re.compile(r"[\x00-\x20\x7f-\xa0\u2028\u2029{}\\<>\"]")
_SPACE = " \t\n\r\f"  # what HTML takes off both ends of an address


class Anchor(NamedTuple):
    """A link: `text[start:end]` is its address as it is written, without quotes; `url` the address that is meant."""

    start: int
    end: int
    url: str


def anchors(text: str) -> Iterator[Anchor]:
    """The `<a href>` of an HTML text, in their order."""
    for tag in _TAG.finditer(text):
        for attribute in _ATTRIBUTE.finditer(tag[1]):
            value = attribute[2]
            if attribute[1].lower() != "href" or value is None:
                continue
            quotes = value[0] in "\"'"
            start = tag.start(1) + attribute.start(2) + quotes
            end = tag.start(1) + attribute.end(2) - quotes
            yield Anchor(start, end, html.unescape(text[start:end]).strip(_SPACE))
            break  # of two href a browser takes the first


def countable_urls(text: str) -> list[str]:
    """The different addresses of the text whose visits can be counted, in their order; none in a plain text."""
    return list(dict.fromkeys(anchor.url for anchor in anchors(text) if is_countable(anchor.url)))


def is_countable(url: str) -> bool:
    """Whether it is a web address written out: of http or https, with a host, and without anybody's name in it."""
    if len(url) > MAX_URL_CHARS or _NOT_LITERAL.search(url):
        return False
    try:
        parts = urlsplit(url)
        return parts.scheme in {"http", "https"} and bool(parts.hostname) and "@" not in parts.netloc
    except ValueError:  # out of urlsplit alone: a bracket that is not an IPv6 address
        return False
