"""A server that is started again when it dies; must never be a second one beside one that lives."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

import psutil

LOOK_S = 0.25


class Server(Protocol):
    """What PostgreSQL and NATS have in common (servers.py)."""

    @property
    def pid(self) -> int:
        """Its process id."""
        ...

    @property
    def url(self) -> str:
        """How to reach it; the same after a restart on the same directory and port."""
        ...

    async def stop(self) -> None:
        """Shuts it down and lets its directory go."""
        ...


@dataclass(kw_only=True)
class Revived:
    """A server and the task that looks after it."""

    restarts: int
    _server: Server
    _start: Callable[[], Awaitable[Server]]
    _looking: asyncio.Task[None] | None = None

    @classmethod
    async def start(cls, start: Callable[[], Awaitable[Server]]) -> "Revived":
        """Starts it by `start`, which is called again after each death.

        Raises:
            ServerError: it did not start the first time.

        """
        kept = cls(restarts=0, _server=await start(), _start=start)
        kept._looking = asyncio.create_task(kept._look_after())
        return kept

    @property
    def url(self) -> str:
        """How to reach it."""
        return self._server.url

    @property
    def pid(self) -> int:
        """The process that runs now, or ran last."""
        return self._server.pid

    async def failed(self) -> None:
        """Returns only by raising ServerError: it died and could not be started again."""
        assert self._looking is not None  # noqa: S101 - only `start` makes one
        await asyncio.shield(self._looking)

    async def stop(self) -> None:
        """Shuts it down for good."""
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.wait([self._looking])
        await self._server.stop()

    async def _look_after(self) -> None:
        while True:
            await asyncio.sleep(LOOK_S)
            if not is_alive(self._server.pid):
                await self._server.stop()  # lets the directory go
                self._server = await self._start()
                self.restarts += 1


def is_alive(pid: int) -> bool:
    """Whether the process runs; one that has ended and waits for its parent does not."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
