"""Bodies of campaigns and their sequences."""

from typing import Annotated, Any, Literal, Self
from uuid import UUID

from pydantic import BeforeValidator, Field, model_validator

from libs.planning.sequence import Action, ConditionType
from libs.schema.events.reply import Intent
from services.api.bodies.fields import (
    Body,
    Country,
    Dates,
    Days,
    Flag,
    Name,
    Passage,
    Subject,
    Text,
    WallTime,
    Zone,
    finding,
    unchanged,
)
from services.api.rules.text import Refused
from services.api.rules.windows import DAYS

MAX_STEPS = 50
MAX_VARIANTS = 10
MAX_CONDITIONS = 20
MAX_INBOXES = 500
InboxIds = Annotated[list[UUID], Field(max_length=MAX_INBOXES)]


Score = Annotated[int, Field(strict=True, ge=0, le=100)]
Matching = Literal["prefer", "strict"]


class CampaignSettings(Body):
    """When a campaign sends, when it stops, what it counts; `inline_css` puts `<style>` rules at their elements.

    `reply_token` lets replies go to `name+token@domain`, which finds their email where they name no Message-ID; only
    for mailboxes whose provider delivers such addresses.
    The lead's own window is kept where its time zone is known; one that ends before it starts runs over midnight.
    """

    timezone: Zone = "America/New_York"
    send_days: Days = Field(default_factory=lambda: list(DAYS[:5]))
    stop_on_reply: Flag = True
    stop_on_bounce: Flag = True
    track_opens: Flag = False
    track_clicks: Flag = False
    inline_css: Flag = True
    reply_token: Flag = False
    esp_matching: Flag = True
    esp_matching_mode: Matching = "prefer"
    min_health_score: Score = 70
    send_in_lead_timezone: Flag = True
    lead_window_start: WallTime = "09:00"
    lead_window_end: WallTime = "17:00"
    holidays: Country | None = None
    skip_dates: Dates = Field(default_factory=list[str])


class CampaignSettingsPatch(Body):
    """Changes of the settings; what is left out stays."""

    timezone: Zone = unchanged()
    send_days: Days = unchanged()
    stop_on_reply: Flag = unchanged()
    stop_on_bounce: Flag = unchanged()
    track_opens: Flag = unchanged()
    track_clicks: Flag = unchanged()
    inline_css: Flag = unchanged()
    reply_token: Flag = unchanged()
    esp_matching: Flag = unchanged()
    esp_matching_mode: Matching = unchanged()
    min_health_score: Score = unchanged()
    send_in_lead_timezone: Flag = unchanged()
    lead_window_start: WallTime = unchanged()
    lead_window_end: WallTime = unchanged()
    holidays: Country | None = None
    skip_dates: Dates = unchanged()


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


class ConditionIn(Body):
    """What must hold when the step falls due, and where the lead goes then; the first that holds decides."""

    type: ConditionType
    action: Action
    step: Annotated[int, Field(strict=True, gt=0)] | None = None
    intent: Annotated[list[Intent], BeforeValidator(_listed), Field(min_length=1, max_length=9)] | None = None

    @model_validator(mode="after")
    def _has_what_it_needs(self) -> Self:
        if (self.step is None) == (self.action == "goto"):
            raise finding(
                Refused("condition_step", "step belongs to the action goto, and to no other", "add or drop step")
            )
        if (self.intent is None) == (self.type == "intent_is"):
            reason = "intent belongs to the type intent_is, and to no other"
            raise finding(Refused("condition_intent", reason, "add or drop intent"))
        return self


def _by_default() -> list[ConditionIn]:
    return [ConditionIn(type="no_reply", action="continue")]


class VariantIn(Body):
    """An A/B variant; weights are shares of their sum."""

    weight: Annotated[int, Field(strict=True, gt=0, le=100)] = 50
    subject: Subject
    body: Text


class StepIn(Body):
    """A step; `id` names the one it replaces. The delay counts from the step before."""

    id: UUID | None = None
    step_number: Annotated[int, Field(strict=True, gt=0)] | None = None
    delay_days: Annotated[int, Field(strict=True, ge=0, le=365)] = 0
    delay_hours: Annotated[int, Field(strict=True, ge=0, le=23)] = 0
    subject: Subject = ""
    body: Text
    conditions: Annotated[list[ConditionIn], Field(max_length=MAX_CONDITIONS)] = Field(default_factory=_by_default)
    variants: Annotated[list[VariantIn], Field(max_length=MAX_VARIANTS)] = Field(default_factory=list[VariantIn])


Steps = Annotated[list[StepIn], Field(max_length=MAX_STEPS)]


def _check_steps(steps: list[StepIn]) -> None:
    for place, step in enumerate(steps, start=1):
        if step.step_number not in {None, place}:
            raise Refused(
                "step_number",
                f"step {place} says that it is number {step.step_number}",
                "list the steps in their order",
            )
    known = [step.id for step in steps if step.id is not None]
    if len(set(known)) != len(known):
        raise Refused("step_id", "the same step is named twice", "name each step once, new ones without id")
    if steps and not all(subject for subject in (steps[0].subject, *(v.subject for v in steps[0].variants))):
        raise Refused("first_subject", "the first step has no thread to stay in", "give it and its variants a subject")


class SequenceIn(Body):
    """All steps of a campaign, in their order; steps that are left out are archived."""

    sequences: Steps

    @model_validator(mode="after")
    def _steps_fit(self) -> Self:
        try:
            _check_steps(self.sequences)
        except Refused as reason:
            raise finding(reason) from None
        return self


class SequenceChange(SequenceIn):
    """The steps, and whom they are for: new leads only, or those on their way too (matched by the steps' ids)."""

    apply_to: Literal["new", "all"] = "new"


class CampaignIn(SequenceIn):
    """A campaign; its steps and inboxes may come with it or later."""

    name: Name
    description: Passage = None
    lead_list_id: UUID | None = None
    settings: CampaignSettings = CampaignSettings()
    inbox_ids: InboxIds = Field(default_factory=list[UUID])
    sequences: Steps = Field(default_factory=list[StepIn])


class CampaignPatch(Body):
    """A campaign's changes; a running one goes on with them."""

    name: Name = unchanged()
    description: Passage = None
    lead_list_id: UUID | None = None
    settings: CampaignSettingsPatch = unchanged()


class CampaignInboxesIn(Body):
    """All mailboxes that the campaign sends from."""

    inbox_ids: InboxIds
