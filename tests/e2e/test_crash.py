"""SIGKILL for sender, replies, analytics, api and whoever relays, at random moments of a running campaign.

The judge is the SMTP server's own log: nothing twice, nothing after a stop, and everybody got what was due at the end.
Few kills by default, many with COLDSTREAM_DRILL=1 (`make drill`), and then of PostgreSQL and NATS too.
"""

import asyncio
import os
import random
import signal
from collections import Counter
from pathlib import Path

import nats
import psutil
from nats.aio.msg import Msg

from deploy.local.demo import Play
from deploy.local.driver import OUTAGES
from deploy.local.platform import ROLES, Platform
from deploy.local.revival import is_alive
from libs.schema.events import open_envelope
from libs.schema.runtime.db import Pool
from tests.e2e.test_demo import expected, unanswered, unreported

DRILL = "COLDSTREAM_DRILL" in os.environ
LEADS, KILLS = (300, 200) if DRILL else (30, 12)
RELAY = "relay"
VICTIMS = [*ROLES, RELAY, *(["postgres", "nats"] if DRILL else [])]
RELAY_PORT = """
SELECT a.client_port
FROM pg_locks AS l JOIN pg_stat_activity AS a USING (pid)
WHERE l.locktype = 'advisory' AND l.granted AND a.application_name = 'coldstream-relay'
"""


async def test_kills_at_random_moments_break_no_promise(tmp_path: Path) -> None:
    seed = random.randrange(2**32)  # noqa: S311 - which moments, not a secret
    chance = random.Random(seed)  # noqa: S311 - the same
    killed: Counter[str] = Counter()

    async def kill_at_random(platform: Platform, pool: Pool) -> None:
        listener = await nats.connect(platform.ready.nats_url)  # pyright: ignore[reportUnknownMemberType] - untyped
        await listener.subscribe("email.sent.*", cb=hear)  # pyright: ignore[reportUnknownMemberType] - the same
        try:
            while killed.total() < KILLS:
                await asyncio.sleep(chance.uniform(0.1, 2.0))
                victim = chance.choice(VICTIMS)
                if await kill(platform, pool, victim):
                    killed[victim] += 1
            await asyncio.Event().wait()  # and listen until the campaign's end, which cancels this
        finally:
            await listener.close()

    heard: list[bytes] = []

    async def hear(message: Msg) -> None:
        heard.append(message.data)

    said: list[str] = []
    counted = await Play(tmp_path, leads=LEADS, say=said.append, chaos=kill_at_random).run()
    story = f"seed {seed}, killed {dict(killed)}, {said[-1]}, {counted.receipt}"
    assert counted.broken == [], story
    accepted, replies, bounces, unsubscribes = expected(LEADS)
    receipt = counted.receipt
    bounces -= unreported(LEADS, receipt.behaviours["softdsn"].accepted)
    assert (receipt.leads, receipt.duplicates, receipt.sent_after_stop) == (LEADS, 0, 0), story
    assert (receipt.replies, receipt.bounces, receipt.unsubscribes) == (replies, bounces, unsubscribes), story
    lost = receipt.unknown - unanswered(LEADS)
    assert accepted - lost <= receipt.accepted <= accepted, story
    assert {open_envelope(body).type for body in heard} == {"email.sent"}
    assert not [body for body in heard if b"@" in body]
    assert killed.total() >= KILLS / 2, story  # a campaign that is over sooner has still been hit


async def kill(platform: Platform, pool: Pool, victim: str) -> bool:
    """SIGKILL for a role, a server, or the child that relays; True when there was one."""
    if victim in platform.servers:
        is_there = is_alive(platform.servers[victim].pid)
        if is_there:
            os.kill(platform.servers[victim].pid, signal.SIGKILL)
        return is_there
    name = await relaying(platform, pool) if victim == RELAY else victim
    return name is not None and platform.children[name].kill()


async def relaying(platform: Platform, pool: Pool) -> str | None:
    """The child whose connection holds the relay's lock just now."""
    try:
        port = await pool.fetchval(RELAY_PORT)
    except OUTAGES:  # PostgreSQL was the last victim
        return None
    for name, child in platform.children.items():
        if child.pid is not None and port in local_ports(child.pid):
            return name
    return None


def local_ports(pid: int) -> set[int]:
    """The ports that the process has connected from; none when it has died in between."""
    try:
        return {each.laddr.port for each in psutil.Process(pid).net_connections("tcp")}
    except psutil.NoSuchProcess:
        return set()
