"""What somebody types to find a conversation, as a query of PostgreSQL's full text search; never its syntax."""

import re
from unicodedata import normalize

MAX_WORDS = 20
MIN_PREFIX_CHARS = 2  # a single letter begins too much to be looked for
# Both as in migration 038, which parts the texts: what is between words, and the characters that are words themselves.
# Among the former are all that mean something in a query: quotes, operators, the backslash.
_BETWEEN = re.compile(r"[\u0000-\u002f\u003a-\u0040\u005b-\u0060\u007b-\u00a9\u2000-\u206f\u3000-\u3004\u3008-\u303f]+")
_UNSPACED = re.compile(r"([\u3005-\u3007\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]+)")


def words_query(typed: str) -> str | None:
    """A query for what holds all these words, or begins of words; None where there is no word in it.

    Each word stands between quotes and holds neither quote nor backslash: nothing in it is an operator.
    """
    words = [word for run in _BETWEEN.sub(" ", normalize("NFKC", typed)).split() for word in _parted(run)]
    return " & ".join(words[:MAX_WORDS]) or None


def _parted(run: str) -> list[str]:
    """A run of letters, parted where its script changes; characters without blanks between them stay neighbours."""
    parts: list[str] = []
    for index, part in enumerate(_UNSPACED.split(run)):  # every second one is what it was parted by
        if index % 2:
            parts.append("(" + " <-> ".join(f"'{character}'" for character in part) + ")")
        elif part:
            parts.append(f"'{part}':*" if len(part) >= MIN_PREFIX_CHARS else f"'{part}'")
    return parts
