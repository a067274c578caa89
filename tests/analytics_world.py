"""A small world for the tests of analytics: two teams with campaigns, and events that could have happened there."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random
from typing import Any
from uuid import UUID

from libs.schema.events import Event, open_envelope, seal
from libs.schema.events.email import (
    BounceBlocked,
    BounceHard,
    BounceSoft,
    EmailClicked,
    EmailComplained,
    EmailDeferred,
    EmailDelivered,
    EmailOpened,
    EmailQueued,
    EmailSent,
)
from libs.schema.events.lead import LeadEnrolled, LeadUnsubscribed
from libs.schema.events.reply import ReplyClassified, ReplyReceived
from libs.schema.runtime.clock import new_id
from libs.schema.runtime.db import Tx
from libs.schema.runtime.project import Projected
from tests.support import (
    EPOCH,
    Campaign,
    Inbox,
    Lead,
    Step,
    Team,
    insert,
    make_campaign,
    make_inbox,
    make_lead,
    make_list,
    make_team,
)

LEADS = 6


@dataclass(frozen=True, kw_only=True)
class World:
    """A team whose campaign has a two-step sequence, two inboxes and an email for each step and lead."""

    team: Team
    campaign: Campaign
    inboxes: Sequence[Inbox]
    leads: Sequence[Lead]
    variant_id: UUID
    emails: Sequence[UUID]  # step 1 of each lead, then step 2

    def facts(self, email: int) -> dict[str, Any]:
        """What all events of an email say alike; the second step goes out a day after the first."""
        step, lead = divmod(email, LEADS)
        inbox = self.inboxes[lead % 2]
        day = (EPOCH + timedelta(days=step)).date()
        return {
            "email_id": self.emails[email],
            "lead_id": self.leads[lead].id,
            "inbox_id": inbox.id,
            "campaign_id": self.campaign.id,
            "step_id": self.campaign.step_ids[step],
            "step_number": step + 1,
            "variant_id": self.variant_id if step == 0 else None,
            "sent_on": day,
            "inbox_sent_on": day + timedelta(days=lead % 2),
        }

    def sent(self, email: int) -> Event:
        return EmailSent(**self.facts(email), attempt=1, resolved_by="smtp", scheduled_at=EPOCH, smtp_code=250)

    def happenings(self, email: int) -> list[Event]:
        """One of each that can happen to the email, its way out first."""
        facts, lead = self.facts(email), self.leads[email % LEADS].id
        before = {name: value for name, value in facts.items() if not name.endswith("sent_on")}
        answer = {"reply_id": new_id(), "lead_id": lead, "inbox_id": facts["inbox_id"], "email_id": facts["email_id"]}
        return [
            LeadEnrolled(lead_id=lead, enrollment_id=new_id(), campaign_id=self.campaign.id, sequence_version=1),
            EmailQueued(**before, scheduled_at=EPOCH, sequence_version=1),
            EmailDeferred(**before, attempt=1, phase="rcpt", retry_at=EPOCH, smtp_code=451),
            self.sent(email),
            EmailDelivered(**facts, by_dsn=False),
            EmailOpened(**facts, user_agent="Mail", network="192.0.2.0/24"),
            EmailClicked(**facts, link_id=new_id()),
            EmailComplained(**facts, feedback_type="abuse"),
            BounceHard(**facts, source="dsn", reason="no such user", smtp_status="5.1.1"),
            BounceSoft(**facts, source="dsn", reason="mailbox full", smtp_status="4.2.2"),
            BounceBlocked(**facts, source="smtp", reason="policy", smtp_status="5.7.1"),
            LeadUnsubscribed(lead_id=lead, method="one_click", email_id=facts["email_id"]),
            ReplyReceived(**answer, intent="out_of_office", **RULED, match_method="message_id", match_confidence=1.0),
            ReplyClassified(**answer, intent="interested", previous="out_of_office", **RULED, by_person=True),
        ]


RULED: dict[str, Any] = {"confidence": 1.0, "model": "rules"}


async def make_world(owner: Tx, slug: str = "acme") -> World:
    """The rows of a world, as API and sender would have written them."""
    team = await make_team(owner, slug=slug)
    inboxes = [await make_inbox(owner, team, email=f"{name}@{slug}.test") for name in ("ann", "ben")]
    list_id = await make_list(owner, team)
    leads = [await make_lead(owner, team, email=f"lead{n}@{slug}-lead.test", list_id=list_id) for n in range(LEADS)]
    campaign = await make_campaign(owner, team, inboxes=inboxes, list_id=list_id, steps=(Step(), Step(delay_days=1)))
    variant_id, step_id = new_id(), campaign.step_ids[0]
    variant = {"id": variant_id, "sequence_id": step_id, "variant_index": 0, "subject": "Hello", "body": "A word?"}
    await insert(owner, "sequence_variants", variant)
    emails = [new_id() for _ in range(2 * LEADS)]
    world = World(team=team, campaign=campaign, inboxes=inboxes, leads=leads, variant_id=variant_id, emails=emails)
    for n, email_id in enumerate(emails):
        facts = world.facts(n)
        lead = leads[n % LEADS]
        names = ("lead_id", "inbox_id", "campaign_id", "variant_id")
        row = {"id": email_id, "team_id": team.id, "sequence_id": facts["step_id"], "from_email": "ann@acme.test"}
        text = {"to_email": lead.email, "subject": "Hello"}
        await insert(owner, "emails", row | text | {name: facts[name] for name in names})
    return world


def random_story(world: World, seed: int, length: int) -> list[tuple[Team, Event]]:
    """So many events, any of any email, some of them twice."""
    random = Random(seed)  # noqa: S311 - a test's choice, repeatable by its seed
    everything = [event for email in range(len(world.emails)) for event in world.happenings(email)]
    return [(world.team, random.choice(everything)) for _ in range(length)]


def projected(story: Sequence[tuple[Team, Event]], *, first_seq: int = 1, start: datetime = EPOCH) -> list[Projected]:
    """The events as the projection gets them, a minute between each two."""
    batch: list[Projected] = []
    for n, (team, event) in enumerate(story):
        at = start + timedelta(minutes=n)
        body = seal(event, event_id=new_id(), team_id=team.id, time=at, by="sender")
        batch.append(Projected(seq=first_seq + n, envelope=open_envelope(body), event=event))
    return batch
