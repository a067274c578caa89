"""How people behave, read from the first word of their address; pure, and must never depend on the message they got."""

import hashlib
import re
from datetime import timedelta
from enum import Enum, auto

_FIRST_WORD = re.compile(r"[^.+\d@]*")
SHORTEST_DELAY = timedelta(minutes=2)
GREYLIST_FOR = timedelta(minutes=5)


class Behaviour(Enum):
    """What happens to mail for an address."""

    SILENT = auto()
    INTERESTED = auto()
    NOT_INTERESTED = auto()
    UNSUBSCRIBE = auto()  # asks for it in a reply
    ONE_CLICK = auto()  # their mail program posts List-Unsubscribe (RFC 8058)
    OUT_OF_OFFICE = auto()
    HARD_BOUNCE = auto()  # 550 5.1.1 in the dialogue
    DSN = auto()  # accepted, bounced later
    GREYLIST = auto()  # 451 4.7.1 until five minutes after the first try
    DROP = auto()  # accepted, but the connection ends before the answer


_WORDS = {
    "interested": Behaviour.INTERESTED,
    "notinterested": Behaviour.NOT_INTERESTED,
    "not-interested": Behaviour.NOT_INTERESTED,
    "unsubscribe": Behaviour.UNSUBSCRIBE,
    "oneclick": Behaviour.ONE_CLICK,
    "ooo": Behaviour.OUT_OF_OFFICE,
    "hardbounce": Behaviour.HARD_BOUNCE,
    "bounce": Behaviour.HARD_BOUNCE,
    "dsn": Behaviour.DSN,
    "greylist": Behaviour.GREYLIST,
    "drop": Behaviour.DROP,
}
# Those whose answer comes later, on its own way.
ANSWERING = {
    Behaviour.INTERESTED,
    Behaviour.NOT_INTERESTED,
    Behaviour.UNSUBSCRIBE,
    Behaviour.ONE_CLICK,
    Behaviour.OUT_OF_OFFICE,
    Behaviour.DSN,
}


def behaviour_of(address: str) -> Behaviour:
    """The behaviour named by the local part up to its first dot, plus or digit; an unknown word is silent."""
    word = _FIRST_WORD.match(address.lower())
    return _WORDS.get(word[0], Behaviour.SILENT) if word else Behaviour.SILENT


def seed_of(*words: str) -> int:
    """A number that is always the same for the same words, on every machine."""
    return int.from_bytes(hashlib.sha256("\0".join(words).encode()).digest()[:8])


def delay_of(address: str, longest: timedelta) -> timedelta:
    """How long an address takes to answer: 2 minutes to `longest`, short ones likelier; zero when `longest` is."""
    if longest <= SHORTEST_DELAY:
        return longest
    share = seed_of(address.lower(), "delay") / 2**64
    return SHORTEST_DELAY * (longest / SHORTEST_DELAY) ** share
