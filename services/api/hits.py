"""Opens and clicks: noted in memory and answered, recorded soon after, many at once (design.md §9.12).

Declared lossy: what is noted when the process dies, or when too much is waiting, is gone. Never tells a hit of a mail
that was not sent, and never the same link of the same mail twice within REPEAT.
"""

import asyncio
import time
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable, Hashable
from contextlib import suppress
from datetime import datetime, timedelta
from ipaddress import IPv6Address, ip_address
from itertools import islice, takewhile
from typing import Any, Final, Generic, TypeVar
from uuid import UUID

import msgspec
from prometheus_client import Counter

from libs.schema.events.email import EmailClicked, EmailOpened
from libs.schema.runtime.db import ACQUIRE_TIMEOUT_S, DATABASE_ERRORS, transaction
from libs.schema.runtime.outbox import Fact, record_all
from libs.schema.runtime.relay import pause
from libs.schema.runtime.service import Runtime
from services.api.queries import hits as rows

HITS: Final = Counter("coldstream_hits_total", "Opens and clicks that were answered, by what became of them", ["fate"])
GATHER_S = 0.05  # how long a hit waits for others before it is recorded
REPEAT = timedelta(seconds=10)  # the same token within it is one hit (reliability.md B45)
TOGETHER = timedelta(seconds=1)  # hits of one flush share one time
AT_ONCE = 500
MAX_WAITING = 10_000
MAX_REMEMBERED = 50_000
MAX_USER_AGENT = 256
_KEEP_S = 60.0  # how late a removed team or link may be noticed
_NOTHING_S = 0.5

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


class Hit(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody or something fetched the pixel of an email, or one of its links."""

    event_id: UUID
    at: datetime
    team_id: UUID
    email_id: UUID
    link_id: UUID | None = None
    head: bool = False
    user_agent: str | None = None
    network: str | None = None


class Hits:
    """What has been hit lately: one per process, shared by the public application and the loop that records."""

    def __init__(self, runtime: Runtime) -> None:
        self.team_is_there: Kept[UUID, bool] = Kept(self._look_up_team)
        self.target: Kept[tuple[UUID, UUID], str | None] = Kept(self._look_up_target)
        self._runtime = runtime
        self._waiting: deque[Hit] = deque()
        # In the order of their times; a plain dict would be slow to give its first entry after many have gone.
        self._seen: OrderedDict[tuple[UUID, UUID | None], datetime] = OrderedDict()
        self._noted = asyncio.Event()

    def note(self, hit: Hit) -> None:
        """Remembers the hit for the next flush, unless it is a repetition or too many are waiting."""
        key = hit.email_id, hit.link_id
        self._forget_seen(hit.at - REPEAT)
        if key in self._seen and hit.at - self._seen[key] < REPEAT:
            HITS.labels("repeated").inc()
        elif len(self._waiting) >= MAX_WAITING:
            HITS.labels("dropped").inc()
        else:
            self._seen[key] = hit.at
            self._seen.move_to_end(key)
            self._waiting.append(hit)
            self._noted.set()

    async def record_soon(self) -> bool:
        """One tick of the loop: waits for a hit, gathers those that come with it, records them; True when it did.

        Raises:
            asyncpg.PostgresError, OSError: the database cannot be reached; the hits wait for the next tick.

        """
        with suppress(TimeoutError):
            async with asyncio.timeout(_NOTHING_S):
                await self._noted.wait()
        if not self._waiting:
            return False
        await pause(self._runtime.stopping, GATHER_S)
        await self.flush()
        return True

    async def drain(self) -> None:
        """Records all that is waiting, at the end of the process, as far as the database still answers."""
        try:
            while self._waiting:
                await self.flush()
        except DATABASE_ERRORS as error:
            self._runtime.log.warning("hits.lost", count=len(self._waiting), error=type(error).__name__)

    async def flush(self) -> None:
        """Records the hits of one moment in one transaction; after an error a second call records them once."""
        if not self._waiting:
            return
        until = self._waiting[0].at + TOGETHER
        batch = list(takewhile(lambda hit: hit.at < until, islice(self._waiting, AT_ONCE)))
        async with transaction(self._runtime.pool) as tx:
            sent = await rows.sent_behind(
                tx, [hit.event_id for hit in batch], [hit.team_id for hit in batch], [hit.email_id for hit in batch]
            )
            emails = {each.event_id: each for each in sent}
            facts = [_told(hit, emails[hit.event_id]) for hit in batch if hit.event_id in emails]
            await record_all(tx, facts, by="api", at=batch[0].at)
        for _ in batch:
            self._waiting.popleft()
        if not self._waiting:
            self._noted.clear()
        HITS.labels("recorded").inc(len(facts))
        HITS.labels("not_sent").inc(len(batch) - len(facts))

    def _forget_seen(self, before: datetime) -> None:
        while self._seen and (next(iter(self._seen.values())) <= before or len(self._seen) >= MAX_REMEMBERED):
            self._seen.popitem(last=False)

    async def _look_up_team(self, team_id: UUID) -> bool:
        async with self._runtime.pool.acquire(timeout=ACQUIRE_TIMEOUT_S) as connection:
            return await rows.team_is_there(connection, team_id)

    async def _look_up_target(self, of: tuple[UUID, UUID]) -> str | None:
        async with self._runtime.pool.acquire(timeout=ACQUIRE_TIMEOUT_S) as connection:
            return await rows.link_target(connection, *of)


class Kept(Generic[Key, Value]):
    """Answers of the database that are kept for a minute, so that the thousandth hit asks nobody."""

    def __init__(self, look_up: Callable[[Key], Awaitable[Value]]) -> None:
        self._look_up = look_up
        self._answers: dict[Key, tuple[float, Value]] = {}

    async def get(self, key: Key) -> Value:
        """The answer, at most _KEEP_S old (real time); raises what the look-up raises."""
        now = time.monotonic()
        known = self._answers.get(key)
        if known is not None and now - known[0] < _KEEP_S:
            return known[1]
        answer = await self._look_up(key)
        if len(self._answers) >= MAX_REMEMBERED:
            self._answers.clear()
        self._answers[key] = now, answer
        return answer


def visible(user_agent: str | None) -> str | None:
    """The user agent as events carry it: at most MAX_USER_AGENT characters, none of them a control character."""
    if user_agent is None:
        return None
    return "".join(filter(str.isprintable, user_agent[: 4 * MAX_USER_AGENT]))[:MAX_USER_AGENT]


def network_of(host: str | None) -> str | None:
    """The /24 or /48 around an address; None for what is none. Who exactly it was is nobody's business."""
    try:
        address = ip_address((host or "").partition("%")[0])
    except ValueError:
        return None
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    prefix = 24 if address.version == 4 else 48
    kept = int(address) >> (address.max_prefixlen - prefix) << (address.max_prefixlen - prefix)
    return f"{type(address)(kept)}/{prefix}"


def _told(hit: Hit, email: rows.Opened) -> Fact:
    facts: dict[str, Any] = msgspec.structs.asdict(email) | {
        "head": hit.head,
        "user_agent": hit.user_agent,
        "network": hit.network,
    }
    del facts["event_id"]
    event = EmailOpened(**facts) if hit.link_id is None else EmailClicked(link_id=hit.link_id, **facts)
    return Fact(team_id=hit.team_id, event=event, event_id=hit.event_id)
