"""What the data model does by itself: counts, addresses without case, teams of children, days, months, the audit chain.

Each test mends one line of the seed's defects; it fails on the seed as written.
"""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from libs.schema.runtime.clock import new_id
from libs.schema.runtime.db import Connection
from tests.support import Team, insert, make_campaign, make_inbox, make_lead, make_list, make_team

EVENT_DAY = datetime(2031, 5, 17, 12, tzinfo=UTC)


@pytest.fixture
async def team(tx: Connection) -> Team:
    return await make_team(tx, slug="model")


async def lead_count(tx: Connection, list_id: UUID) -> int:
    return await tx.fetchval("SELECT lead_count FROM lead_lists WHERE id = $1", list_id)


async def refused(tx: Connection, error: type[Exception], sql: str, *args: Any) -> None:
    """Passes when the statement raises `error`; the transaction goes on."""
    with pytest.raises(error):
        async with tx.transaction():
            await tx.execute(sql, *args)


# Lead counts (defects 21 to 23)


async def test_a_list_counts_leads_that_come_move_are_archived_and_go(tx: Connection, team: Team) -> None:
    first, second = await make_list(tx, team), await make_list(tx, team, name="others")
    none = await make_lead(tx, team, email="a@x.test")
    listed = await make_lead(tx, team, email="b@x.test", list_id=first)
    steps = (
        ("UPDATE leads SET lead_list_id = $2 WHERE id = $1", (none.id, first), (2, 0)),
        ("UPDATE leads SET lead_list_id = $2 WHERE id = $1", (listed.id, second), (1, 1)),
        ("UPDATE leads SET first_name = 'X' WHERE id = $1", (listed.id,), (1, 1)),
        ("UPDATE leads SET deleted_at = now() WHERE id = $1", (listed.id,), (1, 0)),
        ("UPDATE leads SET deleted_at = NULL WHERE id = $1", (listed.id,), (1, 1)),
        ("UPDATE leads SET lead_list_id = NULL WHERE id = $1", (none.id,), (0, 1)),
        ("DELETE FROM leads WHERE id = $1", (listed.id,), (0, 0)),
    )

    for sql, args, counts in steps:
        await tx.execute(sql, *args)
        assert (await lead_count(tx, first), await lead_count(tx, second)) == counts, sql


async def test_many_leads_at_once_count_once_each(tx: Connection, team: Team) -> None:
    lists = [await make_list(tx, team, name=str(n)) for n in range(3)]
    await tx.execute(
        """INSERT INTO leads (team_id, lead_list_id, email)
        SELECT $1, ($2::uuid[])[n % 4], n || '@bulk.test' FROM generate_series(0, 999) AS n""",
        team.id,
        lists,
    )

    assert [await lead_count(tx, each) for each in lists] == [250, 250, 250]
    await tx.execute("UPDATE leads SET lead_list_id = $2 WHERE team_id = $1", team.id, lists[0])
    assert [await lead_count(tx, each) for each in lists] == [1000, 0, 0]
    await tx.execute("DELETE FROM lead_lists WHERE id = $1", lists[0])
    await tx.execute("UPDATE leads SET lead_list_id = $2 WHERE team_id = $1", team.id, lists[1])
    assert await lead_count(tx, lists[1]) == 1000


# Addresses (defects 25, 26)


async def test_an_address_is_one_lead_one_suppression_and_one_inbox_in_any_case(tx: Connection, team: Team) -> None:
    inbox = await make_inbox(tx, team, email="Ann@Model.test")
    await make_lead(tx, team, email="Bob@X.test")
    await tx.execute(
        "INSERT INTO suppression_list (team_id, email, reason) VALUES ($1, ' No@X.Test ', 'manual')", team.id
    )

    assert await tx.fetchval("SELECT email FROM inboxes WHERE id = $1", inbox.id) == "ann@model.test"
    assert await tx.fetchval("SELECT email FROM suppression_list WHERE team_id = $1", team.id) == "no@x.test"
    twice = asyncpg.UniqueViolationError
    await refused(tx, twice, "INSERT INTO leads (team_id, email) VALUES ($1, 'bOB@x.test')", team.id)
    await refused(tx, twice, "INSERT INTO domains (team_id, domain) VALUES ($1, 'MODEL.test.')", team.id)
    inserted = await tx.execute(
        "INSERT INTO leads (team_id, email) VALUES ($1, 'BOB@X.TEST') ON CONFLICT (team_id, email) DO NOTHING", team.id
    )
    assert inserted == "INSERT 0 0"


async def test_a_global_suppression_exists_once_and_a_domain_is_no_address(tx: Connection) -> None:
    globally = "INSERT INTO suppression_list (email, reason, scope) VALUES ($1, 'manual', $2)"
    await tx.execute(globally, "all@x.test", "email")
    await tx.execute(globally, "X.test", "domain")

    await refused(tx, asyncpg.UniqueViolationError, globally, "ALL@x.test", "email")
    await refused(tx, asyncpg.UniqueViolationError, globally, "x.test", "domain")
    await refused(tx, asyncpg.CheckViolationError, globally, "y.test", "email")
    await refused(tx, asyncpg.CheckViolationError, globally, "a@y.test", "domain")


# Teams (defects 6, 10, 27, 28)


async def test_a_child_gets_its_parents_team_and_no_other(tx: Connection, team: Team) -> None:
    other = await make_team(tx, slug="other")
    inbox = await make_inbox(tx, team)
    settings = "INSERT INTO warmup_state (inbox_id, team_id) VALUES ($1, $2)"

    await refused(tx, asyncpg.ForeignKeyViolationError, settings, inbox.id, other.id)
    await tx.execute(settings, inbox.id, None)
    assert await tx.fetchval("SELECT team_id FROM warmup_state WHERE inbox_id = $1", inbox.id) == team.id


async def test_no_row_points_into_another_team(tx: Connection, team: Team) -> None:
    other = await make_team(tx, slug="other")
    theirs_list = await make_list(tx, other)
    theirs_inbox = await make_inbox(tx, other, email="ben@other.test")
    theirs_domain = await tx.fetchval("SELECT domain_id FROM inboxes WHERE id = $1", theirs_inbox.id)
    mine = await make_campaign(tx, team, inboxes=[], list_id=await make_list(tx, team))
    theirs = await make_campaign(tx, other, inboxes=[theirs_inbox], list_id=theirs_list)
    lead = await make_lead(tx, team)
    inbox = await make_inbox(tx, team)

    for sql, args in (
        ("UPDATE leads SET lead_list_id = $2 WHERE id = $1", (lead.id, theirs_list)),
        ("UPDATE leads SET current_campaign_id = $2 WHERE id = $1", (lead.id, theirs.id)),
        ("UPDATE inboxes SET domain_id = $2 WHERE id = $1", (inbox.id, theirs_domain)),
        ("UPDATE campaigns SET lead_list_id = $2 WHERE id = $1", (mine.id, theirs_list)),
        ("INSERT INTO campaign_inboxes (campaign_id, inbox_id) VALUES ($1, $2)", (mine.id, theirs_inbox.id)),
        ("UPDATE campaigns SET team_id = $2 WHERE id = $1", (mine.id, other.id)),
    ):
        await refused(tx, asyncpg.ForeignKeyViolationError, sql, *args)
    assert await lead_count(tx, theirs_list) == 0


async def test_a_deleted_campaign_leaves_its_leads_with_no_place_in_it(tx: Connection, team: Team) -> None:
    campaign = await make_campaign(tx, team, inboxes=[], list_id=await make_list(tx, team))
    lead = await make_lead(
        tx, team, current_campaign_id=campaign.id, current_step=2, next_send_at=datetime(2026, 3, 2, tzinfo=UTC)
    )
    await tx.execute("DELETE FROM campaigns WHERE id = $1", campaign.id)

    row = await tx.fetchrow(
        "SELECT team_id, current_campaign_id, current_step, next_send_at FROM leads WHERE id = $1", lead.id
    )
    assert row is not None
    assert tuple(row) == (team.id, None, None, None)


async def test_a_person_who_leaves_the_platform_takes_no_campaign_along(tx: Connection, team: Team) -> None:
    person = new_id()
    await tx.execute("INSERT INTO auth.users (id, email) VALUES ($1, 'Gone@Model.test')", person)
    campaign = await make_campaign(tx, team, inboxes=[], list_id=await make_list(tx, team), created_by=person)

    assert await tx.fetchval("SELECT email FROM users WHERE id = $1", person) == "gone@model.test"
    await tx.execute("DELETE FROM auth.users WHERE id = $1", person)
    assert await tx.fetchval("SELECT created_by IS NULL FROM campaigns WHERE id = $1", campaign.id) is True


async def test_a_step_that_was_archived_frees_its_number_and_keeps_its_id(tx: Connection, team: Team) -> None:
    campaign = await make_campaign(tx, team, inboxes=[], list_id=await make_list(tx, team))
    again = "INSERT INTO sequences (campaign_id, step_number, subject, body) VALUES ($1, 1, '', 'B')"

    await refused(tx, asyncpg.UniqueViolationError, again, campaign.id)
    await tx.execute("UPDATE sequences SET deleted_at = now() WHERE id = $1", campaign.step_ids[0])
    await tx.execute(again, campaign.id)
    assert await tx.fetchval("SELECT count(*) FROM sequences WHERE campaign_id = $1", campaign.id) == 2


# Values (defects 32, 33)


@pytest.mark.parametrize(
    ("sql", "error"),
    [
        ("UPDATE teams SET plan = NULL", asyncpg.NotNullViolationError),
        ("UPDATE inbox_settings SET send_window_timezone = 'Mars/Olympus'", asyncpg.InvalidParameterValueError),
        ("UPDATE inbox_settings SET min_delay_seconds = 10, max_delay_seconds = 5", asyncpg.CheckViolationError),
        ("UPDATE inbox_settings SET hourly_limit = -1", asyncpg.CheckViolationError),
        ("UPDATE inbox_settings SET send_days = '{mon,funday}'", asyncpg.CheckViolationError),
        ("UPDATE inboxes SET bounce_rate_7d = 1.5", asyncpg.CheckViolationError),
        ("UPDATE inboxes SET sent_today = -1", asyncpg.CheckViolationError),
        ("""UPDATE teams SET settings = '{"timezone": "Mars/Olympus"}'""", asyncpg.InvalidParameterValueError),
    ],
)
async def test_a_value_that_means_nothing_is_refused(
    tx: Connection, team: Team, sql: str, error: type[Exception]
) -> None:
    await make_inbox(tx, team)

    await refused(tx, error, sql)


# Timestamps and days (defects 29, 30)


async def test_a_change_moves_updated_at_but_not_in_what_the_projector_writes(tx: Connection, team: Team) -> None:
    day = {"team_id": team.id, "date": EVENT_DAY.date(), "created_at": EVENT_DAY, "updated_at": EVENT_DAY}
    await insert(tx, "daily_stats", day)
    await tx.execute("UPDATE teams SET updated_at = '2000-01-01', name = 'New' WHERE id = $1", team.id)
    await tx.execute("SET LOCAL ROLE coldstream_analytics")
    await tx.execute("UPDATE daily_stats SET emails_sent = 1, updated_at = $2 WHERE team_id = $1", team.id, EVENT_DAY)
    await tx.execute("RESET ROLE")

    assert await tx.fetchval("SELECT updated_at = now() FROM teams WHERE id = $1", team.id) is True
    assert await tx.fetchval("SELECT updated_at FROM daily_stats WHERE team_id = $1", team.id) == EVENT_DAY


async def test_every_table_with_updated_at_has_its_trigger(tx: Connection) -> None:
    rows = await tx.fetch(
        """SELECT c.table_name FROM information_schema.columns AS c
        WHERE c.table_schema = 'public' AND c.column_name = 'updated_at' AND NOT EXISTS (
            SELECT FROM pg_trigger AS t
            WHERE t.tgrelid = c.table_name::regclass AND t.tgname = 'update_' || c.table_name || '_updated_at')
        ORDER BY c.table_name"""
    )

    # These two are written with business time by their one writer.
    assert [row["table_name"] for row in rows] == ["imap_cursor", "projection_offset"]


async def test_an_inboxs_counters_end_with_its_own_day_and_week(tx: Connection, team: Team) -> None:
    inbox = await make_inbox(tx, team, sent_today=5, sent_this_week=9)
    await tx.execute("UPDATE inbox_settings SET send_window_timezone = 'Australia/Sydney'")

    async def at(*moment: int) -> tuple[int, int]:
        when = datetime(2026, 3, *moment, tzinfo=UTC)
        await tx.execute("SELECT app.reset_daily_counters($1)", when)
        row = await tx.fetchrow("SELECT sent_today, sent_this_week FROM inboxes WHERE id = $1", inbox.id)
        assert row is not None
        return row["sent_today"], row["sent_this_week"]

    assert await at(5, 12) == (5, 9)  # Thursday there: the first run learns the day
    assert await at(5, 12, 59) == (5, 9)
    assert await at(5, 13) == (0, 9)  # midnight in Sydney, 13:00 in London
    await tx.execute("UPDATE inboxes SET sent_today = 3 WHERE id = $1", inbox.id)
    assert await at(5, 14) == (3, 9)  # and only once
    assert await at(8, 13) == (0, 0)  # Monday there, after missed runs
    await tx.execute("SELECT reset_daily_counters()")


# Months (defect 40)


async def test_a_month_is_made_ahead_and_takes_what_came_too_early(tx: Connection, team: Team) -> None:
    inbox = await make_inbox(tx, team)
    lead = await make_lead(tx, team)
    addresses = {"from_email": "a@x.test", "to_email": "b@x.test", "subject": ""}
    email = {"id": new_id(), "team_id": team.id, "lead_id": lead.id, "inbox_id": inbox.id}
    await insert(tx, "emails", email | addresses)
    event = {"id": new_id(), "team_id": team.id, "email_id": email["id"], "event_type": "sent", "created_at": EVENT_DAY}
    await insert(tx, "email_events", event)
    where = "SELECT tableoid::regclass::text FROM email_events WHERE id = $1"

    assert await tx.fetchval(where, event["id"]) == "email_events_default"
    await tx.execute("SET LOCAL ROLE coldstream_analytics")
    assert await tx.fetchval("SELECT app.make_month_partitions($1, $1)", EVENT_DAY) == 2
    assert await tx.fetchval("SELECT app.make_month_partitions($1, $1)", EVENT_DAY) == 0
    assert await tx.fetchval(where, event["id"]) == "email_events_y2031m05"
    for statement in ("SELECT FROM email_events_y2031m05", "DROP TABLE email_events_y2031m05"):
        await refused(tx, asyncpg.InsufficientPrivilegeError, statement)
    await tx.execute("RESET ROLE")
    assert await tx.fetchval("SELECT relrowsecurity FROM pg_class WHERE relname = 'email_events_y2031m05'") is True
    await refused(tx, asyncpg.UniqueViolationError, "INSERT INTO email_events SELECT * FROM email_events")
    await tx.execute("DELETE FROM emails WHERE id = $1", email["id"])
    assert await tx.fetchval("SELECT count(*) FROM email_events WHERE id = $1", event["id"]) == 0


# The audit trail (reliability.md S26)


async def test_each_audit_row_holds_the_hash_of_the_one_before_it(tx: Connection, team: Team) -> None:
    other = await make_team(tx, slug="other")
    for whose in (team, other, team):
        await insert(
            tx, "audit_log", {"team_id": whose.id, "actor": "system", "action": "lead.export", "at": EVENT_DAY}
        )

    rows = await tx.fetch("SELECT previous_hash, hash FROM audit_log WHERE team_id = $1 ORDER BY position", team.id)
    assert [row["previous_hash"] for row in rows] == [None, rows[0]["hash"]]
    assert rows[0]["hash"] != rows[1]["hash"]
    for service in ("coldstream_api", "coldstream_tenant", "coldstream_sender"):
        await tx.execute(f"SET LOCAL ROLE {service}")
        await refused(tx, asyncpg.InsufficientPrivilegeError, "UPDATE audit_log SET action = 'x'")
        await refused(tx, asyncpg.InsufficientPrivilegeError, "DELETE FROM audit_log")
        await tx.execute("RESET ROLE")
