"""What teams and campaigns have set, as values: every key may be missing or nonsense, and then its default stands.

The API lets nothing wrong in, but a direct client of the database may write these columns; one team's slip must never
keep the others from being planned. Never knows what a setting is used for.
"""

from collections.abc import Mapping
from datetime import date
from functools import cache
from typing import Annotated, Any, Literal, TypeVar

import msgspec

Share = Annotated[int, msgspec.Meta(ge=0, le=100)]
Count = Annotated[int, msgspec.Meta(ge=0)]
DayName = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
WallTime = Annotated[str, msgspec.Meta(pattern=r"^([01]\d|2[0-3]):[0-5]\d(:[0-5]\d)?$")]


class CampaignRules(msgspec.Struct, frozen=True, kw_only=True):
    """A campaign's settings as far as they decide who is mailed when."""

    timezone: str = "America/New_York"
    send_days: frozenset[DayName] = frozenset(("mon", "tue", "wed", "thu", "fri"))
    esp_matching: bool = False
    esp_matching_mode: Literal["prefer", "strict"] = "prefer"
    min_health_score: Count = 0
    send_in_lead_timezone: bool = True
    lead_window_start: WallTime = "09:00"
    lead_window_end: WallTime = "17:00"
    holidays: str | None = None  # an ISO country code: no mail on its public holidays
    skip_dates: frozenset[date] = frozenset()


class TeamRules(msgspec.Struct, frozen=True, kw_only=True):
    """A team's settings as far as they decide when its mails go; zero turns a limit off."""

    follow_up_share: Share = 60  # of a hundred mails, when both follow-ups and new leads are plentiful
    contact_gap_hours: Count = 48
    domain_daily_limit: Count = 3
    domain_gap_minutes: Count = 10
    out_of_office_days: Annotated[int, msgspec.Meta(ge=3, le=14)] = 7  # away until nobody says when


Rules = TypeVar("Rules", CampaignRules, TeamRules)


def campaign_rules(settings: Mapping[str, Any]) -> CampaignRules:
    """The campaign's rules out of `campaigns.settings`."""
    return _read(CampaignRules, settings)


def team_rules(settings: Mapping[str, Any]) -> TeamRules:
    """The team's rules out of `teams.settings`."""
    return _read(TeamRules, settings)


def _read(kind: type[Rules], settings: Mapping[str, Any]) -> Rules:
    wanted = {name: settings[name] for name in _fields(kind) if name in settings}
    try:
        return msgspec.convert(wanted, kind)
    except msgspec.ValidationError:
        return msgspec.convert({name: value for name, value in wanted.items() if _fits(kind, name, value)}, kind)


def _fits(kind: type[Rules], name: str, value: Any) -> bool:
    try:
        msgspec.convert({name: value}, kind)
    except msgspec.ValidationError:
        return False
    return True


@cache
def _fields(kind: type[msgspec.Struct]) -> tuple[str, ...]:
    return tuple(field.name for field in msgspec.structs.fields(kind))
