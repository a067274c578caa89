"""The identities that several services must compute alike: a person's key, a send's id, our Message-ID.

Never changed once something has been sent: the ledger's promise of one message per person and step rests on them.
"""

import base64
import hashlib
import hmac
import unicodedata
from functools import lru_cache
from uuid import UUID, uuid5

import idna

SEND_NAMESPACE = UUID("6f1c2a52-8d0e-5b60-9c44-3f1c0b7a90e1")
_MESSAGE_ID_CHARS = (
    26  # base32 of 130 bits: unguessable, and the whole id stays far below 78 characters (RFC 5322 §2.1.1)
)


def normalise_address(address: str) -> str:
    """The form under which an address is compared: trimmed, lower case, its domain in ASCII (UTS 46, IDNA 2008).

    Raises:
        UnicodeError: the domain is no valid internationalised name.

    """
    local, _, domain = unicodedata.normalize("NFKC", address).strip().rpartition("@")
    return f"{local.lower()}@{_ascii_domain(domain)}"


@lru_cache(maxsize=16_384)  # a list has many people of few domains
def _ascii_domain(domain: str) -> str:
    return idna.encode(domain.removesuffix("."), uts46=True, std3_rules=True).decode("ascii")


def lead_key(pepper: bytes, address: str) -> bytes:
    """A person's key: HMAC-SHA256 of the normalised address; outlives the lead's row (design.md §9.3)."""
    return hmac.digest(pepper, normalise_address(address).encode(), "sha256")


def campaign_send_id(campaign_id: UUID, step_id: UUID, person: bytes) -> UUID:
    """The one id that a step's message to a person can ever have; also `emails.id`."""
    return uuid5(SEND_NAMESPACE, f"campaign|{campaign_id}|{step_id}|{person.hex()}")


def answer_send_id(job_id: UUID) -> UUID:
    """The one id of the mail that a person's answer to a reply becomes, however often its command is carried out."""
    return uuid5(SEND_NAMESPACE, f"reply|{job_id}")


def message_id(secret: bytes, send_id: UUID, from_domain: str) -> str:
    """Our Message-ID with its angle brackets (RFC 5322 §3.6.4): the same for every attempt at the same send."""
    return f"<{message_token(secret, send_id)}@{from_domain}>"


def message_token(secret: bytes, send_id: UUID) -> str:
    """The unforgeable left half of our Message-ID, also carried in `X-Coldstream-Ref` for relays that rewrite ids."""
    digest = hmac.digest(secret, b"message-id|" + send_id.bytes, hashlib.sha256)
    return base64.b32encode(digest).decode("ascii").lower()[:_MESSAGE_ID_CHARS]
