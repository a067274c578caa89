"""What an explanation says: the answer, the sentence, and every gate in its order, as the API and the command show it.

Values only. Never holds an address but that of the team's own inbox.
"""

from datetime import datetime
from typing import Literal
from uuid import UUID

import msgspec

Answer = Literal["will_send", "waiting", "held", "never", "done", "not_enrolled"]
Verdict = Literal["open", "closed", "not_asked"]
# What a past answer takes as it is now, since nothing was told of it for that time, or is silent about.
Assumption = Literal[
    "campaign_settings",
    "campaign_status",
    "team_settings",
    "inbox_settings",
    "inbox_status",
    "inbox_health",
    "steps",
    "lead_fields",
    "kill_switch",
    "lifted_suppressions",
    "given_up_slots",
]
PERSON_GATES = ("installation", "campaign", "lead", "suppression", "stop", "condition")
INBOX_GATES = (
    *("inbox", "circuit", "health", "esp", "contact_gap", "domain_limit", "domain_gap", "window", "ramp"),
    *("daily_limit", "hourly_limit", "rolling_limit", "team_limit", "gap"),
)
LETTER_GATES = ("variable", "template", "subject", "body", "physical_address", "address", "step")
GATES = (*PERSON_GATES, *INBOX_GATES, *LETTER_GATES, "due", "out_of_office")


class SetBy(msgspec.Struct, frozen=True, kw_only=True):
    """The event that made it so."""

    id: UUID
    type: str
    time: datetime


class GateAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """One gate: what it saw, the limit it keeps, whether it lets the mail through, and when it clears."""

    gate: str
    verdict: Verdict
    value: str | None = None
    limit: str | None = None
    clears_at: datetime | None = None
    set_by: SetBy | None = None


class InboxAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What the gates of one inbox say, and the second that it alone would give the mail; null when it has none."""

    inbox_id: UUID
    email: str
    scheduled_at: datetime | None
    gates: list[GateAnswer]


class PastSequence(msgspec.Struct, frozen=True, kw_only=True):
    """A sequence that the lead is or was in."""

    campaign_id: UUID
    campaign_name: str
    enrollment_id: UUID
    state: str
    reason: str | None
    enrolled_at: datetime
    ended_at: datetime | None


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    """What becomes of the lead's next mail, in one word, one sentence, and gate by gate."""

    lead_id: UUID
    at: datetime
    answer: Answer
    sentence: str
    reason: str | None = None  # the gate, how the sequence ended, or why there is none
    until: datetime | None = None
    scheduled_at: datetime | None = None
    inbox_id: UUID | None = None
    step_number: int | None = None
    campaign_id: UUID | None = None
    enrollment_id: UUID | None = None
    set_by: SetBy | None = None
    gates: list[GateAnswer]
    inboxes: list[InboxAnswer]
    sequences: list[PastSequence]
    notes: list[str]
    assumes: list[Assumption] = []  # of an earlier instant: what is not known for it, and taken as it is now
