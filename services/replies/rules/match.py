"""Which email a message answers (field.md 4.8): the first way that finds one, and how sure it is. Looks nothing up."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Literal
from uuid import UUID

import msgspec

MatchMethod = Literal["in_reply_to", "references", "address", "address_other_inbox"]

CONFIDENCE: dict[MatchMethod, float] = {
    "in_reply_to": 1.00,
    "references": 0.99,
    "address": 0.85,
    "address_other_inbox": 0.75,
}
ADDRESS_DAYS = 60  # an address alone says little about an older email
_FREEMAIL = frozenset(
    {"gmail.com", "googlemail.com", "outlook.com", "hotmail.com", "live.com", "msn.com", "yahoo.com", "yahoo.co.jp"}
    | {
        "icloud.com",
        "me.com",
        "aol.com",
        "gmx.de",
        "gmx.net",
        "gmx.com",
        "web.de",
        "t-online.de",
        "mail.ru",
        "yandex.ru",
    }
    | {
        "proton.me",
        "protonmail.com",
        "orange.fr",
        "free.fr",
        "libero.it",
        "wp.pl",
        "o2.pl",
        "seznam.cz",
        "qq.com",
        "163.com",
    }
)
# INTERNALDATE has whole seconds, and the mailbox's clock is not ours.
CLOCK_SLACK = timedelta(minutes=5)


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """An email that we sent to the writer's address, and when."""

    email_id: UUID
    inbox_id: UUID
    committed_at: datetime


class Match(msgspec.Struct, frozen=True, kw_only=True):
    """The email that is answered, and how that was found."""

    email_id: UUID
    method: MatchMethod
    confidence: float


def match_by_id(in_reply_to: Sequence[str], references: Sequence[str], by_id: Mapping[str, UUID]) -> Match | None:
    """The match by the ids that the message names, references newest first; `by_id` has our emails by Message-ID."""
    ways: tuple[tuple[MatchMethod, Iterable[str]], ...] = (
        ("in_reply_to", in_reply_to),
        ("references", reversed(references)),
    )
    for method, ids in ways:
        found = next((by_id[each] for each in ids if each in by_id), None)
        if found:
            return Match(email_id=found, method=method, confidence=CONFIDENCE[method])
    return None


def match_by_address(sent: Sequence[Candidate], inbox_id: UUID, received_at: datetime) -> Match | None:
    """The match by the sender's address: the newest email before the answer, of this inbox rather than another's."""
    near = [
        each
        for each in sent
        if each.committed_at <= received_at + CLOCK_SLACK
        and received_at - each.committed_at <= timedelta(days=ADDRESS_DAYS)
    ]
    methods: tuple[tuple[MatchMethod, bool], ...] = (("address", True), ("address_other_inbox", False))
    for method, own in methods:
        found = [each for each in near if (each.inbox_id == inbox_id) is own]
        if found:
            newest = max(found, key=lambda each: each.committed_at)
            return Match(email_id=newest.email_id, method=method, confidence=CONFIDENCE[method])
    return None


def is_freemail(domain: str) -> bool:
    """Whether people of different houses have addresses at the domain, so that it says nothing about whose they are."""
    return domain in _FREEMAIL
