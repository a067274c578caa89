"""What the writer of a message wrote: its body as text, without quotes, signature and our own words (labels.md).

Never decides what the text means. Works line by line on a bounded number of lines, so that no text takes long.
"""

import html
import re

from services.replies.rules.folding import fold
from services.replies.rules.parse import Message, text_of
from services.replies.rules.wording import any_of

MAX_LINES = 1000  # of a body that are read; nobody writes more above what he quotes
MAX_LINE_CHARS = 2000
MAX_BANNER_LINES = 6  # that a gateway puts on top
MAX_NAME_EXTRA = 3  # words beside a name in a signature's first line: "Dr. Ann Example, MBA"
MIN_DISCLAIMER_CHARS = 30
MAX_ATTRIBUTION_CHARS = 400  # "On Monday, 2 March 2026 at 10:00, Ann Example <ann@example.com> wrote:"

_BLOCKS = frozenset(
    {"address", "article", "br", "dd", "div", "dl", "dt", "footer", "header", "hr", "li", "ol", "p", "pre", "section"}
    | {"table", "td", "th", "tr", "ul", "h1", "h2", "h3", "h4", "h5", "h6"}
)
_UNSEEN = frozenset({"head", "script", "style", "title"})
_TAG = re.compile(r"/?\s*([a-zA-Z][a-zA-Z0-9]{0,20})")
_WORD = re.compile(r"[^\W\d_]+")
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

# A gateway's warning: how it begins, and what it is about.
_BANNER = any_of(
    r"""
    ^\W*(?:external|caution|warning|attention|achtung|vorsicht|warnung|hinweis|avertissement|précaution|prudence)\b
    ^\W*(?:precaución|atención|advertencia|cuidado|atenção|attenzione|avviso|let op|waarschuwing|uwaga)\b
    ^\W*(?:ostrzeżenie|varning|obs)\b|^\W*(?:注意|警告|社外)
    """
)
_FROM_OUTSIDE = any_of(
    r"""
    extern|outside|außerhalb|extérieur|fuera de|fora d|spoza|zewnętrz|buiten|utanför|ester[nr]|社外|外部
    sender|absender|expéditeur|remitente|remetente|mittente|afzender|nadawc|avsändar|送信者
    """
)
_CONFIDENTIAL = any_of(
    r"""
    confidential|privileged|vertraulich|confidentiel|confidencia(?:l|is)|riservat|vertrouwelijk|poufn|konfidentiell
    intended recipient|機密|宛先に心当たり
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
            closes = lower.startswith("</", start)
            if not (closes or quoted):
                pieces.append("\n>\n")  # for `new_text`: here something is quoted
            quoted = max(quoted + (-1 if closes else 1), 0)
        elif name in _BLOCKS:
            pieces.append("\n")
        elif name in _UNSEEN and not lower.startswith("</", start):
            close = lower.find(f"</{name}", at)
            at = close if close >= 0 else len(page)
    if not quoted:
        pieces.append(page[at:])
    return html.unescape(_BLANKS.sub(" ", "".join(pieces)))


def new_text(body: str, ours: str = "", writer: str = "") -> str:
    """The part of the body that is neither quoted, nor signature, nor a line of `ours`, the text that it answers.

    `writer` is the name of who wrote it: a line that is no more than that begins the signature.
    """
    lines = [line[:MAX_LINE_CHARS].strip() for line in body.split("\n", MAX_LINES)[:MAX_LINES]]
    known = {line.strip() for line in ours.split("\n")} - {""}
    names = _words(writer)
    kept: list[str] = []
    at = _below_banner(lines)
    while at < len(lines):
        line, has_text = lines[at], any(kept)
        quote = 0 if has_text else _quote_below(lines, at)
        if quote:  # the answer stands below what it quotes
            at = quote
            continue
        if _ends_here(lines, at, has_text=has_text) or (has_text and _signs(line, names)):
            break
        if not line.startswith((">", "|")) and line not in known:
            kept.append(line)
        at += 1
    return "\n".join(kept).strip()


def _words(text: str) -> list[str]:
    return _WORD.findall(fold(text))


def _below_banner(lines: list[str]) -> int:
    """Where the text begins below a gateway's warning; 0 where there is none."""
    first = next((at for at, line in enumerate(lines) if line), 0)
    end = next((at for at in range(first, min(first + MAX_BANNER_LINES, len(lines))) if not lines[at]), first + 1)
    is_banner = lines and _BANNER.search(lines[first]) and _FROM_OUTSIDE.search(" ".join(lines[first:end]))
    return end if is_banner else 0


def _quote_below(lines: list[str], at: int) -> int:
    """The first line of the quotation that a "… wrote:" here introduces; 0 where none does."""
    if not lines[at] or lines[at].startswith(">") or not _attributes(lines, at):
        return 0
    return next((below for below in range(at + 1, min(at + 5, len(lines))) if lines[below].startswith(">")), 0)


def _signs(line: str, names: list[str]) -> bool:
    """Whether the line is the writer's name, the whole of it with little else, or one part alone."""
    words = _words(line)
    if not words or not names or line.endswith("?"):
        return False
    is_full = len(names) > 1 and set(names) <= set(words) and len(words) <= len(names) + MAX_NAME_EXTRA
    return is_full or (len(words) == 1 and words[0] in {names[0], names[-1]})


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
    if has_text and len(line) >= MIN_DISCLAIMER_CHARS and _CONFIDENTIAL.search(line) and not line.endswith("?"):
        return True
    return _attributes(lines, at)


def _attributes(lines: list[str], at: int) -> bool:
    """Whether a "… wrote:" begins in this line; programs break it over two more."""
    end = next((below for below in range(at, min(at + 3, len(lines))) if not lines[below]), at + 3)
    joined = " ".join(lines[at:end])[:MAX_ATTRIBUTION_CHARS]
    has_digit = any(each.isdigit() for each in joined)
    return has_digit and bool(
        _ATTRIBUTION.match(joined)
        or _ADDRESS_COLON.fullmatch(lines[at])
        or _ADDRESS_COLON.fullmatch(" ".join(lines[at : min(at + 2, end)]))
    )
