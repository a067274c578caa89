"""Which email a message answers (field.md 4.8): the first way that finds one, and how sure it is. Looks nothing up.

In order: In-Reply-To, References, the thread's other ids, our token in an address, the writer's address, a colleague's
words under our subject. Never takes an id on trust: only what the ledger knows is among the candidates.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Literal, TypeVar
from uuid import UUID

import msgspec

from services.replies.rules.parse import MAX_STRUCTURED_CHARS, Headers

Known = TypeVar("Known")
MatchMethod = Literal[
    "in_reply_to", "references", "thread", "token", "address", "address_other_inbox", "colleague", "manual"
]

CONFIDENCE: dict[MatchMethod, float] = {
    "in_reply_to": 1.00,
    "references": 0.99,
    "thread": 0.97,
    "token": 0.97,
    "address": 0.85,
    "address_other_inbox": 0.75,
    "colleague": 0.60,
    "manual": 1.00,
}
ADDRESS_DAYS = 60  # an address alone says little about an older email
COLLEAGUE_DAYS = 30
MAX_CANDIDATES = 5  # leads that are offered to a person
MAX_TOKENS = 20
# INTERNALDATE has whole seconds, and the mailbox's clock is not ours.
CLOCK_SLACK = timedelta(minutes=5)

# Where a delivered message may still show the address that it was sent to.
_RECIPIENT_FIELDS = ("to", "cc", "delivered-to", "x-original-to", "envelope-to", "x-forwarded-to")
# Reply-To of a campaign with `reply_token`: the left half of the email's Message-ID behind a plus (libs/schema/ids.py).
_TOKEN = re.compile(r"\+([a-z2-7]{26})@([a-z0-9.-]{1,253})")
# What mail programs put in front of a subject they answer or pass on, and gateways of the house.
_PREFIX = re.compile(
    r"\s*(?:(?:re|fwd?|fw|aw|antw|antwort|wg|ré|rép|réf|tr|rv|res|resp|enc|rif|r|i|doorst|odp|pd|sv|vs|vb|vl"
    r"|返信|転送|回复|回覆|答复|转发|轉寄)\s?(?:\[\d{1,3}\]|\(\d{1,3}\)|\d{1,3})?\s?[:\uff1a]|\[(?:ext|extern|external)\])",
    re.IGNORECASE,
)


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """An email that we sent, as far as matching asks; `to_writer`: to the very person who wrote the message."""

    email_id: UUID
    lead_id: UUID
    inbox_id: UUID
    committed_at: datetime
    message_ids: Sequence[str]
    to_writer: bool


class Answered(msgspec.Struct, frozen=True, kw_only=True):
    """An earlier answer of a lead, known by its id; the email is None where a person assigned it to none."""

    message_id: str
    lead_id: UUID
    email_id: UUID | None
    thread_id: str | None


class Housemate(msgspec.Struct, frozen=True, kw_only=True):
    """An email that the mailbox sent to somebody in the writer's house."""

    email_id: UUID
    lead_id: UUID
    subject: str


class Match(msgspec.Struct, frozen=True, kw_only=True):
    """Whose answer it is, to which email, and how that was found."""

    lead_id: UUID
    email_id: UUID | None
    method: MatchMethod
    thread_id: str | None = None  # where no email says it

    @property
    def confidence(self) -> float:
        """How sure the method is, at most 1."""
        return CONFIDENCE[self.method]


def match_by_id(in_reply_to: Sequence[str], references: Sequence[str], sent: Sequence[Candidate]) -> Match | None:
    """The match by the ids that the message names, ours or given by a provider; references newest first."""
    by_id = {each: email for email in sent for each in email.message_ids}
    ways: tuple[tuple[MatchMethod, Iterable[str]], ...] = (
        ("in_reply_to", in_reply_to),
        ("references", reversed(references)),
    )
    for method, ids in ways:
        email = _first(ids, by_id)
        if email:
            return Match(lead_id=email.lead_id, email_id=email.email_id, method=method)
    return None


def match_by_thread(named: Sequence[str], answers: Sequence[Answered]) -> Match | None:
    """The match by an earlier answer that the message names, the newest of those in `named`."""
    found = _first(reversed(named), {each.message_id: each for each in answers})
    if found is None:
        return None
    return Match(lead_id=found.lead_id, email_id=found.email_id, method="thread", thread_id=found.thread_id)


def match_by_token(token_ids: Sequence[str], sent: Sequence[Candidate]) -> Match | None:
    """The match by `token_ids` of the message's headers."""
    email = _first(token_ids, {each: email for email in sent for each in email.message_ids})
    return email and Match(lead_id=email.lead_id, email_id=email.email_id, method="token")


def match_by_address(sent: Sequence[Candidate], inbox_id: UUID, between: tuple[datetime, datetime]) -> Match | None:
    """The match by the writer's address: the newest email of that time, of this inbox rather than another's."""
    near = [each for each in sent if each.to_writer and between[0] <= each.committed_at <= between[1]]
    methods: tuple[tuple[MatchMethod, bool], ...] = (("address", True), ("address_other_inbox", False))
    for method, own in methods:
        found = [each for each in near if (each.inbox_id == inbox_id) is own]
        if found:
            newest = max(found, key=lambda each: (each.committed_at, each.email_id))
            return Match(lead_id=newest.lead_id, email_id=newest.email_id, method=method)
    return None


def match_by_colleague(subject: str, house: Sequence[Housemate]) -> Match | None:
    """The match by the subject of what the writer's house got from this mailbox, newest first in `house`."""
    wanted = plain_subject(subject)
    email = next((each for each in house if wanted and plain_subject(each.subject) == wanted), None)
    return email and Match(lead_id=email.lead_id, email_id=email.email_id, method="colleague")


def before(received_at: datetime, days: int) -> tuple[datetime, datetime]:
    """The time in which an email went out that is answered at `received_at`."""
    return received_at - timedelta(days=days), received_at + CLOCK_SLACK


def candidates(house: Sequence[Housemate]) -> list[UUID]:
    """The leads of the writer's house whom a person may think of, each once, newest mail first."""
    return list(dict.fromkeys(each.lead_id for each in house))[:MAX_CANDIDATES]


def token_ids(headers: Headers) -> list[str]:
    """The Message-IDs of ours whose tokens stand in the addresses that the message came to (`local+token@domain`)."""
    text = " ".join(value[:MAX_STRUCTURED_CHARS] for name in _RECIPIENT_FIELDS for value in headers.every(name))
    found = dict.fromkeys(f"<{token}@{domain}>" for token, domain in _TOKEN.findall(text.lower()))
    return list(found)[:MAX_TOKENS]


def plain_subject(subject: str) -> str:
    """The subject without "Re:", "AW:", "返信:" and their like, in one case, with single blanks: to be compared."""
    at = 0
    while found := _PREFIX.match(subject, at):
        at = found.end()
    return " ".join(subject[at:].split()).casefold()


def _first(ids: Iterable[str], known: Mapping[str, Known]) -> Known | None:
    return next((known[each] for each in ids if each in known), None)
