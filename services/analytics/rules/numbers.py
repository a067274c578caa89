"""The numbers: what is known of each email, its part in every count, and the rates made of the counts.

A number is a sum over emails of a pure function of what is known of each. What is known only grows, so a late bounce, a
second open or an event told twice comes to the same numbers; reads no clock, so that a rebuild does too.
"""

import operator
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from typing import NamedTuple, TypeAlias, TypeVar
from uuid import UUID, uuid5

import msgspec

from libs.schema.events import email, lead, reply
from services.analytics.rules.history import ENTRIES, Happening

Key = TypeVar("Key")

DAILY_NAMESPACE = UUID("0d6a3f0e-6b0f-5d1b-8f39-51b8e2a4c7d0")
_RATE_PLACES = Decimal("0.0001")  # the seed's DECIMAL(5,4)
_NOT_A_PERSON: frozenset[reply.Intent] = frozenset({"out_of_office", "auto_reply", "bounce"})


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of one campaign email, a row of email_outcome. It only grows."""

    email_id: UUID
    team_id: UUID
    campaign_id: UUID | None = None
    inbox_id: UUID | None = None
    step_id: UUID | None = None
    variant_id: UUID | None = None
    sent_on: date | None = None
    inbox_sent_on: date | None = None
    sent: bool = False
    delivered: bool = False
    returned: bool = False  # a report said that it did not arrive
    bounced: bool = False
    opened: bool = False
    clicked: bool = False
    unsubscribed: bool = False
    human_replies: int = 0


class TeamDay(NamedTuple):
    """The key of a row of daily_stats."""

    team_id: UUID
    date: date


class InboxDay(NamedTuple):
    """The key of a row of inbox_daily_stats, and whose it is."""

    team_id: UUID
    inbox_id: UUID
    date: date


class Counts(NamedTuple):
    """Numbers of leads and emails; `refused` bounced in the SMTP dialogue, so they were tried and never sent."""

    leads: int = 0
    sent: int = 0
    delivered: int = 0
    opened: int = 0
    clicked: int = 0
    replied: int = 0
    bounced: int = 0
    refused: int = 0
    unsubscribed: int = 0

    def plus(self, other: "Counts") -> "Counts":
        """The sum, number by number."""
        return Counts._make(map(operator.add, self, other))

    def minus(self, other: "Counts") -> "Counts":
        """The difference, number by number; may be negative."""
        return Counts._make(map(operator.sub, self, other))


NOTHING = Counts()


class Move(NamedTuple):
    """How the numbers of a row move, and the times of the first and the last event that moved them."""

    counts: Counts
    first_at: datetime
    last_at: datetime


Moves: TypeAlias = dict[Key, Move]


@dataclass(frozen=True)
class Tally:
    """How the numbers of every table move."""

    campaigns: Moves[UUID] = field(default_factory=dict[UUID, Move])
    campaign_inboxes: Moves[tuple[UUID, UUID]] = field(default_factory=dict[tuple[UUID, UUID], Move])
    sequences: Moves[UUID] = field(default_factory=dict[UUID, Move])
    sequence_variants: Moves[UUID] = field(default_factory=dict[UUID, Move])
    inboxes: Moves[UUID] = field(default_factory=dict[UUID, Move])
    days: Moves[TeamDay] = field(default_factory=dict[TeamDay, Move])
    inbox_days: Moves[InboxDay] = field(default_factory=dict[InboxDay, Move])

    def charge(self, known: Outcome, counts: Counts, at: datetime) -> None:
        """Moves every row that the email belongs to; of the days, those of its sending (design.md §9.5)."""
        if known.campaign_id:
            _move(self.campaigns, known.campaign_id, counts, at)
        if known.step_id:
            _move(self.sequences, known.step_id, counts, at)
        if known.variant_id:
            _move(self.sequence_variants, known.variant_id, counts, at)
        if known.inbox_id:
            _move(self.inboxes, known.inbox_id, counts, at)
        if known.campaign_id and known.inbox_id:
            _move(self.campaign_inboxes, (known.campaign_id, known.inbox_id), counts, at)
        if known.sent_on:
            _move(self.days, TeamDay(known.team_id, known.sent_on), counts, at)
        if known.inbox_id and known.inbox_sent_on:
            _move(self.inbox_days, InboxDay(known.team_id, known.inbox_id, known.inbox_sent_on), counts, at)


def _move(moves: Moves[Key], key: Key, counts: Counts, at: datetime) -> None:
    move = Move(counts, at, at)
    moves[key] = _together(moves[key], move) if key in moves else move


def _together(one: Move, other: Move) -> Move:
    first_at, last_at = min(one.first_at, other.first_at), max(one.last_at, other.last_at)
    return Move(one.counts.plus(other.counts), first_at, last_at)


def mark(happening: Happening) -> Outcome | None:
    """What the event alone says of a campaign email; None when it says nothing that is counted.

    Replies and opt-outs that name no email are counted nowhere: they answer nothing that a rate could be made of.
    """
    event, team_id = happening.event, happening.team_id
    match event:
        case email.EmailEvent(kind="campaign"):
            return _mark_of_email(event, team_id)
        case lead.LeadUnsubscribed(email_id=UUID() as email_id):
            return Outcome(email_id=email_id, team_id=team_id, unsubscribed=True)
        case reply.ReplyReceived(email_id=UUID() as email_id):
            return Outcome(email_id=email_id, team_id=team_id, human_replies=_people(event.intent))
        case reply.ReplyClassified(email_id=UUID() as email_id):
            difference = _people(event.intent) - _people(event.previous)
            return Outcome(email_id=email_id, team_id=team_id, human_replies=difference)
        case _:
            return None


def _mark_of_email(event: email.EmailEvent, team_id: UUID) -> Outcome | None:
    entry = ENTRIES.get(type(event))
    if entry is None or not isinstance(event, email.SentEmailEvent):
        return None
    returned = isinstance(event, email.BounceEvent) and event.source == "dsn"
    if not (entry.mark or returned):
        return None
    return Outcome(
        email_id=event.email_id,
        team_id=team_id,
        campaign_id=event.campaign_id,
        inbox_id=event.inbox_id,
        step_id=event.step_id,
        variant_id=event.variant_id,
        sent_on=event.sent_on,
        inbox_sent_on=event.inbox_sent_on,
        sent=entry.mark == "sent",
        delivered=entry.mark == "delivered",
        returned=returned,
        bounced=entry.mark == "bounced",
        opened=entry.mark == "opened",
        clicked=entry.mark == "clicked",
    )


def _people(intent: reply.Intent | None) -> int:
    return int(intent is not None and intent not in _NOT_A_PERSON)


def merge(known: Outcome, more: Outcome) -> Outcome:
    """Both together; the same in any order, since all events of an email name the same campaign, inbox and days."""
    return Outcome(
        email_id=known.email_id,
        team_id=known.team_id,
        campaign_id=known.campaign_id or more.campaign_id,
        inbox_id=known.inbox_id or more.inbox_id,
        step_id=known.step_id or more.step_id,
        variant_id=known.variant_id or more.variant_id,
        sent_on=known.sent_on or more.sent_on,
        inbox_sent_on=known.inbox_sent_on or more.inbox_sent_on,
        sent=known.sent or more.sent,
        delivered=known.delivered or more.delivered,
        returned=known.returned or more.returned,
        bounced=known.bounced or more.bounced,
        opened=known.opened or more.opened,
        clicked=known.clicked or more.clicked,
        unsubscribed=known.unsubscribed or more.unsubscribed,
        human_replies=known.human_replies + more.human_replies,
    )


def counts(known: Outcome) -> Counts:
    """The part of one email in every number: 0 or 1 each, so an email bounces once, hard or soft, now or weeks later.

    What came back counts only of what is known to be sent, so no rate is over 1.
    """
    sent = known.sent
    return Counts(
        sent=sent,
        delivered=sent and known.delivered and not (known.bounced or known.returned),
        opened=sent and known.opened,
        clicked=sent and known.clicked,
        replied=sent and known.human_replies > 0,
        bounced=known.bounced,
        refused=known.bounced and not sent,
        unsubscribed=sent and known.unsubscribed,
    )


def join(stored: Moves[Key], moves: Moves[Key]) -> Moves[Key]:
    """The rows that move, as they stand afterwards."""
    return {key: _together(stored[key], move) if key in stored else move for key, move in moves.items()}


def tally(outcomes: dict[UUID, Outcome], happenings: Iterable[Happening]) -> Tally:
    """How the numbers move; `outcomes`, what was known before, is brought up to date in place.

    Goes event by event, so that the times of a row do not depend on how the events were cut into batches.
    """
    result = Tally()
    for happening in happenings:
        if isinstance(happening.event, lead.LeadEnrolled):
            _move(result.campaigns, happening.event.campaign_id, Counts(leads=1), happening.at)
        more = mark(happening)
        if more is None:
            continue
        before = outcomes.get(more.email_id)
        after = merge(before, more) if before else more
        outcomes[more.email_id] = after
        change = counts(after).minus(counts(before) if before else NOTHING)
        if change != NOTHING:
            result.charge(after, change, happening.at)
    return result


class Rates(NamedTuple):
    """Shares between 0 and 1; None where there is nothing to divide by."""

    delivery: Decimal | None
    open: Decimal | None
    click: Decimal | None
    reply: Decimal | None
    bounce: Decimal | None


def rates(numbers: Counts) -> Rates:
    """Deliveries and bounces of all that were tried, sent or refused; opens, clicks and replies of those sent."""
    tried = numbers.sent + numbers.refused
    return Rates(
        delivery=_share(numbers.delivered, tried),
        open=_share(numbers.opened, numbers.sent),
        click=_share(numbers.clicked, numbers.sent),
        reply=_share(numbers.replied, numbers.sent),
        bounce=_share(numbers.bounced, tried),
    )


def _share(part: int, whole: int) -> Decimal | None:
    return (Decimal(part) / whole).quantize(_RATE_PLACES) if whole else None


def day_id(team_id: UUID, day: date) -> UUID:
    """The id of a row of daily_stats, the same in every rebuild."""
    return uuid5(DAILY_NAMESPACE, f"team|{team_id}|{day}")


def inbox_day_id(inbox_id: UUID, day: date) -> UUID:
    """The id of a row of inbox_daily_stats, the same in every rebuild."""
    return uuid5(DAILY_NAMESPACE, f"inbox|{inbox_id}|{day}")
