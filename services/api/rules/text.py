"""Which characters a text may hold, before it reaches a header, a page or the database; never guesses the meaning."""

import re

MAX_BODY_CHARS = 100_000  # a template's size limit (reliability.md B23)
_SURROGATE = re.compile("[\ud800-\udfff]")
# C0 but TAB, LF, CR; DEL; C1 with NEL; U+2028 and U+2029 end a line in places that nobody expects (reliability.md B1).
_FORBIDDEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028\u2029]")
_LINE_BREAK = re.compile("[\t\n]")
# Embeddings and overrides of writing direction turn a subject's end into its beginning (reliability.md B24).
_DIRECTION = re.compile("[\u202a-\u202e\u2066-\u2069]")


class Refused(ValueError):  # noqa: N818  it is an expected outcome, not a fault of ours
    """A value that is not accepted: `code` for programs, the message for people, `mend` for what to do about it."""

    def __init__(self, code: str, message: str, mend: str) -> None:
        super().__init__(message)
        self.code = code
        self.mend = mend


def passage(value: str) -> str:
    """A text of many lines, as it came but with LF line ends and without direction overrides.

    Raises:
        Refused: it holds a character that no text may hold.

    """
    if _SURROGATE.search(value):
        raise Refused("lone_surrogate", "half of a surrogate pair stands alone", "send the whole character, as UTF-8")
    value = value.replace("\r\n", "\n").replace("\r", "\n")
    if found := _FORBIDDEN.search(value):
        raise Refused(
            "control_character",
            f"the control character U+{ord(found[0]):04X} at position {found.start()} is not allowed",
            "remove it",
        )
    return _DIRECTION.sub("", value)


def line(value: str) -> str:
    """A text of one line, trimmed: a name, a subject, a field that may end up in a header.

    Raises:
        Refused: it holds a line break, a tab or another control character.

    """
    value = passage(value)
    if found := _LINE_BREAK.search(value.strip()):
        raise Refused(
            "line_break",
            f"a line break or tab at position {found.start()} is not allowed in a single line",
            "put it on one line",
        )
    return value.strip()


def credential(value: str) -> str:
    """A user name or password: as it came, but CR, LF and NUL would end the command it is sent in (reliability.md B50).

    Raises:
        Refused: it holds one of them, or half a surrogate pair.

    """
    if _SURROGATE.search(value):
        raise Refused("lone_surrogate", "half of a surrogate pair stands alone", "send the whole character, as UTF-8")
    if re.search("[\x00\r\n]", value):
        raise Refused("control_character", "CR, LF and NUL are not allowed here", "remove them")
    return value
