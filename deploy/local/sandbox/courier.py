"""Takes accepted mail to its reader, and answers back when their time has come; must never do so twice or early."""

import asyncio
import contextlib
import http.client
import ipaddress
import re
from collections import Counter
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime, parseaddr
from urllib.parse import urlsplit

from deploy.local.sandbox.answers import compose, headers_of, is_automatic, thread_of
from deploy.local.sandbox.recipients import ANSWERING, MACHINES, REPORTS, Behaviour, behaviour_of, delay_of
from deploy.local.sandbox.reports import MX
from deploy.local.sandbox.store import Due, Store

RETRY_ONE_CLICK = timedelta(minutes=10)
ONE_CLICK_TIMEOUT_S = 10.0
_LINK = re.compile(r"<(https?://[^>\s]+)>")


class Clock:
    """Business time: real time plus an offset that only grows and outlives the process."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.offset = store.offset()

    def now(self) -> datetime:
        """Business time, aware, UTC."""
        return datetime.now(UTC) + self.offset

    def set_offset(self, offset: timedelta) -> None:
        """Jumps to that offset.

        Raises:
            ValueError: it is smaller than the present one; mail cannot be un-delivered.

        """
        if offset < self.offset:
            raise ValueError(f"the clock is at {self.offset.total_seconds()} s and does not go back")
        self._store.set_offset(offset)
        self.offset = offset


class Courier:
    """The one task that moves mail."""

    def __init__(self, store: Store, clock: Clock, *, longest_delay: timedelta) -> None:
        self._store = store
        self._clock = clock
        self._longest_delay = longest_delay
        self._wake = asyncio.Event()
        self.answers: Counter[str] = Counter()
        self.last_delivery: datetime | None = None

    def accept(self, raw: bytes, *, sender: str, recipient: str) -> None:
        """Files the message with its reader and plans the answer; whole before it returns."""
        now = self._clock.now()
        trace = f"Return-Path: <{sender}>\r\nReceived: by {MX} with ESMTPSA; {format_datetime(now)}\r\n"
        self._store.file(recipient, "INBOX", trace.encode() + raw, now)
        behaviour = behaviour_of(recipient)
        if behaviour not in ANSWERING or is_automatic(raw) or not sender:
            return
        if behaviour in REPORTS or self._store.answers_now(recipient, thread_of(raw)):
            at = now + delay_of(recipient, self._longest_delay)
            self._store.schedule(at, behaviour, sender=sender, recipient=recipient, raw=raw)
            self._wake.set()

    def wake(self) -> None:
        """Looks at the plan again; to be called when the clock has jumped."""
        self._wake.set()

    def next_due(self) -> datetime | None:
        """When the next answer falls, business time; an answer being given counts until it is given."""
        due = self._store.next_due()
        return due.at if due else None

    async def run(self) -> None:
        """Gives each answer at its time, in order, until it is cancelled."""
        while True:
            self._wake.clear()
            due = self._store.next_due()
            wait_s = None if due is None else (due.at - self._clock.now()).total_seconds()
            if due is not None and wait_s is not None and wait_s <= 0:
                await self._give(due)
                continue
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await self._wake.wait()

    async def _give(self, due: Due) -> None:
        if due.behaviour is Behaviour.ONE_CLICK:
            if not await self._one_click(due):
                self._store.postpone(due, self._clock.now() + RETRY_ONE_CLICK)
                return
            self._store.settle(due)
        else:
            now = self._clock.now()
            target, answer = compose(due.behaviour, due.raw, sender=due.sender, recipient=due.recipient, now=now)
            returned = "" if due.behaviour in MACHINES else parseaddr(str(headers_of(answer)["From"]))[1]
            with self._store.transaction():
                self._store.file(target, "INBOX", f"Return-Path: <{returned}>\r\n".encode() + answer, now)
                self._store.settle(due)
            self.last_delivery = now
        self.answers[due.behaviour.name.lower()] += 1

    async def _one_click(self, due: Due) -> bool:
        """Whether the POST of RFC 8058 was answered by 2xx; mail without a usable link needs none and is done too."""
        headers = headers_of(due.raw)
        link = _LINK.search(str(headers.get("List-Unsubscribe", "")))
        if link is None or "one-click" not in str(headers.get("List-Unsubscribe-Post", "")).lower():
            return True
        return not _is_loopback(link[1]) or await asyncio.to_thread(_post, link[1])


def _is_loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return host == "localhost"


def _post(url: str) -> bool:
    parts = urlsplit(url)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    with contextlib.closing(kind(parts.netloc, timeout=ONE_CLICK_TIMEOUT_S)) as connection:
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        path = parts.path + (f"?{parts.query}" if parts.query else "")
        try:
            connection.request("POST", path, body="List-Unsubscribe=One-Click", headers=headers)
            return 200 <= connection.getresponse().status < 300
        except (OSError, http.client.HTTPException):  # the platform is down; a provider tries again too
            return False
