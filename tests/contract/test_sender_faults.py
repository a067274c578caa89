"""Faults of reliability.md §3 that a server or the machine does to the sender, each small: F6, F10, F11, F14, F16."""

import asyncio
import os
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from pathlib import Path

import msgspec
import pytest

from deploy.local.ca import Certificates, certificates
from libs.schema.runtime.db import Connection
from services.sender.jobs.send import send_due
from services.sender.rules.verdict import NoAnswer
from services.sender.smtp import Courier
from tests.contract.test_smtp import ACCOUNT, LOOPBACK, MESSAGE, yes
from tests.scripted_smtp import HANG, Script, scripted_smtp
from tests.sender_world import MONDAY, World, sender_world
from tests.support import eventually

ROOT = Path(__file__).parents[2]
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)


@pytest.fixture(scope="module")
def pem(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return certificates(tmp_path_factory.mktemp("ca"))


@pytest.fixture
async def world(database: str, owner: Connection, pem: Certificates) -> AsyncIterator[World]:
    async with sender_world(database, owner, pem, inboxes=6) as world:
        yield world


async def test_f6_a_tarpit_holds_up_its_own_mail_and_no_other(world: World) -> None:
    await world.leads("tarpit", *(f"lead{n}" for n in range(5)))
    await world.campaign()
    world.script.by_recipient = lambda phase, to: HANG if (phase, to) == ("dot", "tarpit@lead.test") else None
    await world.plan()
    world.clock.move(10 * MINUTE)
    await send_due(world.deps)
    settled = "SELECT count(*) FROM send_ledger WHERE state = 'accepted'"
    await eventually(lambda: world.owner.fetchval(settled + " HAVING count(*) = 5"))
    assert sorted(row[0] for row in await world.ledger("state")) == [*["accepted"] * 5, "in_data"]
    await world.deps.deliveries.drain()
    await world.go_on(3 * HOUR, step=30 * MINUTE)
    assert Counter(world.recipients())["tarpit@lead.test"] == 1
    assert sorted(row[0] for row in await world.ledger("state")) == [*["accepted"] * 5, "unknown"]


async def test_f10_a_greylist_of_fifteen_minutes_costs_every_mail_a_retry_and_loses_none(world: World) -> None:
    first_seen: dict[str, datetime] = {}

    def greylist(phase: str, to: str) -> str | None:
        if phase != "rcpt":
            return None
        since = first_seen.setdefault(to, world.clock.now())
        return "451 4.7.1 greylisted" if world.clock.now() - since < 15 * MINUTE else None

    world.script.by_recipient = greylist
    await world.leads(*(f"lead{n}" for n in range(12)))
    await world.campaign()
    await world.go_on(6 * HOUR, step=5 * MINUTE)
    assert len(world.script.accepted) == 12
    assert max(row[0] for row in await world.ledger("attempt")) <= 6
    assert "bounce.soft" not in await world.types()


async def test_f11_a_burst_of_throttling_ends_no_campaign_early_and_loses_no_mail(world: World) -> None:
    asked: Counter[str] = Counter()

    def throttle(phase: str, to: str) -> str | None:
        if phase != "rcpt":
            return None
        asked[to] += 1
        number = int(to.removeprefix("lead").partition("@")[0])
        return ("452 4.5.3 too many", "454 4.7.0 slow down")[number % 2] if number % 3 == 0 and asked[to] < 4 else None

    world.script.by_recipient = throttle
    await world.leads(*(f"lead{n}" for n in range(18)))
    campaign = await world.campaign()
    await world.go_on(HOUR, step=2 * MINUTE)
    assert len(world.script.accepted) == 12
    assert await world.column("SELECT status FROM campaigns WHERE id = $1", campaign.id) == ["active"]
    await world.go_on(DAY, step=30 * MINUTE)
    assert len(world.script.accepted) == 18
    assert await world.column("SELECT status FROM campaigns WHERE id = $1", campaign.id) == ["completed"]


async def test_f14_what_is_injected_before_tls_ends_the_conversation(pem: Certificates) -> None:
    courier = Courier(pem.client_context(), allow=LOOPBACK)
    script = Script(says={"starttls": "220 go ahead\r\n250-injected\r\n250 AUTH PLAIN"})
    async with scripted_smtp(pem.server_context(), script):
        outcome = await courier.deliver(msgspec.structs.replace(ACCOUNT, port=script.port), MESSAGE, yes)
        await courier.close()
    assert outcome == NoAnswer(phase="starttls", reason="injected")
    assert (script.logins, script.accepted) == ([], [])


async def test_f16_a_sender_that_is_stopped_past_t2_wakes_up_and_writes_no_dot(pem: Certificates) -> None:
    async with scripted_smtp(pem.server_context()) as script:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.stopped_courier", str(script.port), str(pem.ca_file)),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            cwd=ROOT,
        )
        assert process.stdin is not None
        assert process.stdout is not None
        assert await process.stdout.readline() == b"T2\n"
        os.kill(process.pid, signal.SIGSTOP)
        process.stdin.write(b"\n")
        await asyncio.sleep(0.6)  # the thing under test is time itself
        os.kill(process.pid, signal.SIGCONT)
        said = (await process.stdout.readline()).decode()
        await process.wait()
    assert "too_late" in said
    assert script.accepted == []


async def test_one_connection_carries_an_inboxs_bursts_and_the_inbox_shows_its_last_mail(world: World) -> None:
    await world.owner.execute("DELETE FROM campaign_inboxes")
    world.inboxes = world.inboxes[:1]
    await world.leads(*(f"lead{n}" for n in range(8)))
    await world.campaign()
    await world.go_on(HOUR)
    assert len(world.script.accepted) == 8
    assert world.script.connections == 1
    (last,) = await world.column("SELECT last_sent_at FROM inboxes WHERE id = $1", world.inboxes[0].id)
    assert last == max(row[0] for row in await world.ledger("committed_at"))
    assert last > MONDAY
