"""Events made into numbers: the projector of analytics, against the bare upserts of the rows that people look at.

Bare reads no stream, decodes nothing and knows no email before: a repeated event would be counted twice there.
"""

import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

import msgspec

from benchmarks.ground import Ground, Place
from benchmarks.harness import Row, Scale, compare
from benchmarks.world import make_house, make_people
from libs.schema.events.base import Event, seal
from libs.schema.events.email import EmailClicked, EmailDelivered, EmailEvent, EmailOpened, EmailQueued, EmailSent
from libs.schema.runtime.clock import Clock, new_id
from libs.schema.runtime.db import Pool, transaction
from libs.schema.runtime.project import Projector
from libs.schema.runtime.relay import BATCH, Outgoing, publish_batch
from services.analytics.handlers import Counting
from services.analytics.queries.unnest import columns
from services.analytics.rules import history
from services.analytics.rules.history import Happening, email_event
from services.analytics.rules.numbers import day_id, inbox_day_id
from tests.support import EPOCH, Inbox, Team

INBOXES, INBOXES_A_DAY = 50, 10
INSERT_EMAILS = """
INSERT INTO emails (id, team_id, campaign_id, sequence_id, lead_id, inbox_id, from_email, to_email, subject)
SELECT u.id, $1, $2, $3, u.lead_id, u.inbox_id, 'ann@acme.test', 'bob@lead.test', 'Two days a month'
FROM unnest($4::uuid[], $5::uuid[], $6::uuid[]) AS u(id, lead_id, inbox_id)
"""
BARE_EVENTS = """
INSERT INTO email_events (id, team_id, email_id, event_type, metadata, created_at)
SELECT e.id, e.team_id, e.email_id, e.event_type::event_type, e.metadata, e.created_at
FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::text[], $5::jsonb[], $6::timestamptz[])
    AS e(id, team_id, email_id, event_type, metadata, created_at)
"""
BARE_DAYS = """
INSERT INTO daily_stats AS d (id, team_id, date, emails_sent, emails_delivered, emails_opened, emails_clicked)
VALUES ($1, $2, $3, $4, $5, $6, $7)
ON CONFLICT (team_id, date) DO UPDATE
SET emails_sent = d.emails_sent + excluded.emails_sent,
    emails_delivered = d.emails_delivered + excluded.emails_delivered,
    emails_opened = d.emails_opened + excluded.emails_opened,
    emails_clicked = d.emails_clicked + excluded.emails_clicked
"""
BARE_INBOX_DAYS = """
INSERT INTO inbox_daily_stats AS d (id, team_id, inbox_id, date, campaign_sent, campaign_delivered, campaign_opened)
SELECT u.id, $1, u.inbox_id, $2, u.sent, u.delivered, u.opened
FROM unnest($3::uuid[], $4::uuid[], $5::int[], $6::int[], $7::int[]) AS u(id, inbox_id, sent, delivered, opened)
ON CONFLICT (inbox_id, date) DO UPDATE
SET campaign_sent = d.campaign_sent + excluded.campaign_sent,
    campaign_delivered = d.campaign_delivered + excluded.campaign_delivered,
    campaign_opened = d.campaign_opened + excluded.campaign_opened
"""
WORDS = ("sent", "delivered", "opened", "clicked")


class House(msgspec.Struct, frozen=True, kw_only=True):
    """One side's team with its inboxes."""

    team: Team
    inboxes: Sequence[Inbox]


async def run(ground: Ground, scale: Scale) -> list[Row]:
    """One row. Each side has a team of its own in the same tables, and new emails in each round."""
    emails = scale.size(2_000, 200)
    async with ground.place() as place, place.pool("analytics") as pool:
        our_house, bare_house = await _house(place, "ours"), await _house(place, "bare")
        projector = Projector(projection=Counting(), pool=pool, link=place.link, clock=Clock())
        days = iter(range(10_000))

        async def ours() -> float:
            story = await _story(place, our_house, next(days), emails)
            await _publish(place, our_house, story)
            started = time.perf_counter()
            while await projector.tick():
                pass
            return len(story) / (time.perf_counter() - started)

        async def bare() -> float:
            story = await _story(place, bare_house, next(days), emails)
            return len(story) / await _upsert(pool, bare_house, story)

        pair = await compare(ours, bare, scale)
    return [
        Row(
            bench="project",
            what="stream to history, days and counters",
            unit="events/s",
            ours=pair.ours,
            bare=pair.bare,
            ratio=pair.ratio,
            note="bare: email_events, daily_stats and inbox_daily_stats of the same events, upserted 500 at once",
        )
    ]


async def _house(place: Place, name: str) -> House:
    team, inboxes = await make_house(place.owner, name, inboxes=INBOXES)
    return House(team=team, inboxes=inboxes)


async def _story(place: Place, house: House, day: int, emails: int) -> list[Event]:
    """A new campaign with an email to each lead, all on one day out of ten inboxes; half are read, some clicked.

    In the order in which a stream has them: everybody's first events before anybody's last.
    """
    people = await make_people(place.owner, house.team, house.inboxes, name=f"day{day}", leads=emails)
    campaign, leads = people.campaign, people.lead_ids
    step_id = campaign.step_ids[0]
    ids = [new_id() for _ in leads]
    inboxes = [house.inboxes[n % INBOXES_A_DAY].id for n in range(len(leads))]
    await place.owner.execute(INSERT_EMAILS, house.team.id, campaign.id, step_id, ids, leads, inboxes)
    await place.analyse()
    planned: list[dict[str, Any]] = [
        {"email_id": id_, "lead_id": lead_id, "inbox_id": inbox_id, "campaign_id": campaign.id, "step_id": step_id}
        for id_, lead_id, inbox_id in zip(ids, leads, inboxes, strict=True)
    ]
    date = (EPOCH + timedelta(days=day)).date()
    dated: list[dict[str, Any]] = [{**each, "sent_on": date, "inbox_sent_on": date} for each in planned]
    return [
        *(EmailQueued(**each, scheduled_at=EPOCH, sequence_version=1) for each in planned),
        *(EmailSent(**each, attempt=1, resolved_by="smtp", scheduled_at=EPOCH, smtp_code=250) for each in dated),
        *(EmailDelivered(**each, by_dsn=False) for each in dated),
        *(EmailOpened(**each, user_agent="Mail", network="192.0.2.0/24") for each in dated[::2]),
        *(EmailClicked(**each, link_id=new_id()) for each in dated[::10]),
    ]


async def _publish(place: Place, house: House, story: Sequence[Event]) -> None:
    for batch in _batches(story):
        outgoing: list[Outgoing] = []
        for event in batch:
            id_ = new_id()
            body = seal(event, event_id=id_, team_id=house.team.id, time=EPOCH, by="sender")
            outgoing.append(Outgoing(event_id=id_, team_id=house.team.id, type=event.TYPE, body=body))
        await publish_batch(place.link, outgoing, (await place.link.state()).last_seq)


async def _upsert(pool: Pool, house: House, story: Sequence[Event]) -> float:
    batches = [_rows(house, batch) for batch in _batches(story)]
    date = next(event.sent_on for event in story if isinstance(event, EmailSent))
    started = time.perf_counter()
    for rows, by_inbox in batches:
        inboxes = sorted(by_inbox)
        numbers = [[by_inbox[inbox_id][word] for inbox_id in inboxes] for word in WORDS]
        async with transaction(pool) as tx:
            await tx.execute(BARE_EVENTS, *columns(rows, history.EmailEvent.__struct_fields__))
            await tx.execute(BARE_DAYS, day_id(house.team.id, date), house.team.id, date, *map(sum, numbers))
            ids = [inbox_day_id(inbox_id, date) for inbox_id in inboxes]
            await tx.execute(BARE_INBOX_DAYS, house.team.id, date, ids, inboxes, *numbers[:3])
    return time.perf_counter() - started


def _rows(house: House, batch: Sequence[Event]) -> tuple[list[history.EmailEvent], dict[UUID, Counter[str]]]:
    """The history's rows, and how often each word falls to each inbox."""
    happenings = [Happening(new_id(), house.team.id, EPOCH, event) for event in batch]
    rows = [row for each in happenings if (row := email_event(each))]
    by_inbox: defaultdict[UUID, Counter[str]] = defaultdict(Counter)
    for event, row in zip(batch, rows, strict=True):
        if isinstance(event, EmailEvent):
            by_inbox[event.inbox_id][row.event_type] += 1
    return rows, by_inbox


def _batches(story: Sequence[Event]) -> Iterator[Sequence[Event]]:
    return (story[at : at + BATCH] for at in range(0, len(story), BATCH))
