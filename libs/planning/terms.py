"""The terms on which mails are planned, as events keep them: what is set of a campaign, an inbox or a team, by name.

Only what decides who is mailed when; never a name, an address or a secret. What cannot be read is told as its default.
"""

from collections.abc import Mapping, Sequence
from datetime import time
from typing import Any
from uuid import UUID

import msgspec

from libs.planning.settings import campaign_rules, team_rules
from libs.schema.events.base import Settings

LIST, INBOXES = "lead_list_id", "inbox_ids"
LIMIT, ADDRESS = "daily_email_limit", "physical_address"
STOPS = ("stop_on_reply", "stop_on_bounce")
# These move no slot: a list gives other leads from now on, and an absence is counted when its note comes.
MOVES_NO_SLOT = frozenset((LIST, "out_of_office_days"))


class InboxRules(msgspec.Struct, frozen=True, kw_only=True):
    """An inbox's settings as far as they decide when it sends."""

    daily_send_limit: int
    hourly_limit: int
    min_delay_seconds: int
    max_delay_seconds: int
    send_days: list[str]
    send_window_start: time
    send_window_end: time
    send_window_timezone: str
    weekends_enabled: bool
    esp_matching_enabled: bool
    auto_throttle_enabled: bool


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """Which terms differ, and what those were before."""

    changed: list[str]
    was: Settings

    @property
    def moves_slots(self) -> bool:
        """Whether mails that have their second want another one."""
        return not MOVES_NO_SLOT.issuperset(self.changed)


def campaign_terms(settings: Mapping[str, Any], lead_list_id: UUID | None, inbox_ids: Sequence[UUID]) -> Settings:
    """A campaign's terms, out of `campaigns.settings`, with its list and the inboxes that it sends from."""
    return {
        **_sorted(_plain(campaign_rules(settings))),
        **{name: settings.get(name) is not False for name in STOPS},
        LIST: None if lead_list_id is None else str(lead_list_id),
        INBOXES: sorted(str(inbox_id) for inbox_id in inbox_ids),
    }


def inbox_terms(settings: msgspec.Struct) -> Settings:
    """An inbox's terms, out of its row of `inbox_settings`; times of the day as "09:00:00"."""
    return _sorted(_plain({name: getattr(settings, name) for name in InboxRules.__struct_fields__}))


def inbox_rules(terms: Settings) -> InboxRules:
    """The settings that an inbox's terms were told of."""
    return msgspec.convert(terms, InboxRules)


def team_terms(settings: Mapping[str, Any], daily_limit: int, *, has_address: bool) -> Settings:
    """A team's terms, out of `teams.settings`; of its postal address only whether there is one."""
    rules = _plain(team_rules(settings))
    return {"timezone": settings.get("timezone") or "UTC", **rules, LIMIT: daily_limit, ADDRESS: has_address}


def difference(before: Settings, after: Settings) -> Difference:
    """What a change does to the terms."""
    changed = [name for name, value in after.items() if before.get(name) != value]
    return Difference(changed=changed, was={name: before.get(name) for name in changed})


def _plain(rules: object) -> Settings:
    return msgspec.convert(msgspec.to_builtins(rules), Settings)


def _sorted(terms: Settings) -> Settings:
    """Sets come as lists in any order: the same settings are told in the same words."""
    return {name: sorted(value) if isinstance(value, list) else value for name, value in terms.items()}
