"""Who may write which table and column, read from the grants of a migrated database and written into ARCHITECTURE.md.

States nothing of its own: the grants (migration 022) are the law, this is how people read it.
"""

import asyncio
import sys
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import asyncpg
import msgspec

from libs.schema.runtime.db import Tx, fetch_all

BEGIN, END = "<!-- ownership:begin -->", "<!-- ownership:end -->"
# Who acts through a role: a request of the API runs as coldstream_tenant, which has what authenticated has.
ACTORS = {
    "authenticated": "api",
    "coldstream_tenant": "api",
    "coldstream_api": "api",
    "coldstream_sender": "sender",
    "coldstream_replies": "replies",
    "coldstream_warmup": "warmup",
    "coldstream_analytics": "analytics",
    "coldstream_service": "all",
}

# A grant on a table counts for each of its columns; DELETE has none, so it stands with column NULL.
READ_GRANTS = """
WITH tables AS (
    SELECT c.oid, c.relname AS table_name, c.relacl
    FROM pg_class AS c
    WHERE c.relnamespace = 'public'::regnamespace
        AND c.relkind IN ('r', 'p')
        AND NOT c.relispartition
), columns AS (
    SELECT t.oid, t.table_name, t.relacl, a.attname, a.attnum, a.attacl
    FROM tables AS t
    JOIN pg_attribute AS a ON a.attrelid = t.oid AND a.attnum > 0 AND NOT a.attisdropped
)
SELECT c.table_name, c.attname AS column_name, g.grantee::regrole::text AS role, lower(g.privilege_type) AS verb
FROM columns AS c, aclexplode(array_cat(c.relacl, c.attacl)) AS g
WHERE g.privilege_type IN ('SELECT', 'INSERT', 'UPDATE')
    AND g.grantee::regrole::text = ANY ($1::text[])
UNION
SELECT t.table_name, NULL, g.grantee::regrole::text, lower(g.privilege_type)
FROM tables AS t, aclexplode(t.relacl) AS g
WHERE g.privilege_type = 'DELETE'
    AND g.grantee::regrole::text = ANY ($1::text[])
"""


class Grant(msgspec.Struct, frozen=True, kw_only=True):
    """One role may do one thing with one column (`column_name` is None for delete)."""

    table_name: str
    column_name: str | None
    role: str
    verb: str


READ_COLUMNS = """
SELECT c.relname AS table_name, array_agg(a.attname::text ORDER BY a.attnum) AS columns
FROM pg_class AS c
JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
WHERE c.relnamespace = 'public'::regnamespace
    AND c.relkind IN ('r', 'p')
    AND NOT c.relispartition
GROUP BY c.relname
ORDER BY c.relname
"""


class Table(msgspec.Struct, frozen=True, kw_only=True):
    """A table and its columns in their order."""

    table_name: str
    columns: list[str]


async def read_grants(tx: Tx) -> list[Grant]:
    """Every grant to a role of ours on a table of schema public, a row per column."""
    return await fetch_all(tx, Grant, READ_GRANTS, list(ACTORS))


async def render(tx: Tx) -> str:
    """The ownership table as Markdown: for each table who inserts, who updates what, who deletes."""
    writers: dict[tuple[str, str, str], set[str]] = defaultdict(set)
    for grant in await read_grants(tx):
        writers[grant.table_name, grant.verb, ACTORS[grant.role]].add(grant.column_name or "")
    lines = ["| table | inserts | updates | deletes |", "|---|---|---|---|"]
    for table in await fetch_all(tx, Table, READ_COLUMNS):
        cells = [_cell(table, verb, writers) for verb in ("insert", "update", "delete")]
        lines.append(f"| `{table.table_name}` | {' | '.join(cells)} |")
    return "\n".join(lines)


def _cell(table: Table, verb: str, writers: dict[tuple[str, str, str], set[str]]) -> str:
    parts: list[str] = []
    shared = writers.get((table.table_name, verb, "all"), set[str]())
    for actor in dict.fromkeys(ACTORS.values()):
        columns = writers.get((table.table_name, verb, actor))
        if columns is None or (actor != "all" and columns <= shared):
            continue
        # Which columns an insert may name matters less than who inserts.
        whole = verb != "update" or columns >= set(table.columns)
        parts.append(f"**{actor}**" if whole else f"**{actor}** {_columns(table, columns)}")
    return "; ".join(parts) or "-"


def _columns(table: Table, columns: set[str]) -> str:
    return ", ".join(f"`{column}`" for column in table.columns if column in columns)


def replace_between_markers(page: str, table: str) -> str:
    """The page with the table between its two markers.

    Raises:
        ValueError: a marker is missing.

    """
    before, found, rest = page.partition(BEGIN)
    _, also_found, after = rest.partition(END)
    if not (found and also_found):
        raise ValueError(f"the page has no {BEGIN} … {END}")
    return f"{before}{BEGIN}\n{table}\n{END}{after}"


async def _render(dsn: str) -> str:
    connection = await asyncpg.connect(dsn)
    try:
        return await render(connection)
    finally:
        await connection.close()


def main(arguments: Sequence[str]) -> None:
    """`python -m libs.schema.ownership DATABASE_URL ARCHITECTURE.md`: writes the table into the page."""
    dsn, page = arguments[0], Path(arguments[1])
    page.write_text(replace_between_markers(page.read_text("utf-8"), asyncio.run(_render(dsn))), "utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
