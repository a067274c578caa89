"""The demo's receipt: what four independent sources say of the same campaign, and which promises are broken.

Each figure has one source: the SMTP server's own log (accepted, duplicates, sent_after_stop), the sender's rows (leads,
unknown), the stream (replies, bounces, unsubscribes, stream), the projections' tables (email_events). Must never take
one source's word for another's.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import aclosing
from datetime import datetime, timedelta
from pathlib import Path
from uuid import UUID

import asyncpg
import msgspec

from deploy.local.sandbox.log import Outcome, accepted, duplicates, read_log
from deploy.local.stream import opened, read_all
from libs.schema.events import open_envelope, open_event
from libs.schema.events.email import BounceBlocked, BounceHard, BounceSoft, EmailComplained
from libs.schema.events.lead import LeadUnsubscribed
from libs.schema.events.reply import ReplyReceived
from libs.schema.runtime.db import Pool

# From the commit of T2 to the dot; a stop that commits in between is too late for that message (reliability.md §2.1).
DOT_ALLOWANCE = timedelta(seconds=5)
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

READ_LEDGER = "SELECT message_id, state, resolved_by FROM send_ledger"
READ_PEOPLE = "SELECT id, email FROM leads"
COUNT_ROWS = """
SELECT
    (SELECT count(*) FROM enrollments) AS leads,
    (SELECT count(*) FROM enrollments WHERE state IN ('active', 'held')) AS open,
    (SELECT count(*) FROM event_log) AS event_log,
    (SELECT count(*) FROM email_events) AS email_events,
    (SELECT count(*) FROM parked) AS parked
"""


class Receipt(msgspec.Struct, frozen=True, kw_only=True):
    """What `coldstream demo --json` prints; README.md says what each figure counts."""

    leads: int
    accepted: int
    replies: int
    bounces: int
    unsubscribes: int
    unknown: int
    duplicates: int
    sent_after_stop: int
    event_log: int
    stream: int
    email_events: int
    rebuild_equal: bool
    seconds: float


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """What the stream says."""

    messages: int
    types: Mapping[str, int]
    replies: int  # by people, not by machines
    counted: int  # events that belong into email_events
    stopped: Mapping[UUID, datetime]  # when each lead's sequence was ended from outside, for the first time


class Counted(msgspec.Struct, frozen=True, kw_only=True):
    """A receipt, and every promise that it shows to be broken."""

    receipt: Receipt
    broken: list[str]


async def count(pool: Pool, nats_url: str, smtp_log: Path, *, rebuild_equal: bool, seconds: float) -> Counted:
    """The receipt of what has happened so far; everything must be quiet. The pool is the owner's."""
    outcomes = read_log(smtp_log)
    ledger = await pool.fetch(READ_LEDGER)
    people = {row["id"]: row["email"] for row in await pool.fetch(READ_PEOPLE)}
    rows = await pool.fetchrow(COUNT_ROWS)
    assert rows is not None  # noqa: S101 - a SELECT without FROM has one row
    told = await _listen(nats_url)
    stopped = {people[lead_id].lower(): at for lead_id, at in told.stopped.items() if lead_id in people}
    receipt = Receipt(
        leads=rows["leads"],
        accepted=len(accepted(outcomes)),
        replies=told.replies,
        bounces=sum(told.types.get(kind.TYPE, 0) for kind in (BounceHard, BounceSoft, BounceBlocked)),
        unsubscribes=told.types.get(LeadUnsubscribed.TYPE, 0),
        unknown=sum(row["state"] == "unknown" or row["resolved_by"] == "expired" for row in ledger),
        duplicates=sum(duplicates(outcomes).values()),
        sent_after_stop=sum(_came_too_late(outcome, stopped) for outcome in accepted(outcomes)),
        event_log=rows["event_log"],
        stream=told.messages,
        email_events=rows["email_events"],
        rebuild_equal=rebuild_equal,
        seconds=round(seconds, 1),
    )
    broken = [
        *_broken(receipt, told),
        *_ledger_against_log(ledger, outcomes),
        *([f"{rows['open']} enrollments are not at their end"] if rows["open"] else []),
        *([f"{rows['parked']} events are parked"] if rows["parked"] else []),
    ]
    return Counted(receipt=receipt, broken=broken)


async def _listen(nats_url: str) -> Told:
    types: Counter[str] = Counter()
    stopped: dict[UUID, datetime] = {}
    replies = counted = 0
    messages = 0
    async with opened(nats_url) as link:
        last_seq = (await link.state()).last_seq
        async with aclosing(read_all(link, upto=last_seq)) as batches:
            async for batch in batches:
                messages += len(batch)
                for message in batch:
                    envelope = open_envelope(message.body)
                    event = open_event(envelope)
                    types[envelope.type] += 1
                    counted += envelope.type in IN_EMAIL_EVENTS and getattr(event, "email_id", None) is not None
                    by_person = isinstance(event, ReplyReceived) and event.intent not in AUTOMATIC
                    replies += by_person
                    if by_person or isinstance(event, ENDING):
                        lead_id = getattr(event, "lead_id", None)
                        if lead_id is not None:
                            stopped.setdefault(lead_id, envelope.time)
    return Told(messages=messages, types=types, replies=replies, counted=counted, stopped=stopped)


def _came_too_late(outcome: Outcome, stopped: Mapping[str, datetime]) -> bool:
    at = stopped.get(outcome.recipient.lower())
    return at is not None and outcome.time > at + DOT_ALLOWANCE


def _broken(receipt: Receipt, told: Told) -> list[str]:
    rules = {
        f"{receipt.duplicates} messages were accepted twice": receipt.duplicates > 0,
        f"{receipt.sent_after_stop} messages came after a stop": receipt.sent_after_stop > 0,
        f"the journal has {receipt.event_log} events, the stream {receipt.stream}": receipt.event_log != receipt.stream,
        f"email_events has {receipt.email_events} rows, the stream tells {told.counted}": (
            receipt.email_events != told.counted
        ),
        "a rebuild from the first event differs from the live rows": not receipt.rebuild_equal,
    }
    return [text for text, is_broken in rules.items() if is_broken]


def _ledger_against_log(ledger: Sequence[asyncpg.Record], outcomes: Sequence[Outcome]) -> list[str]:
    """The server's word against ours, message by message; an end that nobody saw may be either."""
    known = {row["message_id"] for row in ledger}
    ours = {row["message_id"] for row in ledger if row["state"] == "accepted"}
    unseen = {row["message_id"] for row in ledger if row["state"] == "unknown" or row["resolved_by"] == "expired"}
    theirs = {outcome.message_id for outcome in accepted(outcomes) if outcome.message_id is not None}
    rules = {
        "accepted by the server, and in no ledger": theirs - known,
        "accepted by the server, and the ledger says it was not": (theirs & known) - ours - unseen,
        "accepted by the ledger, and the server never had it": ours - unseen - theirs,
    }
    return [f"{len(found)} messages: {text}, such as {min(found)}" for text, found in rules.items() if found]
