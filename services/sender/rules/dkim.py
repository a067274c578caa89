"""The signature by which a receiver knows that a mail is its domain's (RFC 6376, RFC 8463).

Never signs part of a body, and never leaves room for a second From.
"""

import re
from base64 import b64encode
from datetime import datetime
from hashlib import sha256
from typing import TypeAlias

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from services.sender.rules.mime import folded

# Those that are there; RFC 8058 §4 wants the two of List-Unsubscribe, Gmail its Feedback-ID.
SIGNED = (
    "From",
    "Reply-To",
    "To",
    "Subject",
    "Date",
    "Message-ID",
    "In-Reply-To",
    "References",
    "MIME-Version",
    "Content-Type",
    "List-Unsubscribe",
    "List-Unsubscribe-Post",
    "Feedback-ID",
)
_FIELD_END = re.compile(rb"\r\n(?![\t ])")
_SPACES = re.compile(rb"[\t ]{2,}|\t")
_CHUNK = 72  # base64 on a line

SigningKey: TypeAlias = RSAPrivateKey | Ed25519PrivateKey


class Signer(msgspec.Struct, frozen=True, kw_only=True):
    """For which domain is signed, with which key, and where its public half is found."""

    domain: str
    selector: str
    key: SigningKey


def read_key(pem: str) -> SigningKey:
    """The private key out of its PEM.

    Raises:
        ValueError: it is none, or of another kind.

    """
    key = load_pem_private_key(pem.encode(), password=None)
    if not isinstance(key, SigningKey):
        raise ValueError("neither an RSA nor an Ed25519 key")  # noqa: TRY004  what was read is a value, not an argument
    return key


def signed(content: bytes, signer: Signer, at: datetime) -> bytes:
    """The message with its DKIM-Signature above it; relaxed/relaxed, over the whole body, at business time."""
    head, _, body = content.partition(b"\r\n\r\n")
    fields = {line.partition(b":")[0].lower(): line for line in _FIELD_END.split(head)}
    names = [name for name in SIGNED if name.lower().encode() in fields]
    algorithm = "rsa-sha256" if isinstance(signer.key, RSAPrivateKey) else "ed25519-sha256"
    tags = [
        *("v=1;", f"a={algorithm};", "c=relaxed/relaxed;", f"d={signer.domain};", f"s={signer.selector};"),
        *(f"t={int(at.timestamp())};", f"bh={b64encode(sha256(_relaxed_body(body)).digest()).decode()};"),
        # The last From names one that is not there: whoever adds it breaks the signature (RFC 6376 §8.15).
        *(f"h={names[0]}:", *(f"{name}:" for name in names[1:]), "From;", "b="),
    ]
    unsigned = folded("DKIM-Signature", tags).encode()
    covered = [fields[name.lower().encode()] for name in names]
    text = b"\r\n".join(_relaxed_field(field) for field in (*covered, unsigned))
    signature = b64encode(_sign(signer.key, text))
    chunks = [signature[at : at + _CHUNK] for at in range(0, len(signature), _CHUNK)]
    return b"\r\n ".join((unsigned, *chunks)) + b"\r\n" + content


def _sign(key: SigningKey, text: bytes) -> bytes:
    if isinstance(key, RSAPrivateKey):
        return key.sign(text, PKCS1v15(), SHA256())
    return key.sign(sha256(text).digest())  # RFC 8463 §3: of the hash


def _relaxed_field(field: bytes) -> bytes:
    """RFC 6376 §3.4.2; the builder writes no white space but spaces, tabs and folds."""
    name, _, value = field.partition(b":")
    return name.lower() + b":" + b" ".join(value.split())


def _relaxed_body(body: bytes) -> bytes:
    """RFC 6376 §3.4.4."""
    lines = _SPACES.sub(b" ", body).replace(b" \r\n", b"\r\n").rstrip(b"\r\n")
    return lines + b"\r\n" if lines else b""
