"""What a round costs: by the clock, and in processor time of this process and of PostgreSQL."""

import time
from collections.abc import Callable, Generator
from contextlib import contextmanager

import msgspec
import psutil

from benchmarks.ground import Place


class Cost(msgspec.Struct, frozen=True, kw_only=True):
    """What a round took in seconds: by the clock, of this process' processor time, and of PostgreSQL's."""

    wall: float
    own: float
    postgres: float


@contextmanager
def measured(place: Place) -> Generator[Callable[[], Cost]]:
    """Call what it gives after the block: the cost of what was done inside."""
    before, started = _used(place), time.perf_counter()
    spent: list[Cost] = []
    yield lambda: spent[0]
    wall, after = time.perf_counter() - started, _used(place)
    spent.append(Cost(wall=wall, own=after[0] - before[0], postgres=after[1] - before[1]))


def _used(place: Place) -> tuple[float, float]:
    """Processor seconds of this process and of PostgreSQL, with those of its processes that have ended."""
    postmaster = psutil.Process(place.postgres_pid)
    ended = postmaster.cpu_times()
    alive = [process.cpu_times() for process in (postmaster, *postmaster.children())]
    postgres = sum(each.user + each.system for each in alive) + ended.children_user + ended.children_system
    return time.process_time(), postgres
