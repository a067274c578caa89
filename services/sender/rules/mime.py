"""Text in 7 bits: quoted-printable for bodies, encoded words for headers (RFC 2045 §6.7, RFC 2047).

Never cuts a character in two, never writes a line above 76. The standard library's encoders are not used: its fast one
(binascii.b2a_qp) leaves a bare "." after a soft break and "From " at a line's start, the other costs 100 times as much.
"""

import re
import string
from base64 import b64encode
from collections.abc import Iterable

LINE = 76  # RFC 2045 §6.7 (5) and RFC 2047 §2; RFC 5322 §2.1.1 would like 78
_WORD = 75  # RFC 2047 §2
_FRAME = len("=?utf-8?q??=")
# What quoted-printable may not write as it is; a space or tab only where a line ends (RFC 2045 §6.7 (3)).
_UNSAFE = re.compile(rb"[^\t\n\x20-\x3c\x3e-\x7e]|[\t ](?=\n|\Z)")
_HEX = [b"=%02X" % byte for byte in range(256)]
# A dot begins SMTP's end of data (RFC 5321 §4.5.2), and mbox stores write ">From " (RFC 4155), which breaks signatures.
_RISKY_START = (b".", b"From ")
# RFC 2047 §5 (3): the few characters that may stand in every kind of encoded word, and a space as "_".
_Q = [_HEX[byte].decode() for byte in range(256)]
for _safe in string.ascii_letters + string.digits + "!*+-/":
    _Q[ord(_safe)] = _safe
_Q[ord(" ")] = "_"


def folded(name: str, words: Iterable[str]) -> str:
    """The header on lines as short as its words allow; the first stays beside the name, as some readers want it."""
    lines: list[str] = []
    line = f"{name}:"
    for word in words:
        if len(line) + 1 + len(word) > LINE and line != f"{name}:":
            lines.append(line)
            line = ""
        line += f" {word}"
    return "\r\n".join([*lines, line])


def quoted_printable(text: str) -> bytes:
    """The text as a body with CRLF line ends, the last one too; LF is the text's own line end.

    Raises:
        UnicodeEncodeError: half a surrogate pair stands alone.

    """
    lines: list[bytes] = []
    for line in _UNSAFE.sub(_escaped, text.removesuffix("\n").encode()).split(b"\n"):
        rest = line
        while True:
            if rest.startswith(_RISKY_START):
                rest = _HEX[rest[0]] + rest[1:]
            if len(rest) <= LINE:
                break
            cut = _cut(rest)
            lines.append(rest[:cut] + b"=")
            rest = rest[cut:]
        lines.append(rest)
    return b"\r\n".join(lines) + b"\r\n"


def encoded_words(text: str, room: int) -> list[str]:
    """The text as words for a header, in which the first has `room` characters; a reader joins them without a gap.

    Q where no more than half of it is escaped, as mail programs write Latin; else B.

    Raises:
        UnicodeEncodeError: half a surrogate pair stands alone.

    """
    spelled = ["".join(_Q[byte] for byte in character.encode()) for character in text]
    as_q = sum(map(len, spelled)) <= len(text.encode()) * 2
    words: list[str] = []
    start = used = 0
    for place, character in enumerate(text):
        size = len(spelled[place]) if as_q else len(character.encode())
        if used + size > (room - _FRAME if as_q else (room - _FRAME) // 4 * 3):
            words.append(_word(text[start:place], spelled[start:place], as_q=as_q))
            start, used, room = place, 0, _WORD
        used += size
    return [*words, _word(text[start:], spelled[start:], as_q=as_q)]


def _escaped(found: re.Match[bytes]) -> bytes:
    return _HEX[found[0][0]]


def _cut(line: bytes) -> int:
    """Where a soft break fits: one character stays free for it, and no =XX is cut."""
    return next(at for at in (LINE - 1, LINE - 2, LINE - 3) if b"=" not in line[at - 2 : at])


def _word(text: str, spelled: list[str], *, as_q: bool) -> str:
    return f"=?utf-8?q?{''.join(spelled)}?=" if as_q else f"=?utf-8?b?{b64encode(text.encode()).decode()}?="
