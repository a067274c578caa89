"""A team's own settings: its zone and its limits. Never its address, its plan or its people."""

from typing import ClassVar
from uuid import UUID

from libs.schema.events.base import Event, Settings, register


class TeamChanged(Event, frozen=True, kw_only=True):
    """Its zone or its limits were changed: what differs, what stands from now on, what those that differ were."""

    TYPE: ClassVar[str] = "team.changed"
    AGGREGATE: ClassVar[str] = "team"

    team_id: UUID
    changed: list[str]
    settings: Settings
    was: Settings


register(TeamChanged)
