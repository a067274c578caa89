"""What a refusal means: the peer's words and codes as one of our reasons, and its class (field.md 4.5, RFC 3463).

Words override codes, because servers choose codes carelessly; never calls an address dead without saying why.
"""

import re
from typing import Literal

import msgspec

from services.replies.rules.folding import fold
from services.replies.rules.refusal_words import ELSEWHERE, EXACT, GENERAL, SPELT_OUT, VAGUE

BounceClass = Literal["hard", "soft", "blocked", "none"]

# hard: the address is dead. blocked: the sender or the message is refused. soft: it may work later.
CLASS_OF: dict[str, BounceClass] = {
    "user_unknown": "hard",
    "host_unknown": "hard",
    "moved": "hard",
    "no_mail_host": "hard",
    "sender_rejected": "blocked",
    "authentication": "blocked",
    "relay_denied": "blocked",
    "reputation": "blocked",
    "spam": "blocked",
    "policy": "blocked",
    "content": "blocked",
    "filtered": "blocked",
    "too_big": "blocked",
    "rate_limited": "soft",
    "greylisted": "soft",
    "mailbox_full": "soft",
    "mailbox_disabled": "soft",
    "expired": "soft",
    "network": "soft",
    "system": "soft",
    "unknown": "soft",
}
_LASTING = {"mailbox_full", "rate_limited", "greylisted", "expired"}  # soft whatever the status says

_STATUS = re.compile(r"(?<![\d.])([245])\.(\d{1,3})\.(\d{1,3})(?![\d.]*\d)")
_CODE = re.compile(r"(?<![\d.:\[/-])([245]\d\d)(?=[ \-:#]|$)")
_BY_STATUS: dict[str, str] = {
    "1.1": "user_unknown",
    "1.2": "host_unknown",
    "1.3": "user_unknown",
    "1.6": "moved",
    "1.7": "sender_rejected",
    "1.8": "sender_rejected",
    "1.10": "user_unknown",
    "1.351": "user_unknown",  # Exchange Online: the next server said so
    "2.1": "user_unknown",
    "2.2": "mailbox_full",
    "2.3": "too_big",
    "3.4": "too_big",
    "4.4": "host_unknown",
    "4.310": "host_unknown",  # Exchange Online
    "4.5": "rate_limited",
    "4.6": "content",
    "4.7": "expired",
}
_BY_SUBJECT: dict[str, str] = {"3": "system", "4": "network", "5": "system", "6": "content", "7": "policy"}
_BY_CODE = {
    "421": "network",
    "450": "unknown",
    "451": "system",
    "452": "mailbox_full",
    "551": "moved",
    "552": "mailbox_full",
}
MAX_WORDS = 4000  # of a diagnosis that are read; longer ones repeat themselves


class Refusal(msgspec.Struct, frozen=True, kw_only=True):
    """One recipient's refusal: RFC 3463 status and SMTP code ("" where none), our reason, its class."""

    status: str
    code: str
    reason: str
    bounce_class: BounceClass


def classify(words: str, *, status: str = "", after_data: bool = False) -> Refusal:
    """What the words and codes mean; a status inside the words is preferred to a vague one in the field (x.0.0).

    `after_data`: said in answer to the message and not to its recipient.
    """
    text = " ".join(fold(words[:MAX_WORDS]).replace("_", " ").split())
    status = _better_status(text, status)
    code = next(iter(_CODE.findall(text)), "")
    reason = _by_words(text, status, code) or _by_codes(status, code)
    if reason == "user_unknown" and after_data and ".1." not in status:
        # The recipient had been accepted before: mobile carriers answer so when a filter does not want the message.
        reason = "filtered"
    return Refusal(status=status, code=code, reason=reason, bounce_class=CLASS_OF[reason])


def status_in(text: str) -> str:
    """The first enhanced status code in a text that says more than x.0.0, else the first of any, else ""."""
    found = [".".join(groups) for groups in _STATUS.findall(text[:MAX_WORDS])]
    return next((each for each in found if not is_vague(each)), found[0] if found else "")


def is_vague(status: str) -> bool:
    """Whether a status says no more than that it failed (x.0.0), or is none."""
    return not status or status.endswith(".0.0")


def _better_status(text: str, status: str) -> str:
    inside = status_in(text)
    return inside if inside and (not is_vague(inside) or not status) else status


def _by_words(text: str, status: str, code: str) -> str | None:
    found = next((reason for reason, words in EXACT if words.search(text)), None)
    has_code = (status or code).startswith("5")
    if found is None and (SPELT_OUT.search(text) or (has_code and ELSEWHERE.search(text))):
        return "user_unknown"
    found = found or next((reason for reason, words in GENERAL if words.search(text)), None)
    if found is None and VAGUE.search(text) and (status or code)[:1] != "4":
        return "user_unknown"
    if found == "mailbox_disabled" and status in {"5.2.1", "5.1.1"}:  # field.md 4.5: these are dead mailboxes
        return "user_unknown"
    if found == "host_unknown" and status.startswith("4."):  # the name server did not answer, or not yet
        return "network"
    if found and CLASS_OF[found] == "soft" and found not in _LASTING and status[2:4] == "7.":
        return "policy"  # field.md 4.5: such a status is about the sender, unless the words say otherwise
    return found


def _by_codes(status: str, code: str) -> str:
    kind, _, detail = status.partition(".")
    if detail in _BY_STATUS and (kind == "5" or _BY_STATUS[detail] not in {"user_unknown", "host_unknown", "moved"}):
        return _BY_STATUS[detail]
    return _BY_SUBJECT.get(detail.partition(".")[0]) or _BY_CODE.get(code, "unknown")
