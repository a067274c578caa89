"""What the writer of a message wrote: its body as text, without quotes, signature and our own words (labels.md).

Never decides what the text means. Works line by line on a bounded number of lines, so that no text takes long.
"""

import html
import re

from services.replies.rules.parse import Message, text_of
from services.replies.rules.wording import any_of

MAX_LINES = 1000  # of a body that are read; nobody writes more above what he quotes
MAX_LINE_CHARS = 2000
MAX_ATTRIBUTION_CHARS = 400  # "On Monday, 2 March 2026 at 10:00, Ann Example <ann@example.com> wrote:"

_BLOCKS = frozenset(
    {"address", "article", "br", "dd", "div", "dl", "dt", "footer", "header", "hr", "li", "ol", "p", "pre", "section"}
    | {"table", "td", "th", "tr", "ul", "h1", "h2", "h3", "h4", "h5", "h6"}
)
_UNSEEN = frozenset({"head", "script", "style", "title"})
_TAG = re.compile(r"/?\s*([a-zA-Z][a-zA-Z0-9]{0,20})")
_BLANKS = re.compile(r"[^\S\n]+")

_RULE = re.compile(
    r"(?:[-_=*]\s?){2,}\s*\w.{2,60}?(?:[-_=*]\s?){2,}|_{10,}|-{20,}|begin forwarded message:", re.IGNORECASE
)
_ATTRIBUTION = re.compile(
    r"(?:on|am|le|el|il|em|op|w dniu|dnia|den|på|kl)\b.{5,300}?\b"
    r"(?:wrote|schrieb|a écrit|escribió|escreveu|ha scritto|schreef|napisał\(?a?\)?|skrev)\b.{0,120}?:",
    re.IGNORECASE,
)
# A name and an address in angle brackets, then a colon: how every language's "… wrote:" ends.
_ADDRESS_COLON = re.compile(r".{0,300}<[^<>\s@]{1,200}@[^<>\s@]{1,200}>[^<>@]{0,40}:\s*")
_FROM_FIELD = re.compile(r"\*?(?:from|von|de|da|van|från|fra|od|差出人|发件人)\s?\*?\s?[:\uff1a]", re.IGNORECASE)
_NEXT_FIELD = re.compile(
    r"\*?(?:sent|date|to|subject|gesendet|datum|an|betreff|envoyé|à|objet|enviado(?: el)?|fecha|para|asunto|data"
    r"|assunto|inviato|a|oggetto"
    r"|verzonden|aan|onderwerp|skickat|till|ämne|wysłano|do|temat|送信日時|宛先|件名)\s?\*?\s?[:\uff1a]",
    re.IGNORECASE,
)
_SIGNATURE = re.compile(r"(?:--|—|__)\s*")
_DEVICE = any_of(
    r"""
    ^(?:sent|get outlook|gesendet|von meinem|envoyé|enviado|inviato|verzonden|verstuurd|skickat)\b.{0,60}phone\b
    ^(?:sent|get|gesendet|von meinem|envoyé|enviado|inviato|verzonden|verstuurd)\b.{0,60}(?:ipad|outlook|handy)\b
    ^(?:sent|gesendet|envoyé|enviado|inviato|verzonden|verstuurd|skickat)\b.{0,60}(?:android|samsung|galaxy|mail)\b
    ^iphoneから送信
    """
)
_CLOSING = any_of(
    r"""
    ^(?:kind |best |warm |many )*(?:regards|wishes)\s*[,.!]?$|^(?:all the )?best\s*[,.]?$|^cheers\s*[,.!]?$
    ^sincerely\s*[,.]?$|^(?:mit )?(?:freundlichen|besten|vielen|herzlichen|lieben) grü(?:ß|ss)en?\s*[,.!]?$
    ^(?:viele|beste|liebe|schöne) grü(?:ß|ss)e\s*[,.!]?$|^(?:mfg|lg|vg|bg)\s*[,.]?$|^(?:bien )?cordialement\s*[,.]?$
    ^(?:un )?saludos?(?: cordial(?:es)?)?\s*[,.]?$|^cordiali saluti\s*[,.]?$|^atenciosamente\s*[,.]?$
    ^met vriendelijke groet(?:en)?\s*[,.]?$|^pozdrawiam\s*[,.]?$|^(?:med )?vänliga hälsningar\s*[,.]?$
    """
)


def body_of(message: Message) -> str:
    """The body as text: its plain leaves, else its HTML ones; attachments are not read."""
    leaves = [part for part in message.parts if not part.is_attachment]
    plain = "\n".join(text_of(part) for part in leaves if part.content_type == "text/plain")
    if plain.strip():
        return plain
    return "\n".join(text_from_html(text_of(part)) for part in leaves if part.content_type == "text/html")


def text_from_html(page: str) -> str:
    """The visible text outside block quotes, one line a block; no markup is trusted to be closed."""
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
        name = found[1].lower() if found else ""
        if name == "blockquote":
            quoted = max(quoted + (-1 if lower.startswith("</", start) else 1), 0)
        elif name in _BLOCKS:
            pieces.append("\n")
        elif name in _UNSEEN and not lower.startswith("</", start):
            close = lower.find(f"</{name}", at)
            at = close if close >= 0 else len(page)
    if not quoted:
        pieces.append(page[at:])
    return html.unescape(_BLANKS.sub(" ", "".join(pieces)))


def new_text(body: str, ours: str = "") -> str:
    """The part of the body that is neither quoted, nor signature, nor a line of `ours`, the text that it answers."""
    lines = [line[:MAX_LINE_CHARS].strip() for line in body.split("\n", MAX_LINES)[:MAX_LINES]]
    known = {line.strip() for line in ours.split("\n")} - {""}
    kept: list[str] = []
    for at, line in enumerate(lines):
        if _ends_here(lines, at, has_text=any(kept)):
            break
        if not line.startswith((">", "|")) and line not in known:
            kept.append(line)
    return "\n".join(kept).strip()


def _ends_here(lines: list[str], at: int, *, has_text: bool) -> bool:
    """Whether the quoted original or the signature begins in this line."""
    line = lines[at]
    if not line:
        return False
    if _SIGNATURE.fullmatch(line) or _RULE.fullmatch(line) or _DEVICE.search(line):
        return True
    if has_text and _CLOSING.search(line):
        return True
    if _FROM_FIELD.match(line) and any(_NEXT_FIELD.match(each) for each in lines[at + 1 : at + 5]):
        return True
    joined = " ".join(lines[at : at + 3])[:MAX_ATTRIBUTION_CHARS]
    has_digit = any(each.isdigit() for each in joined)
    return has_digit and bool(
        _ATTRIBUTION.match(joined)
        or _ADDRESS_COLON.fullmatch(line)
        or _ADDRESS_COLON.fullmatch(" ".join(lines[at : at + 2]))
    )
