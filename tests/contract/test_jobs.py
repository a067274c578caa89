"""Commands for another service on real PostgreSQL: carried out once, refused with a reason, never in the way."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any, ClassVar
from uuid import UUID

import asyncpg
import pytest
import structlog

from libs.schema.commands import Command
from libs.schema.runtime.clock import FixedClock, new_id
from libs.schema.runtime.db import Connection, Tx, open_pool
from libs.schema.runtime.jobs import FIRST_PAUSE, Job, RefusedError, carry_out, enqueue
from libs.schema.runtime.service import Runtime
from libs.schema.runtime.settings import Settings
from tests.support import EPOCH, PEPPER, SECRET_KEY, Team, make_team, role_url

QUEUE = "sender"
NOTE = "INSERT INTO installation_notes (note) VALUES ($1)"


class Note(Command, frozen=True, kw_only=True):
    """Write a note down."""

    QUEUE: ClassVar[str] = QUEUE
    TYPE: ClassVar[str] = "note"

    text: str


class Foreign(Command, frozen=True, kw_only=True):
    """Another service's."""

    QUEUE: ClassVar[str] = "replies"
    TYPE: ClassVar[str] = "note"

    text: str = "x"


class Unheard(Command, frozen=True, kw_only=True):
    """A newer release's."""

    QUEUE: ClassVar[str] = QUEUE
    TYPE: ClassVar[str] = "unheard_of"


@pytest.fixture
async def team(owner: Connection) -> Team:
    await owner.execute("CREATE TABLE installation_notes (note TEXT NOT NULL)")
    await owner.execute("GRANT INSERT ON installation_notes TO coldstream_sender")
    return await make_team(owner)


@pytest.fixture
async def runtime(database: str, team: Team) -> AsyncIterator[Runtime]:  # noqa: ARG001 - its tables first
    url = role_url(database, "sender")
    settings = Settings(database_url=url, nats_url="nats://nowhere.test", secret_key=SECRET_KEY, pepper=PEPPER)
    pool = await open_pool(url, application_name="test-jobs")
    yield Runtime(
        settings=settings,
        pool=pool,
        clock=FixedClock(EPOCH),
        new_id=new_id,
        log=structlog.get_logger(),
        stopping=asyncio.Event(),
    )
    await pool.close()


async def note(tx: Tx, job: Job, command: Note) -> dict[str, Any]:
    await tx.execute(NOTE, command.text)
    return {"noted": command.text, "job_id": job.id}


async def refuse(tx: Tx, _job: Job, command: Note) -> dict[str, Any]:
    await tx.execute(NOTE, command.text)
    raise RefusedError("There is no room: take a note away.")


async def break_down(tx: Tx, _job: Job, command: Note) -> dict[str, Any]:
    await tx.execute(NOTE, command.text)
    raise ZeroDivisionError


async def row(owner: Connection, job_id: UUID, *columns: str) -> tuple[Any, ...]:
    found = await owner.fetchrow(f"SELECT {', '.join(columns)} FROM job_queue WHERE id = $1", job_id)  # noqa: S608
    assert found is not None
    return tuple(found)


async def notes(owner: Connection) -> list[str]:
    return [found["note"] for found in await owner.fetch("SELECT note FROM installation_notes ORDER BY note")]


async def test_a_command_is_carried_out_once_and_its_result_shown(
    owner: Connection, team: Team, runtime: Runtime
) -> None:
    job_id = await enqueue(owner, team.id, Note(text="once"), EPOCH)
    assert await carry_out(runtime, QUEUE, {Note: note})
    assert not await carry_out(runtime, QUEUE, {Note: note})
    assert await notes(owner) == ["once"]
    status, attempts, result, error = await row(owner, job_id, "status", "attempts", "result", "last_error")
    assert (status, attempts, error) == ("completed", 1, None)
    assert result == {"noted": "once", "job_id": str(job_id)}
    assert await row(owner, job_id, "created_at", "started_at", "completed_at") == (EPOCH,) * 3


async def test_a_command_waits_for_its_time(owner: Connection, team: Team, runtime: Runtime) -> None:
    await enqueue(owner, team.id, Note(text="later"), EPOCH + timedelta(seconds=1))
    assert not await carry_out(runtime, QUEUE, {Note: note})


async def test_a_refused_command_has_no_effect_and_says_why(owner: Connection, team: Team, runtime: Runtime) -> None:
    job_id = await enqueue(owner, team.id, Note(text="no"), EPOCH)
    assert await carry_out(runtime, QUEUE, {Note: refuse})
    assert not await carry_out(runtime, QUEUE, {Note: refuse})
    assert await notes(owner) == []
    expected = ("failed", 1, None, "There is no room: take a note away.", EPOCH)
    assert await row(owner, job_id, "status", "attempts", "result", "last_error", "completed_at") == expected


async def test_a_worker_that_is_killed_on_the_way_leaves_nothing_and_another_one_does_it(
    owner: Connection, team: Team, runtime: Runtime
) -> None:
    job_id = await enqueue(owner, team.id, Note(text="cut"), EPOCH)

    async def die(tx: Tx, _job: Job, command: Note) -> dict[str, Any]:
        await tx.execute(NOTE, command.text)
        await owner.execute("SELECT pg_terminate_backend($1)", await tx.fetchval("SELECT pg_backend_pid()"))
        return {"noted": await tx.fetchval("SELECT 1")}

    assert await carry_out(runtime, QUEUE, {Note: die})
    assert await notes(owner) == []
    # The database was to blame: the try does not count, and others go first.
    assert await row(owner, job_id, "status", "attempts", "scheduled_at") == ("delayed", 0, EPOCH + FIRST_PAUSE)
    assert isinstance(runtime.clock, FixedClock)
    runtime.clock.move(FIRST_PAUSE)
    assert await carry_out(runtime, QUEUE, {Note: note})
    assert await notes(owner) == ["cut"]


async def test_what_breaks_is_tried_again_with_growing_pauses_and_fails_in_the_end(
    owner: Connection, team: Team, runtime: Runtime
) -> None:
    job_id = await enqueue(owner, team.id, Note(text="broken"), EPOCH)
    assert isinstance(runtime.clock, FixedClock)
    pauses: list[timedelta] = []
    while True:
        assert await carry_out(runtime, QUEUE, {Note: break_down})
        assert not await carry_out(runtime, QUEUE, {Note: break_down})
        status, again_at = await row(owner, job_id, "status", "scheduled_at")
        if status != "delayed":
            break
        pauses.append(again_at - runtime.clock.now())
        runtime.clock.move(pauses[-1])
    assert [pause / FIRST_PAUSE for pause in pauses] == [1, 2, 4, 8]
    assert await row(owner, job_id, "status", "attempts", "last_error") == ("failed", 5, "ZeroDivisionError")
    runtime.clock.move(timedelta(days=1))
    assert not await carry_out(runtime, QUEUE, {Note: break_down})
    assert await notes(owner) == []


async def test_what_nobody_can_read_or_store_is_not_in_the_way_of_the_next(
    owner: Connection, team: Team, runtime: Runtime
) -> None:
    async def too_big(tx: Tx, _job: Job, _command: Note) -> dict[str, Any]:
        return {"never": await tx.fetchval("SELECT $1::int", 2**40)}

    unheard = await enqueue(owner, team.id, Unheard(), EPOCH)
    misshapen = await enqueue(owner, team.id, Note(text="x"), EPOCH)
    await owner.execute("""UPDATE job_queue SET payload = '["x"]' WHERE id = $1""", misshapen)
    nobodys = await enqueue(owner, team.id, Note(text="nobody's"), EPOCH)
    await owner.execute("UPDATE job_queue SET team_id = NULL WHERE id = $1", nobodys)
    for _ in range(2):
        assert await carry_out(runtime, QUEUE, {Note: note})
    unstorable = await enqueue(owner, team.id, Note(text="big"), EPOCH)
    assert await carry_out(runtime, QUEUE, {Note: too_big})
    await enqueue(owner, team.id, Note(text="next"), EPOCH)
    assert await carry_out(runtime, QUEUE, {Note: note})
    assert await notes(owner) == ["next"]
    for job_id, error in (
        (unheard, "UnknownCommandError"),
        (misshapen, "ValidationError"),
        (unstorable, "DataError"),
    ):
        assert await row(owner, job_id, "status", "attempts", "last_error") == ("delayed", 1, error)
    assert await row(owner, nobodys, "status") == ("waiting",)


async def test_two_workers_carry_out_different_commands(owner: Connection, team: Team, runtime: Runtime) -> None:
    for text in ("one", "two"):
        await enqueue(owner, team.id, Note(text=text), EPOCH)
    both = asyncio.Barrier(2)

    async def together(tx: Tx, job: Job, command: Note) -> dict[str, Any]:
        async with asyncio.timeout(10):
            await both.wait()  # neither goes on before the other has its own
        return await note(tx, job, command)

    assert await asyncio.gather(*(carry_out(runtime, QUEUE, {Note: together}) for _ in range(2))) == [True, True]
    assert await notes(owner) == ["one", "two"]


async def test_another_queues_commands_are_left_alone(owner: Connection, team: Team, runtime: Runtime) -> None:
    job_id = await enqueue(owner, team.id, Foreign(), EPOCH)
    assert not await carry_out(runtime, QUEUE, {Note: note})
    assert await row(owner, job_id, "status", "attempts") == ("waiting", 0)


async def test_a_request_that_is_taken_back_leaves_no_command(owner: Connection, team: Team, runtime: Runtime) -> None:
    async def taken_back() -> None:
        async with owner.transaction():
            await enqueue(owner, team.id, Note(text="taken back"), EPOCH)
            raise asyncpg.DataError

    with pytest.raises(asyncpg.DataError):
        await taken_back()
    assert not await carry_out(runtime, QUEUE, {Note: note})
