"""The demo's receipt: what five independent sources say of the same campaign, and which promises are broken.

Each figure has one source: the SMTP server's own log (accepted, duplicates, sent_after_stop), the mailboxes' Sent
folders (copies_in_sent), the sender's rows (leads, unknown), the journal (event_log), the stream (stream, soft_bounces,
blocked, breakers_opened), the projections (replies, bounces, unsubscribes, email_events, variants). Behaviours are
counted from log and stream. What two of them know is compared, and must never be taken from one for the other.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from uuid import UUID

import msgspec

from deploy.local.sandbox.log import Outcome, accepted, duplicates, read_log
from deploy.local.told import Told, behaviour_word, by_behaviour, listen
from deploy.local.verdict import Verdict
from libs.schema.runtime.db import Pool, fetch_all, to_struct

# From the commit of T2 to the dot; a stop that commits in between is too late for that message (reliability.md §2.1).
DOT_ALLOWANCE = timedelta(seconds=5)

READ_LEDGER = "SELECT message_id, state, resolved_by FROM send_ledger"
READ_PEOPLE = "SELECT id, email FROM leads"
READ_ARMS = """
SELECT v.id, s.step_number AS step, (row_number() OVER (PARTITION BY s.id ORDER BY v.variant_index) - 1)::int AS index,
    v.sent_count AS sent, v.replied_count AS replied
FROM sequence_variants AS v
JOIN sequences AS s ON s.id = v.sequence_id
ORDER BY step, index
"""
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


class KnownArm(msgspec.Struct, frozen=True, kw_only=True):
    """A variant and its counters, as the projections have them."""

    id: UUID
    step: int
    index: int
    sent: int
    replied: int

    @property
    def letter(self) -> str:
        """A, B, and so on."""
        return chr(ord("A") + self.index)


class Behaved(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What one kind of people did: recipients that the server took, refused or left without an answer, and the rest."""

    people: int
    accepted: int = 0
    refused: int = 0
    unanswered: int = 0
    replies: int = 0
    automatic: int = 0
    hard: int = 0
    soft: int = 0
    blocked: int = 0


class Arm(msgspec.Struct, frozen=True, kw_only=True):
    """One variant of a step: the mails that went in its words, and how many of them a person answered."""

    step: int
    arm: str
    sent: int
    replied: int


class Receipt(msgspec.Struct, frozen=True, kw_only=True):
    """What `coldstream demo --json` prints; README.md says what each figure counts."""

    leads: int
    accepted: int
    replies: int
    bounces: int
    soft_bounces: int
    blocked: int
    unsubscribes: int
    unknown: int
    duplicates: int
    sent_after_stop: int
    copies_in_sent: int
    breakers_opened: int
    event_log: int
    stream: int
    email_events: int
    rebuild_equal: bool
    seconds: float
    variants: list[Arm]
    behaviours: dict[str, Behaved]


class Ended(msgspec.Struct, frozen=True, kw_only=True):
    """How the ledger has one send."""

    message_id: str
    state: str
    resolved_by: str | None

    @property
    def was_seen(self) -> bool:
        """Whether there is evidence for what became of it."""
        return self.state != "unknown" and self.resolved_by != "expired"


class Counted(msgspec.Struct, frozen=True, kw_only=True):
    """A receipt, and every promise that it shows to be broken."""

    receipt: Receipt
    broken: list[str]


async def count(pool: Pool, nats_url: str, smtp_log: Path, verdict: Verdict, *, rebuild_equal: bool) -> Counted:
    """The receipt of what has happened so far, `seconds` left at 0; everything must be quiet. The pool is the owner's.

    `verdict` is what verify-sends finds, Sent folders included.
    """
    outcomes = read_log(smtp_log)
    ledger = [to_struct(Ended, row) for row in await pool.fetch(READ_LEDGER)]
    people: dict[UUID, str] = {row["id"]: row["email"] for row in await pool.fetch(READ_PEOPLE)}
    async with pool.acquire(timeout=5) as connection:
        arms = await fetch_all(connection, KnownArm, READ_ARMS)
    rows = await pool.fetchrow(COUNT_ROWS)
    assert rows is not None  # noqa: S101 - a SELECT without FROM has one row
    told = await listen(nats_url)
    stopped = {people[lead_id].lower(): at for lead_id, at in told.stopped.items() if lead_id in people}
    receipt = Receipt(
        leads=rows["leads"],
        accepted=len(accepted(outcomes)),
        replies=rows["replies"],
        bounces=rows["bounces"],
        soft_bounces=len(told.bounced["soft"]),
        blocked=len(told.bounced["blocked"]),
        unsubscribes=rows["unsubscribes"],
        unknown=sum(not send.was_seen for send in ledger),
        duplicates=sum(duplicates(outcomes).values()),
        sent_after_stop=sum(came_too_late(outcome, stopped) for outcome in accepted(outcomes)),
        copies_in_sent=verdict.sent.found if verdict.sent else 0,
        breakers_opened=told.breakers_opened,
        event_log=rows["event_log"],
        stream=told.messages,
        email_events=rows["email_events"],
        rebuild_equal=rebuild_equal,
        seconds=0.0,
        variants=[Arm(step=arm.step, arm=arm.letter, sent=arm.sent, replied=arm.replied) for arm in arms],
        behaviours=_behaviours(told, people, outcomes),
    )
    broken = [
        *broken_promises(receipt, told),
        *compare_with_log(ledger, outcomes),
        *compare_arms(arms, told),
        *verdict_of(verdict),
        *([f"{rows['open']} enrollments are not at their end"] if rows["open"] else []),
        *([f"{rows['parked']} events are parked"] if rows["parked"] else []),
    ]
    return Counted(receipt=receipt, broken=broken)


def _behaviours(told: Told, people: Mapping[UUID, str], outcomes: Sequence[Outcome]) -> dict[str, Behaved]:
    counts = by_behaviour(told, people)
    for outcome in outcomes:
        word = "accepted" if outcome.accepted else "unanswered" if outcome.code == "dropped" else "refused"
        counts[behaviour_word(outcome.recipient)][word] += 1
    return {word: _behaved(counts[word]) for word in sorted(counts)}


def _behaved(counts: Counter[str]) -> Behaved:
    return Behaved(**{field: counts[field] for field in Behaved.__struct_fields__})


def came_too_late(outcome: Outcome, stopped: Mapping[str, datetime]) -> bool:
    """Whether the server took this message after its recipient's sequence had been stopped."""
    at = stopped.get(outcome.recipient.lower())
    return at is not None and outcome.time > at + DOT_ALLOWANCE


def broken_promises(receipt: Receipt, told: Told) -> list[str]:
    """What the receipt's figures alone, and against the stream, show to be broken."""
    returned = len(told.bounced["hard"] | told.bounced["soft"])
    rules = {
        f"{receipt.duplicates} messages were accepted twice": receipt.duplicates > 0,
        f"{receipt.sent_after_stop} messages came after a stop": receipt.sent_after_stop > 0,
        f"the journal has {receipt.event_log} events, the stream {receipt.stream}": receipt.event_log != receipt.stream,
        f"email_events has {receipt.email_events} rows, the stream tells {told.counted}": (
            receipt.email_events != told.counted
        ),
        f"{receipt.replies} replies are counted, the stream tells {told.replies}": receipt.replies != told.replies,
        f"{receipt.bounces} bounces are counted, the stream tells {returned}": receipt.bounces != returned,
        f"{receipt.unsubscribes} opt-outs are counted, the stream tells {told.unsubscribed}": (
            receipt.unsubscribes != told.unsubscribed
        ),
        f"the server accepted {receipt.accepted} messages, {receipt.copies_in_sent} lie in Sent": (
            receipt.accepted - receipt.duplicates != receipt.copies_in_sent
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


def compare_arms(arms: Sequence[KnownArm], told: Told) -> list[str]:
    """The projections' counters of the variants against the stream."""
    return [
        f"variant {arm.letter} of step {arm.step} is counted as {arm.sent} sent and {arm.replied} answered, the stream "
        f"tells {len(told.sent_by_variant[arm.id])} and {len(told.replied_by_variant[arm.id])}"
        for arm in arms
        if (arm.sent, arm.replied) != (len(told.sent_by_variant[arm.id]), len(told.replied_by_variant[arm.id]))
    ]


def verdict_of(verdict: Verdict) -> list[str]:
    """What verify-sends found, and the mailboxes that it could not read."""
    found = [f"{each.between} disagree about {each.id}: {each.text}" for each in verdict.disagreements]
    unread = verdict.sent.unread if verdict.sent else []
    return found + [f"the Sent folder of {each.mailbox} could not be read: {each.reason}" for each in unread]
