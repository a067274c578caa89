"""DKIM: a key at the selector that is there, can be read, is long enough, and is ours where we sign (RFC 6376 §3.6.1).

Selectors cannot be listed: without a known one the usual ones are tried, and what that finds is advice.
"""

import binascii
from base64 import b64decode

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_der_public_key

from services.api.rules.records.found import MAX_CHARS, Check, Flaw, Found, Question, Remark, tags_of

USUAL = ("google", "default", "selector1", "selector2", "k1", "mail", "dkim", "s1", "s2")
MIN_BITS = 1024  # RFC 8301 §3.2: verifiers refuse shorter ones
_ED25519_BYTES = 32  # RFC 8463 §4.2


def name_of(domain: str, selector: str) -> str:
    """Where the key stands."""
    return f"{selector}._domainkey.{domain}"


def check_dkim(domain: str, selector: str | None, ours: str | None) -> Check:
    """Whether receivers find the key; `ours` is the record of the key that we sign with, where we do."""
    if selector is None:
        return (yield from _guess(domain))
    keys = _keys((yield Question("texts", name_of(domain, selector))))
    try:
        return Found(valid=True, record=_the_key(keys, ours))
    except Flaw as flaw:
        return flaw.found(keys[0] if keys else None)


def _guess(domain: str) -> Check:
    for selector in USUAL:
        keys = _keys((yield Question("texts", name_of(domain, selector))))
        try:
            record = _the_key(keys, None)
        except Flaw:
            continue
        detail = f"the usual selector {selector} has a key; whether your mail is signed with it, only your mail tells"
        mend = "none is needed; name dkim_selector if it is another"
        return Found(valid=True, record=record, remarks=(Remark(code="dkim_guessed", detail=detail, mend=mend),))
    detail = "none of the usual selectors has a key, and selectors cannot be listed"
    mend = "name dkim_selector as your mail provider shows it"
    return Found(valid=None, remarks=(Remark(code="dkim_selector_unknown", detail=detail, mend=mend),))


def _keys(texts: list[str]) -> list[str]:
    """Without what a wildcard of the zone puts there too."""
    return [text for text in texts if "p" in tags_of(text)]


def _the_key(keys: list[str], ours: str | None) -> str:
    """The one record that verifiers can use.

    Raises:
        Flaw: there is none, or it is not the one.

    """
    if not keys:
        raise Flaw("dkim_missing", "there is no key at the selector", "add the key's record as its owner shows it")
    if len(keys) > 1:
        raise Flaw("dkim_several", f"there are {len(keys)} keys at the selector", "keep the one that signs")
    tags = tags_of(keys[0])
    if tags.get("v", "DKIM1") != "DKIM1" or len(keys[0]) > MAX_CHARS:
        raise _unreadable()
    if not tags["p"]:
        raise Flaw("dkim_revoked", "its key was revoked (p= is empty)", "publish the key that signs, or use another")
    if "sha256" not in [name.strip() for name in tags.get("h", "sha256").split(":")]:
        raise Flaw("dkim_hashes", "its h= leaves sha256 out, which mail is signed with", "remove h=")
    if not {"*", "email"} & {name.strip() for name in tags.get("s", "*").split(":")}:
        raise Flaw("dkim_service", "its s= leaves mail out", "remove s=")
    kind, raw = tags.get("k", "rsa"), _decoded(tags["p"])
    _check_key(kind, raw)
    if ours is not None and (kind, raw) != _key_of(ours):
        raise Flaw("dkim_foreign", "it is another key than the one we sign with", "publish the record that is shown")
    return keys[0]


def _check_key(kind: str, raw: bytes) -> None:
    if kind == "ed25519":
        if len(raw) != _ED25519_BYTES:
            raise _unreadable()
        return
    try:
        key = load_der_public_key(raw) if kind == "rsa" else None
    except (ValueError, UnsupportedAlgorithm):
        raise _unreadable() from None
    if not isinstance(key, RSAPublicKey):
        raise _unreadable()
    if key.key_size < MIN_BITS:
        detail = f"its key has {key.key_size} bits, and receivers refuse fewer than {MIN_BITS}"
        raise Flaw("dkim_short", detail, "make one of 2048 bits")


def _key_of(record: str) -> tuple[str, bytes]:
    tags = tags_of(record)
    return tags["k"], _decoded(tags["p"])


def _decoded(value: str) -> bytes:
    try:
        return b64decode("".join(value.split()), validate=True)
    except binascii.Error:
        raise _unreadable() from None


def _unreadable() -> Flaw:
    return Flaw("dkim_unreadable", "its key cannot be read", "copy the record again, whole and without line breaks")
