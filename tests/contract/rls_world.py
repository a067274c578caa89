# ruff: noqa: S608 - statements made of our own words
"""Two teams with a row in every table, and what a client tries to say to each: the ground of the RLS matrix.

Statements name rows by fixed ids, so that one may ask for another team's row as an attacker would who knows its id.
"""

from uuid import UUID, uuid5

from tests.contract.rls_tables import Table

_NAMESPACE = UUID("7b0a3a0e-61c1-5d0e-9a55-0d1f6c0f9b11")


def row_id(team: str, what: str) -> UUID:
    """The id of a team (`team`), of one of its people (`owner`, …) or of its row in a table (`leads`, …)."""
    return uuid5(_NAMESPACE, f"{team}/{what}")


class _Ids(dict[str, str]):
    """What stands in for {…} in a statement: fixed words, and for every other name the row of that table."""

    def __init__(self, team: str, **words: str) -> None:
        super().__init__(words)
        self.team = team

    def __missing__(self, what: str) -> str:
        return str(row_id(self.team, what))


def insert(table: Table, team: str, *, n: int) -> str:
    """The INSERT of the table's n-th row of a team; every row but the first hangs on the team's second inbox."""
    words = {"id": str(row_id(team, table.name if n == 0 else f"{table.name}/{n}")), "small": str(n + 1)}
    if n > 0:
        words["inboxes"] = str(row_id(team, "inboxes/1"))
    ids = _Ids(team, **words, n=row_id(team, f"{table.name}/n/{n}").hex)
    values = ", ".join(value.format_map(ids) for value in table.row.values())
    return f"INSERT INTO {table.name} ({', '.join(table.row)}) VALUES ({values})"


def attempts(table: Table, team: str, other_team: str) -> dict[str, str]:
    """What a client tries: each verb on a team's row, and to hand it to the other team."""
    name, where = table.name, table.where.format_map(_Ids(team))
    statements = {
        "select": f"SELECT FROM {name} WHERE {where}",
        "insert": insert(table, team, n=2),
        "update": f"UPDATE {name} SET {table.change} = {table.change} WHERE {where}",
        "delete": f"DELETE FROM {name} WHERE {where}",
        "truncate": f"TRUNCATE {name}",
    }
    if "team_id" in table.row:
        statements["move team_id"] = f"UPDATE {name} SET team_id = '{row_id(other_team, 'team')}' WHERE {where}"
    return statements
