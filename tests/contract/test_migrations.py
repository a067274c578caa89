"""Migrations: applied once, in order, by checksum, on every PostgreSQL we promise; and undone for development."""

import asyncio
import shutil
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import asyncpg
import pytest

from libs.schema.migrate import MIGRATIONS, MigrationError, migrate, read_migrations, reset
from libs.schema.runtime.db import Connection

SEED = (
    "001_create_teams.sql",
    "002_create_users.sql",
    "003_create_team_members.sql",
    "004_create_domains.sql",
    "005_create_inboxes.sql",
    "006_create_inbox_settings.sql",
    "007_create_warmup_tables.sql",
    "008_create_lead_tables.sql",
    "009_create_campaign_tables.sql",
    "010_create_email_tables.sql",
    "011_create_reply_tables.sql",
    "012_create_webhook_tables.sql",
    "013_create_analytics_tables.sql",
    "014_create_functions_triggers.sql",
    "015_create_rls_policies.sql",
)
# What Supabase has before we come: its own roles and auth schema, and default grants of everything to its clients.
SUPABASE = """
DO $$
DECLARE role_name TEXT;
BEGIN
    FOREACH role_name IN ARRAY ARRAY['anon', 'authenticated', 'service_role'] LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = role_name) THEN
            EXECUTE format('CREATE ROLE %I NOLOGIN NOINHERIT', role_name);
        END IF;
    END LOOP;
END $$;
CREATE SCHEMA auth;
GRANT USAGE ON SCHEMA auth TO anon, authenticated, service_role;
CREATE TABLE auth.users (
    instance_id UUID, id UUID PRIMARY KEY, aud VARCHAR(255), email VARCHAR(255), phone TEXT, created_at TIMESTAMPTZ
);
CREATE FUNCTION auth.uid() RETURNS UUID LANGUAGE sql STABLE AS $uid$
    SELECT (nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'sub')::uuid
$uid$;
INSERT INTO auth.users (id, email) VALUES ('00000000-0000-7000-8000-000000000001', 'Early@Bird.test');
INSERT INTO auth.users (id, phone) VALUES ('00000000-0000-7000-8000-000000000002', '+15550100');
GRANT USAGE ON SCHEMA public TO anon, authenticated, service_role;
ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT ALL ON TABLES TO anon, authenticated, service_role;
ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT ALL ON SEQUENCES TO anon, authenticated, service_role;
ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT ALL ON FUNCTIONS TO anon, authenticated, service_role;
"""
EVERYTHING = """
SELECT n.nspname || '.' || c.relname
FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
UNION ALL
SELECT n.nspname || '.' || p.proname
FROM pg_proc AS p JOIN pg_namespace AS n ON n.oid = p.pronamespace
WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
UNION ALL
SELECT n.nspname || '.' || t.typname
FROM pg_type AS t JOIN pg_namespace AS n ON n.oid = t.typnamespace
WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the first three migrations, to be spoilt."""
    for name in SEED[:3]:
        shutil.copy(MIGRATIONS / name, tmp_path)
    return tmp_path


async def run(url: str, sql: str, *args: object) -> list[asyncpg.Record]:
    connection = await asyncpg.connect(url)
    try:
        return await connection.fetch(sql, *args)
    finally:
        await connection.close()


async def set_up(url: str, script: str) -> None:
    connection: Connection = await asyncpg.connect(url)
    await connection.execute(script)
    await connection.close()


def test_the_seeds_fifteen_files_come_first_and_each_says_owner_why_and_locks() -> None:
    migrations = read_migrations()

    assert tuple(migration.name for migration in migrations[:15]) == SEED
    for migration in migrations:
        words = [line.split(":")[0] for line in migration.sql.splitlines()[:3]]
        assert words == ["-- owner", "-- why", "-- locks"], migration.name


async def test_a_second_migration_applies_nothing(any_empty_database: str) -> None:
    applied = await migrate(any_empty_database)

    assert applied == [migration.name for migration in read_migrations()]
    assert await migrate(any_empty_database) == []


async def test_two_migrations_at_once_apply_each_file_once(any_empty_database: str) -> None:
    first, second = await asyncio.gather(migrate(any_empty_database), migrate(any_empty_database))

    assert sorted(map(len, (first, second))) == [0, len(read_migrations())]


async def test_a_changed_file_is_refused_by_name(empty_database: str, folder: Path) -> None:
    await migrate(empty_database, folder=folder)
    with (folder / SEED[1]).open("a") as file:
        file.write("-- a harmless remark\n")

    with pytest.raises(MigrationError, match=r"^002_create_users\.sql: was changed"):
        await migrate(empty_database, folder=folder)


async def test_a_missing_file_is_refused_by_name(empty_database: str, folder: Path) -> None:
    await migrate(empty_database, folder=folder)
    (folder / SEED[2]).unlink()

    with pytest.raises(MigrationError, match=r"^003_create_team_members\.sql: was applied .* missing"):
        await migrate(empty_database, folder=folder)


async def test_a_renamed_file_is_refused_by_its_old_name(empty_database: str, folder: Path) -> None:
    await migrate(empty_database, folder=folder)
    (folder / SEED[2]).rename(folder / "003_create_members.sql")

    with pytest.raises(MigrationError, match=r"^003_create_team_members\.sql: was applied"):
        await migrate(empty_database, folder=folder)


async def test_a_file_that_comes_in_below_an_applied_one_is_refused_by_name(empty_database: str, folder: Path) -> None:
    late = folder / "004_create_domains.sql"
    shutil.copy(MIGRATIONS / "004_create_domains.sql", folder / "005_create_domains.sql")
    await migrate(empty_database, folder=folder)
    late.write_text("SELECT 1;\n")

    with pytest.raises(MigrationError, match=r"^004_create_domains\.sql: its number is below 005"):
        await migrate(empty_database, folder=folder)


def test_a_number_that_two_files_have_is_refused_by_both_names(folder: Path) -> None:
    (folder / "002_other.sql").write_text("SELECT 1;\n")

    with pytest.raises(MigrationError, match=r"002_other\.sql: has the same number as 002_create_users\.sql"):
        read_migrations(folder)


def test_a_file_that_is_not_numbered_is_refused_by_name(folder: Path) -> None:
    (folder / "fix.sql").write_text("SELECT 1;\n")

    with pytest.raises(MigrationError, match=r"^fix\.sql"):
        read_migrations(folder)


async def test_a_file_that_fails_leaves_nothing_behind_and_those_before_it_stay(
    empty_database: str, folder: Path
) -> None:
    (folder / "004_broken.sql").write_text("CREATE TABLE half (id UUID);\nSELECT 1 / 0;\n")

    with pytest.raises(asyncpg.DivisionByZeroError):
        await migrate(empty_database, folder=folder)

    rows = await run(
        empty_database, "SELECT to_regclass('half') AS half, (SELECT count(*) FROM ops.migrations) AS applied"
    )
    assert dict(rows[0]) == {"half": None, "applied": 3}


async def test_a_reset_leaves_nothing_of_ours_and_everything_of_others(any_empty_database: str) -> None:
    await set_up(any_empty_database, "CREATE TABLE theirs (id UUID)")
    before = await run(any_empty_database, EVERYTHING)
    await migrate(any_empty_database)
    await reset(any_empty_database)
    await reset(any_empty_database)

    assert await run(any_empty_database, EVERYTHING) == before
    assert len(await migrate(any_empty_database)) == len(read_migrations())


@pytest.mark.usefixtures("migrated_database")  # so that our roles are there, made by somebody else
async def test_an_owner_who_is_no_superuser_migrates_resets_and_migrates_again(any_postgres: str) -> None:
    name = f"modest_{uuid4().hex}"
    await set_up(any_postgres, f"CREATE ROLE {name} LOGIN CREATEROLE PASSWORD 'modest'")
    # What a role has that made ours itself.
    await set_up(any_postgres, f"GRANT coldstream_definer TO {name} WITH ADMIN OPTION")
    await set_up(any_postgres, f"CREATE DATABASE {name} OWNER {name}")
    parts = urlsplit(any_postgres)
    url = urlunsplit(parts._replace(netloc=f"{name}:modest@{parts.hostname}:{parts.port}", path=f"/{name}"))
    try:
        first = await migrate(url)
        await reset(url)
        assert await migrate(url) == first
    finally:
        await set_up(any_postgres, f"DROP DATABASE {name} WITH (FORCE)")
        await set_up(any_postgres, f"DROP ROLE {name}")


async def test_on_supabase_its_own_auth_stays_and_its_clients_get_no_more_than_elsewhere(
    any_empty_database: str, migrated_database: str
) -> None:
    await set_up(any_empty_database, SUPABASE)
    await migrate(any_empty_database)

    grants = """
        SELECT c.relname, a.attname, r.rolname, p.verb
        FROM pg_class AS c
        JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
        CROSS JOIN (SELECT rolname FROM pg_roles WHERE rolname IN ('anon', 'authenticated')) AS r
        CROSS JOIN (VALUES ('SELECT'), ('INSERT'), ('UPDATE'), ('REFERENCES')) AS p(verb)
        WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p')
            AND has_column_privilege(r.rolname, c.oid, a.attnum, p.verb)
        UNION ALL
        SELECT c.relname, NULL, r.rolname, p.verb
        FROM pg_class AS c
        CROSS JOIN (SELECT rolname FROM pg_roles WHERE rolname IN ('anon', 'authenticated')) AS r
        CROSS JOIN (VALUES ('DELETE'), ('TRUNCATE'), ('TRIGGER')) AS p(verb)
        WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p')
            AND has_table_privilege(r.rolname, c.oid, p.verb)
        UNION ALL
        SELECT p.oid::regprocedure::text, NULL, r.rolname, 'EXECUTE'
        FROM pg_proc AS p
        CROSS JOIN (SELECT rolname FROM pg_roles WHERE rolname IN ('anon', 'authenticated')) AS r
        WHERE p.pronamespace IN ('public'::regnamespace, 'app'::regnamespace)
            AND has_function_privilege(r.rolname, p.oid, 'EXECUTE')
        ORDER BY 1, 2, 3, 4
    """
    assert await run(any_empty_database, grants) == await run(migrated_database, grants)
    columns = await run(any_empty_database, "SELECT attname FROM pg_attribute WHERE attrelid = 'auth.users'::regclass")
    assert "instance_id" in {row["attname"] for row in columns}
    # Who was there before us has a profile; who has no address yet gets one with the address.
    assert [row["email"] for row in await run(any_empty_database, "SELECT email FROM users")] == ["early@bird.test"]
    await set_up(any_empty_database, "UPDATE auth.users SET email = 'late@bird.test' WHERE phone IS NOT NULL")
    assert len(await run(any_empty_database, "SELECT FROM users WHERE email = 'late@bird.test'")) == 1


async def test_a_service_logs_in_with_the_password_it_was_given_and_with_no_other(
    postgres_url: str, empty_database: str, folder: Path
) -> None:
    # A role of this test's own, since roles belong to the whole server.
    await set_up(postgres_url, "CREATE ROLE coldstream_probe")
    parts = urlsplit(postgres_url)
    login = urlunsplit(parts._replace(netloc=f"coldstream_probe@{parts.hostname}:{parts.port}", path="/postgres"))
    try:
        await migrate(empty_database, passwords={"probe": "it's a $ecret"}, folder=folder)
        connection = await asyncpg.connect(login, password="it's a $ecret")
        assert await connection.fetchval("SELECT current_user") == "coldstream_probe"
        await connection.close()
        with pytest.raises(asyncpg.InvalidPasswordError):
            await asyncpg.connect(login, password="guess")
    finally:
        await set_up(postgres_url, "DROP ROLE coldstream_probe")


async def test_a_password_that_servers_may_read_differently_is_refused(empty_database: str, folder: Path) -> None:
    with pytest.raises(ValueError, match="printable ASCII"):
        await migrate(empty_database, passwords={"api": "schlüssel"}, folder=folder)
