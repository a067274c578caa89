"""The sandbox's control endpoint: JSON lines over TCP on loopback, one a request; must never move the clock back.

`{"set_offset": 3600.5}` and `{"advance": 60}` move business time (seconds), `{}` only asks. Every answer is the state.
"""

import asyncio
from datetime import datetime, timedelta

import msgspec

from deploy.local.sandbox.courier import Clock, Courier
from deploy.local.sandbox.store import Store

ANSWER_TIMEOUT_S = 10.0


class Request(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is asked for; at most one of the two."""

    set_offset: float | None = None
    advance: float | None = None


class State(msgspec.Struct, frozen=True, kw_only=True):
    """How the world stands. Times are business time, UTC.

    `next_due` is when the next answer falls (None: nothing is planned); `quiet` says that all due by `now` has been
    given, else `overdue` counts what has not. `last_delivery` is when the newest answer came into a mailbox, since the
    process started.
    `answers` counts, by behaviour, what people and mail servers have sent back since the process started.
    """

    now: datetime
    offset_s: float
    next_due: datetime | None
    quiet: bool
    overdue: int
    last_delivery: datetime | None
    folders: int
    messages: int
    planned: int
    answers: dict[str, int]


class Refused(msgspec.Struct, frozen=True, kw_only=True):
    """Why a request was not carried out."""

    error: str


class ControlError(Exception):
    """The sandbox refused a request."""


class Control:
    """The client: one connection, any number of requests, one at a time."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._one_at_a_time = asyncio.Lock()

    @classmethod
    async def connect(cls, port: int) -> "Control":
        """A client of the sandbox on this machine; raises OSError when none is there."""
        return cls(*await asyncio.open_connection("127.0.0.1", port))

    async def state(self) -> State:
        """How the world stands now."""
        return await self._ask(Request())

    async def set_offset(self, offset: timedelta) -> State:
        """Moves business time to real time plus `offset`; what falls due is given at once, see `quiet`.

        Raises:
            ControlError: the clock is ahead of that already.

        """
        return await self._ask(Request(set_offset=offset.total_seconds()))

    async def advance(self, by: timedelta) -> State:
        """Moves business time on by `by`."""
        return await self._ask(Request(advance=by.total_seconds()))

    async def close(self) -> None:
        """Hangs up."""
        self._writer.close()
        await self._writer.wait_closed()

    async def _ask(self, request: Request) -> State:
        async with self._one_at_a_time, asyncio.timeout(ANSWER_TIMEOUT_S):
            self._writer.write(msgspec.json.encode(request) + b"\n")
            line = await self._reader.readuntil(b"\n")
        if line.startswith(b'{"error"'):
            raise ControlError(msgspec.json.decode(line, type=Refused).error)
        return msgspec.json.decode(line, type=State)


def state_of(store: Store, clock: Clock, courier: Courier) -> State:
    """The state from inside the process."""
    now = clock.now()
    overdue = store.count_due(now)
    return State(
        now=now,
        offset_s=clock.offset.total_seconds(),
        next_due=courier.next_due(),
        quiet=overdue == 0,
        overdue=overdue,
        last_delivery=courier.last_delivery,
        answers=dict(courier.answers),
        **store.counts(),
    )


def answer_to(line: bytes, store: Store, clock: Clock, courier: Courier) -> State | Refused:
    """Does what one request line asks for."""
    try:
        request = msgspec.json.decode(line, type=Request)
        if request.set_offset is not None:
            clock.set_offset(timedelta(seconds=request.set_offset))
        if request.advance is not None:
            clock.set_offset(clock.offset + timedelta(seconds=request.advance))
    except (msgspec.DecodeError, ValueError, OverflowError) as error:
        return Refused(error=str(error))
    courier.wake()
    return state_of(store, clock, courier)
