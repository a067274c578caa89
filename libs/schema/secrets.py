"""Secrets at rest and in links: credentials are sealed to their row and column, tokens are signed for their purpose.

Never lets a sealed text be opened in another row or column, or a token be read for another purpose.
"""

import base64
import binascii
import hmac
import os
from typing import Literal
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

Purpose = Literal["unsubscribe", "open", "click"]

SEAL_VERSION = "v1"
_KEY_ID_BYTES = 4  # tells "sealed with another key" from "damaged"
_NONCE_BYTES = 12  # GCM's own size (NIST SP 800-38D §8.2); random: safe for 2**32 seals under one key
_MAC_BYTES = 16  # 128 bits of HMAC-SHA256: more than anybody can try against a server
_UUID_BYTES = 16
# How many ids a token carries: (team, email), and for a click the link too.
_TOKEN_IDS: dict[Purpose, int] = {"unsubscribe": 2, "open": 2, "click": 3}


class SecretError(Exception):
    """The sealed text cannot be opened here: another key, another row or column, or damaged. Says no more than that."""


class TokenError(Exception):
    """The token was not signed by us for this purpose."""


def seal_secret(key: bytes, plaintext: str, *, row_id: UUID, column: str) -> str:
    """The text under AES-256-GCM, bound to its row and column; a second call gives another text of the same meaning."""
    sealing_key, key_id = _sealing_key(key)
    nonce = os.urandom(_NONCE_BYTES)
    sealed = AESGCM(sealing_key).encrypt(nonce, plaintext.encode(), _place(row_id, column))
    return f"{SEAL_VERSION}.{base64.b64encode(key_id + nonce + sealed).decode('ascii')}"


def open_secret(key: bytes, sealed: str, *, row_id: UUID, column: str) -> str:
    """The plaintext again.

    Raises:
        SecretError: see there.

    """
    version, _, text = sealed.partition(".")
    if version != SEAL_VERSION:
        raise SecretError("this text was not sealed by us")
    try:
        raw = base64.b64decode(text, validate=True)
    except binascii.Error:
        raise SecretError("the sealed text is damaged") from None
    sealing_key, key_id = _sealing_key(key)
    if raw[:_KEY_ID_BYTES] != key_id:
        raise SecretError("the text was sealed with another key (COLDSTREAM_SECRET_KEY)")
    nonce, body = raw[_KEY_ID_BYTES : _KEY_ID_BYTES + _NONCE_BYTES], raw[_KEY_ID_BYTES + _NONCE_BYTES :]
    try:
        return AESGCM(sealing_key).decrypt(nonce, body, _place(row_id, column)).decode()
    except (InvalidTag, ValueError):
        raise SecretError(f"the sealed text is damaged or belongs to another row than this {column}") from None


def sign_token(key: bytes, purpose: Purpose, *ids: UUID) -> str:
    """A compact url-safe token: unsubscribe and open carry (team, email), click carries (team, email, link).

    Raises:
        ValueError: the number of ids is not the purpose's.

    """
    if len(ids) != _TOKEN_IDS[purpose]:
        raise ValueError(f"a token for {purpose} carries {_TOKEN_IDS[purpose]} ids, not {len(ids)}")
    body = b"".join(each.bytes for each in ids)
    return _encode(body + _mac(key, purpose, body))


def read_token(key: bytes, purpose: Purpose, token: str) -> tuple[UUID, ...]:
    """The ids inside, in the order in which they were signed.

    Raises:
        TokenError: see there.

    """
    try:
        raw = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise TokenError("not a token") from None
    body, mac = raw[:-_MAC_BYTES], raw[-_MAC_BYTES:]
    # Only the one spelling that we wrote: base64 leaves unused bits at its end.
    if len(body) != _TOKEN_IDS[purpose] * _UUID_BYTES or _encode(raw) != token:
        raise TokenError("not a token of this purpose")
    if not hmac.compare_digest(mac, _mac(key, purpose, body)):
        raise TokenError("the signature does not fit")
    return tuple(UUID(bytes=body[at : at + _UUID_BYTES]) for at in range(0, len(body), _UUID_BYTES))


def _sealing_key(key: bytes) -> tuple[bytes, bytes]:
    """The key that seals, apart from the one that signs, and its public name."""
    sealing_key = hmac.digest(key, b"coldstream/seal/v1", "sha256")
    return sealing_key, hmac.digest(sealing_key, b"coldstream/key-id", "sha256")[:_KEY_ID_BYTES]


def _place(row_id: UUID, column: str) -> bytes:
    return f"{column}|{row_id}".encode()


def _mac(key: bytes, purpose: Purpose, body: bytes) -> bytes:
    return hmac.digest(key, f"coldstream/token/{purpose}|".encode() + body, "sha256")[:_MAC_BYTES]


def _encode(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode("ascii").rstrip("=")
