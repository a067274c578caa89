"""Mailboxes asked, per second of one core, against bare aioimaplib asking the same server for the same.

Ours is the service's own job on its own sessions, with PostgreSQL behind it: due mailboxes, locks, cursors, raw bytes.
Bare logs in once, too, and then opens each folder, searches behind the last UID it saw, and fetches what it finds; it
stores nothing. The server is the sandbox, in a process of its own.
"""
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false
# aioimaplib has no types: the three rules above would flag every line that touches it.

import asyncio
import gc
import ssl
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from email.message import EmailMessage
from email.policy import SMTP
from pathlib import Path
from statistics import median
from typing import Any

import aiosmtplib
import msgspec
import psutil
from aioimaplib import IMAP4_SSL  # pyright: ignore[reportMissingTypeStubs] - there are none

from benchmarks.cost import Cost, measured
from benchmarks.ground import Ground, Place
from benchmarks.harness import Row, Scale, compare, pair_of
from benchmarks.world import BODY, PASSWORD, make_house
from deploy.local.ca import certificates
from libs.schema.runtime.clock import FixedClock, new_id
from libs.schema.runtime.db import Pool
from libs.schema.runtime.network import tls_context
from libs.schema.runtime.telemetry import logger
from services.replies.app import Settings
from services.replies.deps import Deps
from services.replies.imap import Network
from services.replies.jobs.poll import poll
from services.replies.polls import POLLS_OF_A_HOST
from services.replies.sessions import Sessions
from tests.support import EPOCH, PEPPER, SECRET_KEY, Inbox

LOOPBACK = ("127.0.0.0/8", "::1/128")
FOLDERS = ("Junk", "Sent", "INBOX")  # as ours goes round
LONG_ENOUGH = timedelta(hours=1)  # then every mailbox is due again
POINT_AT_SERVER = "UPDATE inboxes SET imap_host = 'localhost', imap_port = $1, imap_tls = 'implicit'"
COUNT_STORED = "SELECT count(*) FROM inbound_raw"


class World(msgspec.Struct, frozen=True):
    """Where the mail server listens."""

    smtp_port: int
    imap_port: int


@dataclass
class Bare:
    """One mailbox of the bare client, and what it has seen of each folder."""

    client: IMAP4_SSL
    seen: dict[str, int] = field(default_factory=lambda: dict.fromkeys(FOLDERS, 0))


@dataclass
class Desk:
    """What both sides work with."""

    place: Place
    clock: FixedClock
    deps: Deps
    world: World
    tls: ssl.SSLContext
    inboxes: Sequence[Inbox]
    bare: list[Bare] = field(default_factory=list[Bare])
    written: int = 0  # messages to each mailbox


async def run(ground: Ground, scale: Scale) -> list[Row]:
    """A row for mailboxes in which one message is new, and one for such in which nothing is."""
    boxes = scale.size(200, 10)
    async with ground.place() as place, place.pool("replies") as pool, _world(place.directory) as world:
        clock = FixedClock(EPOCH)
        tls = tls_context(str(certificates(place.directory / "mail").ca_file))
        _, inboxes = await make_house(place.owner, "acme", inboxes=boxes)
        await place.owner.execute(POINT_AT_SERVER, world.imap_port)
        async with _deps(place, pool, clock, tls) as deps:
            desk = Desk(place=place, clock=clock, deps=deps, world=world, tls=tls, inboxes=inboxes)
            our_kb = await _grown_by(boxes, lambda: _ours(desk))
            bare_kb = await _grown_by(boxes, lambda: _log_in(desk))
            await place.analyse()
            memory = f"{our_kb:.0f} KB of memory for each watched mailbox (bare {bare_kb:.0f})"
            rows = [
                await _compare(desk, scale, what="one new message each, per core", new=True, note=memory),
                await _compare(desk, scale, what="nothing new, per core", new=False, note=""),
            ]
            for each in desk.bare:
                await each.client.logout()
    return rows


async def _compare(desk: Desk, scale: Scale, *, what: str, new: bool, note: str) -> Row:
    costs: dict[str, list[Cost]] = {"ours": [], "bare": []}
    boxes = len(desk.inboxes)

    def side(name: str, ask_all: Callable[[Desk], Awaitable[None]]) -> Callable[[], Awaitable[float]]:
        async def ask() -> float:
            if new:
                await _write_to_all(desk)
            with measured(desk.place) as cost:
                await ask_all(desk)
            costs[name].append(cost())
            return boxes / cost().wall

        return ask

    await compare(side("ours", _ours), side("bare", _bare), scale)
    pairs = list(zip(costs["ours"], costs["bare"], strict=True))[scale.warm_ups :]
    pair = pair_of([(boxes / ours.own, boxes / bare.own) for ours, bare in pairs])
    postgres_ms = median(ours.postgres for ours, _ in pairs) / boxes * 1000
    cost = f"a mailbox: {1000 / pair.ours:.1f} ms of this process (bare {1000 / pair.bare:.1f}), {postgres_ms:.1f} ms"
    return Row(
        bench="poll",
        what=what,
        unit="boxes/cpu-s",
        ours=pair.ours,
        bare=pair.bare,
        ratio=pair.ratio,
        goal=0.6,
        note="; ".join(filter(None, (f"{cost} of PostgreSQL", note))),
    )


async def _ours(desk: Desk) -> None:
    """The job as the service's loop runs it, until no mailbox is due.

    Raises:
        AssertionError: messages are missing in the database.

    """
    desk.clock.move(LONG_ENOUGH)
    while await poll(desk.deps) or desk.deps.polls.begun():
        pass
    stored, expected = await desk.place.owner.fetchval(COUNT_STORED), desk.written * len(desk.inboxes)
    if stored != expected:
        raise AssertionError(f"{stored} of {expected} messages were stored")


async def _bare(desk: Desk) -> None:
    await _in_turns(desk.bare, _ask_bare)


async def _in_turns(things: Sequence[Any], work: Callable[[Any], Awaitable[None]]) -> None:
    """As many at once as ours has of one host."""
    waiting = iter(things)

    async def go_on() -> None:
        for thing in waiting:
            await work(thing)

    async with asyncio.TaskGroup() as group:
        for _ in range(POLLS_OF_A_HOST):
            group.create_task(go_on())


async def _ask_bare(box: Bare) -> None:
    for folder, last in box.seen.items():
        await box.client.select(folder)
        found = await box.client.uid_search(f"UID {last + 1}:*", charset=None)
        new = [uid for uid in map(int, found.lines[0].split()) if uid > last]
        if not new:
            continue
        named = ",".join(map(str, new))
        fetched = await box.client.uid("fetch", named, "(UID RFC822.SIZE INTERNALDATE BODY.PEEK[]<0.1048576>)")
        if not any(isinstance(line, bytearray) for line in fetched.lines):
            raise AssertionError("no message came")
        box.seen[folder] = new[-1]


async def _log_in(desk: Desk) -> None:
    """Every mailbox's bare client, in the state in which it waits for its next turn."""

    async def log_in(inbox: Inbox) -> None:
        client = IMAP4_SSL("localhost", desk.world.imap_port, ssl_context=desk.tls)
        await client.wait_hello_from_server()
        await client.login(inbox.email, PASSWORD)
        desk.bare.append(box := Bare(client))
        await _ask_bare(box)

    await _in_turns(desk.inboxes, log_in)


async def _grown_by(boxes: int, work: Callable[[], Awaitable[None]]) -> float:
    """By how many KB a mailbox this process has grown with the work."""
    gc.collect()
    before = psutil.Process().memory_info().rss
    await work()
    gc.collect()
    return (psutil.Process().memory_info().rss - before) / 1024 / boxes


async def _write_to_all(desk: Desk) -> None:
    """A message to every mailbox, through the server's own door."""
    desk.written += 1
    client = aiosmtplib.SMTP(hostname="localhost", port=desk.world.smtp_port, tls_context=desk.tls, start_tls=True)
    await client.connect()
    await client.login("mary@lead.test", PASSWORD)
    for inbox in desk.inboxes:
        mail = EmailMessage(policy=SMTP)
        mail["From"], mail["To"], mail["Subject"] = "Mary <mary@lead.test>", inbox.email, "Re: Two days a month"
        mail["Message-ID"] = f"<{desk.written}.{inbox.id}@lead.test>"
        mail.set_content(f"Please tell me more.\n\nMary\n\n{BODY}")
        await client.send_message(mail)
    await client.quit()


@asynccontextmanager
async def _world(directory: Path) -> AsyncGenerator[World]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "deploy.local.sandbox", "--json", "--no-sent"),
        *("--data-dir", str(directory / "mail"), "--longest-delay-s", "0"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        if process.stdout is None:
            raise AssertionError("it was asked for")
        yield msgspec.json.decode(await process.stdout.readline(), type=World)
    finally:
        process.terminate()
        await process.wait()


@asynccontextmanager
async def _deps(place: Place, pool: Pool, clock: FixedClock, tls: ssl.SSLContext) -> AsyncGenerator[Deps]:
    """What the service works with, as `services.replies.app` makes it; loopback is open to it."""
    settings = Settings(
        database_url=place.role_url("replies"),
        nats_url=place.nats_url,
        secret_key=SECRET_KEY,
        pepper=PEPPER,
        dangerous_allow_networks=LOOPBACK,
        imap_sessions=1_000,
    )
    network = Network(context=tls, allow=LOOPBACK)
    sessions = Sessions(pool, network, most=settings.imap_sessions, login_gap_s=settings.imap_login_gap_s)
    yield Deps(
        settings=settings,
        pool=pool,
        clock=clock,
        new_id=new_id,
        log=logger(),
        stopping=asyncio.Event(),
        sessions=sessions,
        poll_interval=timedelta(seconds=settings.poll_interval_s),
        poll_slowest=timedelta(seconds=settings.poll_slowest_s),
    )
    await sessions.close()
