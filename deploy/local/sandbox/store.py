"""Mailboxes and what is yet to arrive, in one SQLite file; must never hand a UID out twice (RFC 3501 §2.3.1.1).

Every call takes microseconds on a local file, so it is made from the event loop. Times are aware, UTC, business time.
"""

import asyncio
import sqlite3
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from deploy.local.sandbox.recipients import Behaviour

FOLDERS = ("INBOX", "Sent", "Junk")
_TABLES = """
CREATE TABLE IF NOT EXISTS world (id INTEGER PRIMARY KEY CHECK (id = 1), offset_us INTEGER NOT NULL);
INSERT OR IGNORE INTO world VALUES (1, 0);
CREATE TABLE IF NOT EXISTS box (
    id INTEGER PRIMARY KEY, address TEXT NOT NULL, folder TEXT NOT NULL,
    uid_validity INTEGER NOT NULL, uid_next INTEGER NOT NULL DEFAULT 1, UNIQUE (address, folder)
);
CREATE TABLE IF NOT EXISTS message (
    box_id INTEGER NOT NULL, uid INTEGER NOT NULL, arrived_us INTEGER NOT NULL,
    flags TEXT NOT NULL, size INTEGER NOT NULL, raw BLOB NOT NULL, PRIMARY KEY (box_id, uid)
);
CREATE TABLE IF NOT EXISTS due (
    id INTEGER PRIMARY KEY, at_us INTEGER NOT NULL, behaviour TEXT NOT NULL,
    sender TEXT NOT NULL, recipient TEXT NOT NULL, raw BLOB NOT NULL
);
CREATE INDEX IF NOT EXISTS idx_due ON due (at_us, id);
CREATE TABLE IF NOT EXISTS answered (recipient TEXT, thread TEXT, PRIMARY KEY (recipient, thread));
CREATE TABLE IF NOT EXISTS first_try (
    sender TEXT, recipient TEXT, at_us INTEGER NOT NULL, PRIMARY KEY (sender, recipient)
);
"""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True, kw_only=True)
class Box:
    """One folder of one address."""

    id: int
    folder: str
    uid_validity: int
    uid_next: int


class Stored(NamedTuple):
    """One message without its text; a bare row, as a poll looks at hundreds."""

    uid: int
    arrived_us: int
    flag_words: str
    size: int

    @property
    def arrived(self) -> datetime:
        """Its INTERNALDATE."""
        return _from_us(self.arrived_us)

    @property
    def flags(self) -> frozenset[str]:
        """Its flags, as they were written."""
        return frozenset(self.flag_words.split())


@dataclass(frozen=True, kw_only=True)
class Due:
    """An answer that is yet to be given."""

    id: int
    at: datetime
    behaviour: Behaviour
    sender: str
    recipient: str
    raw: bytes


class Store:
    """The file, and who waits for new mail in it."""

    def __init__(self, path: Path) -> None:
        self._db = sqlite3.connect(path, isolation_level=None)
        # WAL with NORMAL: whole after kill -9 without a sync for each message
        self._db.executescript("PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;" + _TABLES)
        self._watchers: dict[int, set[asyncio.Event]] = {}

    def close(self) -> None:
        """Lets the file go."""
        self._db.close()

    @contextmanager
    def transaction(self) -> Generator[None]:
        """All or nothing of the calls in its block."""
        self._db.execute("BEGIN IMMEDIATE")
        with self._db:
            yield

    def offset(self) -> timedelta:
        """How far business time is ahead of real time."""
        return self._db.execute("SELECT offset_us FROM world").fetchone()[0] * _MICROSECOND

    def set_offset(self, offset: timedelta) -> None:
        """Keeps it for the next start."""
        self._db.execute("UPDATE world SET offset_us = ?", (offset // _MICROSECOND,))

    def box(self, address: str, folder: str) -> Box | None:
        """The folder of that address, case aside, or None; the FOLDERS of an address are made when first asked for."""
        name = next((known for known in FOLDERS if known.lower() == folder.lower()), folder)
        if name in FOLDERS:
            self._make_boxes(address.lower())
        sql = "SELECT id, folder, uid_validity, uid_next FROM box WHERE address = ? AND folder = ?"
        row = self._db.execute(sql, (address.lower(), name)).fetchone()
        return row and Box(id=row[0], folder=row[1], uid_validity=row[2], uid_next=row[3])

    def file(
        self, address: str, folder: str, raw: bytes, arrived: datetime, flags: frozenset[str] = frozenset()
    ) -> int:
        """Puts a message into the folder and tells those who watch it; returns its UID.

        Raises:
            LookupError: there is no such folder.

        """
        box = self.box(address, folder)
        if box is None:
            raise LookupError(folder)
        # the number first: a crash in between skips one, which is allowed
        sql = "UPDATE box SET uid_next = uid_next + 1 WHERE id = ? RETURNING uid_next - 1"
        ((uid,),) = self._db.execute(sql, (box.id,)).fetchall()
        row = (box.id, uid, to_us(arrived), " ".join(sorted(flags)), len(raw), raw)
        self._db.execute("INSERT INTO message VALUES (?, ?, ?, ?, ?, ?)", row)
        for event in self._watchers.get(box.id, ()):
            event.set()
        return uid

    def messages(self, box_id: int) -> list[Stored]:
        """All messages of the folder in the order of their UIDs."""
        sql = "SELECT uid, arrived_us, flags, size FROM message WHERE box_id = ? ORDER BY uid"
        return [Stored(*row) for row in self._db.execute(sql, (box_id,))]

    def raw(self, box_id: int, uid: int) -> bytes:
        """The message's text as it came."""
        return self._db.execute("SELECT raw FROM message WHERE box_id = ? AND uid = ?", (box_id, uid)).fetchone()[0]

    def set_flags(self, box_id: int, uid: int, flags: frozenset[str]) -> None:
        """Replaces the message's flags."""
        sql = "UPDATE message SET flags = ? WHERE box_id = ? AND uid = ?"
        self._db.execute(sql, (" ".join(sorted(flags)), box_id, uid))

    def watch(self, box_id: int, event: asyncio.Event) -> None:
        """Sets the event at every new message in the folder."""
        self._watchers.setdefault(box_id, set()).add(event)

    def unwatch(self, box_id: int, event: asyncio.Event) -> None:
        """Ends that."""
        self._watchers.get(box_id, set()).discard(event)

    def schedule(self, at: datetime, behaviour: Behaviour, *, sender: str, recipient: str, raw: bytes) -> None:
        """Plans an answer."""
        sql = "INSERT INTO due (at_us, behaviour, sender, recipient, raw) VALUES (?, ?, ?, ?, ?)"
        self._db.execute(sql, (to_us(at), behaviour.name, sender, recipient, raw))

    def next_due(self) -> Due | None:
        """The answer that comes next."""
        sql = "SELECT id, at_us, behaviour, sender, recipient, raw FROM due ORDER BY at_us, id LIMIT 1"
        row = self._db.execute(sql).fetchone()
        return row and Due(
            id=row[0], at=_from_us(row[1]), behaviour=Behaviour[row[2]], sender=row[3], recipient=row[4], raw=row[5]
        )

    def count_due(self, now: datetime) -> int:
        """How many answers are due by `now`."""
        return self._db.execute("SELECT count(*) FROM due WHERE at_us <= ?", (to_us(now),)).fetchone()[0]

    def settle(self, due: Due) -> None:
        """Takes a given answer off the plan."""
        self._db.execute("DELETE FROM due WHERE id = ?", (due.id,))

    def postpone(self, due: Due, to: datetime) -> None:
        """Plans it for later."""
        self._db.execute("UPDATE due SET at_us = ? WHERE id = ?", (to_us(to), due.id))

    def answers_now(self, recipient: str, thread: str) -> bool:
        """True at the first call for this person and thread, False ever after: nobody answers twice."""
        row = (recipient.lower(), thread)
        return self._db.execute("INSERT OR IGNORE INTO answered VALUES (?, ?)", row).rowcount == 1

    def first_try(self, sender: str, recipient: str, now: datetime) -> datetime:
        """When this pair was first seen; that is now at the first call."""
        pair = (sender.lower(), recipient.lower())
        self._db.execute("INSERT OR IGNORE INTO first_try VALUES (?, ?, ?)", (*pair, to_us(now)))
        sql = "SELECT at_us FROM first_try WHERE sender = ? AND recipient = ?"
        return _from_us(self._db.execute(sql, pair).fetchone()[0])

    def counts(self) -> dict[str, int]:
        """Mailbox folders, messages, and planned answers."""
        sql = "SELECT (SELECT count(*) FROM box), (SELECT count(*) FROM message), (SELECT count(*) FROM due)"
        boxes, messages, planned = self._db.execute(sql).fetchone()
        return {"folders": boxes, "messages": messages, "planned": planned}

    def _make_boxes(self, address: str) -> None:
        # differs from that of a folder of the same name in a data directory that was deleted
        uid_validity = int(time.time())
        rows = [(address, folder, uid_validity) for folder in FOLDERS]
        self._db.executemany("INSERT OR IGNORE INTO box (address, folder, uid_validity) VALUES (?, ?, ?)", rows)


def to_us(at: datetime) -> int:
    """Microseconds since 1970, as times are stored."""
    return (at - _EPOCH) // _MICROSECOND


def _from_us(at_us: int) -> datetime:
    return _EPOCH + at_us * _MICROSECOND
