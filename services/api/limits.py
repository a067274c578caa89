"""How fast one key may call: a bucket of tokens for each, in this process; never slows down anybody else's key."""

import math
import time
from uuid import UUID

from services.api.problems import Problem

_MAX_BUCKETS = 10_000  # of keys seen lately; a full bucket is the same as none


class Limiter:
    """Lets each key make `per_second` requests in the long run and `burst` at once; replicas count apart."""

    def __init__(self, *, per_second: float, burst: int) -> None:
        self._per_second = per_second
        self._burst = burst
        self._buckets: dict[UUID, tuple[float, float]] = {}

    def take(self, key_id: UUID) -> None:
        """Takes one token; real time, as a socket's.

        Raises:
            Problem: rate_limited, with the time until there is one again.

        """
        now = time.monotonic()
        tokens, seen = self._buckets.get(key_id, (float(self._burst), now))
        tokens = min(float(self._burst), tokens + (now - seen) * self._per_second)
        if tokens < 1:
            raise Problem("rate_limited", retry_after_s=math.ceil((1 - tokens) / self._per_second))
        if len(self._buckets) >= _MAX_BUCKETS:
            self._buckets.clear()
        self._buckets[key_id] = (tokens - 1, now)
