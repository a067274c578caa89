"""What somebody types to find a conversation, as a query of PostgreSQL's full text search; never its syntax."""

import re

MAX_WORDS = 20
MIN_PREFIX_CHARS = 2  # a single letter begins too much to be looked for
# Kana and Han, which are written without blanks: there each character is a word (migration 038).
_UNSPACED = re.compile("[\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\uff66-\uff9f\U00020000-\U0003ffff]")
_WORDS = re.compile(r"[^\W_]+")


def words_query(typed: str) -> str | None:
    """A query for what holds all these words, or begins of words; None where there is no word in it.

    Only letters and digits are left, each word between quotes: nothing in it is an operator.
    """
    found = [word for run in _WORDS.findall(typed.lower()) for word in _split(run)]
    return " & ".join(found[:MAX_WORDS]) or None


def _split(run: str) -> list[str]:
    """A run of letters parted where its script changes; characters without blanks between them stay neighbours."""
    parts: list[str] = []
    for unspaced, spaced in re.findall(f"({_UNSPACED.pattern}+)|((?:(?!{_UNSPACED.pattern}).)+)", run):
        if unspaced:
            parts.append("(" + " <-> ".join(f"'{character}'" for character in unspaced) + ")")
        else:
            parts.append(f"'{spaced}':*" if len(spaced) >= MIN_PREFIX_CHARS else f"'{spaced}'")
    return parts
