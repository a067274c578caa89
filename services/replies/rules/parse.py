"""A message read within bounds: headers, MIME leaves, text. Never raises, whatever the bytes, and takes linear time.

The standard library's parser recurses on nested parts and takes seconds for hostile headers (reliability.md B34,
B35), so this one walks with a stack and looks at a limited number of everything; what lies beyond is left out.
"""

import binascii
import codecs
import re
from collections.abc import Iterator
from functools import cached_property

import msgspec

MAX_FIELD_BYTES = 64 * 1024  # one header field (reliability.md B35)
MAX_HEADER_BYTES = 256 * 1024  # all of them
MAX_DEPTH = 50  # nested multiparts (B34)
MAX_PARTS = 500  # leaves (B38)
# Of the whole message that are searched for boundaries: each multipart in another searches most of it again.
MAX_SEARCHES = 4
MIN_SEARCHED_BYTES = 1024 * 1024  # whatever that makes: a small one may nest as deep as MAX_DEPTH
# Of one leaf that is decoded: more than anybody writes, little enough to read in milliseconds.
MAX_TEXT_BYTES = 256 * 1024
MAX_STRUCTURED_CHARS = 16 * 1024  # of a field whose inside is read (addresses, ids, parameters)
MAX_IDS = 100  # of one References field

# A line that looks like a boundary: two dashes and a word, with a part's header below it.
_BOUNDARY_LINE = re.compile(rb"^--([!-~]{1,200})\r?\nContent-[A-Za-z]", re.MULTILINE)
_FIELD_NAME = re.compile(rb"[!-9;-~]{1,100}")
_PARAMETER = re.compile(r""";\s*([A-Za-z0-9_-]{1,40})\s*=\s*(?:"([^"]*)"|([^\s;"]+))""")
_ENCODED_WORD = re.compile(r"=\?([A-Za-z0-9._-]{1,40})(?:\*[^?]{0,20})?\?([bBqQ])\?([^?\s]{0,4000})\?=")
_BETWEEN_WORDS = re.compile(r"\?=[ \t\r\n]{1,80}=\?")
_BASE64_NOISE = re.compile(rb"[^A-Za-z0-9+/]+")
_CHARSET = re.compile(r"[A-Za-z0-9._-]{1,40}")
# How Python's names of mail's charsets begin; its other codecs (idna, unicode_escape…) are no charsets, or are slow.
_MAIL_CODECS = (
    "ascii",
    "utf",
    "iso",
    "cp",
    "koi8",
    "gb",
    "big5",
    "shift_jis",
    "euc",
    "mac",
    "tis",
    "hz",
    "johab",
    "kz",
)
_JIS = b"\x1b$"  # how ISO-2022-JP begins in ASCII; old mail systems do not declare it
_MESSAGE_ID = re.compile(r"<[^<>\s]{1,998}>")
_ANGLE_ADDRESS = re.compile(r"<([^<>\s@]{1,320}@[^<>\s@]{1,255})>")
# What may stand around an address in running text, full-width marks too.
_AROUND = (
    r"""\s<>()\[\],;:"@\uff08\uff09\uff0c\uff1a\uff1b\u3001\u3002\u300c\u300d\u3010\u3011\u201c\u201d\u00ab\u00bb"""
)
_BARE_ADDRESS = re.compile(rf"[^{_AROUND}]{{1,320}}@[^{_AROUND}]{{1,255}}")


class Headers(msgspec.Struct, frozen=True, dict=True):
    """The fields in their order; names in lower case, values unfolded and decoded (RFC 2047)."""

    fields: tuple[tuple[str, str], ...]

    @cached_property
    def _by_name(self) -> dict[str, list[str]]:
        by_name: dict[str, list[str]] = {}
        for name, value in self.fields:
            by_name.setdefault(name, []).append(value)
        return by_name

    def first(self, name: str) -> str:
        """The first field of that name, "" where there is none."""
        values = self._by_name.get(name)
        return values[0] if values else ""

    def every(self, name: str) -> list[str]:
        """All fields of that name, top first."""
        return list(self._by_name.get(name, ()))

    def __contains__(self, name: str) -> bool:
        return name in self._by_name


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """A leaf of the MIME tree; an enclosed message is a leaf too, it is not opened."""

    content_type: str
    params: dict[str, str]
    headers: Headers
    body: bytes  # as it was transferred

    @property
    def is_attachment(self) -> bool:
        """Whether it is sent along as a file; such a leaf is listed and never read."""
        return self.headers.first("content-disposition").lower().startswith("attachment")


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """A message as far as it was read."""

    headers: Headers
    content_type: str
    params: dict[str, str]
    parts: tuple[Part, ...]


class Mailbox(msgspec.Struct, frozen=True):
    """Somebody's name and address; either may be "" where the field does not say."""

    name: str
    address: str


def parse(raw: bytes) -> Message:
    """The message in the given bytes, as far as the limits above allow; for any bytes there is one."""
    headers, body = _split(raw)
    content_type, params = _content_type(headers)
    return Message(headers=headers, content_type=content_type, params=params, parts=tuple(_leaves(headers, body)))


def parse_headers(raw: bytes) -> Headers:
    """The header fields alone, for instance of a returned message."""
    return _split(raw)[0]


def decoded(part: Part) -> bytes:
    """The leaf's bytes with its transfer encoding undone, at most MAX_TEXT_BYTES of the transferred ones."""
    body = part.body[:MAX_TEXT_BYTES]
    match part.headers.first("content-transfer-encoding").strip().lower():
        case "base64":
            return _base64(body)
        case "quoted-printable":
            return binascii.a2b_qp(body)
        case _:
            return body


def text_of(part: Part) -> str:
    """The leaf as text with line feeds alone; what its charset cannot read stands as U+FFFD (B37)."""
    return clean(_decode(decoded(part), part.params.get("charset", "utf-8"))).replace("\r\n", "\n").replace("\r", "\n")


def clean(text: str) -> str:
    """The text without what PostgreSQL or JSON cannot hold: NUL and lone surrogates become U+FFFD."""
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}").encode("utf-8", "replace").decode()


def message_ids(value: str) -> list[str]:
    """The message ids of a field, with their brackets, in order, at most the last MAX_IDS."""
    return _MESSAGE_ID.findall(value[:MAX_STRUCTURED_CHARS])[-MAX_IDS:]


def mailbox(value: str) -> Mailbox:
    """The first mailbox of an address field; the address is "" where there is none that could be one."""
    value = value[:MAX_STRUCTURED_CHARS]
    found = _ANGLE_ADDRESS.search(value)
    if found:
        return Mailbox(value[: found.start()].strip().strip('"').strip(), found[1].lower())
    bare = _BARE_ADDRESS.search(value)
    return Mailbox("", bare[0].lower() if bare else "")


def addresses(text: str, limit: int = 20) -> list[str]:
    """The addresses in a piece of text, in lower case, each once, in order."""
    found: dict[str, None] = {}
    for match in _BARE_ADDRESS.finditer(text[: 4 * MAX_STRUCTURED_CHARS]):
        local, _, domain = match[0].rpartition("@")
        # "bob@lead.test...User unknown": a domain has no two dots in a row, a local part may.
        found.setdefault(f"{local}@{domain.partition('..')[0]}".strip(".'{}").lower())
        if len(found) == limit:
            break
    return list(found)


def _split(raw: bytes) -> tuple[Headers, bytes]:
    """The header block's fields, and what follows the first empty line."""
    raw = raw.removeprefix(codecs.BOM_UTF8)
    if raw.startswith(b"From "):  # an mbox separator in front
        raw = raw.partition(b"\n")[2]
    if raw.startswith((b"\n", b"\r\n")):
        return Headers(()), raw.partition(b"\n")[2]
    ends = [(at, len(gap)) for gap in (b"\r\n\r\n", b"\n\n") if (at := raw.find(gap)) >= 0]
    at, gap = min(ends, default=(len(raw), 0))
    return _fields(raw[: min(at, MAX_HEADER_BYTES)]), raw[at + gap :]


def _fields(block: bytes) -> Headers:
    lines = block.split(b"\n")
    folded: list[tuple[bytes, list[bytes]]] = []
    for line in lines:
        if line[:1] in {b" ", b"\t"} and folded:
            folded[-1][1].append(line)
            continue
        name, colon, value = line.partition(b":")
        if colon and _FIELD_NAME.fullmatch(name.rstrip()):
            folded.append((name.rstrip(), [value]))
    return Headers(
        tuple((name.decode("ascii").lower(), _field_text(b"".join(value)[:MAX_FIELD_BYTES])) for name, value in folded)
    )


def _field_text(value: bytes) -> str:
    plain = value.replace(b"\r", b"")
    text = (_decode(plain, "") if _JIS in plain else plain.decode("utf-8", "replace")).strip()
    if "=?" in text:
        text = _ENCODED_WORD.sub(_encoded_word, _BETWEEN_WORDS.sub("?==?", text))
    return clean(text)


def _encoded_word(match: re.Match[str]) -> str:
    charset, encoding, data = match.groups()
    raw = data.encode("ascii", "replace")
    return _decode(_base64(raw) if encoding in "bB" else binascii.a2b_qp(raw, header=True), charset)


def _base64(data: bytes) -> bytes:
    """What can be read of the data; a broken tail is left out."""
    letters = _BASE64_NOISE.sub(b"", data)
    if len(letters) % 4 == 1:
        letters = letters[:-1]
    return binascii.a2b_base64(letters + b"=" * (-len(letters) % 4))


def _decode(data: bytes, charset: str) -> str:
    """The text in its charset; where the bytes are valid UTF-8 they are that, whatever the header claims."""
    if not data.isascii():
        try:
            return data.decode("utf-8")
        except UnicodeDecodeError:  # then it is as the header says
            pass
    name = "utf-8"
    if _CHARSET.fullmatch(charset):
        try:
            found = codecs.lookup(charset).name
        except LookupError:  # an unknown charset is read as UTF-8: mostly it is, and the rest stays readable
            found = "utf-8"
        name = found if found.startswith(_MAIL_CODECS) else "utf-8"
    if data.isascii() and _JIS in data and not name.startswith("iso2022"):
        name = "iso2022_jp"
    elif name == "iso2022_jp" and not data.isascii():  # has no such bytes: a carrier's reports are EUC-JP
        name = "euc_jp"
    try:
        return data.decode(name, "replace")
    except UnicodeError:  # utf-16 refuses some input even so
        return data.decode("latin-1")


def _content_type(headers: Headers) -> tuple[str, dict[str, str]]:
    value = headers.first("content-type")[:MAX_STRUCTURED_CHARS]
    kind = next(iter(value.partition(";")[0].split()), "").lower()  # "text/plain charset=…" is met, too
    params: dict[str, str] = {}
    for name, quoted, bare in _PARAMETER.findall(value):
        params.setdefault(name.lower(), quoted or bare)
    return (kind if "/" in kind else "text/plain"), params


def _leaves(headers: Headers, body: bytes) -> Iterator[Part]:
    """The leaves in the order of the message, at most MAX_PARTS of them."""
    waiting = [(headers, body, 0)]
    found = 0
    budget = max(MAX_SEARCHES * len(body), MIN_SEARCHED_BYTES)
    while waiting and found < MAX_PARTS:
        headers, body, depth = waiting.pop()
        kind, params = _content_type(headers)
        is_open = kind.startswith("multipart/") and depth < MAX_DEPTH and budget > 0
        inside = _inside(body, params.get("boundary", "")) if is_open else []
        budget -= len(body) if is_open else 0
        if inside:
            waiting.extend((*_split(piece), depth + 1) for piece in reversed(inside))
            continue
        found += 1
        yield Part(content_type=kind, params=params, headers=headers, body=body)


def _inside(body: bytes, boundary: str) -> list[bytes]:
    """The pieces between the boundary's lines (RFC 2046 §5.1.1); a missing last one is forgiven, a wrong one found."""
    if boundary.encode("utf-8", "replace") not in body:
        guess = _BOUNDARY_LINE.search(body)
        boundary = guess[1].decode("ascii") if guess else ""
    if not boundary:
        return []
    line = re.compile(
        rb"^--" + re.escape(boundary.encode("utf-8", "replace")) + rb"(--)?[ \t]*\r?(?:\n|\Z)", re.MULTILINE
    )
    pieces: list[bytes] = []
    start = -1
    for match in line.finditer(body):
        if start >= 0:
            pieces.append(body[start : match.start()].removesuffix(b"\n").removesuffix(b"\r"))
        start = match.end()
        if match[1] or len(pieces) == MAX_PARTS:
            return pieces
    return [*pieces, body[start:]] if start >= 0 else []
