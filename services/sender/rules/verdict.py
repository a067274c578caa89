"""What an SMTP conversation's end means for mail, recipient and inbox (RFC 5321, RFC 3463, field.md 4.5, 4.11).

The one place where temporary or permanent is decided. Never calls an end known after the final dot without an answer.
"""

import re
from datetime import datetime, timedelta
from typing import Literal
from uuid import UUID

import msgspec

from libs.planning.seed import unit_hash

# "dot" is everything after the point of no return; all phases before it mean that nothing was accepted.
Phase = Literal["connect", "starttls", "auth", "mail", "rcpt", "data", "body", "dot"]
BounceKind = Literal["hard", "soft", "blocked"]
# About our mailbox and its server, not about this message: they cost the message no attempt.
OWN_PHASES: frozenset[Phase] = frozenset(("connect", "starttls", "auth"))

# 15 min lies above the 5 min of common greylists; the seeded fifth keeps a burst of deferrals from coming back as one.
RETRY_AFTER = tuple(timedelta(minutes=minutes) for minutes in (15, 60, 240, 720, 1440))
RETRY_JITTER = 0.2
BLOCKED_RETRY_AFTER = timedelta(hours=24)
OWN_RETRY_AFTER = timedelta(minutes=5)
SEND_LIMIT_RETRY_AFTER = timedelta(hours=6)  # when the provider's limit frees is the breaker's affair
DIAGNOSTIC_CHARS = 500


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """The server answered: in which phase, with which code and text."""

    phase: Phase
    code: int
    text: str


class NoAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The conversation broke: refused, timed out, cut off, garbled; `reason` is our word for it."""

    phase: Phase
    reason: str


class Withheld(msgspec.Struct, frozen=True, kw_only=True):
    """We ended it ourselves before the final dot: the point of no return was refused, or passed too long ago."""

    reason: Literal["refused", "too_late"]


Outcome = Answer | NoAnswer | Withheld


class Accepted(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The server took the message; `queue_id` is its own name for it, where the text shows one."""

    code: int
    status: str | None
    queue_id: str | None


class Deferred(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Not accepted, tried again no earlier than `until`.

    `own`: the fault lies with our own mailbox and its server. `replan`: perhaps another inbox fares better.
    """

    until: datetime
    phase: Phase
    own: bool
    replan: bool = False
    code: int | None
    status: str | None
    diagnostic: str


class Bounced(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Refused for good, and by whose fault."""

    kind: BounceKind
    reason: str
    code: int | None
    status: str | None
    diagnostic: str


class Failed(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """It will never go out, and the recipient is not to blame: the message itself is at fault."""

    reason: str
    code: int | None
    status: str | None
    diagnostic: str


class Unknown(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The final dot has left and no answer came: perhaps accepted, and therefore never repeated."""

    reason: str


Verdict = Accepted | Deferred | Bounced | Failed | Unknown

_STATUS = re.compile(r"(?<![\d.])([245]\.\d{1,3}\.\d{1,3})(?![\d.])")
_ADDRESS = re.compile(r"<?[^\s<]+@[^\s>]+>?")
_QUEUE_ID = re.compile(r"(?:queued as|message accepted for delivery|\bid[= ])\W*([\w.-]{5,64})", re.IGNORECASE)
# Text overrides the code (field.md 4.5), and a text that names a policy overrides one that names a missing mailbox,
# so that a blocked sender never suppresses a lead.
_POLICY_TEXT = re.compile(
    r"block(?:ed|list)|black ?list|\bspam|unsolicited|reputation|policy|dmarc|\bspf\b|\bdkim\b|\brbl\b|dnsbl"
    r"|rate.?limit|too many|sending limit|relay(?:ing)? (?:access )?denied|unable to relay|not permitted to relay",
    re.IGNORECASE,
)
_NO_MAILBOX_TEXT = re.compile(
    r"(?:user|recipient|mailbox|address|account)(?: \S+)?(?: is)?"
    r" (?:unknown|not found|unavailable|disabled|inactive|invalid|rejected: access denied)"
    r"|(?:unknown|no such|invalid|nonexistent) (?:local )?(?:user|recipient|mailbox|address|account|person)"
    r"|does(?: not|n't) (?:exist|have an? (?:\S+ )?account)|no mailbox|not a valid (?:user|recipient|mailbox)"
    r"|no longer (?:valid|available|exists)",
    re.IGNORECASE,
)
_FULL_TEXT = re.compile(r"(?:mailbox|quota|storage)[^.]*(?:full|exceeded|over)|over ?quota", re.IGNORECASE)
_HARD_STATUS = frozenset(("5.1.1", "5.1.2", "5.1.3", "5.1.6", "5.1.10", "5.2.1"))
_POLICY_STATUS = frozenset(("5.1.8", "5.4.5"))
_MESSAGE_STATUS = frozenset(("5.2.3", "5.3.4"))
_SEND_LIMIT_STATUS = frozenset(("5.4.5", "5.7.705", "5.7.708"))  # Gmail's; Microsoft's


def judge(  # noqa: PLR0911 - a table of cases, each with its verdict
    outcome: Answer | NoAnswer, *, send_id: UUID, attempt: int, previous_code: int | None, now: datetime
) -> Verdict:
    """The verdict on one attempt; `attempt` counts from 1, `previous_code` is the last attempt's answer."""
    if isinstance(outcome, NoAnswer):
        if outcome.phase == "dot":
            return Unknown(reason=outcome.reason)
        return _later(outcome.phase, None, None, outcome.reason, _Try(send_id, attempt, now))
    status = enhanced_status(outcome.text)
    diagnostic = mask(outcome.text)
    this = _Try(send_id, attempt, now)
    if outcome.phase == "dot" and 200 <= outcome.code < 300:  # any 2xx accepts, 251 too (RFC 5321 §4.2.1)
        return Accepted(code=outcome.code, status=status, queue_id=queue_id(outcome.text))
    if is_send_limit(outcome.code, status):
        return _own(outcome.phase, outcome.code, status, diagnostic, this.after(SEND_LIMIT_RETRY_AFTER))
    if outcome.phase in OWN_PHASES or 400 <= outcome.code < 500:
        return _later(outcome.phase, outcome.code, status, diagnostic, this)
    if 500 <= outcome.code < 600:
        return _refused(outcome, status, diagnostic, previous_code, this)
    # A code outside RFC 5321's classes: after the dot nobody knows, before it nothing was accepted.
    if outcome.phase == "dot":
        return Unknown(reason=f"code {outcome.code}")
    return _later(outcome.phase, outcome.code, status, diagnostic, this)


class _Try(msgspec.Struct, frozen=True):
    send_id: UUID
    attempt: int
    now: datetime

    def after(self, pause: timedelta) -> datetime:
        share = unit_hash(self.send_id.bytes, str(self.attempt).encode())
        return self.now + pause * (1 - RETRY_JITTER + 2 * RETRY_JITTER * share)


def _later(phase: Phase, code: int | None, status: str | None, diagnostic: str, this: _Try) -> Verdict:
    if phase in OWN_PHASES:
        return _own(phase, code, status, diagnostic, this.after(OWN_RETRY_AFTER))
    if this.attempt > len(RETRY_AFTER):
        kind: BounceKind = "blocked" if _is_policy(status, diagnostic) else "soft"
        return Bounced(kind=kind, reason="retries_exhausted", code=code, status=status, diagnostic=diagnostic)
    until = this.after(RETRY_AFTER[this.attempt - 1])
    return Deferred(until=until, phase=phase, own=False, code=code, status=status, diagnostic=diagnostic)


def _own(phase: Phase, code: int | None, status: str | None, diagnostic: str, until: datetime) -> Deferred:
    return Deferred(until=until, phase=phase, own=True, code=code, status=status, diagnostic=diagnostic)


def _refused(outcome: Answer, status: str | None, diagnostic: str, previous_code: int | None, this: _Try) -> Verdict:
    kind, reason = classify(outcome.text, sender_refused=outcome.phase == "mail")
    if kind == "message":
        return Failed(reason=reason, code=outcome.code, status=status, diagnostic=diagnostic)
    if kind == "soft":
        return _later(outcome.phase, outcome.code, status, diagnostic, this)
    if kind == "blocked" and (previous_code is None or previous_code < 500):
        # The block may be lifted, and the lead is not to blame: it goes back, once, for a day (field.md 4.5).
        return Deferred(
            until=this.now + BLOCKED_RETRY_AFTER,
            phase=outcome.phase,
            own=False,
            replan=True,
            code=outcome.code,
            status=status,
            diagnostic=diagnostic,
        )
    return Bounced(kind=kind, reason=reason, code=outcome.code, status=status, diagnostic=diagnostic)


def classify(  # noqa: PLR0911 - the same
    text: str, *, sender_refused: bool = False
) -> tuple[BounceKind | Literal["message"], str]:
    """Whose fault a 5xx is, and our word for it, in field.md 4.5's order: text, code, else soft."""
    status = enhanced_status(text) or ""
    if _is_policy("", text):
        return "blocked", "policy"
    if _FULL_TEXT.search(text):
        return "soft", "mailbox_full"
    if _NO_MAILBOX_TEXT.search(text):
        return "hard", "no_such_user"
    if sender_refused or _is_policy(status, ""):
        return "blocked", "policy"
    if status in _HARD_STATUS:
        return "hard", "no_such_user"
    if status in _MESSAGE_STATUS or status.startswith("5.6."):
        return "message", "message_refused"
    return "soft", "mailbox_full" if status == "5.2.2" else "refused"


def _is_policy(status: str | None, text: str) -> bool:
    status = status or ""
    return bool(_POLICY_TEXT.search(text)) or status in _POLICY_STATUS or status[1:].startswith(".7.")


def is_send_limit(code: int, status: str | None) -> bool:
    """Whether the provider says that this mailbox has sent enough for now."""
    return code >= 500 and status in _SEND_LIMIT_STATUS


def enhanced_status(text: str) -> str | None:
    """The first enhanced status code in the text (RFC 3463 §2), if there is one."""
    found = _STATUS.search(text)
    return found.group(1) if found else None


def queue_id(text: str) -> str | None:
    """The name under which the server queued the message, where its 250 tells one."""
    found = _QUEUE_ID.search(text)
    return found.group(1) if found else None


def mask(text: str) -> str:
    """The text on one line, without addresses and cut: events and logs carry no personal data (design.md §3)."""
    return _ADDRESS.sub("<address>", " ".join(text.split()))[:DIAGNOSTIC_CHARS]
