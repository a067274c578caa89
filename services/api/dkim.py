"""A domain's DKIM key: made here or brought along, and what its DNS must say (RFC 6376 §3.6.1, RFC 8463 §4).

Never shows a private key again, and never takes one that receivers would not accept.
"""

import asyncio
from base64 import b64encode
from typing import Literal

import msgspec
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from services.api.rules.text import Refused

Algorithm = Literal["rsa-2048", "ed25519"]
# RFC 8301 §3.2 wants 2048 at least; more costs the sender ten times as much, and its record fits into few DNS answers.
_RSA_BITS = 2048
_MEND = "send an unencrypted PEM of this kind, or leave the field out and have a key made"


class DkimKey(msgspec.Struct, frozen=True, kw_only=True):
    """A private key as PKCS #8 in PEM, and the TXT record of its public half."""

    private_key: str
    record: str

    def __repr__(self) -> str:
        return f"DkimKey({self.record})"


async def make_key(algorithm: Algorithm) -> DkimKey:
    """A new key; an RSA one takes a tenth of a second or two, in a thread."""
    if algorithm == "ed25519":
        return _told(ed25519.Ed25519PrivateKey.generate())
    return _told(await asyncio.to_thread(rsa.generate_private_key, 65537, _RSA_BITS))


def read_key(algorithm: Algorithm, pem: str) -> DkimKey:
    """The key that somebody brings along.

    Raises:
        Refused: it is none, encrypted, or not of the algorithm.

    """
    try:
        key = load_pem_private_key(pem.encode(), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):  # TypeError: encrypted
        raise Refused("private_key", "not an unencrypted private key in PEM", _MEND) from None
    if algorithm == "ed25519" and isinstance(key, ed25519.Ed25519PrivateKey):
        return _told(key)
    if algorithm == "rsa-2048" and isinstance(key, rsa.RSAPrivateKey) and key.key_size == _RSA_BITS:
        return _told(key)
    raise Refused("private_key", f"the key is not of the algorithm {algorithm}", _MEND)


def _told(key: rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey) -> DkimKey:
    public = key.public_key()
    if isinstance(public, ed25519.Ed25519PublicKey):
        kind, raw = "ed25519", public.public_bytes_raw()
    else:
        kind, raw = "rsa", public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return DkimKey(
        private_key=key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode("ascii"),
        record=f"v=DKIM1; k={kind}; p={b64encode(raw).decode('ascii')}",
    )
