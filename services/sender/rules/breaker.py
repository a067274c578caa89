"""The breakers of the line: a mailbox or server that fails again and again is left alone for a while (field.md 4.4).

Never counts a refusal of a recipient or a message: those say nothing about the line. What bounces and complaints do
stands in reputation.py.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Literal

import msgspec

from libs.schema.events.inbox import CircuitKind
from services.sender.rules.verdict import OWN_PHASES, Answer, NoAnswer, Outcome, enhanced_status, is_send_limit

TRANSPORT_LIMIT = 5
FIRST_PAUSE = timedelta(minutes=5)
LONGEST_PAUSE = timedelta(hours=4)
AUTH_LIMIT = 1  # a wrong password does not mend itself, and every try may lock the account
AUTH_GIVE_UP = 3  # within the hour: then a person must renew the credentials
AUTH_WINDOW = timedelta(hours=1)
SEND_LIMIT_PAUSE = timedelta(hours=6)
ROLLING_WINDOW = timedelta(hours=24)  # over which providers count what an account sends
SERVICE_NOT_AVAILABLE = 421  # RFC 5321 §3.8: the server closes the channel

State = Literal["closed", "half-open", "open"]
Scope = Literal["inbox", "smtp_host", "campaign"]
LineKind = Literal["transport", "auth", "provider_limit"]
LINE_KINDS: tuple[LineKind, ...] = ("transport", "auth", "provider_limit")


class Breaker(msgspec.Struct, frozen=True, kw_only=True):
    """One breaker: `key` is an inbox's or campaign's id or a host's name.

    `failures` are in a row, or of `sends` in the window; `threshold` of them open it; a probe may go at `retry_at`.
    """

    kind: CircuitKind
    scope: Scope = "inbox"
    key: str = ""
    state: State = "closed"
    failures: int = 0
    sends: int | None = None
    threshold: int | None = None
    retry_at: datetime | None = None
    failed_at: Sequence[datetime] = ()  # auth: the last ones, at most AUTH_GIVE_UP
    counted_from: datetime | None = None  # what lies before has had its verdict
    reason: str | None = None

    @property
    def spot(self) -> tuple[str, str, str]:
        """Which one it is within its team."""
        return self.kind, self.scope, self.key


def failure_kind(outcome: Outcome) -> LineKind | None:
    """Which breaker the end of a conversation charges; None when the line did its work."""
    if isinstance(outcome, Answer):
        if is_send_limit(outcome.code, enhanced_status(outcome.text)):
            return "provider_limit"
        if outcome.phase == "auth":
            return "auth" if outcome.code >= 500 else "transport"
        return "transport" if outcome.code == SERVICE_NOT_AVAILABLE or outcome.phase in OWN_PHASES else None
    return "transport" if isinstance(outcome, NoAnswer) else None


def after_failure(breaker: Breaker, reason: str, now: datetime) -> Breaker:
    """One failure more; at the limit it opens, each time for twice as long, at most 4 hours.

    While it is open, what was under way when it opened changes nothing.
    """
    if breaker.state == "open" and breaker.retry_at is not None and breaker.retry_at > now:
        return breaker
    failures = breaker.failures + 1
    threshold = AUTH_LIMIT if breaker.kind == "auth" else TRANSPORT_LIMIT
    recent = [at for at in (*breaker.failed_at, now) if at > now - AUTH_WINDOW]
    counted = msgspec.structs.replace(
        breaker,
        failures=failures,
        threshold=threshold,
        failed_at=tuple(recent[-AUTH_GIVE_UP:]) if breaker.kind == "auth" else (),
        reason=reason,
    )
    if failures < threshold:
        return counted
    pause = min(FIRST_PAUSE * 2 ** min(failures - threshold, 10), LONGEST_PAUSE)
    return msgspec.structs.replace(counted, state="open", retry_at=now + pause)


def gives_up(breaker: Breaker) -> bool:
    """Whether the mailbox has refused us so often within the hour that a person must renew its credentials."""
    return breaker.kind == "auth" and len(breaker.failed_at) >= AUTH_GIVE_UP


def after_send_limit(breaker: Breaker, reason: str, now: datetime, first_of_day: datetime | None) -> Breaker:
    """The provider counts a rolling day: open until its oldest mail leaves that day, and for 6 hours at the least."""
    frees_at = now if first_of_day is None else first_of_day + ROLLING_WINDOW
    return msgspec.structs.replace(
        breaker,
        state="open",
        failures=breaker.failures + 1,
        threshold=1,
        retry_at=max(now + SEND_LIMIT_PAUSE, frees_at),
        reason=reason,
    )


def closed(breaker: Breaker) -> Breaker:
    """Closed and forgotten."""
    return Breaker(kind=breaker.kind, scope=breaker.scope, key=breaker.key)
