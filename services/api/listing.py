"""A page of a list: one row more is asked for than is shown, so that a cursor always leads somewhere."""

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import TypeVar
from uuid import UUID

from services.api.paging import read_cursor, write_cursor
from services.api.resources import Page
from services.api.routing import Scope

Item = TypeVar("Item")


async def page(  # noqa: PLR0913, PLR0917  what a list is made of
    at: Scope,
    listing: str,
    cursor: str | None,
    limit: int,
    fetch: Callable[[list[str] | None, int], Awaitable[list[Item]]],
    place: Callable[[Item], list[str]],
) -> Page[Item]:
    """The rows behind the cursor; `place` says where a row stands, in the words that `fetch` gets back.

    Raises:
        Problem: the cursor is not one of this list.

    """
    key = at.runtime.settings.secret_key
    before = None if cursor is None else read_cursor(key, at.team_id, listing, cursor)
    rows = await fetch(before, limit + 1)
    following = write_cursor(key, at.team_id, listing, place(rows[limit - 1])) if len(rows) > limit else None
    return Page[Item](data=rows[:limit], next_cursor=following)


def id_in(before: list[str] | None) -> UUID | None:
    """The id in the cursor of a list that is ordered by id."""
    return None if before is None else UUID(before[0])


def time_and_id_in(before: list[str] | None) -> tuple[datetime, UUID] | None:
    """The place in the cursor of a list that is ordered by time and id."""
    return None if before is None else (datetime.fromisoformat(before[0]), UUID(before[1]))
