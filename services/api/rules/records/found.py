"""What a check asks and what it finds."""

from collections.abc import Generator
from typing import Literal, NamedTuple

import msgspec

Part = Literal["spf", "dkim", "dmarc"]
PARTS: tuple[Part, ...] = ("spf", "dkim", "dmarc")
# Three times the longest record that anybody needs (a DKIM key of 4096 bits has some 740 characters).
MAX_CHARS = 2_500
_SHOWN_CHARS = 80


class Question(NamedTuple):
    """Asks for a name's texts, its mail exchangers, or whether it has an address; a list without entries: none."""

    kind: Literal["texts", "exchangers", "addresses"]
    name: str


class Remark(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that is wrong, or that somebody should know: for programs, for people, and what to do about it."""

    code: str
    detail: str
    mend: str


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """What the name servers answered: `valid` is None when even their answer allows no verdict."""

    valid: bool | None
    record: str | None = None
    policy: str | None = None
    remarks: tuple[Remark, ...] = ()


# Yields questions, is sent the answers, and returns what it found.
Check = Generator[Question, list[str], Found]


class Flaw(Exception):  # noqa: N818  it is an expected outcome, not a fault of ours
    """Why a record is of no use."""

    def __init__(self, code: str, detail: str, mend: str) -> None:
        super().__init__(detail)
        self.remark = Remark(code=code, detail=detail, mend=mend)

    def found(self, record: str | None = None, policy: str | None = None) -> Found:
        """The verdict that it is."""
        kept = None if record is None else record[:MAX_CHARS]
        return Found(valid=False, record=kept, policy=policy, remarks=(self.remark,))


def shown(text: str) -> str:
    """A stranger's words as a remark may repeat them: not at any length."""
    return text if len(text) <= _SHOWN_CHARS else f"{text[:_SHOWN_CHARS]}…"


def tags_of(text: str) -> dict[str, str]:
    """The tags of a DKIM or DMARC record (RFC 6376 §3.2), names in lower case; of one that comes twice the first.

    What is no tag at all is passed over, as receivers do (RFC 9989 §4.7).
    """
    tags: dict[str, str] = {}
    for part in text.split(";"):
        name, equals, value = part.partition("=")
        if equals:
            tags.setdefault(name.strip().lower(), value.strip())
    return tags
