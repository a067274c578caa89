"""What a simulation starts from and what it answers; queries.py reads it, run.py lets it go on.

Never holds an address: who is told about is named by id.
"""

from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from uuid import UUID

import msgspec

from libs.planning.facts import DueLead, PlannedInbox, SequenceVersion, TeamDay

MAX_DAYS = timedelta(days=366)
ASSUMPTIONS = (
    "nobody replies, bounces, opts out, opens or clicks, and no breaker opens",
    "every mail goes in its planned second",
    "settings, steps, lists and inboxes stay as they are now",
)


class NotSimulatedError(Exception):
    """The campaign cannot be simulated so; the text says why. `field` is what was asked wrongly, if anything was."""

    def __init__(self, text: str, field: str | None = None) -> None:
        super().__init__(text)
        self.field = field


def begin_of(status: str, scheduled_at: datetime | None, wanted: datetime | None, now: datetime) -> datetime:
    """When the simulated campaign starts: as it is asked, as it is scheduled, or now.

    Raises:
        NotSimulatedError: it has ended, it runs already, or the instant has passed or is more than a year away.

    """
    if status not in ("draft", "scheduled", "active", "paused"):
        raise NotSimulatedError(f"the campaign is {status}: it sends nothing more")
    if wanted is None:
        return max(now, scheduled_at) if status == "scheduled" and scheduled_at is not None else now
    if status == "active":
        raise NotSimulatedError("the campaign runs already, so it cannot be started again", "start_at")
    if not now <= wanted <= now + MAX_DAYS:
        raise NotSimulatedError(f"a start lies between now and {MAX_DAYS.days} days from now", "start_at")
    return wanted


class Runner(msgspec.Struct, frozen=True, kw_only=True):
    """A campaign that takes part: the one that is asked about, and those that are active beside it."""

    id: UUID
    status: str
    lead_list_id: UUID | None
    version: SequenceVersion  # what a lead gets that enters it


class OpenSend(msgspec.Struct, frozen=True, kw_only=True):
    """A mail of the team that has its second, is under way, or whose end nobody knows.

    One whose settings have changed will lose its second: then it is due again at `due_again_at`.
    """

    enrollment_id: UUID | None
    campaign_id: UUID
    inbox_id: UUID
    state: str
    at: datetime
    committed_at: datetime | None
    next_settle_at: datetime | None
    due_again_at: datetime | None = None


class Newcomer(msgspec.Struct, frozen=True, kw_only=True):
    """A lead that may still enter a campaign; `lead` is its enrollment but for what entering gives it."""

    lead: DueLead
    lead_list_id: UUID
    status: str
    enrolled_in: Sequence[UUID]
    held_elsewhere: bool  # by a sequence of a campaign that does not run


class World(msgspec.Struct, frozen=True, kw_only=True):
    """The team as it is when the simulation starts."""

    campaign_id: UUID
    now: datetime
    start_at: datetime
    resumes: bool  # the campaign is paused, and goes on at its start
    team: TeamDay
    boxes: Sequence[PlannedInbox]
    runners: Sequence[Runner]
    versions: Sequence[SequenceVersion]
    leads: Sequence[DueLead]
    sends: Sequence[OpenSend]
    newcomers: Sequence[Newcomer]
    domain_mails: Mapping[str, Sequence[tuple[UUID, datetime]]]
    public_url: str
    truncated: bool  # more leads than are read
    released: frozenset[UUID] = frozenset()  # campaigns whose held leads are looked at again, since something changed


class SimulatedSend(msgspec.Struct, frozen=True, kw_only=True):
    """One mail: to whom, which step, from where, in which second."""

    lead_id: UUID
    step_number: int
    inbox_id: UUID
    scheduled_at: datetime


class InboxLoad(msgspec.Struct, frozen=True, kw_only=True):
    """What an inbox sends on one of its own days: for this campaign, and for the others."""

    inbox_id: UUID
    day: date
    mails: int
    others: int


class StepLoad(msgspec.Struct, frozen=True, kw_only=True):
    """How many mails a step has, and when the first and the last of them goes."""

    step_number: int
    mails: int
    first_at: datetime
    last_at: datetime


class Reason(msgspec.Struct, frozen=True, kw_only=True):
    """A gate, or a reason to be in no sequence, and how many leads it keeps."""

    reason: str
    value: str | None
    leads: int


class Unmailed(msgspec.Struct, frozen=True, kw_only=True):
    """A lead that never gets a mail, and why."""

    lead_id: UUID
    reason: str
    value: str | None


class Simulation(msgspec.Struct, frozen=True, kw_only=True):
    """The campaign's whole run as the planner would have it; `complete` false: it was stopped before the end."""

    campaign_id: UUID
    start_at: datetime
    complete: bool
    stopped_by: str | None
    first_at: datetime | None
    finishes_at: datetime | None  # the last mail
    leads: int
    mails: int
    steps: list[StepLoad]
    days: list[InboxLoad]
    sends: list[SimulatedSend]  # the first 200
    never_mailed: list[Reason]
    never_mailed_leads: list[Unmailed]  # the first 100
    not_finished: list[Reason]  # of those that got some of their mails
    assumptions: list[str]
