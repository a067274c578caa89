"""The exact record that mends a domain, where there is one: for the hand that types it into the DNS.

Never guesses: what only the mail provider knows stays out.
"""

from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, ip_address

import msgspec

from services.api.rules.records.found import Remark, tags_of

_INCLUDES = {"google": "include:_spf.google.com", "microsoft": "include:spf.protection.outlook.com"}


class Sender(msgspec.Struct, frozen=True, kw_only=True):
    """Where mail of the domain goes out."""

    provider: str
    smtp_host: str | None


def spf_to_publish(record: str | None, remarks: Iterable[Remark], senders: Sequence[Sender]) -> str | None:
    """The SPF record with what its senders need, or the one that is there with another end."""
    codes = {remark.code for remark in remarks}
    if "spf_missing" in codes:
        terms = sorted({term for sender in senders if (term := _term_of(sender))})
        return " ".join(["v=spf1", *terms, "~all"]) if terms else None
    words = [word for word in (record or "").split(" ") if word]
    if "spf_endless" in codes:
        return " ".join([*words, "~all"])
    if "spf_open" in codes and (own := [word for word in words if word.lower() in ("all", "+all")]):
        return " ".join("~all" if word in own else word for word in words)
    return None


def dmarc_to_publish(record: str | None, remarks: Iterable[Remark]) -> str | None:
    """The least that is asked of a sender; what else stands in a record without a policy is kept."""
    codes = {remark.code for remark in remarks}
    if not codes & {"dmarc_missing", "dmarc_policy"}:
        return None
    kept = [f"{name}={value}" for name, value in tags_of(record or "").items() if name not in ("v", "p", "sp")]
    return "; ".join(["v=DMARC1", "p=none", *kept])


def _term_of(sender: Sender) -> str | None:
    """Who may send for it (RFC 7208 §5); of a server of one's own its address."""
    if sender.provider in _INCLUDES or not sender.smtp_host:
        return _INCLUDES.get(sender.provider)
    try:
        address = ip_address(sender.smtp_host)
    except ValueError:
        return f"a:{sender.smtp_host}"
    return f"ip4:{address}" if isinstance(address, IPv4Address) else f"ip6:{address}"
