"""What is recorded lies in the journal with the rows it explains, byte for byte as on the stream, or not at all."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
import msgspec
import pytest

from libs.schema.events.base import open_envelope, open_event
from libs.schema.events.campaign import CampaignCompleted, CampaignPaused
from libs.schema.events.inbox import InboxPaused
from libs.schema.runtime.clock import new_id
from libs.schema.runtime.db import Connection, prepare_connection
from libs.schema.runtime.outbox import MAX_EVENT_BYTES, EventTooLargeError, Fact, record, record_all
from tests.contract.journal import NOW, TEAM, numbered
from tests.support import role_url


@pytest.fixture
async def owner(module_database: str) -> AsyncIterator[Connection]:
    """The owner in a transaction that is rolled back: nothing here needs a commit."""
    async with rolled_back(module_database) as connection:
        yield connection


@asynccontextmanager
async def rolled_back(url: str) -> AsyncGenerator[Connection]:
    connection = await asyncpg.connect(url)
    await prepare_connection(connection)
    transaction = connection.transaction()
    await transaction.start()
    yield connection
    await transaction.rollback()
    await connection.close()


async def test_an_event_is_entered_with_its_bytes_and_its_cause(owner: Connection) -> None:
    campaign = new_id()
    (first,) = await record(owner, TEAM, CampaignPaused(campaign_id=campaign), by="api", at=NOW)
    cause = open_envelope(await owner.fetchval("SELECT body FROM event_log WHERE event_id = $1", first))
    (second,) = await record(owner, TEAM, numbered(1), by="sender", at=NOW, cause=cause)
    row = await owner.fetchrow("SELECT * FROM event_log WHERE event_id = $1", second)
    assert row is not None
    envelope = open_envelope(row["body"])
    assert (row["team_id"], row["type"], row["time"]) == (TEAM, "campaign.completed", NOW)
    assert row["subject"] == envelope.subject
    assert row["stream_seq"] is None
    assert (envelope.source, envelope.specversion) == ("/coldstream/sender", "1.0")
    assert (envelope.correlationid, envelope.causationid) == (first, first)
    assert isinstance(open_event(envelope), CampaignCompleted)


async def test_the_journal_keeps_the_very_bytes(owner: Connection) -> None:
    odd = InboxPaused(inbox_id=new_id(), reason='spaces  and "quotes", é, \u2028, and key order')
    (id_,) = await record(owner, TEAM, odd, by="api", at=NOW)
    body: bytes = await owner.fetchval("SELECT body FROM event_log WHERE event_id = $1", id_)
    envelope = open_envelope(body)
    assert open_event(envelope) == odd
    assert msgspec.json.encode(envelope) == body
    text: str = await owner.fetchval("SELECT body::text FROM event_log WHERE event_id = $1", id_)
    assert text.encode() == body


async def test_a_rolled_back_transaction_recorded_nothing(owner: Connection) -> None:
    transaction = owner.transaction()
    await transaction.start()
    await record(owner, TEAM, numbered(1), by="api", at=NOW)
    await transaction.rollback()
    assert await owner.fetchval("SELECT count(*) FROM event_log") == 0


async def test_facts_of_many_teams_lie_in_their_order(owner: Connection) -> None:
    facts = [Fact(team_id=new_id(), event=numbered(n)) for n in range(300)]
    await record_all(owner, facts, by="replies", at=NOW)
    rows = await owner.fetch("SELECT event_id, team_id FROM event_log ORDER BY position")
    assert [(row["event_id"], row["team_id"]) for row in rows] == [(fact.event_id, fact.team_id) for fact in facts]


async def test_nothing_to_record_is_no_statement(owner: Connection) -> None:
    await record_all(owner, [], by="api", at=NOW)
    assert await record(owner, TEAM, by="api", at=NOW) == []


async def test_the_same_event_id_is_entered_once(owner: Connection) -> None:
    fact = Fact(team_id=TEAM, event=numbered(1))
    await record_all(owner, [fact], by="api", at=NOW)
    with pytest.raises(asyncpg.UniqueViolationError):
        await record_all(owner, [fact], by="api", at=NOW)


async def test_an_event_that_the_stream_would_refuse_is_refused_here(owner: Connection) -> None:
    with pytest.raises(EventTooLargeError, match=r"inbox\.paused"):
        await record(owner, TEAM, InboxPaused(inbox_id=new_id(), reason="x" * MAX_EVENT_BYTES), by="api", at=NOW)
    assert await owner.fetchval("SELECT count(*) FROM event_log") == 0


@pytest.mark.parametrize("service", ["api", "sender", "warmup", "replies", "analytics"])
async def test_every_service_may_record_and_none_may_change_what_is_recorded(
    module_database: str, service: str
) -> None:
    async with rolled_back(role_url(module_database, service)) as connection:
        (id_,) = await record(connection, TEAM, numbered(1), by="test", at=NOW)
        await connection.execute("UPDATE event_log SET stream_seq = 1 WHERE event_id = $1", id_)
        for sql in (
            "UPDATE event_log SET type = 'x' WHERE event_id = $1",
            "UPDATE event_log SET body = '{}'::json WHERE event_id = $1",
            "DELETE FROM event_log WHERE event_id = $1",
        ):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                async with connection.transaction():
                    await connection.execute(sql, id_)
