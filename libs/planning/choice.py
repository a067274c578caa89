"""The inboxes that leads may get, the freest first, and which of several holds is told.

Never decides whether an inbox has a slot: that is the planner's (schedule.py).
"""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from heapq import heapify, heappop, heappush, heapreplace
from uuid import UUID

from libs.planning.gates import Hold
from libs.planning.limits.diary import Diary

NO_INBOX = Hold(gate="inbox", value="none")
Place = tuple[int, UUID]  # less room, more, and the inbox


class Choice:
    """The inboxes that a group of leads may still get, the freest first, and the hold of those that are full."""

    def __init__(self, diaries: Mapping[UUID, Diary], inbox_ids: tuple[UUID, ...]) -> None:
        self.hold = NO_INBOX
        self._diaries = diaries
        self._heap: list[Place] = [(-diaries[inbox_id].room(), inbox_id) for inbox_id in inbox_ids]
        heapify(self._heap)

    def freest(self) -> Diary | None:
        """The diary with the most room; other groups fill diaries too, so the heap is put right as it is read."""
        while self._heap:
            room, inbox_id = self._heap[0]
            fresh = -self._diaries[inbox_id].room()
            if fresh == room:
                return self._diaries[inbox_id]
            heapreplace(self._heap, (fresh, inbox_id))
        return None

    def drop(self, hold: Hold) -> None:
        """Takes the freest out for good: it was full for this lead, and the group's next ones fall due no earlier."""
        heappop(self._heap)
        self.hold = sooner(self.hold, hold)

    def pass_by(self) -> Place:
        """Takes the freest out for this lead only."""
        return heappop(self._heap)

    def put_back(self, places: Iterable[Place]) -> None:
        """For the next lead."""
        for place in places:
            heappush(self._heap, place)


def sooner(held: Hold, new: Hold) -> Hold:
    """The hold that ends first; one without an end comes last, and no inbox at all is the last of all."""
    return new if held is NO_INBOX or _ends(new) < _ends(held) else held


def _ends(hold: Hold) -> tuple[bool, datetime]:
    return hold.retry_at is None, hold.retry_at or datetime.max.replace(tzinfo=UTC)
