"""Answers about a lead as sentences that anybody understands. Never decides anything: answer.py has done so."""

from collections.abc import Sequence
from datetime import datetime
from typing import Literal
from zoneinfo import ZoneInfo

import msgspec

from libs.planning.explain.explanation import Assumption


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """What a sentence is made of."""

    answer: Literal["will_send", "waiting", "held", "never", "done", "not_enrolled"]
    reason: str | None
    value: str | None
    limit: str | None
    until: datetime | None
    scheduled_at: datetime | None
    inbox: str | None
    step_number: int | None
    campaign: str | None


# Why a gate is closed; {value} and {limit} are the gate's own.
_BECAUSE = {
    "installation": "all sending of this installation is paused",
    "campaign": "its campaign is {value}",
    "campaign circuit_open": "too many of the campaign's mails came back, so it rests",
    "lead": "the lead is {value}",
    "suppression": "the address is on the suppression list ({value})",
    "stop": "the sequence was stopped ({value})",
    "condition": "a condition of the step decides so ({value})",
    "inbox": "no inbox of the campaign may send now ({value})",
    "inbox replies_unread": "the inbox's replies cannot be read: its mail server wants another login",
    "circuit": "the inbox's circuit breaker is open ({value})",
    "health": "the inbox's health is {value}, and the campaign asks for {limit}",
    "esp": "no inbox at the recipient's own provider ({value}) is free",
    "contact_gap": "another campaign has written to this person less than {limit} hours ago",
    "domain_limit": "{value} of {limit} mails of that day have gone to the recipient's company",
    "domain_gap": "another mail goes to the recipient's company just before it",
    "window": "no window is open: campaign, inbox and the lead's own hours must agree",
    "ramp": "the inbox is being ramped up, {value} of {limit} mails of that day are taken",
    "daily_limit": "{value} of the inbox's {limit} mails of that day are taken",
    "hourly_limit": "the inbox's {limit} mails an hour are taken",
    "rolling_limit": "the inbox's {limit} mails in any 24 hours are taken",
    "team_limit": "{value} of the team's {limit} mails of that day are taken",
    "gap": "the inbox keeps a pause of {limit} seconds between two mails",
    "variable": "the lead has no {value}, and the text gives no other word for it",
    "template": "the text cannot be rendered ({value})",
    "subject": "the subject would be empty",
    "body": "the body would be empty",
    "physical_address": "the team has no postal address, which the law wants under the mail",
    "address": "the address cannot be written to ({value})",
    "step": "the step was taken out of the sequence",
    "due": "the step is not due yet",
    "out_of_office": "the person is out of office",
    "left_company": "an automatic answer says that the person has left the company",
    "absent": "absence notes keep coming, and no answer",
}
_OUTSIDE = {
    "archived": "The lead was put away, so no campaign takes it.",
    "suppressed": "The address is on the suppression list ({value}), so no campaign takes it.",
    "left": "The lead is {value}, so no campaign takes it.",
    "no_campaign": "No campaign takes leads out of its list.",
    "campaign": "Not in a sequence: the campaign {campaign} is {value}.",
    "not_in_list": "Not in a sequence: the lead is not in the list of the campaign {campaign}.",
    "in_other_campaign": "It waits to enter {campaign}: a lead is in one sequence at a time, now in {value}.",
    "no_steps": "Not in a sequence: the campaign {campaign} has no steps.",
    "next_round": "It enters the campaign {campaign} within moments.",
}


_ASSUMED: dict[Assumption, str] = {
    "campaign_settings": "the campaign's settings, list and inboxes",
    "campaign_status": "whether the campaign ran",
    "team_settings": "the team's zone and limits",
    "inbox_settings": "how much and when its inboxes send",
    "inbox_status": "whether its inboxes could send",
    "inbox_health": "the inboxes' health",
    "steps": "the steps",
    "lead_fields": "the lead's own fields",
    "kill_switch": "the installation's kill switch",
}
_SILENT: dict[Assumption, str] = {
    "lifted_suppressions": "suppressions that were lifted since",
    "given_up_slots": "slots that were given up or moved since",
}


def notes_of(assumes: Sequence[Assumption]) -> list[str]:
    """What an answer about the past rests on without knowing it, in words."""
    assumed = [_ASSUMED[each] for each in assumes if each in _ASSUMED]
    silent = [_SILENT[each] for each in assumes if each in _SILENT]
    notes = [f"not told for that time, so taken as they are now: {', '.join(assumed)}"] if assumed else []
    return [*notes, *([f"not counted: {', '.join(silent)}"] if silent else [])]


def sentence_of(finding: Finding, zone: str) -> str:
    """The finding in one sentence, times in the zone's own hours."""
    if finding.answer == "not_enrolled":
        return _OUTSIDE[finding.reason or "no_campaign"].format(value=finding.value, campaign=finding.campaign)
    until = _when(finding.until, zone)
    if finding.reason == "due" and finding.value == "unknown":
        return f"Nobody knows yet whether the last mail arrived; without a sign it counts as sent at {until}."
    step = f"Step {finding.step_number} of {finding.campaign}"
    sentences = {
        "will_send": f"{step} goes at {_when(finding.scheduled_at, zone)} from {finding.inbox}.",
        "waiting": f"{step} waits until {until}: {_because(finding)}.",
        "held": f"{step} waits for a person: {_because(finding)}.",
        "never": f"Nothing more goes to this lead from {finding.campaign}: {_because(finding)}.",
        "done": f"The lead has had every step of {finding.campaign}.",
    }
    return sentences[finding.answer]


def _because(finding: Finding) -> str:
    known = _BECAUSE.get(f"{finding.reason} {finding.value}") or _BECAUSE.get(finding.reason or "")
    return known.format(value=finding.value, limit=finding.limit) if known else f"it ended: {finding.reason}"


def _when(at: datetime | None, zone: str) -> str:
    return f"{at.astimezone(ZoneInfo(zone)):%a %d %b %Y %H:%M:%S} ({zone})" if at else "a time that is not known"
