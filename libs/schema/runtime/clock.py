"""Business time and new ids, passed in as values; nothing else in the code reads a clock to decide something."""

import asyncio
import os
import time
from datetime import UTC, datetime, timedelta
from uuid import UUID

import asyncpg

READ_OFFSET = "SELECT sandbox, clock_offset FROM installation"
_ACQUIRE_TIMEOUT_S = 3.0  # as everywhere (runtime/db.py, which this file does not import: rules may import it)
_SANDBOX_S = 0.1  # how late a process may see a sandbox's jump
_REAL_S = 5.0  # elsewhere the offset is 0 for ever, unless somebody makes a sandbox of it


class Clock:
    """Business time: real time plus the installation's offset, which only a sandbox may have (design.md §9.1)."""

    def __init__(self, offset: timedelta = timedelta(0)) -> None:
        self._offset = offset
        self._keep_s = 0.0
        self._read_at = 0.0
        self.jump = asyncio.Event()  # set when the offset is seen to have moved; then there is another one

    def now(self) -> datetime:
        """The business time, aware, in UTC."""
        return datetime.now(UTC) + self._offset

    async def refresh(self, pool: "asyncpg.Pool[asyncpg.Record]") -> None:
        """Reads the offset again, now."""
        async with pool.acquire(timeout=_ACQUIRE_TIMEOUT_S) as connection:
            row = await connection.fetchrow(READ_OFFSET)
        is_sandbox, offset = row or (False, timedelta(0))
        if offset != self._offset:
            self._offset = offset
            self.jump.set()
            self.jump = asyncio.Event()
        self._keep_s = _SANDBOX_S if is_sandbox else _REAL_S
        self._read_at = time.monotonic()

    async def follow(self, pool: "asyncpg.Pool[asyncpg.Record]") -> None:
        """Reads it again when it may have moved; loops call it before each tick, and it costs next to nothing."""
        if time.monotonic() - self._read_at >= self._keep_s:
            await self.refresh(pool)


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
