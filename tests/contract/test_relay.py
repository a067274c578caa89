"""What is recorded is on the stream once and in log order, whatever dies, is lost or is restored on the way."""

# pyright: reportUnknownMemberType=false
# nats-py leaves its **params open.

import asyncio
import os
import shutil
import signal
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import asyncpg
import pytest
from nats.js.errors import NotFoundError

from deploy.local.servers import Nats
from libs.schema.events.base import STREAM, seal
from libs.schema.runtime.clock import Clock, new_id
from libs.schema.runtime.db import Connection, prepare_connection
from libs.schema.runtime.relay import UNPUBLISHED, Outgoing, RefusedError, Relay, publish_batch, run_relay
from libs.schema.runtime.streams import (
    STREAM_CONFIG,
    StreamLink,
    StreamMismatchError,
    ensure_declared,
    ensure_streams,
)
from tests.contract.journal import (
    NOW,
    TEAM,
    journal,
    linked,
    number_of,
    numbered,
    on_stream,
    record_numbers,
    unpublished,
)
from tests.support import eventually, role_url


@pytest.fixture
async def link(nats_streams: str) -> AsyncIterator[StreamLink]:
    async with linked(nats_streams) as link:
        yield link


@pytest.fixture
async def sender(database: str) -> AsyncIterator[Connection]:
    """A connection with a service's own rights: the relay runs in every process and has no others."""
    connection = await asyncpg.connect(role_url(database, "sender"))
    await prepare_connection(connection)
    yield connection
    await connection.close()


async def relay_all(connection: Connection, link: StreamLink) -> None:
    relay = Relay(connection, link, Clock())
    while await relay.relay():
        pass


async def outgoing(connection: Connection, count: int) -> list[Outgoing]:
    rows = await connection.fetch(UNPUBLISHED, count)
    return [Outgoing(event_id=r["event_id"], team_id=r["team_id"], type=r["type"], body=r["body"]) for r in rows]


async def forget_duplicates_at_once(link: StreamLink) -> None:
    """Shortens the server's memory of ids to its least, as if an hour had passed."""
    await link.jetstream.update_stream(replace(STREAM_CONFIG, duplicate_window=0.1))
    await asyncio.sleep(0.3)  # the server's own clock: there is no condition to wait for


async def test_the_stream_holds_the_journals_bytes_in_its_order(
    owner: Connection, sender: Connection, link: StreamLink
) -> None:
    await record_numbers(owner, range(1201))
    await relay_all(sender, link)
    stream = await on_stream(link)
    assert stream == await journal(owner)
    assert [number_of(body) for _, _, body in stream] == list(range(1201))
    first = (await link.read(1, 1))[0]
    assert first.subject == f"campaign.completed.{TEAM}"


async def test_an_event_that_was_rolled_back_is_never_published(
    owner: Connection, sender: Connection, link: StreamLink
) -> None:
    transaction = owner.transaction()
    await transaction.start()
    await record_numbers(owner, [1])
    await transaction.rollback()
    await relay_all(sender, link)
    assert await on_stream(link) == []


async def test_a_relay_killed_between_publishing_and_marking_leaves_no_duplicate(
    owner: Connection, sender: Connection, link: StreamLink
) -> None:
    await forget_duplicates_at_once(link)
    await record_numbers(owner, range(1000))
    await publish_batch(link, await outgoing(sender, 500), 0)  # and then it is killed
    await relay_all(sender, link)
    stream = await on_stream(link)
    assert [number_of(body) for _, _, body in stream] == list(range(1000))
    assert stream == await journal(owner)


async def test_a_deposed_relays_late_publication_is_refused_even_after_the_dedupe_window(
    owner: Connection, sender: Connection, link: StreamLink
) -> None:
    await record_numbers(owner, range(10))
    late = await outgoing(sender, 10)
    await relay_all(sender, link)
    await forget_duplicates_at_once(link)
    with pytest.raises(RefusedError, match="wrong last sequence"):
        await publish_batch(link, late, 0)
    assert len(await on_stream(link)) == 10


async def test_a_batch_with_an_event_that_is_on_the_stream_goes_one_by_one(
    owner: Connection, sender: Connection, link: StreamLink
) -> None:
    ids = await record_numbers(owner, range(5))
    await relay_all(sender, link)
    await owner.execute("UPDATE event_log SET stream_seq = NULL WHERE event_id = $1", ids[2])
    await record_numbers(owner, range(5, 10))
    await relay_all(sender, link)
    stream = await on_stream(link)
    assert [number_of(body) for _, _, body in stream] == list(range(10))
    assert stream == await journal(owner)


async def test_a_lower_position_that_commits_later_is_not_lost(
    database: str, owner: Connection, sender: Connection, link: StreamLink
) -> None:
    slow = await asyncpg.connect(database)
    await prepare_connection(slow)
    transaction = slow.transaction()
    await transaction.start()
    await record_numbers(slow, [1])
    await record_numbers(owner, [2])
    await relay_all(sender, link)
    assert [number_of(body) for _, _, body in await on_stream(link)] == [2]
    await transaction.commit()
    await slow.close()
    await relay_all(sender, link)
    stream = await on_stream(link)
    assert [number_of(body) for _, _, body in stream] == [2, 1]
    assert stream == await journal(owner)


async def test_a_stream_that_is_gone_is_made_anew_with_the_same_order(
    owner: Connection, sender: Connection, link: StreamLink
) -> None:
    await record_numbers(owner, range(700))
    await relay_all(sender, link)
    # The order of the stream, and not of the positions, is what counts.
    await owner.execute("UPDATE event_log SET stream_seq = stream_seq + 1000 WHERE position % 2 = 0")
    wanted = [body for _, _, body in await journal(owner)]
    await record_numbers(owner, range(700, 710))
    await link.jetstream.delete_stream(STREAM)
    await relay_all(sender, link)
    stream = await on_stream(link)
    assert stream == await journal(owner)
    assert [body for _, _, body in stream[:700]] == wanted
    assert [number_of(body) for _, _, body in stream[700:]] == list(range(700, 710))


async def test_a_new_stream_gets_nothing_before_its_history(
    owner: Connection, sender: Connection, link: StreamLink
) -> None:
    await record_numbers(owner, range(5))
    relay = Relay(sender, link, Clock())
    assert await relay.relay() == 5
    await link.jetstream.delete_stream(STREAM)
    await ensure_declared(link.jetstream)
    await record_numbers(owner, [5])
    with pytest.raises(RefusedError, match="wrong last sequence"):
        await relay.relay()
    while await relay.relay():
        pass
    stream = await on_stream(link)
    assert [number_of(body) for _, _, body in stream] == [0, 1, 2, 3, 4, 5]
    assert stream == await journal(owner)


async def test_a_lost_tail_is_published_again(tmp_path: Path, owner: Connection, sender: Connection) -> None:
    home = tmp_path / "own"
    server = await Nats.start(home)
    await ensure_streams(server.url)
    async with linked(server.url) as link:
        await record_numbers(owner, range(40))
        await relay_all(sender, link)
        await server.stop()
        shutil.copytree(home / "store", tmp_path / "store")
        server = await Nats.start(home, port=server.port)
        await eventually(lambda: link.is_connected)
        await record_numbers(owner, range(40, 100))
        await relay_all(sender, link)
        await server.stop()
        shutil.rmtree(home / "store")
        shutil.move(tmp_path / "store", home / "store")
        server = await Nats.start(home, port=server.port)
        await eventually(lambda: link.is_connected)
        assert len(await on_stream(link)) == 40
        await relay_all(sender, link)
        stream = await on_stream(link)
        assert [number_of(body) for _, _, body in stream] == list(range(100))
        assert stream == await journal(owner)
    await server.stop()


async def test_a_restored_older_database_starts_paused_in_a_new_epoch_and_remembers_what_it_forgot(
    owner: Connection, sender: Connection, link: StreamLink
) -> None:
    await record_numbers(owner, range(30))
    await relay_all(sender, link)
    before = await journal(owner)
    await owner.execute("DELETE FROM event_log WHERE stream_seq > 20")
    await record_numbers(owner, [30])
    for _ in range(2):  # a second audit finds nothing new
        await relay_all(sender, link)
        state = await owner.fetchrow("SELECT epoch, paused, paused_reason FROM installation")
        assert state is not None
        assert (state["epoch"], state["paused"]) == (2, True)
        assert "older copy" in state["paused_reason"]
    stream = await on_stream(link)
    assert stream[:30] == before
    assert stream == await journal(owner)
    assert number_of(stream[30][2]) == 30


async def test_what_a_stranger_puts_on_the_stream_neither_stops_nor_pauses_anything(
    owner: Connection, sender: Connection, link: StreamLink
) -> None:
    await record_numbers(owner, [1])
    await relay_all(sender, link)
    await link.jetstream.publish("email.sent.nobody", b"{not json", stream=STREAM)
    known = (await link.read(1, 1))[0]
    await link.jetstream.publish(known.subject, known.body, stream=STREAM)  # a copy without its id
    await record_numbers(owner, [2])
    await relay_all(sender, link)
    assert [(seq, number_of(body)) for seq, _, body in await journal(owner)] == [(1, 1), (4, 2)]
    assert await owner.fetchval("SELECT paused FROM installation") is False


async def test_a_stream_of_another_kind_is_refused_with_each_difference(nats_url: str) -> None:
    async with linked(nats_url) as link:
        await link.jetstream.add_stream(replace(STREAM_CONFIG, max_age=86400, deny_purge=False, subjects=["email.*.*"]))
        with pytest.raises(StreamMismatchError) as refused:
            await ensure_streams(nats_url)
        assert "max_age is 86400" in str(refused.value)
        assert "deny_purge is False" in str(refused.value)
        assert "the subjects lack bounce.*.*" in str(refused.value)


async def test_a_stream_of_an_older_release_hears_the_nouns_that_have_come_since_and_keeps_what_it_holds(
    nats_url: str,
) -> None:
    async with linked(nats_url) as link:
        subjects = [subject for subject in STREAM_CONFIG.subjects or [] if subject != "team.*.*"]
        await link.jetstream.add_stream(replace(STREAM_CONFIG, subjects=subjects))
        await link.jetstream.publish("email.sent.team", b"{}", stream=STREAM)
        await ensure_streams(nats_url)
        info = await link.jetstream.stream_info(STREAM)
        assert set(info.config.subjects or []) == set(STREAM_CONFIG.subjects or [])
        assert info.state.messages == 1


async def test_streams_are_made_once_and_a_durable_hears_what_a_new_release_declares(nats_url: str) -> None:
    async with linked(nats_url) as link:
        with pytest.raises(NotFoundError):
            await link.state()
        await ensure_streams(nats_url)
        sender = await link.jetstream.consumer_info(STREAM, "sender")
        older = replace(sender.config, filter_subjects=["reply.*.*"])
        await link.jetstream.add_consumer(STREAM, older)
        await ensure_streams(nats_url)
        again = await link.jetstream.consumer_info(STREAM, "sender")
        assert again.config.filter_subjects == sender.config.filter_subjects
        assert again.created == sender.created


async def test_two_relays_elect_one_and_the_other_takes_over(
    database: str, owner: Connection, link: StreamLink
) -> None:
    stopping = asyncio.Event()
    url = role_url(database, "api")
    relays = [asyncio.create_task(run_relay(url, link, Clock(), stopping)) for _ in range(2)]
    for start in range(0, 1500, 500):
        await record_numbers(owner, range(start, start + 500))
        await owner.execute(
            """SELECT pg_terminate_backend(pid) FROM pg_locks JOIN pg_stat_activity USING (pid)
            WHERE locktype = 'advisory' AND application_name = 'coldstream-relay' AND datname = current_database()"""
        )
    await eventually(lambda: nothing_left(owner))
    stopping.set()
    await asyncio.gather(*relays)
    stream = await on_stream(link)
    assert [number_of(body) for _, _, body in stream] == list(range(1500))
    assert stream == await journal(owner)


async def test_a_stopped_relay_publishes_what_is_left(database: str, owner: Connection, link: StreamLink) -> None:
    stopping = asyncio.Event()
    relay = asyncio.create_task(run_relay(role_url(database, "api"), link, Clock(), stopping))
    await record_numbers(owner, [1])
    await eventually(lambda: nothing_left(owner))
    await record_numbers(owner, range(2, 1300))
    stopping.set()
    await relay
    assert await nothing_left(owner)


async def test_nats_killed_under_load_loses_and_doubles_nothing(
    tmp_path: Path, database: str, owner: Connection
) -> None:
    home = tmp_path / "own"
    server = await Nats.start(home)
    await ensure_streams(server.url)
    stopping = asyncio.Event()
    async with linked(server.url) as link:
        relay = asyncio.create_task(run_relay(role_url(database, "replies"), link, Clock(), stopping))
        for kill in range(4):
            for start in range(10):
                await record_numbers(owner, range(kill * 1000 + start * 100, kill * 1000 + start * 100 + 100))
            os.kill(server.pid, signal.SIGKILL)
            await server.stop()
            server = await Nats.start(home, port=server.port)
        await eventually(lambda: nothing_left(owner), timeout_s=20)
        stopping.set()
        await relay
        stream = await on_stream(link)
        assert [number_of(body) for _, _, body in stream] == list(range(4000))
        assert stream == await journal(owner)
    await server.stop()


async def nothing_left(owner: Connection) -> bool:
    return await unpublished(owner) == 0


async def test_an_event_of_another_installation_is_adopted_with_its_own_team(
    owner: Connection, sender: Connection, link: StreamLink
) -> None:
    id_ = new_id()
    body = seal(numbered(7), event_id=id_, team_id=TEAM, time=NOW, by="api")
    await link.jetstream.publish(f"campaign.completed.{TEAM}", body, stream=STREAM)
    await relay_all(sender, link)
    row = await owner.fetchrow("SELECT team_id, type, subject, time, body, stream_seq FROM event_log")
    assert row is not None
    assert (row["team_id"], row["type"], row["time"], row["body"]) == (TEAM, "campaign.completed", NOW, body)
    assert row["stream_seq"] == 1
