"""What is known of a domain's records: it holds until something else is found, and for a while when nobody answers."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from uuid import UUID

import msgspec

from libs.planning.seed import unit_hash
from services.api.rules.records.found import PARTS, Found, Part, Remark

KEPT_IN_SILENCE = timedelta(hours=72)  # field.md 4.3
DAY = timedelta(days=1)
SOON = timedelta(minutes=15)
AFTER_SILENCE = timedelta(hours=1)
SPREAD = 0.1  # of a wait, so that the domains of one import are not asked about together for ever
_SILENT = Remark(
    code="unanswered",
    detail="the name servers did not answer",
    mend="none is needed; they are asked again within the hour",
)


class Known(msgspec.Struct, frozen=True, kw_only=True):
    """One part's verdict and when it was last confirmed; without a verdict both are None."""

    valid: bool | None = None
    checked_at: datetime | None = None
    record: str | None = None
    policy: str | None = None
    remarks: tuple[Remark, ...] = ()


Verdicts = Mapping[Part, Known]


def settle(known: Verdicts, found: Mapping[Part, Found | None], now: datetime) -> dict[Part, Known]:
    """What is known after a look; None was found where nobody answered, which is no verdict."""
    return {part: _settled(known[part], found[part], now) for part in PARTS}


def _settled(known: Known, found: Found | None, now: datetime) -> Known:
    if found is not None:
        return Known(
            valid=found.valid,
            checked_at=None if found.valid is None else now,
            record=found.record,
            policy=found.policy,
            remarks=found.remarks,
        )
    is_recent = known.checked_at is not None and known.checked_at > now - KEPT_IN_SILENCE
    return known if is_recent else Known(remarks=(_SILENT,))


def says_the_same(one: Verdicts, other: Verdicts) -> bool:
    """Whether nothing changed that anybody has to be told."""
    return all((one[part].valid, one[part].policy) == (other[part].valid, other[part].policy) for part in PARTS)


def wait_for(domain_id: UUID, found: Mapping[Part, Found | None], since_change: timedelta) -> timedelta:
    """How long until the next look: a day; sooner where somebody is at work on the records, or nobody answered.

    `since_change` is the time since the domain was added or got its key.
    """
    verdicts = [each and each.valid for each in found.values()]
    is_silent = None in found.values()
    wait = AFTER_SILENCE if is_silent else DAY
    if since_change < DAY and (is_silent or False in verdicts):
        wait = SOON
    return wait * (1 + SPREAD * unit_hash(domain_id.bytes))
