"""The HTML part on its way out: styles where mail programs look for them, counted links and a pixel where asked.

Never fetches anything, and never counts a link that the campaign has no row for, the opt-out least of all.
"""

import re
from collections.abc import Callable

from css_inline import CSSInliner

from libs.planning.words.anchors import anchors

# Far above any honest mail. A page nested 15,000 deep overflows css-inline's stack and takes the process with it, and
# ten thousand characters of sibling selectors over a thousand siblings cost seconds: such styles stay where they are.
MAX_TAGS = 2_000
MAX_STYLE_CHARS = 20_000
_STYLE = re.compile(r"<style\b[^>]*+>(.*?)</style", re.IGNORECASE | re.DOTALL)
_SIBLINGS = re.compile(r"~(?!=)")
_BODY_END = re.compile(r"</body\s*>", re.IGNORECASE)
# @media rules cannot stand at an element, and phones read them in the head.
_INLINER = CSSInliner(load_remote_stylesheets=False, keep_at_rules=True)


def inlined(html: str) -> str:
    """The page with the rules of its `<style>` at the elements they mean; many mail programs drop `<style>`."""
    styles = "".join(_STYLE.findall(html))
    if not styles or len(styles) > MAX_STYLE_CHARS or _SIBLINGS.search(styles) or html.count("<") > MAX_TAGS:
        return html
    return _INLINER.inline(html)


def with_counted_links(html: str, counted: Callable[[str], str | None]) -> str:
    """The page in which each link that has a counted address leads there; `counted` is asked with the address meant."""
    pieces: list[str] = []
    done = 0
    for anchor in anchors(html):
        address = counted(anchor.url)
        if address is not None:
            pieces += html[done : anchor.start], address
            done = anchor.end
    return "".join((*pieces, html[done:]))


def with_pixel(html: str, address: str) -> str:
    """The page with an invisible picture at its end: who loads it has opened the mail, or a machine has for him."""
    pixel = f'<img src="{address}" width="1" height="1" alt="" style="display:block;border:0">'
    found = _BODY_END.search(html)
    at = found.start() if found else len(html)
    return html[:at] + pixel + html[at:]
