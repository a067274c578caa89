"""What a message may change, in the one transaction that writes its outcome: events, stops, suppressions.

Never stops anybody without the barrier's lock: whoever calls `stop` has called `barrier.stop_people` before it.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

import msgspec
from prometheus_client import Counter

from libs.schema.events.base import Event
from libs.schema.events.lead import StopReason
from libs.schema.ids import lead_key
from libs.schema.runtime.clock import new_id
from libs.schema.runtime.db import Tx
from libs.schema.runtime.outbox import record
from services.replies.queries import effects as rows
from services.replies.queries.messages import Raw
from services.replies.queries.sent import SentEmail

BY = "replies"
IGNORED = Counter("coldstream_replies_ignored_total", "Messages that changed nothing, by why", ["why"])
# Why a message changes nothing: the label of the counter, and the same in words.
Why = Literal["foreign_report", "foreign_copy", "foreign_automatic", "nothing_refused", "mailing", "junk", "copy"]
WHY: dict[Why, str] = {
    "foreign_report": "a report about no email of ours",  # also every forged one: it cannot know our ids
    "foreign_copy": "not sent by us",
    "foreign_automatic": "automatic, and answers no email of ours",
    "nothing_refused": "nothing was refused",
    "mailing": "a mailing, or from nobody",
    "junk": "in the junk folder, and from nobody whose company we wrote to",
    "copy": "the same message came before",
}


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What a message turned out to be (`inbound_raw.outcome`), and what a person should know of it."""

    name: str
    detail: dict[str, Any] = {}
    ignored: Why | None = None


def ignored(why: Why, **detail: Any) -> Outcome:
    """The outcome of a message that changes nothing; it is counted once it is written (`IGNORED`)."""
    return Outcome(name="ignored", detail={"why": WHY[why], **detail}, ignored=why)


class Effects(msgspec.Struct, frozen=True, kw_only=True):
    """What may be changed for a team in one transaction."""

    tx: Tx
    team_id: UUID
    pepper: bytes
    now: datetime

    def person(self, address: str) -> bytes | None:
        """The key of the address's owner; None where there can be no such address."""
        try:
            return lead_key(self.pepper, address)
        except UnicodeError:  # its domain cannot exist, so nobody was ever mailed there
            return None

    async def record(self, *events: Event) -> list[UUID]:
        """Writes the events into the journal; their ids in order."""
        return await record(self.tx, self.team_id, *events, by=BY, at=self.now)

    async def was_told(self, email: SentEmail, event_type: str) -> bool:
        """Whether an event of that type is known of the email, also from SMTP time."""
        return await rows.was_told(self.tx, self.team_id, email.email_id, event_type)

    async def stop(self, people: Sequence[bytes], reason: StopReason, event_id: UUID) -> None:
        """Ends every sequence that these people are in."""
        stop = rows.Stop(team_id=self.team_id, reason=reason, event_id=event_id, stopped_at=self.now)
        await rows.insert_stops(self.tx, stop, [new_id() for _ in people], people)

    async def suppress(self, address: str | None, reason: str) -> None:
        """Keeps the team from mailing the address again; an erased one (None) is known to the ledger by its key."""
        person = self.person(address) if address else None
        if address is None or person is None:
            return
        suppression = rows.Suppression(
            id=new_id(),
            team_id=self.team_id,
            email=address.lower(),
            reason=reason,
            value_hash=person,
            created_at=self.now,
        )
        await rows.insert_suppression(self.tx, suppression)


class Sorting(Effects, frozen=True, kw_only=True):
    """One message on its way to its outcome, in one transaction."""

    raw: Raw


def told_of(email: SentEmail) -> dict[str, Any]:
    """What every event of an email says."""
    return {
        "email_id": email.email_id,
        "kind": email.kind,
        "lead_id": email.read_by,
        "inbox_id": email.inbox_id,
        "campaign_id": email.campaign_id,
        "enrollment_id": email.enrollment_id,
        "step_id": email.step_id,
        "step_number": email.step_number,
        "variant_id": email.variant_id,
        "sent_on": email.sent_on,
        "inbox_sent_on": email.inbox_sent_on,
    }
