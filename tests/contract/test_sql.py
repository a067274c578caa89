"""Every statement of every service is explained under the role that runs it: wrong columns and missing grants show."""

import importlib
import pkgutil
import re
from collections.abc import AsyncIterator, Iterator
from types import ModuleType

import asyncpg
import pytest

import libs.planning
import libs.schema.runtime
import services
from libs.schema.runtime.db import Connection

SERVICES = ("api", "sender", "replies", "warmup", "analytics")
# The runtime's statements run in every service, but for these; a request of the API records and stops too.
RUNS_IN = {
    "outbox": (*SERVICES, "tenant"),
    "barrier": (*SERVICES, "tenant"),
    "project": ("analytics",),
    "jobs.ENQUEUE": ("api", "tenant"),
}
# What EXPLAIN takes; TRUNCATE it does not, and a rebuild's is run instead.
PLANNED = re.compile(r"\s*(SELECT|INSERT|UPDATE|DELETE|WITH)\s")
TRUNCATE = re.compile(r"\s*TRUNCATE\s")


def statements(module: ModuleType) -> Iterator[tuple[str, str]]:
    """The module's own constants that are text, by name."""
    for name, value in vars(module).items():
        if re.fullmatch(r"[A-Z][A-Z0-9_]*", name) and isinstance(value, str):
            yield name, value


def query_modules() -> Iterator[ModuleType]:
    for found in pkgutil.walk_packages(services.__path__, "services.", onerror=importlib.import_module):
        if any(part.startswith("queries") for part in found.name.split(".")):
            yield importlib.import_module(found.name)


def role_of(module: ModuleType) -> str:
    """Who runs a module's statements; in the API a request's role, unless the module's first line says otherwise."""
    _, service, *rest = module.__name__.split(".")
    if service == "api" and "webhooks" not in rest:
        first_line = (module.__doc__ or "").partition("\n")[0]
        return "coldstream_api" if "runs as coldstream_api" in first_line.lower() else "coldstream_tenant"
    return f"coldstream_{service}"


def service_cases() -> Iterator[object]:
    for module in query_modules():
        for name, sql in statements(module):
            yield pytest.param(role_of(module), sql, id=f"{module.__name__.removeprefix('services.')}.{name}")


def shared_cases() -> Iterator[object]:
    for found in pkgutil.iter_modules(libs.schema.runtime.__path__, "libs.schema.runtime."):
        module = found.name.rpartition(".")[2]
        for name, sql in statements(importlib.import_module(found.name)):
            if PLANNED.match(sql):
                for role in RUNS_IN.get(f"{module}.{name}", RUNS_IN.get(module, SERVICES)):
                    yield pytest.param(f"coldstream_{role}", sql, id=f"{module}.{name} as {role}")


def planning_cases() -> Iterator[object]:
    """The sender decides with these, a request of the API explains with them."""
    for found in pkgutil.walk_packages(libs.planning.__path__, "libs.planning."):
        if found.name.endswith("queries"):
            for name, sql in statements(importlib.import_module(found.name)):
                for role in ("sender", "tenant"):
                    yield pytest.param(f"coldstream_{role}", sql, id=f"{found.name}.{name} as {role}")


@pytest.fixture(scope="module")
async def connection(module_database: str) -> AsyncIterator[Connection]:
    """The owner's connection to a migrated database."""
    connection = await asyncpg.connect(module_database)
    yield connection
    await connection.close()


async def explain(connection: Connection, role: str, sql: str) -> None:
    transaction = connection.transaction()
    await transaction.start()
    try:
        await connection.execute(f"SET LOCAL ROLE {role}")
        await connection.execute(sql if TRUNCATE.match(sql) else f"EXPLAIN (GENERIC_PLAN) {sql}")
    finally:
        await transaction.rollback()


@pytest.mark.parametrize("module", list(query_modules()), ids=lambda module: module.__name__.removeprefix("services."))
def test_a_queries_module_holds_no_text_constants_but_whole_statements(module: ModuleType) -> None:
    assert [name for name, sql in statements(module) if not (PLANNED.match(sql) or TRUNCATE.match(sql))] == []


@pytest.mark.parametrize(("role", "sql"), list(service_cases()))
async def test_each_query_runs_under_the_role_of_its_service(connection: Connection, role: str, sql: str) -> None:
    await explain(connection, role, sql)


@pytest.mark.parametrize(("role", "sql"), list(shared_cases()))
async def test_each_query_of_the_runtime_runs_in_every_service(connection: Connection, role: str, sql: str) -> None:
    await explain(connection, role, sql)


@pytest.mark.parametrize(("role", "sql"), list(planning_cases()))
async def test_each_query_of_the_planning_runs_for_the_sender_and_for_a_request(
    connection: Connection, role: str, sql: str
) -> None:
    await explain(connection, role, sql)


async def test_a_query_of_a_column_without_a_grant_would_be_found(connection: Connection) -> None:
    for sql in (
        "SELECT smtp_password FROM inboxes",
        "UPDATE emails SET open_count = $1",
        "INSERT INTO send_ledger (send_id) VALUES ($1)",
        "SELECT app.reset_daily_counters($1)",
    ):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await explain(connection, "coldstream_warmup", sql)
