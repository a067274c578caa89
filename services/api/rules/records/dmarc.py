"""DMARC: one record at the domain or, for want of one, at its organisation's (RFC 7489 §6.6.3, RFC 9989 §4.10).

The organisation is found by the walk up the tree, which needs no list of public suffixes: the record nearest to the
root decides, unless one calls itself the organisation's (psd=n); a registry's own (psd=y) is nobody's policy.
"""

import re
from collections.abc import Iterator

from services.api.rules.records.found import MAX_CHARS, Check, Flaw, Found, Question, Remark, shown, tags_of

POLICIES = ("none", "quarantine", "reject")
_VERSION = re.compile(r"v[ \t]*=[ \t]*DMARC1[ \t]*(?:;|$)")
_MAX_LABELS = 7  # of a parent that is asked: a long name costs eight questions at most


def check_dmarc(domain: str) -> Check:
    """Whether receivers find a policy for mail that says it is from the domain; p=none is enough."""
    texts = yield Question("texts", f"_dmarc.{domain}")
    records = _records(texts)
    if len(records) > 1:
        detail = f"it has {len(records)} DMARC records: receivers read none"
        return Flaw("dmarc_several", detail, "keep one").found(records[0])
    if records:
        return _judged(records[0], None)
    above = None
    for parent in parents(domain):
        texts = yield Question("texts", f"_dmarc.{parent}")
        records = _records(texts)
        owner = tags_of(records[0]).get("psd", "").lower() if len(records) == 1 else "y"
        if owner != "y":
            above = records[0], parent
        if owner == "n":
            break
    if above is None:
        return Flaw("dmarc_missing", "the domain has no DMARC record", "add the record that is shown").found()
    return _judged(*above)


def parents(domain: str) -> Iterator[str]:
    """The names above the domain, the nearest first, without the top-level domain."""
    labels = domain.split(".")
    for count in range(min(len(labels) - 1, _MAX_LABELS), 1, -1):
        yield ".".join(labels[-count:])


def _records(texts: list[str]) -> list[str]:
    return [text for text in texts if _VERSION.match(text)]


def _judged(record: str, parent: str | None) -> Found:
    """The policy that the record holds for the domain itself, or for one below its `parent`."""
    tags = tags_of(record[:MAX_CHARS])
    policies = [tags.get("p", ""), tags.get("sp", "")]
    wanted = [policy.lower() for policy in (policies if parent else policies[:1]) if policy]
    wrong = [policy for policy in wanted if policy not in POLICIES]
    if wrong or not policies[0]:
        detail = f"its policy {shown(wrong[0])!r} is unknown" if wrong else "it has no p=: many receivers ignore it"
        return Flaw("dmarc_policy", detail, "write p=none, p=quarantine or p=reject").found(record)
    remarks = ()
    if parent is not None:
        detail = f"the policy is that of {parent}"
        remarks = (Remark(code="dmarc_inherited", detail=detail, mend="none is needed"),)
    return Found(valid=True, record=record[:MAX_CHARS], policy=wanted[-1], remarks=remarks)
