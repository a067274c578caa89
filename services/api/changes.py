"""What a change of a running campaign, an inbox or the team's rules leaves behind, in the transaction of the change.

The event says what differs and what stands now; where slots depend on that, the sender is asked to give them anew.
Never touches the queue itself.
"""

from collections.abc import Sequence
from typing import Any, Literal
from uuid import UUID

from libs.planning.terms import campaign_terms, difference, inbox_terms, team_terms
from libs.schema.events.base import Settings
from libs.schema.events.campaign import CampaignChanged
from libs.schema.events.inbox import InboxChanged
from libs.schema.events.team import TeamChanged
from services.api.commands import tell
from services.api.queries import campaigns, replan
from services.api.resources import Campaign, InboxSettings, Team
from services.api.routing import Scope

_UNDER_WAY = frozenset(("active", "paused"))  # only these have mails in slots


async def terms_of(at: Scope, campaign: Campaign) -> Settings:
    """What stands of the campaign, as its events tell it."""
    inbox_ids = await campaigns.campaign_inbox_ids(at.tx, at.team_id, campaign.id)
    return campaign_terms(campaign.settings, campaign.lead_list_id, inbox_ids)


async def campaign_changed(
    at: Scope, campaign: Campaign, was: Settings, also: Sequence[str] = (), **version: Any
) -> None:
    """Tells what differs, by name: of its terms, and what else the caller has changed; nothing when nothing does.

    `campaign` is as it stands now, `was` are its terms before, `version` what the event says of its steps.
    """
    now = await terms_of(at, campaign)
    found = difference(was, now)
    changed = [*also, *found.changed]
    if not changed:
        return
    event = CampaignChanged(campaign_id=campaign.id, changed=changed, settings=now, was=found.was, **version)
    await tell(at, event)
    if found.moves_slots and campaign.status in _UNDER_WAY:
        await plan_anew(at, "campaign", campaign.id)


async def inbox_changed(at: Scope, before: InboxSettings, after: InboxSettings) -> None:
    """Tells what differs of the inbox's settings; nothing when nothing does."""
    now = inbox_terms(after)
    found = difference(inbox_terms(before), now)
    if found.changed:
        event = InboxChanged(inbox_id=after.inbox_id, changed=found.changed, settings=now, was=found.was)
        await tell(at, event)
        await plan_anew(at, "inbox", after.inbox_id)


async def team_changed(at: Scope, before: Team, after: Team) -> None:
    """Tells what differs of the team's zone, limits, and whether it has an address; nothing when nothing does."""
    was, now = _terms_of_team(before), _terms_of_team(after)
    found = difference(was, now)
    if found.changed:
        await tell(at, TeamChanged(team_id=after.id, changed=found.changed, settings=now, was=found.was))
        if found.moves_slots:
            await plan_anew(at, "team", after.id)


async def plan_anew(at: Scope, scope: Literal["team", "campaign", "inbox"], scope_id: UUID) -> None:
    """Has all queued mails of the scope given other slots: a second call asks once more for the same."""
    await replan.ask(at.tx, at.runtime.new_id(), at.team_id, scope, scope_id, at.now)


def _terms_of_team(team: Team) -> Settings:
    return team_terms(team.settings, team.daily_email_limit, has_address=bool((team.physical_address or "").strip()))
