"""A pooled connection comes back as clean as it went out, unasked; and one round trip begins and locks."""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import asyncpg
import pytest
from asyncpg.connection import LoggedQuery

from libs.schema.runtime import barrier
from libs.schema.runtime.clock import new_id
from libs.schema.runtime.db import Pool, Tx, close_pool, open_pool, transaction, transaction_after
from tests.support import role_url

ROOT = Path(__file__).parents[2]
# The same connection for everybody who asks, so that what one leaves behind the next would find.
STATE = """
SELECT current_user || ' ' || coalesce(current_setting('app.team_id', true), '') || ' '
    || (SELECT count(*) FROM pg_locks WHERE pid = pg_backend_pid() AND locktype = 'advisory')
"""
REQUEST = """
SET LOCAL ROLE coldstream_tenant;
SELECT set_config('app.team_id', 'acme', true), pg_advisory_xact_lock(7)
"""
# Whoever holds a session's lock has a connection of its own, or unlocks before it gives it back.
HOLDERS = {
    "libs/schema/migrate.py",
    "libs/schema/runtime/relay.py",
    "services/sender/deps.py",
    "services/replies/queries/mailboxes.py",
    "services/analytics/queries/shadow.py",
}
SESSION_STATE = re.compile(
    r"pg_(?:try_)?advisory_lock|\bSET (?:SESSION|ROLE)\b|set_config\([^)]*false\)|\bLISTEN [a-z]|\bDECLARE \w+ CURSOR"
)


@pytest.fixture(scope="module")
async def pool(module_database: str) -> AsyncIterator[Pool]:
    pool = await open_pool(role_url(module_database, "api"), application_name="test", max_size=1)
    yield pool
    await close_pool(pool)


async def commit(pool: Pool) -> None:
    async with transaction(pool) as tx:
        await tx.execute(REQUEST)
        assert await tx.fetchval(STATE) == "coldstream_tenant acme 1"


async def fail(pool: Pool) -> None:
    async def run() -> None:
        async with transaction_after(pool, REQUEST) as tx:
            assert await tx.fetchval(STATE) == "coldstream_tenant acme 1"
            raise RuntimeError("no")

    with pytest.raises(RuntimeError, match="no"):
        await run()


async def be_cancelled(pool: Pool) -> None:
    async def wait() -> None:
        async with transaction_after(pool, REQUEST) as tx:
            started.set()
            await tx.execute("SELECT pg_sleep(60)")

    started = asyncio.Event()
    task = asyncio.create_task(wait())
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def be_refused(pool: Pool) -> None:
    async def run() -> None:
        async with transaction_after(pool, REQUEST) as tx:
            await tx.execute("SELECT 1 / 0")

    with pytest.raises(asyncpg.DivisionByZeroError):
        await run()


@pytest.mark.parametrize("use", [commit, fail, be_cancelled, be_refused])
async def test_no_role_no_setting_and_no_lock_outlives_its_transaction(
    pool: Pool, use: Callable[[Pool], Awaitable[None]]
) -> None:
    await use(pool)
    async with pool.acquire(timeout=5) as connection:
        assert await connection.fetchval(STATE) == "coldstream_api  0"


async def test_giving_a_connection_back_costs_no_round_trip(pool: Pool) -> None:
    seen: list[str] = []

    def note(query: LoggedQuery) -> None:
        seen.append(query.query)

    async with pool.acquire(timeout=5) as connection:
        connection.add_query_logger(note)
    async with barrier.inside(pool, [(new_id(), b"key", new_id())]) as tx:
        await tx.fetchval("SELECT 1")
    async with pool.acquire(timeout=5) as connection:
        connection.remove_query_logger(note)
    assert [query.split()[0] for query in seen] == ["BEGIN;", "SELECT", "COMMIT"]


async def test_the_barrier_is_entered_before_the_first_statement_looks(pool: Pool, module_database: str) -> None:
    team, campaign = new_id(), new_id()
    async with barrier.inside(pool, [(team, b"\x00k", campaign)]) as tx:
        held = await tx.fetchval("SELECT count(*) FROM pg_locks WHERE pid = pg_backend_pid() AND mode = 'ShareLock'")
        assert held == 3
        assert not await _would_pass(module_database, lambda rival: barrier.stop_people(rival, team, [b"\x00k"]))
        assert not await _would_pass(module_database, lambda rival: barrier.stop_campaign(rival, campaign))
        assert not await _would_pass(module_database, barrier.stop_everything)
        assert await _would_pass(module_database, lambda rival: barrier.stop_people(rival, team, [b"\x00l"]))


async def test_a_crowd_enters_the_barrier_as_people_are_stopped_in_the_order_of_keys(pool: Pool) -> None:
    team, other, campaign = new_id(), new_id(), new_id()
    seen: list[str] = []
    async with barrier.inside(pool, [(team, b"b", campaign), (other, b"a", None), (team, b"b", campaign)]) as tx:
        held = await tx.fetchval("SELECT count(*) FROM pg_locks WHERE pid = pg_backend_pid() AND mode = 'ShareLock'")
    assert held == 4
    async with pool.acquire(timeout=5) as connection:
        connection.add_query_logger(lambda query: seen.append(query.query))
    async with barrier.inside(pool, [(team, b"b", campaign), (team, b"a", campaign)]):
        pass
    keys = re.findall(r"barrier/[a-z]+(?:/[^']+)?", seen[0])
    person = f"barrier/person/{team}"
    assert keys == [f"{person}/61", f"{person}/62", f"barrier/campaign/{campaign}", "barrier/installation"]


async def _would_pass(database: str, stop: Callable[[Tx], Awaitable[None]]) -> bool:
    rivals = await open_pool(role_url(database, "api"), application_name="rival", max_size=1)
    try:
        async with transaction(rivals) as tx:
            await tx.execute("SET LOCAL lock_timeout = '50ms'")
            await stop(tx)
    except asyncpg.LockNotAvailableError:
        return False
    else:
        return True
    finally:
        await close_pool(rivals)


def test_what_outlives_a_transaction_is_used_only_where_it_is_cleaned_up() -> None:
    sources = [path for folder in ("libs", "services", "deploy") for path in (ROOT / folder).rglob("*.py")]
    found = {str(path.relative_to(ROOT)) for path in sources if SESSION_STATE.search(path.read_text(encoding="utf-8"))}
    assert found == HOLDERS
