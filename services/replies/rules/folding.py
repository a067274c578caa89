"""Text made comparable: in lower case, without diacritics and typographic marks, so that a hurried writer is read too.

Never changes what a text says in scripts that are not Latin: a kana keeps its marks.
"""

import re
import unicodedata

WRAPPED_CHARS = 50  # a line no shorter than this was broken by a mail program, not by its writer

_STRETCHED = re.compile(r"([a-vx-z])\1{2,}")  # "stooop"; a w begins an address
_MARKS = re.compile("[\u0300-\u036f]")
_LETTERS = str.maketrans(
    {
        "ß": "ss",
        "æ": "ae",
        "œ": "oe",
        "ø": "o",
        "ł": "l",
        "đ": "d",
        "\N{LATIN SMALL LETTER DOTLESS I}": "i",
        "\N{LEFT SINGLE QUOTATION MARK}": "'",
        "\N{RIGHT SINGLE QUOTATION MARK}": "'",
        "\N{ACUTE ACCENT}": "'",
        "`": "'",
        "\N{LEFT DOUBLE QUOTATION MARK}": '"',
        "\N{RIGHT DOUBLE QUOTATION MARK}": '"',
        "\N{EN DASH}": "-",
        "\N{EM DASH}": "-",
        "\N{NON-BREAKING HYPHEN}": "-",
        "\N{HYPHEN}": "-",
        "\N{ZERO WIDTH SPACE}": "",
        "\N{ZERO WIDTH NO-BREAK SPACE}": "",
        "\N{SOFT HYPHEN}": "",
    }
)
# "ä" is found as "ä", "a" and "ae": that is how it is typed without its key.
_UMLAUTS = str.maketrans({"ä": "ae?", "ö": "oe?", "ü": "ue?"})


def fold(text: str) -> str:
    """The text in lower case, full-width forms made plain, Latin letters bare; the same text folds to itself."""
    text = text.lower()
    if text.isascii():
        return text.replace("`", "'")
    plain = unicodedata.normalize("NFKC", text.translate(_LETTERS))
    bare = _MARKS.sub("", unicodedata.normalize("NFD", plain))
    return unicodedata.normalize("NFC", bare).lower().translate(_LETTERS)


def plain(text: str) -> str:
    """What of a text can be compared: folded, its paragraphs in one line each, no letter drawn out.

    A mail program may have broken its lines, which are put together again.
    """
    flowing: list[str] = []
    wrapped = False
    for line in fold(text).split("\n"):
        words = " ".join(line.split())
        if wrapped and words:
            flowing[-1] += f" {words}"
        elif words:
            flowing.append(words)
        wrapped = len(words) >= WRAPPED_CHARS and not words.endswith((".", "!", "?", ":", "\u3002"))
    return _STRETCHED.sub(r"\1", "\n".join(flowing))


def alternatives(block: str) -> str:
    """A lexicon's alternatives as one pattern for folded text; "" for none.

    What was typed with an e for want of an umlaut is found, too.
    """
    folded = unicodedata.normalize("NFC", block).translate(_LETTERS).translate(_UMLAUTS)
    bare = unicodedata.normalize("NFC", _MARKS.sub("", unicodedata.normalize("NFD", folded)))
    lines = (line.strip().strip("|") for line in bare.split("\n"))
    return "|".join(line for line in lines if line)
