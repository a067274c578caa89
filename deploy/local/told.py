"""What the stream tells of a campaign, as figures; must never look into a table for what the events do not say."""

from collections import Counter, defaultdict
from collections.abc import Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from deploy.local.stream import opened, read_all
from libs.schema.events import Event, open_envelope, open_event
from libs.schema.events.base import Envelope
from libs.schema.events.campaign import CampaignCircuitOpened
from libs.schema.events.email import BounceBlocked, BounceEvent, BounceHard, BounceSoft, EmailComplained, EmailSent
from libs.schema.events.inbox import InboxCircuitOpened
from libs.schema.events.lead import LeadUnsubscribed
from libs.schema.events.reply import ReplyReceived

AUTOMATIC = ("out_of_office", "auto_reply")
ENDING = (BounceHard, LeadUnsubscribed, EmailComplained)
IN_EMAIL_EVENTS = {
    "email.queued",
    "email.sent",
    "email.delivered",
    "email.deferred",
    "email.opened",
    "email.clicked",
    "email.complained",
    "bounce.hard",
    "bounce.soft",
    "bounce.blocked",
    "lead.unsubscribed",
}
_BOUNCES: dict[type[Event], str] = {BounceHard: "hard", BounceSoft: "soft", BounceBlocked: "blocked"}


@dataclass(kw_only=True)
class Told:
    """Figures of the stream up to now.

    `counted`: events that belong into email_events. `stopped`: when each lead's sequence was first ended from outside.
    `bounced`: the emails that came back, by class. `by_lead`: what each lead's events say, by word.
    """

    messages: int = 0
    counted: int = 0
    replies: int = 0  # by people, not by machines
    unsubscribed: int = 0
    breakers_opened: int = 0
    stopped: dict[UUID, datetime] = field(default_factory=dict[UUID, datetime])
    bounced: defaultdict[str, set[UUID]] = field(default_factory=lambda: defaultdict(set))
    sent_by_variant: defaultdict[UUID, set[UUID]] = field(default_factory=lambda: defaultdict(set))
    replied_by_variant: defaultdict[UUID, set[UUID]] = field(default_factory=lambda: defaultdict(set))
    by_lead: defaultdict[UUID, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))

    def hear(self, envelope: Envelope, event: Event) -> None:
        """Counts one event."""
        self.messages += 1
        self.counted += event.TYPE in IN_EMAIL_EVENTS and getattr(event, "email_id", None) is not None
        self.unsubscribed += isinstance(event, LeadUnsubscribed)
        self.breakers_opened += isinstance(event, InboxCircuitOpened | CampaignCircuitOpened)
        if isinstance(event, ReplyReceived):
            self._hear_reply(envelope, event)
        elif isinstance(event, BounceEvent):
            self._hear_bounce(event)
        elif isinstance(event, EmailSent) and event.variant_id is not None:
            self.sent_by_variant[event.variant_id].add(event.email_id)
        lead_id = getattr(event, "lead_id", None)
        if lead_id is not None and isinstance(event, ENDING):
            self.stopped.setdefault(lead_id, envelope.time)

    def _hear_reply(self, envelope: Envelope, event: ReplyReceived) -> None:
        by_machine = event.intent in AUTOMATIC
        self.by_lead[event.lead_id]["automatic" if by_machine else "replies"] += 1
        if event.left_company:
            self.stopped.setdefault(event.lead_id, envelope.time)
        if by_machine:
            return
        self.replies += 1
        self.stopped.setdefault(event.lead_id, envelope.time)
        if event.variant_id is not None and event.email_id is not None:
            self.replied_by_variant[event.variant_id].add(event.email_id)

    def _hear_bounce(self, event: BounceEvent) -> None:
        kind = _BOUNCES[type(event)]
        if event.lead_id is not None and event.email_id not in self.bounced[kind]:
            self.by_lead[event.lead_id][kind] += 1
        self.bounced[kind].add(event.email_id)


async def listen(nats_url: str) -> Told:
    """Reads the whole stream.

    Raises:
        TimeoutError, nats.errors.Error: no server there.

    """
    told = Told()
    async with opened(nats_url) as link, aclosing(read_all(link, upto=(await link.state()).last_seq)) as batches:
        async for batch in batches:
            for message in batch:
                envelope = open_envelope(message.body)
                told.hear(envelope, open_event(envelope))
    return told


def by_behaviour(told: Told, people: Mapping[UUID, str]) -> defaultdict[str, Counter[str]]:
    """The figures of `by_lead` by the first word of the leads' addresses, and how many leads there are of each."""
    found: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for lead_id, email in people.items():
        found[behaviour_word(email)] += told.by_lead[lead_id]
        found[behaviour_word(email)]["people"] += 1
    return found


def behaviour_word(email: str) -> str:
    """What the demo's people are called by: their address up to the first dot."""
    return email.partition(".")[0].lower()
