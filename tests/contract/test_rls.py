# ruff: noqa: S608 - statements made of our own words
"""Row level security: a matrix of every table, verb and kind of user, and what no matrix can say (P10)."""

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Literal

import asyncpg
import pytest

from libs.schema.runtime.db import Connection
from tests.contract.rls_tables import TABLES, Table
from tests.contract.rls_world import attempts, insert, row_id

TEAMS = ("acme", "globex")
MEMBERS = {"owner": "owner", "admin": "admin", "member": "member", "viewer": "viewer", "leaver": "member"}
# Who is who in the verdicts: what each role in a team may do.
LEVELS = {
    "owner": {"read", "work", "manage"},
    "admin": {"read", "work", "manage"},
    "member": {"read", "work"},
    "viewer": {"read"},
}
SEEDED_BY_HAND = {"teams", "users", "team_members", "installation"}
# Runs a statement as the caller, says how many rows it touched or why it may not, and undoes it.
ATTEMPT = """
CREATE SCHEMA probe;
GRANT USAGE ON SCHEMA probe TO PUBLIC;
CREATE FUNCTION probe.attempt(statement TEXT) RETURNS TEXT LANGUAGE plpgsql AS $$
DECLARE
    touched BIGINT;
BEGIN
    EXECUTE statement;
    GET DIAGNOSTICS touched = ROW_COUNT;
    RAISE EXCEPTION USING ERRCODE = 'ZZ001', MESSAGE = touched;
EXCEPTION
    WHEN SQLSTATE 'ZZ001' THEN RETURN SQLERRM;
    WHEN insufficient_privilege THEN RETURN 'denied';
    WHEN OTHERS THEN RETURN SQLSTATE || ' ' || SQLERRM;
END
$$;
"""


@dataclass(frozen=True, kw_only=True)
class Caller:
    """Somebody who reaches the database: through which role, with which claims or settings, and what he is where."""

    name: str
    through: Literal["anon", "authenticated", "coldstream_tenant"] = "authenticated"
    login: str | None = None
    claims: str | None = None  # a person of acme, or globex/<person>
    settings: tuple[tuple[str, str], ...] = ()
    role: str = ""  # in acme; no role = must see nothing of it

    def may(self, table: Table, verb: str, team: str) -> bool:
        rights = table.rights | (table.api if self.through == "coldstream_tenant" else {})
        if self.through == "anon" or verb not in rights:
            return False
        role = self.role if team == "acme" else ("owner" if self.claims == "globex/owner" else "")
        return rights[verb] == "anyone" or rights[verb] in LEVELS.get(role, set())


def key(role: str) -> tuple[tuple[str, str], ...]:
    return ("app.team_id", str(row_id("acme", "team"))), ("app.role", role)


CALLERS = (
    *(Caller(name=role, claims=role, role=role) for role in LEVELS),
    *(
        Caller(name=f"{role} by API", through="coldstream_tenant", login="coldstream_api", claims=role, role=role)
        for role in LEVELS
    ),
    *(
        Caller(
            name=f"API key as {role}",
            through="coldstream_tenant",
            login="coldstream_api",
            settings=key(role),
            role=role,
        )
        for role in LEVELS
    ),
    Caller(
        name="API key without a role",
        through="coldstream_tenant",
        login="coldstream_api",
        settings=key("member")[:1],
        role="member",
    ),
    Caller(name="pending invitee", claims="pending"),
    Caller(name="pending invitee by API", through="coldstream_tenant", login="coldstream_api", claims="pending"),
    Caller(name="owner of another team", claims="globex/owner"),
    Caller(name="stranger", claims="stranger"),
    Caller(name="no claim"),
    Caller(name="no claim by API", through="coldstream_tenant", login="coldstream_api"),
    Caller(name="anon", through="anon"),
    Caller(name="client that sets the API's settings", settings=key("owner")),
    Caller(name="service that sets the API's settings", through="coldstream_tenant", settings=key("owner")),
    Caller(
        name="API that names a team the person is not in",
        through="coldstream_tenant",
        login="coldstream_api",
        claims="stranger",
        settings=key("owner"),
    ),
)


@pytest.fixture(scope="module")
async def world(migrated_database: str) -> AsyncIterator[Connection]:
    """The owner's connection to a database with both teams, in a transaction that is never committed."""
    connection = await asyncpg.connect(migrated_database)
    await connection.transaction().start()
    await connection.execute(ATTEMPT)
    for team in TEAMS:
        await seed(connection, team)
    yield connection
    await connection.close()


async def seed(owner: Connection, team: str) -> None:
    await owner.execute("INSERT INTO teams (id, name, slug) VALUES ($1, $2, $2)", row_id(team, "team"), f"rls-{team}")
    for person in (*MEMBERS, "pending", "stranger"):
        person_id = row_id(team, person)
        await owner.execute("INSERT INTO auth.users (id, email) VALUES ($1, $2)", person_id, f"{person}@{team}.rls")
        if person != "stranger":
            await owner.execute(
                """INSERT INTO team_members (team_id, user_id, role, invited_at)
                VALUES ($1, $2, $3, $4::text::timestamptz)""",
                row_id(team, "team"),
                person_id,
                MEMBERS.get(person, "admin"),
                "2026-03-02 08:00Z" if person == "pending" else None,
            )
    for table in TABLES:
        if table.name not in SEEDED_BY_HAND:
            await owner.execute(insert(table, team, n=0))
        if table.name == "inboxes":
            await owner.execute(insert(table, team, n=1))


async def become(connection: Connection, caller: Caller) -> None:
    if caller.login:
        await connection.execute(f"SET LOCAL SESSION AUTHORIZATION {caller.login}")
    await connection.execute(f"SET LOCAL ROLE {caller.through}")
    settings = dict(caller.settings)
    if caller.claims:
        team, _, person = caller.claims.rpartition("/")
        settings["request.jwt.claims"] = json.dumps({"sub": str(row_id(team or "acme", person))})
    for name, value in settings.items():
        await connection.execute("SELECT set_config($1, $2, true)", name, value)


async def as_caller(world: Connection, caller: Caller, *statements: str) -> list[str]:
    """What each statement answers to this caller; nothing of it lasts."""
    savepoint = world.transaction()
    await savepoint.start()
    try:
        await become(world, caller)
        rows = await world.fetch("SELECT probe.attempt(s) AS answer FROM unnest($1::text[]) AS s", statements)
        return [row["answer"] for row in rows]
    finally:
        await savepoint.rollback()


def named(name: str) -> Caller:
    return next(caller for caller in CALLERS if caller.name == name)


async def test_the_matrix_knows_every_table(world: Connection) -> None:
    rows = await world.fetch(
        "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p')"
        " AND NOT relispartition"
    )

    assert {row["relname"] for row in rows} == {table.name for table in TABLES}


@pytest.mark.parametrize("caller", CALLERS, ids=lambda caller: caller.name)
async def test_every_verb_on_every_table_is_answered_as_the_verdict_table_says(
    world: Connection, caller: Caller
) -> None:
    tries = {
        (table.name, verb, team): (statement, caller.may(table, verb, team))
        for table in TABLES
        for team, other in (TEAMS, TEAMS[::-1])
        for verb, statement in attempts(table, team, other).items()
    }
    answers = await as_caller(world, caller, *(statement for statement, _ in tries.values()))

    wrong = {
        what: answer
        for (what, (_, allowed)), answer in zip(tries.items(), answers, strict=True)
        if not (answer.isdigit() and answer != "0" if allowed else answer in {"denied", "0"})
    }
    assert wrong == {}


async def test_no_client_and_no_request_reads_a_secret(world: Connection) -> None:
    secrets = (
        *(f"SELECT {column} FROM inboxes" for column in ("oauth_access_token", "oauth_refresh_token")),
        *(f"SELECT {column} FROM inboxes" for column in ("smtp_password", "imap_password")),
        "SELECT secret FROM webhooks",
        "SELECT key_hash FROM api_keys",
        "SELECT token_hash FROM invitation",
        "SELECT FROM inboxes WHERE smtp_password = 'guess'",
    )

    for caller in ("owner", "owner by API", "API key as owner"):
        assert await as_caller(world, named(caller), *secrets) == ["denied"] * len(secrets)


async def test_nobody_sets_the_own_plan_limits_health_or_status(world: Connection) -> None:
    grabs = (
        "UPDATE teams SET plan = 'enterprise'",
        "UPDATE teams SET daily_email_limit = 1000000",
        "UPDATE inboxes SET sent_today = 0",
        "UPDATE inboxes SET health_score = 100",
        "UPDATE inboxes SET circuit_state = 'closed'",
        "UPDATE leads SET status = 'pending'",
        "UPDATE event_log SET stream_seq = 1",
        "SELECT reset_daily_counters()",
        "SELECT app.reset_daily_counters(now())",
        "SELECT app.make_month_partitions(now(), now())",
    )

    for caller in ("owner", "owner by API", "API key as owner"):
        assert await as_caller(world, named(caller), *grabs) == ["denied"] * len(grabs)
    # A direct client sends no campaign off; a request of the API does.
    start = "UPDATE campaigns SET status = 'active'"
    assert await as_caller(world, named("member"), start) == ["denied"]
    assert await as_caller(world, named("member by API"), start) == ["1"]


async def test_people_see_their_team_mates_and_change_only_themselves(world: Connection) -> None:
    tries = ("SELECT FROM users", "UPDATE users SET full_name = 'X'", "UPDATE users SET email = 'x@x.test'")

    # The five members and the invitee, and nobody of the other team.
    assert await as_caller(world, named("viewer"), *tries) == ["6", "1", "denied"]
    # Who has not accepted yet sees himself.
    assert await as_caller(world, named("pending invitee"), *tries) == ["1", "1", "denied"]


def role_change(person: str, role: str) -> str:
    return f"UPDATE team_members SET role = '{role}' WHERE user_id = '{row_id('acme', person)}'"


def removal(person: str) -> str:
    return f"DELETE FROM team_members WHERE user_id = '{row_id('acme', person)}'"


async def test_nobody_raises_himself_and_only_an_owner_makes_or_unmakes_owners(world: Connection) -> None:
    as_admin = (
        role_change("admin", "viewer"),
        role_change("admin", "owner"),
        role_change("member", "owner"),
        role_change("owner", "member"),
        role_change("member", "admin"),
        removal("owner"),
        removal("viewer"),
    )

    answers = await as_caller(world, named("admin"), *as_admin)

    assert answers == ["denied", "denied", "denied", "0", "1", "0", "1"]
    assert await as_caller(world, named("owner"), role_change("member", "owner")) == ["1"]
    assert await as_caller(world, named("member"), role_change("member", "admin")) == ["0"]


async def test_the_last_owner_stays_and_everybody_else_may_leave(world: Connection) -> None:
    last = await as_caller(world, named("owner"), removal("owner"))

    assert last == ["23001 team_members: the last owner stays"]
    assert await as_caller(world, named("viewer"), removal("viewer"), removal("member")) == ["1", "0"]
    # With a second owner the first may go; a team that is deleted takes its last owner with it.
    both = f"{role_change('admin', 'owner')}; {removal('owner')}"
    assert await world.fetchval("SELECT probe.attempt($1)", f"DO $x$ BEGIN {both}; END $x$") == "0"
    gone = await world.fetchval("SELECT probe.attempt($1)", f"DELETE FROM teams WHERE id = '{row_id('acme', 'team')}'")
    assert gone == "1"


async def test_a_new_member_is_an_invitee_who_cannot_be_accepted_by_others(world: Connection) -> None:
    ids = f"'{row_id('acme', 'team')}', '{row_id('globex', 'stranger')}'"
    invited = "INSERT INTO team_members (team_id, user_id, role, invited_at)"
    tries = (
        f"INSERT INTO team_members (team_id, user_id, role) VALUES ({ids}, 'member')",
        f"{invited} VALUES ({ids}, 'owner', now())",
        f"{invited} VALUES ({ids}, 'admin', now())",
        "UPDATE team_members SET accepted_at = now()",
    )

    assert await as_caller(world, named("admin"), *tries) == ["denied", "denied", "1", "denied"]


async def test_a_signed_in_person_makes_a_team_and_is_its_owner(world: Connection) -> None:
    create = "SELECT create_team('New', 'new-team')"
    joined = "INSERT INTO teams (name, slug) VALUES ('Mine', 'mine')"

    assert await as_caller(world, named("stranger"), create, joined) == ["1", "denied"]
    assert await as_caller(world, named("anon"), create) == ["denied"]
    assert await as_caller(world, named("no claim"), create) == ["denied"]
    savepoint = world.transaction()
    await savepoint.start()
    await become(world, named("stranger"))
    team_id = await world.fetchval(create)
    members = await world.fetch("SELECT user_id, role FROM team_members WHERE team_id = $1", team_id)
    await savepoint.rollback()
    assert [tuple(row) for row in members] == [(row_id("acme", "stranger"), "owner")]


async def test_a_request_that_forgets_its_role_changes_nothing_of_a_teams(world: Connection) -> None:
    tries = ("UPDATE leads SET first_name = 'X'", "DELETE FROM inboxes", "UPDATE campaigns SET status = 'active'")
    savepoint = world.transaction()
    await savepoint.start()
    await world.execute("SET LOCAL SESSION AUTHORIZATION coldstream_api")
    answers = [await world.fetchval("SELECT probe.attempt($1)", statement) for statement in tries]
    await savepoint.rollback()

    assert answers == ["denied"] * len(tries)
