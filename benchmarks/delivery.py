"""Mails out of many inboxes through ledger, SMTP and journal to the stream, against the same SMTP conversations alone.

Each inbox sends one mail in a round over a connection of its own, STARTTLS and AUTH included: at a human pace of
minutes between two mails, none is ever still open. Bare knows the mails beforehand and remembers nothing of them.
"""

import asyncio
import ssl
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from statistics import median

import asyncpg
import msgspec
from aiosmtplib import SMTP
from asyncpg.connection import LoggedQuery

from benchmarks.cost import Cost, measured
from benchmarks.ground import Ground, Place
from benchmarks.harness import Pair, Row, Scale, compare, pair_of
from benchmarks.office import office, plan_all
from benchmarks.sink import sink
from benchmarks.world import BODY, PASSWORD, make_house, make_people
from deploy.local.ca import certificates
from libs.planning.words.render import Content
from libs.schema.runtime.clock import FixedClock
from libs.schema.runtime.db import Connection, as_it_is, prepare_connection
from libs.schema.runtime.network import tls_context
from libs.schema.runtime.relay import Relay
from services.sender.app import JOBS
from services.sender.deps import Deps
from services.sender.jobs.send import send_due
from services.sender.rules.message import Headers, Message, build
from tests.support import EPOCH, Inbox, Team

IDLE_S = next(idle_s for job, idle_s in JOBS if job is send_due)
BEFORE_THE_SLOT = timedelta(minutes=5)
ACCEPTED = "SELECT count(*) FROM send_ledger WHERE campaign_id = $1 AND state = 'accepted'"
TRANSACTION = ("BEGIN", "COMMIT", "ROLLBACK")


class Desk(msgspec.Struct, frozen=True, kw_only=True):
    """What a round of ours works with."""

    place: Place
    clock: FixedClock
    relay: Relay
    team: Team
    inboxes: Sequence[Inbox]
    names: Iterator[str]


async def run(ground: Ground, scale: Scale) -> list[Row]:
    """A row by the clock, and one by the processor time of the sending process."""
    mails = scale.size(300, 30)
    clock = FixedClock(EPOCH)
    async with ground.place() as place, sink(place.directory) as port, place.pool("sender") as pool:
        pem = certificates(place.directory)
        desk = await _desk(place, clock, port, inboxes=scale.size(1_000, 50))
        our_costs: list[Cost] = []
        bare_costs: list[Cost] = []
        async with office(place, pool, clock, ca_file=pem.ca_file) as deps:

            async def ours() -> float:
                our_costs.append(await _send(desk, deps, mails))
                return mails / our_costs[-1].wall

            async def bare() -> float:
                tls, most = tls_context(str(pem.ca_file)), deps.settings.max_deliveries
                bare_costs.append(await _converse_all(place, _letters(desk, mails), port, tls, most))
                return mails / bare_costs[-1].wall

            pair = await compare(ours, bare, scale)
        counted = await _count(desk, pem.ca_file, min(mails, 50))
    costs = list(zip(our_costs, bare_costs, strict=True))[scale.warm_ups :]
    return [_by_clock(pair, counted), _by_processor(costs, mails)]


def _by_clock(pair: Pair, note: str) -> Row:
    what = "accepted, settled, on the stream"
    return Row(
        bench="delivery",
        what=what,
        unit="mails/s",
        ours=pair.ours,
        bare=pair.bare,
        ratio=pair.ratio,
        goal=0.5,
        note=note,
    )


def _by_processor(costs: Sequence[tuple[Cost, Cost]], mails: int) -> Row:
    pair = pair_of([(mails / ours.own, mails / bare.own) for ours, bare in costs])
    postgres_ms = median(ours.postgres for ours, _ in costs) / mails * 1000
    return Row(
        bench="delivery",
        what="the same, per core of the sender",
        unit="mails/cpu-s",
        ours=pair.ours,
        bare=pair.bare,
        ratio=pair.ratio,
        goal=0.5,
        note=f"a mail: {1000 / pair.ours:.1f} ms of this process (bare {1000 / pair.bare:.1f}), {postgres_ms:.1f} ms of"
        " PostgreSQL",
    )


async def _desk(place: Place, clock: FixedClock, port: int, *, inboxes: int) -> Desk:
    team, made = await make_house(place.owner, "acme", inboxes=inboxes, smtp_port=port)
    connection = await asyncpg.connect(place.role_url("sender"))
    await prepare_connection(connection)
    relay = Relay(connection, place.link, clock)
    names = (f"round{n}" for n in range(1_000))
    return Desk(place=place, clock=clock, relay=relay, team=team, inboxes=made, names=names)


async def _send(desk: Desk, deps: Deps, mails: int) -> Cost:
    """A new campaign's mails, each out of another inbox, until the stream has heard of them all."""
    people = await make_people(desk.place.owner, desk.team, desk.inboxes, name=next(desk.names), leads=mails)
    await plan_all(deps)
    await desk.place.analyse()
    while await desk.relay.relay():
        pass
    desk.clock.move(BEFORE_THE_SLOT)
    with measured(desk.place) as cost:
        await _until_sent(deps)
        while await desk.relay.relay():
            pass
    await deps.courier.close()
    accepted = await desk.place.owner.fetchval(ACCEPTED, people.campaign.id)
    if accepted != mails:
        raise AssertionError(f"{accepted} of {mails} mails were accepted")
    return cost()


async def _until_sent(deps: Deps) -> None:
    """Runs the job as the service's loop does, until nothing is due and nothing under way."""
    while True:
        try:
            again = await send_due(deps)
        except TimeoutError:  # no connection was free for seconds, on a machine that does much else
            continue
        if not again and deps.deliveries.room() == deps.settings.max_deliveries:
            return
        await asyncio.sleep(0 if again else IDLE_S)


def _letters(desk: Desk, mails: int) -> list[Message]:
    """What the step makes of these leads, ready to be sent."""
    return [
        build(
            Headers(
                sender=inbox.email,
                sender_name="Ann",
                recipient=f"bob{n}@lead.test",
                date=EPOCH,
                message_id=f"<{n:026x}@acme.test>",
                reference=f"{n:026x}",
                unsubscribe_url=f"http://127.0.0.1:8081/u/{n:064x}",
            ),
            Content(subject="Bob & Sons: two days a month", text=BODY),
        )
        for n, inbox in enumerate(desk.inboxes[:mails])
    ]


async def _converse_all(place: Place, letters: list[Message], port: int, tls: ssl.SSLContext, most: int) -> Cost:
    """As many conversations at once as the sender has."""
    waiting = iter(letters)
    clients: list[SMTP] = []

    async def work() -> None:
        clients.extend([await _converse(letter, port, tls) for letter in waiting])

    with measured(place) as cost:
        async with asyncio.TaskGroup() as group:
            for _ in range(most):
                group.create_task(work())
    for client in clients:
        client.close()
    return cost()


async def _converse(letter: Message, port: int, tls: ssl.SSLContext) -> SMTP:
    client = SMTP(hostname="127.0.0.1", port=port, start_tls=False, tls_context=tls, local_hostname="acme.test")
    await client.connect()
    await client.starttls()
    await client.ehlo()
    await client.auth_plain(letter.sender, PASSWORD)
    await client.mail(letter.sender)
    await client.rcpt(letter.recipient)
    await client.data(letter.content)
    return client


async def _count(desk: Desk, ca_file: Path, mails: int) -> str:
    """How many statements a mail takes, and how many times the database is asked; its prepared statements are warm."""
    seen: Counter[str] = Counter()

    def note(query: LoggedQuery) -> None:
        seen["round trip"] += 1
        # Statements without parameters may go along with BEGIN.
        seen["statement"] += len([each for each in query.query.split(";\n") if not each.startswith(TRANSACTION)])

    async def prepare(connection: Connection) -> None:
        await prepare_connection(connection)
        connection.add_query_logger(note)

    url = desk.place.role_url("sender")
    async with (
        asyncpg.create_pool(url, init=prepare, reset=as_it_is) as pool,
        office(desk.place, pool, desk.clock, ca_file=ca_file) as deps,
    ):
        await _send(desk, deps, mails)
        await make_people(desk.place.owner, desk.team, desk.inboxes, name=next(desk.names), leads=mails)
        await plan_all(deps)
        desk.clock.move(BEFORE_THE_SLOT)
        seen.clear()
        await _until_sent(deps)
    return (
        f"a mail: {seen['statement'] / mails:.1f} SQL statements, {seen['round trip'] / mails:.1f} round trips"
        f" ({len(desk.inboxes):,} inboxes)"
    )
