"""The breakers of the good name: too many bounces or complaints stop cold mail, and nothing else (field.md 4.4).

Never judges by a raw rate: of few mails it means nothing, so that good lists would be stopped and bad ones not.
"""

from datetime import datetime, timedelta
from itertools import accumulate
from math import ceil, exp, lgamma, log

import msgspec

from services.sender.rules.breaker import Breaker, State, closed

BOUNCE_WINDOW = timedelta(days=14)
# Before the first mail we believe in 1 bounce in 50, and let 49 good mails and 1 bad one speak for that: Beta(1, 49).
PRIOR_BAD, PRIOR_GOOD = 1, 49
WORST_RATE = 0.03
CERTAINTY = 0.90
LEAST_SENDS = 10
REPUTATION_PAUSE = timedelta(hours=24)
PROBES = 5

COMPLAINT_WEEK = timedelta(days=7)
COMPLAINT_MONTH = timedelta(days=30)
COMPLAINT_PAUSE = timedelta(days=7)
LEAST_SENDS_FOR_RATE = 1000
HALVED_AT, HALVED_RATE = 2, 0.0010
OPEN_AT, OPEN_RATE = 3, 0.0030


class Bounces(msgspec.Struct, frozen=True, kw_only=True):
    """Campaign mails of the window, and how many of them came back because there is no such person."""

    sends: int
    bounces: int


class Complaints(msgspec.Struct, frozen=True, kw_only=True):
    """Complaints of the last week and month, and the month's campaign mails."""

    week: int
    month: int
    sends: int


def chance_of_worse(bounces: int, sends: int) -> float:
    """P(true rate > 3 %) after so many bounces of so many mails, between 0 and 1.

    The tail of Beta(1 + bounces, 49 + sends - bounces) above x; with whole numbers a and b, I_x(a, b) is the chance of
    at least a hits in a + b - 1 throws (DLMF 8.17.5), so this is that of at most `bounces` in `sends` + 49.
    """
    throws = PRIOR_BAD + PRIOR_GOOD - 1 + sends
    return min(1.0, sum(_binomial(throws, hits) for hits in range(PRIOR_BAD + bounces)))


def _binomial(throws: int, hits: int) -> float:
    # Logarithms: the factors leave the range of a float long before their product does.
    ways = lgamma(throws + 1) - lgamma(hits + 1) - lgamma(throws - hits + 1)
    return exp(ways + hits * log(WORST_RATE) + (throws - hits) * log(1 - WORST_RATE))


def bounce_limit(sends: int) -> int:
    """How many bounces of so many mails open the breaker."""
    throws = PRIOR_BAD + PRIOR_GOOD - 1 + sends
    chances = accumulate(_binomial(throws, hits) for hits in range(throws))
    return next(hits for hits, chance in enumerate(chances) if chance >= CERTAINTY) + 1 - PRIOR_BAD


def after_bounce(breaker: Breaker, seen: Bounces, sent_at: datetime, now: datetime) -> Breaker:
    """A hard bounce more, of a mail that went (or was refused) at `sent_at`; `seen` counts it.

    While it is open only a probe that bounces changes anything: cold mail stops for another day.
    """
    if breaker.state != "closed":
        is_probe = breaker.retry_at is not None and sent_at >= breaker.retry_at
        return _opened(breaker, seen, "a probe bounced", now) if is_probe else breaker
    return judged(breaker, seen, now)


def judged(breaker: Breaker, seen: Bounces, now: datetime) -> Breaker:
    """A closed breaker by what is seen now. Only a bounce makes things worse, or the mail that makes enough of them."""
    chance = chance_of_worse(seen.bounces, seen.sends)
    if seen.sends >= LEAST_SENDS and chance >= CERTAINTY:
        return _opened(breaker, seen, f"P(rate > {WORST_RATE:.0%}) = {chance:.2f}", now)
    return msgspec.structs.replace(
        breaker, failures=seen.bounces, sends=seen.sends, threshold=bounce_limit(max(seen.sends, LEAST_SENDS))
    )


def _opened(breaker: Breaker, seen: Bounces, reason: str, now: datetime) -> Breaker:
    return msgspec.structs.replace(
        breaker,
        state="open",
        failures=seen.bounces,
        sends=seen.sends,
        threshold=bounce_limit(seen.sends),
        retry_at=now + REPUTATION_PAUSE,
        reason=reason,
    )


def after_pause(breaker: Breaker) -> Breaker:
    """The day is over: a few mails may go and show how things stand."""
    return msgspec.structs.replace(breaker, state="half-open", reason=f"{PROBES} probes")


def after_probe(breaker: Breaker, probes: int) -> Breaker:
    """A probe was accepted, `probes` of them so far; the last one closes it. What lay before has had its verdict."""
    if breaker.state == "closed" or probes < PROBES:
        return breaker
    return msgspec.structs.replace(closed(breaker), counted_from=breaker.retry_at)


def after_complaint(breaker: Breaker, seen: Complaints, now: datetime) -> Breaker:
    """A complaint more; `seen` counts it. One is watched, two halve what the inbox sends, three ask for a person."""
    if breaker.state == "open":
        return breaker
    limit = _complaint_limit(seen, OPEN_AT, OPEN_RATE)
    if _reached(seen, OPEN_AT, OPEN_RATE):
        return _complained(breaker, seen, "open", limit, now)
    if _reached(seen, HALVED_AT, HALVED_RATE):
        return _complained(breaker, seen, "half-open", _complaint_limit(seen, HALVED_AT, HALVED_RATE), now)
    return msgspec.structs.replace(breaker, failures=seen.week, sends=seen.sends, threshold=limit, reason="watch")


def _reached(seen: Complaints, week: int, rate: float) -> bool:
    return seen.week >= week or (seen.sends >= LEAST_SENDS_FOR_RATE and seen.month >= rate * seen.sends)


def _complaint_limit(seen: Complaints, week: int, rate: float) -> int:
    """How many complaints it takes: of a week, or, where that is what was reached, of a month."""
    return week if seen.week >= week or seen.sends < LEAST_SENDS_FOR_RATE else ceil(rate * seen.sends)


def _complained(breaker: Breaker, seen: Complaints, state: State, limit: int, now: datetime) -> Breaker:
    in_week = seen.week >= limit
    return msgspec.structs.replace(
        breaker,
        state=state,
        failures=seen.week if in_week else seen.month,
        sends=seen.sends,
        threshold=limit,
        retry_at=now + COMPLAINT_PAUSE,
        reason="complaints in 7 days" if in_week else "complaints in 30 days",
    )
