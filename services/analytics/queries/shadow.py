"""The SQL of a rebuild: tables of schema `shadow` beside the live ones of `public`, compared and mended row by row.

Statements are put together from MIRRORS, which is the one list of what the projection writes; no value is ever part of
one. Mending changes only rows that differ.
"""

from collections.abc import Sequence
from uuid import UUID

import msgspec

from libs.schema.runtime.db import Tx, fetch_all


class Mirror(msgspec.Struct, frozen=True, kw_only=True):
    """A table that the projection writes: all of its rows, or some columns of rows that are somebody else's.

    `parent` (table, our column) is the row without which one of ours cannot be; no parent: the row is somebody else's,
    and `seed` are the columns by which the projection finds it.
    """

    table: str
    key: tuple[str, ...]
    columns: tuple[str, ...]
    parent: tuple[str, str] | None = None
    seed: tuple[str, ...] = ()


class TableDifference(msgspec.Struct, frozen=True, kw_only=True):
    """What a rebuild finds in one table; `missing` and `extra` are said of the live one."""

    table: str
    compared: int
    missing: int
    extra: int
    different: int
    examples: list[str]  # keys of the first few rows that differ

    @property
    def equal(self) -> bool:
        """Whether the live table is what the events say."""
        return not (self.missing or self.extra or self.different)


MIRRORS = (
    Mirror(
        table="email_events",
        key=("id", "created_at"),
        columns=("team_id", "email_id", "event_type", "metadata"),
        parent=("emails", "email_id"),
    ),
    Mirror(
        table="email_outcome",
        key=("email_id",),
        columns=(
            *("team_id", "campaign_id", "inbox_id", "step_id", "variant_id", "sent_on", "inbox_sent_on", "sent"),
            *("delivered", "returned", "bounced", "opened", "clicked", "unsubscribed", "human_replies"),
        ),
        parent=("teams", "team_id"),
    ),
    Mirror(
        table="daily_stats",
        key=("id",),
        columns=(
            *("team_id", "date", "emails_sent", "emails_delivered", "emails_opened", "emails_clicked"),
            *("emails_replied", "emails_bounced", "emails_refused", "emails_unsubscribed", "delivery_rate"),
            *("open_rate", "click_rate", "reply_rate", "bounce_rate", "created_at", "updated_at"),
        ),
        parent=("teams", "team_id"),
    ),
    Mirror(
        table="inbox_daily_stats",
        key=("id",),
        columns=(
            *("team_id", "inbox_id", "date", "campaign_sent", "campaign_delivered", "campaign_opened"),
            *("campaign_replied", "campaign_bounced", "campaign_refused", "created_at", "updated_at"),
        ),
        parent=("inboxes", "inbox_id"),
    ),
    Mirror(
        table="campaigns",
        key=("id",),
        columns=(
            *("lead_count", "sent_count", "delivered_count", "opened_count", "clicked_count", "replied_count"),
            *("bounced_count", "unsubscribed_count"),
        ),
        seed=("id",),
    ),
    Mirror(table="campaign_inboxes", key=("id",), columns=("sent_count",), seed=("id", "campaign_id", "inbox_id")),
    Mirror(table="sequences", key=("id",), columns=("sent_count", "opened_count", "replied_count"), seed=("id",)),
    Mirror(
        table="sequence_variants", key=("id",), columns=("sent_count", "opened_count", "replied_count"), seed=("id",)
    ),
    Mirror(table="inboxes", key=("id",), columns=("sent_total",), seed=("id", "team_id")),
    Mirror(table="emails", key=("id",), columns=("open_count", "click_count"), seed=("id", "team_id")),
)

# One rebuild at a time; the lock ends with the session.
TRY_LOCK = "SELECT pg_try_advisory_lock(hashtextextended('coldstream/analytics-rebuild', 0))"


async def try_lock(tx: Tx) -> bool:
    """Whether nobody else is rebuilding; if so, this session is until it ends."""
    locked: bool = await tx.fetchval(TRY_LOCK)
    return locked


EMPTY = """
TRUNCATE shadow.event_handled, shadow.email_events, shadow.email_outcome, shadow.daily_stats, shadow.inbox_daily_stats,
    shadow.campaigns, shadow.campaign_inboxes, shadow.sequences, shadow.sequence_variants, shadow.inboxes, shadow.emails
"""


async def empty(tx: Tx) -> None:
    """Forgets the last rebuild."""
    await tx.execute(EMPTY)


READ_PARKED = "SELECT event_id FROM parked WHERE consumer = 'analytics'"


async def read_parked(tx: Tx) -> set[UUID]:
    """The ids of the events that the live projection could not apply and has not applied since."""
    return {record["event_id"] for record in await tx.fetch(READ_PARKED)}


async def seed(tx: Tx) -> None:
    """Puts in a row without numbers for each row of somebody else's that the projection counts in."""
    for mirror in MIRRORS:
        if mirror.parent is None:
            names = ", ".join(mirror.seed)
            await tx.execute(
                f"INSERT INTO shadow.{mirror.table} ({names}) SELECT {names} FROM public.{mirror.table}"  # noqa: S608 - names of MIRRORS
                " ON CONFLICT DO NOTHING"
            )


async def compare(tx: Tx, mirror: Mirror) -> TableDifference:
    """The live table against the rebuilt one; a row whose parent is gone is not missed."""
    [difference] = await fetch_all(tx, TableDifference, _compare_sql(mirror))
    return difference


async def mend(tx: Tx, mirror: Mirror) -> None:
    """Makes the live table equal to the rebuilt one by changing only the rows that differ."""
    for statement in _mend_sql(mirror):
        await tx.execute(statement)


def _compare_sql(mirror: Mirror) -> str:
    live, made = f"live.{mirror.key[0]}", f"made.{mirror.key[0]}"
    missing = f"{live} IS NULL AND {_has_parent(mirror)}"
    extra = f"{made} IS NULL" if mirror.parent else "FALSE"
    different = f"{live} IS NOT NULL AND {made} IS NOT NULL AND {_differs(mirror)}"
    wrong = f"({missing}) OR ({extra}) OR ({different})"
    return f"""
SELECT
    '{mirror.table}'::text AS "table",
    count(*) FILTER (WHERE {live} IS NOT NULL AND {made} IS NOT NULL) AS compared,
    count(*) FILTER (WHERE {missing}) AS missing,
    count(*) FILTER (WHERE {extra}) AS extra,
    count(*) FILTER (WHERE {different}) AS different,
    coalesce((array_agg(coalesce({live}, {made})::text) FILTER (WHERE {wrong}))[1:5], '{{}}') AS examples
FROM public.{mirror.table} AS live
FULL JOIN shadow.{mirror.table} AS made ON {_same_key(mirror)}
"""  # noqa: S608 - names of MIRRORS


def _mend_sql(mirror: Mirror) -> Sequence[str]:
    columns = ", ".join((*mirror.key, *mirror.columns))
    values = ", ".join(f"made.{name}" for name in (*mirror.key, *mirror.columns))
    changes = ", ".join(f"{name} = made.{name}" for name in mirror.columns)
    pair = f"public.{mirror.table} AS live", f"shadow.{mirror.table} AS made"
    update = f"UPDATE {pair[0]} SET {changes} FROM {pair[1]} WHERE {_same_key(mirror)} AND {_differs(mirror)}"  # noqa: S608 - names of MIRRORS
    if mirror.parent is None:
        return (update,)
    delete = f"DELETE FROM {pair[0]} WHERE NOT EXISTS (SELECT FROM {pair[1]} WHERE {_same_key(mirror)})"  # noqa: S608 - names of MIRRORS
    insert = (
        f"INSERT INTO public.{mirror.table} ({columns}) SELECT {values} FROM {pair[1]}"  # noqa: S608 - names of MIRRORS
        f" WHERE NOT EXISTS (SELECT FROM {pair[0]} WHERE {_same_key(mirror)}) AND {_has_parent(mirror)}"
    )
    # First what should not be there: a row under a wrong id would stand in the way of the right one.
    return (delete, update, insert)


def _same_key(mirror: Mirror) -> str:
    return " AND ".join(f"made.{name} = live.{name}" for name in mirror.key)


def _differs(mirror: Mirror) -> str:
    live, made = (", ".join(f"{side}.{name}" for name in mirror.columns) for side in ("live", "made"))
    return f"ROW({live}) IS DISTINCT FROM ROW({made})"


def _has_parent(mirror: Mirror) -> str:
    if mirror.parent is None:
        return "FALSE"
    table, column = mirror.parent
    return f"EXISTS (SELECT FROM public.{table} AS parent WHERE parent.id = made.{column})"
