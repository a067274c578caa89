"""What is known of one send wherever it is touched: who, what, from where, on which days it counts."""

from datetime import date, datetime
from typing import Any, Literal
from uuid import UUID

import msgspec


class Send(msgspec.Struct, frozen=True, kw_only=True):
    """The identity of a send; every statement that changes sends returns these columns of them."""

    send_id: UUID
    kind: Literal["campaign", "reply", "test", "warmup"]
    team_id: UUID
    lead_id: UUID | None
    lead_key: bytes
    inbox_id: UUID
    campaign_id: UUID | None
    enrollment_id: UUID | None
    step_id: UUID | None
    step_number: int | None
    variant_id: UUID | None
    attempt: int
    slot_at: datetime
    not_before: datetime
    committed_at: datetime | None
    sent_on: date | None
    inbox_sent_on: date | None

    def identity(self) -> dict[str, Any]:
        """What every event of the email says (libs/schema/events/email.py)."""
        return {
            "email_id": self.send_id,
            "kind": self.kind,
            "lead_id": self.lead_id,
            "inbox_id": self.inbox_id,
            "campaign_id": self.campaign_id,
            "enrollment_id": self.enrollment_id,
            "step_id": self.step_id,
            "step_number": self.step_number,
            "variant_id": self.variant_id,
        }
