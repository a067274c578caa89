"""A campaign's life, by command of its team; only `completed` is found out by the sender."""

from datetime import datetime
from typing import ClassVar
from uuid import UUID

from libs.schema.events.base import Event, Settings, register
from libs.schema.events.inbox import CircuitKind, CircuitState


class CampaignEvent(Event, frozen=True, kw_only=True):
    """What every event of a campaign says."""

    AGGREGATE: ClassVar[str] = "campaign"

    campaign_id: UUID


class CampaignScheduled(CampaignEvent, frozen=True, kw_only=True):
    """It will be activated at the given time, with the settings that stand now."""

    TYPE: ClassVar[str] = "campaign.scheduled"

    start_at: datetime
    settings: Settings | None = None


class CampaignActivated(CampaignEvent, frozen=True, kw_only=True):
    """Leads may be enrolled and mailed from now on; without settings its schedule started it, and they stand there."""

    TYPE: ClassVar[str] = "campaign.activated"

    sequence_version: int
    settings: Settings | None = None


class CampaignPaused(CampaignEvent, frozen=True, kw_only=True):
    """No point of no return is passed for it any more."""

    TYPE: ClassVar[str] = "campaign.paused"


class CampaignResumed(CampaignEvent, frozen=True, kw_only=True):
    """It goes on where it was; late slots are planned anew."""

    TYPE: ClassVar[str] = "campaign.resumed"


class CampaignCompleted(CampaignEvent, frozen=True, kw_only=True):
    """Every enrolled lead is at its end."""

    TYPE: ClassVar[str] = "campaign.completed"

    finished: int
    stopped: int
    failed: int


class CampaignArchived(CampaignEvent, frozen=True, kw_only=True):
    """It is put away and cannot be activated again."""

    TYPE: ClassVar[str] = "campaign.archived"


class CampaignChanged(CampaignEvent, frozen=True, kw_only=True):
    """Its definition was saved; `sequence_version` is what new enrolments get, and with `migrate` everybody gets.

    `changed` names what differs now (None: told by a release that did not say), `settings` stand from now on, and `was`
    holds what those of them that differ were before.
    """

    TYPE: ClassVar[str] = "campaign.changed"

    sequence_version: int | None = None
    migrate: bool = False
    changed: list[str] | None = None
    settings: Settings | None = None
    was: Settings | None = None


class CampaignCircuitOpened(CampaignEvent, frozen=True, kw_only=True):
    """Too many of its mails bounce: it sends nothing (open) or a few probes (half-open); with the deciding numbers."""

    TYPE: ClassVar[str] = "campaign.circuit_opened"

    kind: CircuitKind
    state: CircuitState
    failures: int
    sends: int | None
    limit: int
    retry_at: datetime
    reason: str


class CampaignCircuitClosed(CampaignEvent, frozen=True, kw_only=True):
    """Its probes went through, or a person closed it."""

    TYPE: ClassVar[str] = "campaign.circuit_closed"

    kind: CircuitKind
    by_person: bool = False


class CampaignVariantWon(CampaignEvent, frozen=True, kw_only=True):
    """An arm of a step's A/B test is the best, and surely enough: new mails of the step go to it alone.

    The three lists say of each arm, in their order, how many of its mails were old enough and how many were answered.
    """

    TYPE: ClassVar[str] = "campaign.variant_won"

    step_id: UUID
    variant_id: UUID
    probability: float
    expected_loss: float  # of the reply rate
    arm_ids: list[UUID]
    arm_sent: list[int]
    arm_replied: list[int]


register(
    CampaignScheduled,
    CampaignActivated,
    CampaignPaused,
    CampaignResumed,
    CampaignCompleted,
    CampaignArchived,
    CampaignChanged,
    CampaignVariantWon,
    CampaignCircuitOpened,
    CampaignCircuitClosed,
)
