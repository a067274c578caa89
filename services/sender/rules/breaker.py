"""The transport breaker: when an inbox's server fails again and again, nobody knocks for a while (field.md 4.4).

Never counts a refusal of a recipient or a message: those say nothing about the line.
"""

from datetime import datetime, timedelta
from typing import Literal

import msgspec

from services.sender.rules.verdict import OWN_PHASES, Answer, NoAnswer, Outcome

TRANSPORT_LIMIT = 5
FIRST_PAUSE = timedelta(minutes=5)
LONGEST_PAUSE = timedelta(hours=4)
AUTH_LIMIT = 1  # a wrong password does not mend itself, and every try may lock the account
AUTH_GIVE_UP = 3  # then a person must renew the credentials
SERVICE_NOT_AVAILABLE = 421  # RFC 5321 §3.8: the server closes the channel

State = Literal["closed", "open", "half-open"]
Kind = Literal["transport", "auth"]


class Breaker(msgspec.Struct, frozen=True, kw_only=True):
    """One breaker's state; `failures` are consecutive, `retry_at` is when one probe may go."""

    kind: Kind
    state: State = "closed"
    failures: int = 0
    retry_at: datetime | None = None
    reason: str | None = None


def failure_kind(outcome: Outcome) -> Kind | None:
    """Which breaker the end of a conversation charges; None when the line did its work."""
    if isinstance(outcome, Answer):
        if outcome.phase == "auth":
            return "auth" if outcome.code >= 500 else "transport"
        return "transport" if outcome.code == SERVICE_NOT_AVAILABLE or outcome.phase in OWN_PHASES else None
    return "transport" if isinstance(outcome, NoAnswer) else None


def after_failure(breaker: Breaker, reason: str, now: datetime) -> Breaker:
    """One failure more; at the limit it opens, each time for twice as long, at most 4 hours."""
    failures = breaker.failures + 1
    limit = AUTH_LIMIT if breaker.kind == "auth" else TRANSPORT_LIMIT
    if failures < limit:
        return msgspec.structs.replace(breaker, failures=failures, reason=reason)
    pause = min(FIRST_PAUSE * 2 ** min(failures - limit, 10), LONGEST_PAUSE)
    return msgspec.structs.replace(breaker, state="open", failures=failures, retry_at=now + pause, reason=reason)


def after_success(breaker: Breaker) -> Breaker:
    """Closed and forgotten."""
    return Breaker(kind=breaker.kind)
