"""The `coldstream` command: what it prints where, its exit codes, and that it is quick to answer."""

from libs.schema.runtime.db import Connection
from tests.command import children_cpu_s, coldstream

NOBODY = "postgresql://coldstream:secret@127.0.0.1:1/coldstream"
COMMANDS = (
    "up",
    "demo",
    "migrate",
    "reset",
    "run",
    "replay",
    "verify-sends",
    "inspect",
    "parked",
    "events",
    "keys",
    "config",
)


async def test_the_help_names_every_command_within_half_a_second() -> None:
    before = children_cpu_s()
    done = await coldstream("--help")
    assert done.code == 0
    assert children_cpu_s() - before < 0.5
    assert [name for name in COMMANDS if name not in done.out] == []


async def test_a_word_that_is_no_command_is_wrong_use() -> None:
    done = await coldstream("sned")
    assert (done.code, done.out) == (2, "")


async def test_a_server_that_does_not_answer_is_one_line_and_code_3() -> None:
    done = await coldstream("verify-sends", "--json", "--database-url", NOBODY, "--nats-url", "nats://127.0.0.1:1")
    assert (done.code, done.out) == (3, "")
    assert done.err.startswith("not reached: ")
    assert len(done.err.splitlines()) == 1
    assert "secret" not in done.err


async def test_migrate_names_what_it_applied_and_a_second_time_nothing(empty_database: str) -> None:
    first = await coldstream("migrate", environ={"COLDSTREAM_DATABASE_URL": empty_database})
    assert first.code == 0
    assert first.out.splitlines()[0] == "001_create_teams.sql"
    second = await coldstream("migrate", "--database-url", empty_database)
    assert (second.code, second.out) == (0, "")


async def test_reset_without_yes_drops_nothing(database: str, owner: Connection) -> None:
    refused = await coldstream("reset", "--database-url", database)
    assert refused.code == 1
    assert await owner.fetchval("SELECT to_regclass('teams') IS NOT NULL")
    done = await coldstream("reset", "--yes", "--database-url", database)
    assert done.code == 0
    assert await owner.fetchval("SELECT to_regclass('teams') IS NULL")
