"""What a campaign lacks before its first email can go out; says everything at once, never only the first thing."""

from collections.abc import Collection, Sequence

from services.api.rules.text import Refused
from services.api.rules.windows import DAYS


def missing(
    *,
    has_address: bool,
    has_leads: bool,
    has_steps: bool,
    campaign_days: Collection[str],
    inbox_days: Sequence[Collection[str]],
) -> list[Refused]:
    """All that keeps the campaign from being activated; `inbox_days` are those of each of its inboxes."""
    faults: list[Refused] = []
    if not has_steps:
        faults.append(Refused("no_steps", "the campaign has no steps", "write its sequences"))
    if not has_leads:
        faults.append(Refused("no_leads", "the campaign has no list, or the list has no leads", "choose a filled list"))
    if not has_address:
        # CAN-SPAM §7704(a)(5): every message shows a postal address, to businesses too.
        faults.append(
            Refused(
                "no_physical_address",
                "the team has no postal address for the footer",
                "set physical_address of /v1/team",
            )
        )
    if not inbox_days:
        faults.append(Refused("no_inbox", "the campaign has no inbox to send from", "give it inboxes"))
    elif not any(set(campaign_days) & set(days) for days in inbox_days):
        faults.append(_no_common_day(campaign_days, inbox_days))
    return faults


def _no_common_day(campaign_days: Collection[str], inbox_days: Sequence[Collection[str]]) -> Refused:
    """Names the two windows that never meet (field.md 4.11)."""
    anywhere = {day for days in inbox_days for day in days}
    theirs = ", ".join(day for day in DAYS if day in anywhere) or "no day"
    ours = ", ".join(day for day in DAYS if day in campaign_days) or "no day"
    return Refused(
        "empty_window",
        f"the campaign sends on {ours}, its inboxes on {theirs}: no day is in both",
        "change send_days of the campaign or of an inbox",
    )
