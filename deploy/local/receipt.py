"""The demo's receipt: what four independent sources say of the same campaign, and which promises are broken.

Each figure has one source: the SMTP server's own log (accepted, duplicates, sent_after_stop), the sender's rows (leads,
unknown), the journal (event_log), the stream (stream), the projections (replies, bounces, unsubscribes, email_events).
What two of them know is compared, and must never be taken from one for the other.
"""

from collections.abc import Mapping, Sequence
from contextlib import aclosing
from datetime import datetime, timedelta
from pathlib import Path
from uuid import UUID

import msgspec

from deploy.local.sandbox.log import Outcome, accepted, duplicates, read_log
from deploy.local.stream import opened, read_all
from libs.schema.events import Event, open_envelope, open_event
from libs.schema.events.email import BounceHard, BounceSoft, EmailComplained
from libs.schema.events.lead import LeadUnsubscribed
from libs.schema.events.reply import ReplyReceived
from libs.schema.runtime.db import Pool, to_struct

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
    (SELECT sum(replied_count) FROM campaigns) AS replies,
    (SELECT sum(bounced_count) FROM campaigns) AS bounces,
    (SELECT sum(unsubscribed_count) FROM campaigns) AS unsubscribes,
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


class Ended(msgspec.Struct, frozen=True, kw_only=True):
    """How the ledger has one send."""

    message_id: str
    state: str
    resolved_by: str | None

    @property
    def was_seen(self) -> bool:
        """Whether there is evidence for what became of it."""
        return self.state != "unknown" and self.resolved_by != "expired"


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """What the stream says."""

    messages: int
    counted: int  # events that belong into email_events
    replies: int  # by people, not by machines
    bounced: int  # emails that a bounce says did not arrive
    unsubscribed: int
    stopped: Mapping[UUID, datetime]  # when each lead's sequence was ended from outside, for the first time


class Counted(msgspec.Struct, frozen=True, kw_only=True):
    """A receipt, and every promise that it shows to be broken."""

    receipt: Receipt
    broken: list[str]


async def count(pool: Pool, nats_url: str, smtp_log: Path, *, rebuild_equal: bool, seconds: float) -> Counted:
    """The receipt of what has happened so far; everything must be quiet. The pool is the owner's."""
    outcomes = read_log(smtp_log)
    ledger = [to_struct(Ended, row) for row in await pool.fetch(READ_LEDGER)]
    people = {row["id"]: row["email"] for row in await pool.fetch(READ_PEOPLE)}
    rows = await pool.fetchrow(COUNT_ROWS)
    assert rows is not None  # noqa: S101 - a SELECT without FROM has one row
    told = await _listen(nats_url)
    stopped = {people[lead_id].lower(): at for lead_id, at in told.stopped.items() if lead_id in people}
    receipt = Receipt(
        leads=rows["leads"],
        accepted=len(accepted(outcomes)),
        replies=rows["replies"],
        bounces=rows["bounces"],
        unsubscribes=rows["unsubscribes"],
        unknown=sum(not send.was_seen for send in ledger),
        duplicates=sum(duplicates(outcomes).values()),
        sent_after_stop=sum(came_too_late(outcome, stopped) for outcome in accepted(outcomes)),
        event_log=rows["event_log"],
        stream=told.messages,
        email_events=rows["email_events"],
        rebuild_equal=rebuild_equal,
        seconds=round(seconds, 1),
    )
    broken = [
        *broken_promises(receipt, told),
        *compare_with_log(ledger, outcomes),
        *([f"{rows['open']} enrollments are not at their end"] if rows["open"] else []),
        *([f"{rows['parked']} events are parked"] if rows["parked"] else []),
    ]
    return Counted(receipt=receipt, broken=broken)


async def _listen(nats_url: str) -> Told:
    events: list[tuple[datetime, Event]] = []
    async with opened(nats_url) as link, aclosing(read_all(link, upto=(await link.state()).last_seq)) as batches:
        async for batch in batches:
            envelopes = [open_envelope(message.body) for message in batch]
            events += [(envelope.time, open_event(envelope)) for envelope in envelopes]
    replies = [event for _, event in events if _is_by_a_person(event)]
    stopped: dict[UUID, datetime] = {}
    for at, event in events:
        lead_id = getattr(event, "lead_id", None)
        if lead_id is not None and (isinstance(event, ENDING) or _is_by_a_person(event)):
            stopped.setdefault(lead_id, at)
    return Told(
        messages=len(events),
        counted=sum(
            event.TYPE in IN_EMAIL_EVENTS and getattr(event, "email_id", None) is not None for _, event in events
        ),
        replies=len(replies),
        bounced=len({event.email_id for _, event in events if isinstance(event, BounceHard | BounceSoft)}),
        unsubscribed=sum(isinstance(event, LeadUnsubscribed) for _, event in events),
        stopped=stopped,
    )


def _is_by_a_person(event: Event) -> bool:
    return isinstance(event, ReplyReceived) and event.intent not in AUTOMATIC


def came_too_late(outcome: Outcome, stopped: Mapping[str, datetime]) -> bool:
    """Whether the server took this message after its recipient's sequence had been stopped."""
    at = stopped.get(outcome.recipient.lower())
    return at is not None and outcome.time > at + DOT_ALLOWANCE


def broken_promises(receipt: Receipt, told: Told) -> list[str]:
    """What the receipt's figures alone, and against the stream, show to be broken."""
    rules = {
        f"{receipt.duplicates} messages were accepted twice": receipt.duplicates > 0,
        f"{receipt.sent_after_stop} messages came after a stop": receipt.sent_after_stop > 0,
        f"the journal has {receipt.event_log} events, the stream {receipt.stream}": receipt.event_log != receipt.stream,
        f"email_events has {receipt.email_events} rows, the stream tells {told.counted}": (
            receipt.email_events != told.counted
        ),
        f"{receipt.replies} replies are counted, the stream tells {told.replies}": receipt.replies != told.replies,
        f"{receipt.bounces} bounces are counted, the stream tells {told.bounced}": receipt.bounces != told.bounced,
        f"{receipt.unsubscribes} opt-outs are counted, the stream tells {told.unsubscribed}": (
            receipt.unsubscribes != told.unsubscribed
        ),
        "a rebuild from the first event differs from the live rows": not receipt.rebuild_equal,
    }
    return [text for text, is_broken in rules.items() if is_broken]


def compare_with_log(ledger: Sequence[Ended], outcomes: Sequence[Outcome]) -> list[str]:
    """The server's word against ours, message by message; an end that nobody saw may be either."""
    known = {send.message_id for send in ledger}
    ours = {send.message_id for send in ledger if send.state == "accepted"}
    unseen = {send.message_id for send in ledger if not send.was_seen}
    theirs = {outcome.message_id for outcome in accepted(outcomes) if outcome.message_id is not None}
    rules = {
        "accepted by the server, and in no ledger": theirs - known,
        "accepted by the server, and the ledger says it was not": (theirs & known) - ours - unseen,
        "accepted by the ledger, and the server never had it": ours - unseen - theirs,
    }
    return [f"{len(found)} messages: {text}, such as {min(found)}" for text, found in rules.items() if found]
