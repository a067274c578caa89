"""Leads enrolled and given their slots by the sender's jobs, against nothing but the rows that this must write.

Bare knows every value beforehand: it reads, decides, renders and checks nothing, and would write a lead twice.
"""

import time
from collections.abc import Iterator, Sequence
from typing import Any, TypeVar
from uuid import UUID

import msgspec

from benchmarks.ground import Ground
from benchmarks.harness import Row, Scale, compare
from benchmarks.office import office, plan_all
from benchmarks.world import People, make_house, make_people
from libs.schema.events.base import Event, seal
from libs.schema.events.email import EmailQueued
from libs.schema.events.lead import LeadEnrolled
from libs.schema.ids import campaign_send_id, lead_key, message_id
from libs.schema.runtime.clock import FixedClock, new_id
from libs.schema.runtime.db import Pool, Tx, transaction
from libs.schema.runtime.outbox import INSERT_EVENTS
from services.sender.jobs.plan import BATCH
from tests.support import EPOCH, PEPPER, SECRET_KEY, Inbox, Team

INBOXES = 100
ENROL = """
INSERT INTO enrollments (id, team_id, campaign_id, lead_id, lead_key, sequence_version, step_number, next_at,
    enrolled_at)
SELECT u.id, $1, $2, u.lead_id, u.lead_key, 1, 1, $3, $3
FROM unnest($4::uuid[], $5::uuid[], $6::bytea[]) AS u(id, lead_id, lead_key)
"""
SHOW_ENROLLED = """
UPDATE leads SET current_campaign_id = $1, current_step = 1, next_send_at = $2, status = 'in_sequence'
WHERE id = ANY ($3::uuid[])
"""
QUEUE = """
INSERT INTO send_ledger (send_id, kind, team_id, campaign_id, step_id, lead_id, lead_key, enrollment_id, inbox_id,
    message_id, slot_at, not_before, due_at, created_at)
SELECT u.send_id, 'campaign', $1, $2, $3, u.lead_id, u.lead_key, u.id, u.inbox_id, u.message_id, $4, $4, $4, $4
FROM unnest($5::uuid[], $6::uuid[], $7::bytea[], $8::uuid[], $9::uuid[], $10::text[])
    AS u(send_id, lead_id, lead_key, id, inbox_id, message_id)
"""
WRITE_EMAILS = """
INSERT INTO emails (id, team_id, campaign_id, sequence_id, lead_id, inbox_id, message_id, from_email, from_name,
    to_email, subject, status, scheduled_at, kind, enrollment_id, sequence_version, created_at)
SELECT u.id, $1, $2, $3, u.lead_id, u.inbox_id, u.message_id, u.sender, 'Ann', u.recipient, u.subject, 'queued', $4,
    'campaign', u.enrollment_id, 1, $4
FROM unnest($5::uuid[], $6::uuid[], $7::uuid[], $8::text[], $9::text[], $10::text[], $11::text[], $12::uuid[])
    AS u(id, lead_id, inbox_id, message_id, sender, recipient, subject, enrollment_id)
"""
TAKE_SLOTS = """
UPDATE enrollments AS e SET next_at = NULL, inbox_id = u.inbox_id
FROM unnest($1::uuid[], $2::uuid[]) AS u(id, inbox_id)
WHERE e.id = u.id
"""
SHOW_SLOTS = "UPDATE leads SET next_send_at = $1 WHERE id = ANY ($2::uuid[])"
PAUSE = "UPDATE campaigns SET status = 'paused' WHERE id = $1"
QUEUED = "SELECT count(*) FROM send_ledger WHERE campaign_id = $1 AND state = 'queued'"
SUBJECT = "Bob & Sons: two days a month"
T = TypeVar("T")


class Planned(msgspec.Struct, frozen=True, kw_only=True):
    """All that is written of one lead."""

    enrollment_id: UUID
    lead_id: UUID
    lead_key: bytes
    send_id: UUID
    inbox: Inbox
    message_id: str
    address: str
    enrolled: bytes
    queued: bytes


async def run(ground: Ground, scale: Scale) -> list[Row]:
    """One row. Each side has a new team with free inboxes in each round."""
    size = scale.size(2_000, 200)
    async with (
        ground.place() as place,
        place.pool("sender") as pool,
        office(place, pool, FixedClock(EPOCH)) as deps,
    ):
        names = (f"round{n}" for n in range(1_000))

        async def ours() -> float:
            team, inboxes = await make_house(place.owner, next(names), inboxes=INBOXES)
            people = await make_people(place.owner, team, inboxes, name=next(names), leads=size)
            await place.analyse()
            started = time.perf_counter()
            await plan_all(deps)
            taken_s = time.perf_counter() - started
            if await place.owner.fetchval(QUEUED, people.campaign.id) != size:
                raise AssertionError("every lead has room for a slot here")
            await place.owner.execute(PAUSE, people.campaign.id)
            return size / taken_s

        async def bare() -> float:
            team, inboxes = await make_house(place.owner, next(names), inboxes=INBOXES)
            people = await make_people(place.owner, team, inboxes, name=next(names), leads=size)
            await place.owner.execute(PAUSE, people.campaign.id)
            await place.analyse()
            return size / await _write(pool, team, people, _planned(team, inboxes, people))

        pair = await compare(ours, bare, scale)
    return [
        Row(
            bench="plan_job",
            what="enrol and plan",
            unit="leads/s",
            ours=pair.ours,
            bare=pair.bare,
            ratio=pair.ratio,
            goal=0.5,
            note=f"bare: the same rows and events of leads known beforehand, {BATCH} a transaction",
        )
    ]


def _planned(team: Team, inboxes: Sequence[Inbox], people: People) -> list[Planned]:
    campaign = people.campaign
    planned: list[Planned] = []
    for n, (lead_id, address) in enumerate(zip(people.lead_ids, people.addresses, strict=True)):
        enrollment_id, inbox, key = new_id(), inboxes[n % len(inboxes)], lead_key(PEPPER, address)
        send_id = campaign_send_id(campaign.id, campaign.step_ids[0], key)
        who: dict[str, Any] = {
            "lead_id": lead_id,
            "enrollment_id": enrollment_id,
            "campaign_id": campaign.id,
            "sequence_version": 1,
        }
        queued = EmailQueued(
            **who, email_id=send_id, inbox_id=inbox.id, step_id=campaign.step_ids[0], step_number=1, scheduled_at=EPOCH
        )
        planned.append(
            Planned(
                enrollment_id=enrollment_id,
                lead_id=lead_id,
                lead_key=key,
                send_id=send_id,
                inbox=inbox,
                message_id=message_id(SECRET_KEY, send_id, "acme.test"),
                address=address,
                enrolled=_sealed(team, LeadEnrolled(**who)),
                queued=_sealed(team, queued),
            )
        )
    return planned


def _sealed(team: Team, event: Event) -> bytes:
    return seal(event, event_id=new_id(), team_id=team.id, time=EPOCH, by="sender")


async def _write(pool: Pool, team: Team, people: People, planned: Sequence[Planned]) -> float:
    """Enrolment and slots are two transactions of each batch, as they are two jobs."""
    started = time.perf_counter()
    for batch in _batches(planned):
        async with transaction(pool) as tx:
            await _write_enrolled(tx, team, people, batch)
    for batch in _batches(planned):
        async with transaction(pool) as tx:
            await _write_slots(tx, team, people, batch)
    return time.perf_counter() - started


async def _write_enrolled(tx: Tx, team: Team, people: People, batch: Sequence[Planned]) -> None:
    ids, leads, keys = _columns(batch, "enrollment_id", "lead_id", "lead_key")
    await tx.execute(ENROL, team.id, people.campaign.id, EPOCH, ids, leads, keys)
    await tx.execute(SHOW_ENROLLED, people.campaign.id, EPOCH, leads)
    await _record(tx, team, "lead.enrolled", leads, [each.enrolled for each in batch])


async def _write_slots(tx: Tx, team: Team, people: People, batch: Sequence[Planned]) -> None:
    names = ("send_id", "lead_id", "lead_key", "enrollment_id", "message_id", "address")
    sends, leads, keys, ids, message_ids, addresses = _columns(batch, *names)
    inboxes, senders = [each.inbox.id for each in batch], [each.inbox.email for each in batch]
    of = team.id, people.campaign.id, people.campaign.step_ids[0], EPOCH
    await tx.execute(QUEUE, *of, sends, leads, keys, ids, inboxes, message_ids)
    subjects = [SUBJECT] * len(batch)
    await tx.execute(WRITE_EMAILS, *of, sends, leads, inboxes, message_ids, senders, addresses, subjects, ids)
    await tx.execute(TAKE_SLOTS, ids, inboxes)
    await tx.execute(SHOW_SLOTS, EPOCH, leads)
    await _record(tx, team, "email.queued", sends, [each.queued for each in batch])


async def _record(tx: Tx, team: Team, event_type: str, about: Sequence[UUID], bodies: Sequence[bytes]) -> None:
    ids, count = [new_id() for _ in bodies], len(bodies)
    noun = event_type.partition(".")[0]
    subjects = [f"{noun}/{id_}" for id_ in about]
    await tx.execute(INSERT_EVENTS, ids, [team.id] * count, [event_type] * count, subjects, EPOCH, bodies)


def _columns(batch: Sequence[Planned], *names: str) -> list[list[UUID]]:
    return [[getattr(each, name) for each in batch] for name in names]


def _batches(rows: Sequence[T]) -> Iterator[Sequence[T]]:
    return (rows[at : at + BATCH] for at in range(0, len(rows), BATCH))
