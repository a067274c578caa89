"""What the writer of a message wrote: its body as text, without quotes, signature and our own words (labels.md).

Never decides what the text means. Works line by line on a bounded number of lines, so that no text takes long.
"""

import html
import re

from services.replies.rules.folding import fold
from services.replies.rules.layout import (
    attribution,
    flat_quote,
    folded,
    is_banner,
    is_legal,
    is_original,
    is_postscript,
    is_signature,
)
from services.replies.rules.parse import Message, text_of

MAX_LINES = 1000  # of a body that are read; nobody writes more above what he quotes
MAX_LINE_CHARS = 2000
MAX_NAME_EXTRA = 3  # words beside a name in a signature's first line: "Dr. Ann Example, MBA"
WRAPPED_CHARS = 60  # a quoted line no shorter than this may have been broken: its rest stands unmarked below it
KNOWN_WORDS = 4  # so many words of ours in a row are not somebody else's

_BLOCKS = frozenset(
    {"address", "article", "br", "dd", "div", "dl", "dt", "footer", "header", "hr", "li", "ol", "p", "pre", "section"}
    | {"table", "td", "th", "tr", "ul", "h1", "h2", "h3", "h4", "h5", "h6"}
)
_UNSEEN = frozenset({"head", "script", "style", "title"})
_TAG = re.compile(r"/?\s*([a-zA-Z][a-zA-Z0-9]{0,20})")
_WORD = re.compile(r"[^\W\d_]+")
_MARKS = frozenset({"--", "\u2014", "__"})  # of a signature
_BLANKS = re.compile(r"[^\S\n]+")
# Mail programs mark a signature in HTML, too.
_HTML_SIGNATURE = re.compile(
    r"""\s(?:class|id|data-smartmail)\s*=\s*["']?[^"'>]{0,100}"""
    r"""(?:gmail_signature|moz-signature|ms-outlook-mobile-signature|protonmail_signature|(?<!\w)(?:x_)?signature(?!\w))""",
    re.IGNORECASE,
)


def body_of(message: Message) -> str:
    """The body as text: its plain leaves, else its HTML ones; attachments are not read."""
    leaves = [part for part in message.parts if not part.is_attachment]
    plain = "\n".join(text_of(part) for part in leaves if part.content_type == "text/plain")
    if plain.strip():
        return plain
    return "\n".join(text_from_html(text_of(part)) for part in leaves if part.content_type == "text/html")


def text_from_html(page: str) -> str:
    """The visible text, one line a block, with a ">" for each block quote; no markup is trusted to be closed."""
    pieces: list[str] = []
    lower, at, quoted = page.lower(), 0, 0
    while (start := page.find("<", at)) >= 0:
        if not quoted:
            pieces.append(page[at:start])
        end = page.find("-->", start) + 2 if page.startswith("<!--", start) else page.find(">", start)
        if end < start:
            break
        at = end + 1
        found = _TAG.match(page, start + 1, end)
        name, closes = found[1].lower() if found else "", lower.startswith("</", start)
        if name == "blockquote":
            if not (closes or quoted):
                pieces.append("\n>\n")  # for `new_text`: here something is quoted
            quoted = max(quoted + (-1 if closes else 1), 0)
        elif name in _BLOCKS:
            is_signature_block = not (closes or quoted) and _HTML_SIGNATURE.search(page, start, end)
            pieces.append("\n-- \n" if is_signature_block else "\n")
        elif name in _UNSEEN and not closes:
            close = lower.find(f"</{name}", at)
            at = close if close >= 0 else len(page)
    if not quoted:
        pieces.append(page[at:])
    return html.unescape(_BLANKS.sub(" ", "".join(pieces)))


def new_text(body: str, ours: str = "", writer: str = "") -> str:
    """The part of the body that is neither quoted, nor signature, nor a line of `ours`, the text that it answers.

    What stands between quotes or below them is kept, as is a postscript. `writer` is the name of who wrote it: a line
    that is no more than that begins the signature.
    """
    lines = [line[:MAX_LINE_CHARS].strip() for line in body.split("\n", MAX_LINES)[:MAX_LINES]]
    plain, known, names = folded(lines), _Known(ours), _WORD.findall(fold(writer))
    kept: list[str] = []
    at, is_skipping = 0, False
    while at < len(lines):
        line, next_at = lines[at], at + 1
        if line.startswith((">", "|")):
            is_skipping = False  # of a signature: below the quote may be more
        elif not line:
            kept.append("")
            is_skipping = is_skipping and any(kept)  # a banner ends with its paragraph
        elif count := attribution(plain, at):
            next_at = _quote_below(lines, at + count)
            if next_at == len(lines):
                break
        elif is_original(plain, at):
            break
        elif is_skipping and not is_postscript(plain[at]):
            pass
        elif _begins_foreign(lines, plain, at, names if any(kept) else None):
            is_skipping = True
        else:
            is_skipping = False
            kept.extend(_own(line, plain[at], known, is_rest=_is_rest_of_quote(lines, at)))
        at = next_at
    return "\n".join(kept).strip()


class _Known:
    """Our own words, as far as they are known."""

    def __init__(self, ours: str) -> None:
        self._lines = {line.strip() for line in ours.split("\n")} - {""}
        self._whole = " ".join(ours.split())

    def has(self, line: str) -> bool:
        """Whether the line is ours, also where it was broken otherwise."""
        words = line.split()
        return line in self._lines or (len(words) >= KNOWN_WORDS and " ".join(words) in self._whole)


def _quote_below(lines: list[str], at: int) -> int:
    """Where the marked quote begins that stands below its "… wrote:"; the text's end where it is not marked."""
    below = next((each for each in range(at, len(lines)) if lines[each]), None)
    return below if below is not None and lines[below].startswith((">", "|")) else len(lines)


def _begins_foreign(lines: list[str], plain: list[str], at: int, names: list[str] | None) -> bool:
    """Whether something that the writer did not write begins there.

    A banner or a note anywhere; a signature only below a text, which is when there are `names`, or by its mark.
    """
    if is_banner(plain[at]) or is_legal(plain[at]) or lines[at] in _MARKS:
        return True
    return names is not None and (_signs(plain[at], names) or is_signature(lines, plain, at))


def _signs(line: str, names: list[str]) -> bool:
    """Whether the line is the writer's name, the whole of it with little else, or one part alone."""
    words = _WORD.findall(line)
    if not words or not names or line.endswith("?"):
        return False
    is_full = len(names) > 1 and set(names) <= set(words) and len(words) <= len(names) + MAX_NAME_EXTRA
    return is_full or (len(words) == 1 and words[0] in {names[0], names[-1]})


def _is_rest_of_quote(lines: list[str], at: int) -> bool:
    """Whether the line is the unmarked rest of a quoted one that a mail program has broken."""
    above, below = lines[at - 1] if at else "", lines[at + 1] if at + 1 < len(lines) else ""
    return above.startswith(">") and len(above) >= WRAPPED_CHARS and below.startswith(">")


def _own(line: str, plain: str, known: _Known, *, is_rest: bool) -> list[str]:
    """The line as far as it is the writer's."""
    if is_rest or known.has(line):
        return []
    cut = flat_quote(plain)
    if cut is None or len(plain) != len(line):
        return [line]
    return [line[:cut].rstrip(), ""]
