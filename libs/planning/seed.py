"""Numbers that look like chance and never change: jitter, arms of tests, spins. Never a random generator."""

import hashlib


def unit_hash(*parts: bytes) -> float:
    """A number in [0, 1), the same for the same parts on every machine and for ever."""
    digest = hashlib.sha256(b"|".join(parts)).digest()
    return (int.from_bytes(digest[:8], "big") >> 11) / 2**53  # what a float holds exactly: never rounded up to 1
