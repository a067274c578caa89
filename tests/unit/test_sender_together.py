"""Writes that go together: who shares one, who waits for the next, and who is hurt by another's error."""

import asyncio
from collections.abc import Sequence

import pytest

from services.sender.together import Together


class Book:
    """Writes numbers down once it is let, and refuses those below zero."""

    def __init__(self) -> None:
        self.asked: list[list[int]] = []
        self.let = asyncio.Event()

    async def write(self, numbers: Sequence[int]) -> list[str]:
        self.asked.append(list(numbers))
        await self.let.wait()
        if min(numbers) < 0:
            raise ValueError("below zero")
        return [f"n{number}" for number in numbers]


async def begun(together: Together[int, str], *numbers: int) -> list[asyncio.Task[str]]:
    """One task for each number, which has asked."""
    tasks = [asyncio.create_task(together.ask(number)) for number in numbers]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    return tasks


async def test_who_asks_while_another_is_written_goes_with_all_who_wait() -> None:
    book = Book()
    together = Together(book.write)
    first = await begun(together, 1)
    others = await begun(together, 2, 3, 4)
    assert book.asked == [[1]]
    book.let.set()
    assert await asyncio.gather(*first, *others) == ["n1", "n2", "n3", "n4"]
    assert book.asked == [[1], [2, 3, 4]]


async def test_who_comes_after_all_is_written_waits_for_nobody() -> None:
    book = Book()
    book.let.set()
    together = Together(book.write)
    assert [await together.ask(1), await together.ask(2)] == ["n1", "n2"]
    assert book.asked == [[1], [2]]


async def test_an_error_in_a_crowd_hurts_only_whose_it_is() -> None:
    book = Book()
    together = Together(book.write)
    first = await begun(together, 1)
    others = await begun(together, 2, -3, 4)
    book.let.set()
    assert await asyncio.gather(*first) == ["n1"]
    two, three, four = await asyncio.gather(*others, return_exceptions=True)
    assert (two, four) == ("n2", "n4")
    assert isinstance(three, ValueError)
    assert book.asked == [[1], [2, -3, 4], [2], [-3], [4]]


async def test_an_error_is_of_the_moment_and_the_next_is_written() -> None:
    book = Book()
    book.let.set()
    together = Together(book.write)
    with pytest.raises(ValueError, match="below zero"):
        await together.ask(-1)
    assert await together.ask(2) == "n2"


async def test_who_has_gone_away_keeps_nobody_waiting() -> None:
    book = Book()
    together = Together(book.write)
    (first,) = await begun(together, 1)
    gone, stays = await begun(together, 2, 3)
    first.cancel()
    gone.cancel()
    book.let.set()
    async with asyncio.timeout(10):
        assert await stays == "n3"
    assert first.cancelled()
    assert gone.cancelled()
