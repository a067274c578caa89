"""What a preflight looks at and what it finds: a campaign as it stands, its leads, and findings with their mends.

Values only; queries.py reads them.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

import msgspec

from libs.planning.facts import Contact, PlannedInbox, TeamDay
from libs.planning.sequence import Step, Words, words_of

Severity = Literal["error", "warning", "notice"]
EXAMPLES = 5
# A lead with one of these statuses enters no new sequence.
LEFT = ("bounced", "unsubscribed", "spam_reported")


class Finding(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One thing that would go wrong: how bad, where (`pointer` into the campaign), for how many, and what to do."""

    code: str
    severity: Severity
    detail: str
    mend: str
    pointer: str | None = None
    count: int | None = None
    examples: list[UUID] = []


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """What is wrong with a domain's record, in words."""

    detail: str


class SendingDomain(msgspec.Struct, frozen=True, kw_only=True):
    """A domain that the campaign writes from, and what is known of its DNS; None: nobody could say."""

    id: UUID
    domain: str
    spf_valid: bool | None
    dkim_valid: bool | None
    dmarc_valid: bool | None
    check_remarks: dict[str, list[Fault]] = {}

    @property
    def failing(self) -> list[str]:
        """Which records the DNS lacks."""
        return [part for part, valid in self._verdicts().items() if valid is False]

    @property
    def unknown(self) -> list[str]:
        """Of which records nobody could say yet whether they are there."""
        return [part for part, valid in self._verdicts().items() if valid is None]

    def _verdicts(self) -> dict[str, bool | None]:
        return {"SPF": self.spf_valid, "DKIM": self.dkim_valid, "DMARC": self.dmarc_valid}

    def said_of(self, part: str) -> str:
        """What is wrong with the record."""
        return ", ".join(fault.detail for fault in self.check_remarks.get(part.lower(), []))


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """The campaign as it stands: what it says, from where, when, and to which list."""

    id: UUID
    name: str
    status: str
    settings: dict[str, Any]
    lead_list_id: UUID | None
    lead_count: int
    physical_address: str | None
    company_name: str | None
    now: datetime
    steps: Sequence[Step]
    boxes: Sequence[PlannedInbox]
    domains: Sequence[SendingDomain]
    team: TeamDay


class Reader(Contact, frozen=True, kw_only=True):
    """A lead of the campaign's list; `lead_key` is filled in by who has the pepper."""

    id: UUID
    status: str
    suppressed: bool
    elsewhere: bool
    lead_key: bytes = b""

    @property
    def has_left(self) -> bool:
        """Whether no campaign will ever take it."""
        return self.suppressed or self.status in LEFT


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """All findings, the worst first; the campaign may start when none is an error."""

    campaign_id: UUID
    ready: bool
    leads: int
    leads_checked: int
    findings: list[Finding]


def arms(place: int, step: Step) -> list[tuple[str, Words]]:
    """The step's texts that are really sent, and where they stand: with variants its own never is."""
    root = f"/sequences/{place}"
    if not step.variants:
        return [(root, words_of(step, None))]
    return [
        (f"{root}/variants/{index}", words_of(step, variant.variant_id)) for index, variant in enumerate(step.variants)
    ]


def about(  # noqa: PLR0913, PLR0917  a finding has that many parts
    severity: Severity, code: str, detail: str, mend: str, ids: Sequence[UUID], pointer: str | None = None
) -> Finding:
    """A finding about so many inboxes or leads, with some of them by name."""
    return Finding(
        code=code,
        severity=severity,
        detail=detail,
        mend=mend,
        pointer=pointer,
        count=len(ids),
        examples=list(ids[:EXAMPLES]),
    )


def counted(words: Iterable[str]) -> str:
    """Each word with how often it came."""
    return ", ".join(f"{count} {word}" for word, count in sorted(Counter(words).items()))
