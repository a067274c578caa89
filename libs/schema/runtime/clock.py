"""Business time and new ids, passed in as values; nothing else in the code reads a clock to decide something."""

import os
import time
from datetime import UTC, datetime, timedelta
from uuid import UUID

import asyncpg

READ_OFFSET = "SELECT clock_offset FROM installation"


class Clock:
    """Business time: real time plus the installation's offset, which only a sandbox may have (design.md §9.1)."""

    def __init__(self, offset: timedelta = timedelta(0)) -> None:
        self._offset = offset

    def now(self) -> datetime:
        """The business time, aware, in UTC."""
        return datetime.now(UTC) + self._offset

    async def refresh(self, pool: "asyncpg.Pool[asyncpg.Record]") -> None:
        """Reads the offset again; loops call it once a tick, so that every process follows a sandbox's jump."""
        self._offset = await pool.fetchval(READ_OFFSET) or timedelta(0)


class FixedClock(Clock):
    """A clock for tests: stands still until it is moved."""

    def __init__(self, at: datetime) -> None:
        super().__init__()
        self._at = at

    def now(self) -> datetime:
        """The instant it was set to."""
        return self._at

    def move(self, by: timedelta) -> None:
        """Goes on by `by`."""
        self._at += by

    async def refresh(self, pool: "asyncpg.Pool[asyncpg.Record]") -> None:
        """Does nothing: a fixed clock is moved by its test only."""


def new_id() -> UUID:
    """A UUIDv7 (RFC 9562 §5.7): 48 bits of real time in milliseconds, then randomness; sorts by creation."""
    millis = time.time_ns() // 1_000_000
    value = (millis & (1 << 48) - 1) << 80 | int.from_bytes(os.urandom(10), "big")
    value = value & ~(0xF000 << 64) | 0x7000 << 64
    value = value & ~(0xC000 << 48) | 0x8000 << 48
    return UUID(int=value)
