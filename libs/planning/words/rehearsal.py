"""Whether mails can be written, found out without writing every one: a plain text asks only which values are there.

A mail is written in full where its words or values could make a difference. Never lets a mail pass that could not be
written: what is remembered is the very answer of letter.py.
"""

import re
from functools import lru_cache
from typing import Any

from libs.planning.sequence import Words
from libs.planning.words.letter import Reader, Writer, footer_of, spun_for, values_of, write
from libs.planning.words.render import CannotRenderError, subject_line

# Outputs that fail only when their value is missing: a name, with or without a fallback.
_PLAIN_OUTPUT = re.compile(r"""\{\{-?\s*[\w.-]+\s*(?:\|\s*default:\s*(?:"[^"]*"|'[^']*')\s*)?-?\}\}""")
_IN_A_TAG = re.compile(r"<[^>]*\{\{")  # a value in a link may lead somewhere else
_ENOUGH = 20_000  # characters of values; beyond, what is written may become too long (render.py's limits)


class Rehearsal:
    """The trials of one round, or of a whole simulation: no lead's mail is tried twice."""

    def __init__(self) -> None:
        self._known: dict[tuple[object, ...], CannotRenderError | None] = {}
        self._told: dict[tuple[object, ...], str | CannotRenderError] = {}

    def subject(
        self, words: Words, reader: Reader, writer: Writer, unsubscribe_url: str, thread_subject: str | None
    ) -> str:
        """The subject of the mail that can be written.

        Raises:
            CannotRenderError: it cannot be written; see letter.py.

        """
        key = words, reader.lead_key, writer, thread_subject
        if key not in self._told:
            try:
                self._told[key] = self._tried(words, reader, writer, unsubscribe_url, thread_subject)
            except CannotRenderError as error:
                self._told[key] = error
        told = self._told[key]
        if isinstance(told, CannotRenderError):
            raise CannotRenderError(told.gate, told.value)
        return told

    def _tried(
        self, words: Words, reader: Reader, writer: Writer, unsubscribe_url: str, thread_subject: str | None
    ) -> str:
        footer_of(writer, unsubscribe_url)
        values = values_of(reader, writer, unsubscribe_url)
        spun = spun_for(words, reader.lead_key)
        if not is_plain(spun.body) or _size(values) > _ENOUGH:
            return write(words, reader, writer, unsubscribe_url, thread_subject).subject
        line = subject_line(spun.subject, values, thread_subject)
        key = spun.body, writer, frozenset(values), frozenset(values["custom_fields"])
        if key not in self._known:
            try:
                write(words, reader, writer, unsubscribe_url, thread_subject)
            except CannotRenderError as error:
                self._known[key] = error
            else:
                self._known[key] = None
        error = self._known[key]
        if error is not None:
            raise CannotRenderError(error.gate, error.value)
        return line


@lru_cache(maxsize=4096)
def is_plain(body: str) -> bool:
    """Whether nothing but the presence of values decides if the text can be written: no tags, no filters, no links."""
    rest = _PLAIN_OUTPUT.sub("", body)
    return bool(rest.strip()) and "{{" not in rest and "{%" not in rest and _IN_A_TAG.search(body) is None


def _size(values: dict[str, Any]) -> int:
    return sum(len(value) for value in values.values() if isinstance(value, str))
