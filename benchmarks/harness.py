"""Interleaved rounds of ours and bare, and what a bench reports; never compares figures of different minutes."""

from collections.abc import Awaitable, Callable, Sequence
from statistics import median
from typing import TypeAlias

import msgspec

from benchmarks.ground import Ground


class Scale(msgspec.Struct, frozen=True, kw_only=True):
    """How much is measured: how many rounds count, after how many that only warm up."""

    rounds: int
    warm_ups: int
    quick: bool

    def size(self, full: int, quick: int) -> int:
        """How many units a round has."""
        return quick if self.quick else full


FULL = Scale(rounds=3, warm_ups=1, quick=False)
QUICK = Scale(rounds=1, warm_ups=0, quick=True)


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the report. `ours` and `bare` are rates in `unit`; a ratio above 1 means faster than bare."""

    bench: str
    what: str
    unit: str
    ours: float
    bare: float
    ratio: float
    goal: float | None = None
    note: str = ""


class Pair(msgspec.Struct, frozen=True, kw_only=True):
    """Medians over the rounds; `ratio` is the median of each round's own ratio."""

    ours: float
    bare: float
    ratio: float


Bench: TypeAlias = Callable[[Ground, Scale], Awaitable[list[Row]]]
Side: TypeAlias = Callable[[], Awaitable[float]]  # does one round, returns units per second


async def compare(ours: Side, bare: Side, scale: Scale) -> Pair:
    """Runs the two in turn, the other one first each time, so that a drift of the machine falls on both."""
    rates: list[tuple[float, float]] = []
    for number in range(scale.warm_ups + scale.rounds):
        if number % 2:
            bare_rate, our_rate = await bare(), await ours()
        else:
            our_rate, bare_rate = await ours(), await bare()
        rates.append((our_rate, bare_rate))
    return pair_of(rates[scale.warm_ups :])


def pair_of(rates: Sequence[tuple[float, float]]) -> Pair:
    """The medians of rounds measured by (our rate, bare rate)."""
    return Pair(
        ours=median(our_rate for our_rate, _ in rates),
        bare=median(bare_rate for _, bare_rate in rates),
        ratio=median(our_rate / bare_rate for our_rate, bare_rate in rates),
    )
