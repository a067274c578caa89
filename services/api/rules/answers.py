"""May a person's answer be sent as it is? Its size, its characters, its links; it is nobody's template."""

import re

from libs.planning.words.links import links
from services.api.rules.text import Refused, passage

MAX_BYTES = 100 * 1024
# What runs or loads in a reader, and what no mail program lets through.
_ACTIVE = re.compile(
    r"<\s*(?:script|iframe|object|embed|form|meta|base|link|svg|math)\b|<[^<>]*\son\w+\s*=", re.IGNORECASE
)


def text(value: str) -> str:
    """An answer's plain text, with LF line ends.

    Raises:
        Refused: blank, larger than 100 KB, or with a character that no text may hold.

    """
    written = _sized(passage(value))
    if not written.strip():
        raise Refused("blank_body", "the answer is empty", "write something")
    return written


def html(value: str | None) -> str | None:
    """The same as HTML; blank is none.

    Raises:
        Refused: larger than 100 KB, with a character that no text may hold, a link that nobody should follow, or
            something that would run in a reader.

    """
    if value is None or not value.strip():
        return None
    written = _sized(passage(value))
    if found := _ACTIVE.search(written):
        raise Refused("active_content", f"{found[0].strip()!r} is not allowed in a mail", "remove it")
    if strange := next((link for link in links(written) if not link.is_allowed), None):
        raise Refused(
            "link_scheme", f"links of the kind {strange.scheme!r} are not allowed", "use https, http or mailto"
        )
    return written


def _sized(value: str) -> str:
    if len(value.encode()) > MAX_BYTES:
        raise Refused("too_long", f"an answer has at most {MAX_BYTES} bytes", "shorten it")
    return value
