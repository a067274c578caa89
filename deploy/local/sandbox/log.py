"""The SMTP server's own log, a JSON line for each recipient of a conversation; must never be written but by the server.

It is the ground truth of a demo's receipt: a line is with the system before the answer goes out and outlives kill -9.
"""

import os
from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Literal
from uuid import UUID

import msgspec

LOG_NAME = "smtp-log.jsonl"


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """How the server answered for one recipient.

    `time` is business time, UTC. `code` is the reply code, or "dropped" when the connection ended instead of an answer.
    `accepted` says whether the message was stored: a dropped one can have been. `message_id` has its angle brackets,
    and is None when the refusal came before the message did.
    """

    time: datetime
    transaction: UUID
    inbox: str
    recipient: str
    message_id: str | None
    code: int | Literal["dropped"]
    accepted: bool


class SmtpLog:
    """Appends outcomes to the log of one data directory."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / LOG_NAME
        self._file = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)

    def write(self, outcome: Outcome) -> None:
        """One line, whole, in one system call."""
        os.write(self._file, msgspec.json.encode(outcome) + b"\n")

    def close(self) -> None:
        """Lets the file go."""
        os.close(self._file)


def read_log(path: Path) -> list[Outcome]:
    """All outcomes so far, oldest first; none when there is no log yet."""
    if not path.exists():
        return []
    return [msgspec.json.decode(line, type=Outcome) for line in path.read_bytes().splitlines()]


def accepted(outcomes: Iterable[Outcome]) -> list[Outcome]:
    """Those whose message was stored."""
    return [outcome for outcome in outcomes if outcome.accepted]


def duplicates(outcomes: Iterable[Outcome]) -> dict[str, int]:
    """The Message-IDs that were stored in more than one transaction, and in how many too many."""
    transactions: defaultdict[str, set[UUID]] = defaultdict(set)
    for outcome in accepted(outcomes):
        if outcome.message_id is not None:
            transactions[outcome.message_id].add(outcome.transaction)
    return {message_id: len(seen) - 1 for message_id, seen in transactions.items() if len(seen) > 1}
