"""Which events the numbers are made of: one table from event types to the seed's words, and the rows of email_events.

Decides nothing about a lead, and copies no fact that an event does not already carry.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

import msgspec

from libs.schema.events import campaign, email, inbox, lead, reply, team, warmup
from libs.schema.events.base import Event

_BOUNCE_FACTS = ("source", "reason", "smtp_code", "smtp_status", "diagnostic")
_HIT_FACTS = ("user_agent", "network")


class Entry(NamedTuple):
    """What becomes of an event type: the seed's word in email_events, the facts kept there, the mark on the email."""

    word: str
    facts: tuple[str, ...]
    mark: str = ""


# A blocked email says nothing about its recipient: it goes back and is tried again (field.md 4.5), so it is in the
# email's history with the soft bounces, and in no bounce count.
ENTRIES: Mapping[type[Event], Entry] = {
    email.EmailQueued: Entry("queued", ("scheduled_at", "sequence_version")),
    email.EmailSent: Entry("sent", ("attempt", "resolved_by", "scheduled_at", "smtp_code", "smtp_status"), "sent"),
    email.EmailDelivered: Entry("delivered", ("by_dsn",), "delivered"),
    email.EmailDeferred: Entry("deferred", ("attempt", "phase", "retry_at", "smtp_code", "smtp_status", "diagnostic")),
    email.BounceHard: Entry("bounced", _BOUNCE_FACTS, "bounced"),
    email.BounceSoft: Entry("soft_bounced", _BOUNCE_FACTS, "bounced"),
    email.BounceBlocked: Entry("soft_bounced", _BOUNCE_FACTS),
    email.EmailOpened: Entry("opened", _HIT_FACTS, "opened"),
    email.EmailClicked: Entry("clicked", ("link_id", *_HIT_FACTS), "clicked"),
    email.EmailComplained: Entry("spam_reported", ("feedback_type",)),
    lead.LeadUnsubscribed: Entry("unsubscribed", ("method",)),
}
# These add to a number instead of setting a mark, so each is counted once by its id (event_handled).
SUMMED: frozenset[type[Event]] = frozenset({lead.LeadEnrolled, reply.ReplyReceived, reply.ReplyClassified})
# Warm-up events name no day of an inbox yet; warmup_* of inbox_daily_stats come with the warm-up service.
MOVES_NOTHING: frozenset[type[Event]] = frozenset(
    {
        campaign.CampaignScheduled,
        campaign.CampaignActivated,
        campaign.CampaignPaused,
        campaign.CampaignResumed,
        campaign.CampaignCompleted,
        campaign.CampaignArchived,
        campaign.CampaignChanged,
        campaign.CampaignVariantWon,
        campaign.CampaignCircuitOpened,
        campaign.CampaignCircuitClosed,
        email.EmailCancelled,
        email.EmailFailed,
        email.EmailUnknown,
        email.EmailConfirmed,
        inbox.InboxConnected,
        inbox.InboxChanged,
        inbox.InboxDisconnected,
        inbox.InboxPaused,
        inbox.InboxResumed,
        inbox.InboxCircuitOpened,
        inbox.InboxCircuitClosed,
        inbox.InboxHealthChanged,
        inbox.DomainChecked,
        lead.LeadImported,
        lead.LeadHeld,
        lead.LeadStopped,
        lead.LeadCompleted,
        lead.LeadSuppressed,
        lead.LeadMarked,
        lead.LeadErased,
        team.TeamChanged,
        warmup.WarmupPlanned,
        warmup.WarmupSent,
        warmup.WarmupReceived,
        warmup.WarmupEngagementPlanned,
        warmup.WarmupReplied,
        warmup.WarmupRescued,
        warmup.WarmupPhaseChanged,
    }
)


class Happening(NamedTuple):
    """An event with what its envelope says of it."""

    event_id: UUID
    team_id: UUID
    at: datetime
    event: Event


class EmailEvent(msgspec.Struct, frozen=True, kw_only=True):
    """A row of email_events."""

    id: UUID
    team_id: UUID
    email_id: UUID
    event_type: str
    metadata: dict[str, Any]
    created_at: datetime


def email_event(happening: Happening) -> EmailEvent | None:
    """The row of email_events that the event becomes; None when it is not in an email's history."""
    event = happening.event
    entry = ENTRIES.get(type(event))
    email_id: UUID | None = getattr(event, "email_id", None)
    if entry is None or email_id is None:
        return None
    metadata = {name: value for name in entry.facts if (value := getattr(event, name)) is not None}
    if isinstance(event, email.BounceEvent):
        metadata["bounce_type"] = event.TYPE.partition(".")[2]
    return EmailEvent(
        id=happening.event_id,
        team_id=happening.team_id,
        email_id=email_id,
        event_type=entry.word,
        metadata=metadata,
        created_at=happening.at,
    )
