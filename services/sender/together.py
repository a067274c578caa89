"""Several callers' writes in one transaction: who asks while one is written waits for the next, with all who wait.

Never waits for more to come: at a human pace every write is alone, and only a crowd shares round trips and commits.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


class _ApartError(Exception):
    """One of the crowd may be what failed: each asks alone."""


class Together(Generic[Item, Result]):
    """`write` is given all that waits, writes all of it or nothing, and answers each."""

    def __init__(self, write: Callable[[Sequence[Item]], Awaitable[Sequence[Result]]]) -> None:
        self._write = write
        self._waiting: list[tuple[Item, asyncio.Future[Result]]] = []
        self._writing: asyncio.Task[None] | None = None

    async def ask(self, item: Item) -> Result:
        """The answer to this item. A crowd that fails is written one by one: nobody pays for another's error.

        Raises whatever `write` raises for this item alone.
        """
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Result] = loop.create_future()
        self._waiting.append((item, answer))
        if self._writing is None:
            self._writing = loop.create_task(self._write_on())
        try:
            return await answer
        except _ApartError:
            (alone,) = await self._write([item])
            return alone

    async def _write_on(self) -> None:
        while self._waiting:
            crowd, self._waiting = self._waiting, []
            asked = [answer for _, answer in crowd]
            try:
                results = await self._write([item for item, _ in crowd])
            except Exception as error:  # noqa: BLE001 - whoever asked gets it
                _fail(asked, error if len(crowd) == 1 else _ApartError())
            else:
                for answer, result in zip(asked, results, strict=True):
                    if not answer.done():  # cancelled: nobody waits any more
                        answer.set_result(result)
        self._writing = None


def _fail(asked: Sequence[asyncio.Future[Result]], error: Exception) -> None:
    for answer in asked:
        if not answer.done():
            answer.set_exception(error)
