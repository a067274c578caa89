"""How much an inbox may send on a day: its own limit, cut by its health, and the ramp of a young or rested inbox.

Numbers from field.md 4.2 and 4.3. Never blocks for want of data: an unknown score is no bad one.
"""

from collections.abc import Iterable
from datetime import date, timedelta

import msgspec

RAMP_START = 5
RAMP_STEP = 3  # more on each further sending day
RESTED = timedelta(days=10)  # so long without cold mail, and the ramp begins again from half
RAMP_MEMORY_DAYS = 60  # how far back sending days are looked at
LEAST_HEALTH = 50  # below it no cold mail goes


class Band(msgspec.Struct, frozen=True, kw_only=True):
    """What a range of health scores means: the share of the daily limit, and how many times the gaps."""

    least_score: int
    factor: float
    gap_factor: int = 1


BANDS = (
    Band(least_score=85, factor=1.0),
    Band(least_score=70, factor=0.7),
    Band(least_score=LEAST_HEALTH, factor=0.5, gap_factor=2),
    Band(least_score=0, factor=0.0, gap_factor=2),
)


def band_of(score: int | None) -> Band:
    """The band of a health score, 0 to 100; without one the best."""
    if score is None:
        return BANDS[0]
    return next((band for band in BANDS if score >= band.least_score), BANDS[-1])


def banded_limit(daily_limit: int, band: Band) -> int:
    """The daily limit in that band, at least one mail; who may send nothing at all is held by the gate `health`."""
    return max(1, int(daily_limit * band.factor))


def ramp_limit(sending_days: Iterable[date], day: date, most: int) -> int:
    """The most mails on `day`, after cold mail went on those days: 5 at first, 3 more on each further sending day.

    Never more than `most`, of which the half after a rest is half.
    """
    level, last = 0, None
    for sent_on in (*sorted(each for each in set(sending_days) if each < day), day):
        if last is None:
            level = RAMP_START
        elif sent_on - last > RESTED:
            level = max(RAMP_START, level // 2)
        else:
            level += RAMP_STEP
        level, last = min(level, most), sent_on
    return level
