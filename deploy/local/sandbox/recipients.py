"""How people behave, read from the first word of their address; pure, and must never depend on the message they got.

| first word     | the server's answer                                   | what comes back later                     |
|----------------|-------------------------------------------------------|-------------------------------------------|
| any other      | 250                                                   | nothing                                   |
| interested     | 250                                                   | a reply that wants to know more           |
| meeting        | 250                                                   | a reply that names a time for a meeting   |
| question       | 250                                                   | a reply that only asks something          |
| not-interested | 250                                                   | a reply that declines; also notinterested |
| unsubscribe    | 250                                                   | a reply that asks to be removed           |
| colleague      | 250                                                   | a reply by another of the house, no ids   |
| alias          | 250                                                   | a reply from another address of theirs    |
| oneclick       | 250                                                   | a POST to List-Unsubscribe (RFC 8058)     |
| ooo            | 250                                                   | an absence note with a date of return     |
| autoreply      | 250                                                   | a machine's thanks; nobody is away        |
| leftcompany    | 250                                                   | a machine says that they have left        |
| forged         | 250                                                   | forged reports about it, the ids guessed  |
| dsn            | 250                                                   | a report: 5.1.1, no such user             |
| softdsn        | 250                                                   | a report: 5.2.2 full, or 4.4.7 too late   |
| hardbounce     | RCPT: 550 5.1.1; also bounce                          |                                           |
| mailboxfull    | RCPT: 452 4.2.2 for 30 minutes, then 552 5.2.2        |                                           |
| greylist       | RCPT: 451 4.7.1 for 5 minutes, then 250               | nothing                                   |
| 421            | RCPT: 421 4.3.2 and hangs up for 10 minutes, then 250 | nothing                                   |
| policy         | RCPT: 550 5.7.1                                       |                                           |
| policydot      | dot: 550 5.7.1                                        |                                           |
| drop           | dot: stored, but it hangs up instead of the 250       | nothing                                   |
| tarpit         | RCPT and dot: 250, each after `tarpit_s`              | nothing                                   |
| tarpitdot      | dot: never answers, hangs up after `tarpit_s`         | nothing: it was not stored                |

Behind interested, not-interested and unsubscribe -de, -fr or -ja says in which language they answer; else in English.
The minutes are business time, counted from the first try of that sender for that recipient; `tarpit_s` is real time.
"""

import hashlib
import re
from datetime import timedelta
from enum import Enum, auto
from typing import NamedTuple

_FIRST_WORD = re.compile(r"421(?!\d)|[^.+\d@]*")
SHORTEST_DELAY = timedelta(minutes=2)
BLOCKED = "550 5.7.1 Message blocked by our policy"


class Behaviour(Enum):
    """What happens to mail for an address; the table above says it in full."""

    SILENT = auto()
    INTERESTED = auto()
    MEETING = auto()
    QUESTION = auto()
    NOT_INTERESTED = auto()
    UNSUBSCRIBE = auto()
    COLLEAGUE = auto()
    ALIAS = auto()
    ONE_CLICK = auto()
    OUT_OF_OFFICE = auto()
    AUTO_REPLY = auto()
    LEFT_COMPANY = auto()
    FORGED = auto()
    DSN = auto()
    SOFT_DSN = auto()
    HARD_BOUNCE = auto()
    MAILBOX_FULL = auto()
    GREYLIST = auto()
    CLOSED = auto()
    POLICY = auto()
    POLICY_AT_DOT = auto()
    DROP = auto()
    TARPIT = auto()
    TARPIT_AT_DOT = auto()


_WORDS = {
    "interested": Behaviour.INTERESTED,
    "meeting": Behaviour.MEETING,
    "question": Behaviour.QUESTION,
    "notinterested": Behaviour.NOT_INTERESTED,
    "not-interested": Behaviour.NOT_INTERESTED,
    "unsubscribe": Behaviour.UNSUBSCRIBE,
    "colleague": Behaviour.COLLEAGUE,
    "alias": Behaviour.ALIAS,
    "oneclick": Behaviour.ONE_CLICK,
    "ooo": Behaviour.OUT_OF_OFFICE,
    "autoreply": Behaviour.AUTO_REPLY,
    "leftcompany": Behaviour.LEFT_COMPANY,
    "forged": Behaviour.FORGED,
    "dsn": Behaviour.DSN,
    "softdsn": Behaviour.SOFT_DSN,
    "hardbounce": Behaviour.HARD_BOUNCE,
    "bounce": Behaviour.HARD_BOUNCE,
    "mailboxfull": Behaviour.MAILBOX_FULL,
    "greylist": Behaviour.GREYLIST,
    "421": Behaviour.CLOSED,
    "policy": Behaviour.POLICY,
    "policydot": Behaviour.POLICY_AT_DOT,
    "drop": Behaviour.DROP,
    "tarpit": Behaviour.TARPIT,
    "tarpitdot": Behaviour.TARPIT_AT_DOT,
}


# Who answers in one of them is named by the word with it behind: interested-ja.
LANGUAGES = ("de", "fr", "ja")
_SPEAKING = ("interested", "not-interested", "unsubscribe")
_WORDS.update({f"{word}-{language}": _WORDS[word] for word in _SPEAKING for language in LANGUAGES})


class _Refusal(NamedTuple):
    """What RCPT TO is answered for a while after a sender's first try, and then for ever; None is 250."""

    first: str | None = None
    lasts: timedelta = timedelta(0)
    then: str | None = None


_AT_RCPT = {
    Behaviour.HARD_BOUNCE: _Refusal(then="550 5.1.1 The email account that you tried to reach does not exist"),
    Behaviour.POLICY: _Refusal(then=BLOCKED),
    Behaviour.MAILBOX_FULL: _Refusal(
        first="452 4.2.2 The recipient's mailbox is full, please try again later",
        lasts=timedelta(minutes=30),
        then="552 5.2.2 The recipient's mailbox is full",
    ),
    Behaviour.GREYLIST: _Refusal(
        first="451 4.7.1 Greylisted, please try again in five minutes", lasts=timedelta(minutes=5)
    ),
    Behaviour.CLOSED: _Refusal(
        first="421 4.3.2 Service not available, closing transmission channel", lasts=timedelta(minutes=10)
    ),
}
# Whose mail server writes, to the envelope's sender and from nobody (RFC 3834 §4, RFC 3464 §2).
NOTES = frozenset({Behaviour.OUT_OF_OFFICE, Behaviour.AUTO_REPLY, Behaviour.LEFT_COMPANY})
# A server reports on every message; people and absence notes answer a thread once.
REPORTS = frozenset({Behaviour.DSN, Behaviour.SOFT_DSN, Behaviour.FORGED})
MACHINES = NOTES | REPORTS
# Those whose answer comes later, on its own way.
ANSWERING = MACHINES | {
    Behaviour.INTERESTED,
    Behaviour.MEETING,
    Behaviour.QUESTION,
    Behaviour.NOT_INTERESTED,
    Behaviour.UNSUBSCRIBE,
    Behaviour.COLLEAGUE,
    Behaviour.ALIAS,
    Behaviour.ONE_CLICK,
}


def behaviour_of(address: str) -> Behaviour:
    """The behaviour named by the local part up to its first dot, plus or digit; an unknown word is silent."""
    word = _FIRST_WORD.match(address.lower())
    return _WORDS.get(word[0], Behaviour.SILENT) if word else Behaviour.SILENT


def language_of(address: str) -> str:
    """In which language its owner answers: "en" unless the first word ends in another."""
    word = _FIRST_WORD.match(address.lower())
    ending = word[0].rpartition("-")[2] if word and word[0] in _WORDS else ""
    return ending if ending in LANGUAGES else "en"


def refusal_of(behaviour: Behaviour, known_for: timedelta) -> str | None:
    """The answer to RCPT TO instead of 250, if any; `known_for` is how long ago this sender first wrote to them."""
    refusal = _AT_RCPT.get(behaviour)
    if refusal is None:
        return None
    return refusal.first if known_for < refusal.lasts else refusal.then


def seed_of(*words: str) -> int:
    """A number that is always the same for the same words, on every machine."""
    return int.from_bytes(hashlib.sha256("\0".join(words).encode()).digest()[:8])


def delay_of(address: str, longest: timedelta) -> timedelta:
    """How long an address takes to answer: 2 minutes to `longest`, short ones likelier; zero when `longest` is."""
    if longest <= SHORTEST_DELAY:
        return longest
    share = seed_of(address.lower(), "delay") / 2**64
    return SHORTEST_DELAY * (longest / SHORTEST_DELAY) ** share
