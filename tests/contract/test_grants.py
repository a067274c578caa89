"""The slice is law: what the catalogue says about roles, policies and functions, and that a column has one writer."""

import re
from collections import defaultdict
from pathlib import Path

import pytest

from libs.schema.ownership import ACTORS, END, read_grants, render, replace_between_markers
from libs.schema.runtime.db import Connection

PAGE = Path(__file__).parent.parent.parent / "ARCHITECTURE.md"
SERVICES = ("api", "sender", "replies", "warmup", "analytics")

# design.md §2: who writes a table's rows. Two owners of one row share it by column, see SHARED.
OWNERS = {
    "api": {
        "teams", "users", "team_members", "invitation", "api_keys", "domains", "inboxes", "inbox_settings",
        "lead_lists", "leads", "campaigns", "campaign_inboxes", "sequences", "sequence_variants", "sequence_version",
        "tracked_link", "idempotency_key", "audit_log", "job_queue", "webhooks", "webhook_delivery", "webhook_logs",
        "recipient_domain", "conversation_assignee",
    },
    "sender": {"enrollments", "send_ledger", "emails", "breaker", "refusal", "replan"},
    "replies": {"inbound_raw", "imap_cursor", "replies"},
    "warmup": {"warmup_state", "warmup_interactions"},
    "analytics": {"email_events", "email_outcome", "daily_stats", "inbox_daily_stats", "projection_offset"},
}  # fmt: skip
# Rows that several services add, each for events of its own.
ADDED_BY = {
    "lead_stop": {"api", "sender", "replies"},
    "suppression_list": {"api", "sender", "replies"},
    "replan": {"api"},
}
# Run in every process: relay, auditor, once-only handling, parking, the kill switch, claims of jobs.
EVERYBODYS = {"event_log", "event_handled", "parked", "installation", "job_queue"}
# Columns of somebody else's table. Named twice: written by both, by command and by guarded transition.
SHARED = {
    ("leads", "sender"): {
        "status", "reply_intent", "current_campaign_id", "current_step", "next_send_at", "first_contacted_at",
        "last_contacted_at", "replied_at", "bounced_at", "unsubscribed_at",
    },
    ("inboxes", "sender"): {
        "status", "status_reason", "paused_at", "circuit_state", "circuit_failure_count", "circuit_last_failure_at",
        "last_sent_at",
    },
    ("inboxes", "replies"): {"last_reply_checked_at", "imap_refused", "imap_unreachable_since"},
    ("inboxes", "analytics"): {
        "health_score", "health_known", "bounce_rate_7d", "open_rate_7d", "reply_rate_7d", "sent_today",
        "sent_this_week", "sent_total", "counters_date",
    },
    ("campaigns", "sender"): {"status", "started_at", "completed_at"},
    ("campaigns", "analytics"): {
        "lead_count", "sent_count", "delivered_count", "opened_count", "clicked_count", "replied_count",
        "bounced_count", "unsubscribed_count",
    },
    ("campaign_inboxes", "analytics"): {"sent_count"},
    ("sequences", "analytics"): {"sent_count", "opened_count", "replied_count", "no_difference"},
    ("sequence_variants", "analytics"): {"sent_count", "opened_count", "replied_count", "is_winner", "won_against"},
    ("emails", "analytics"): {"open_count", "click_count"},
    # A person's triage of a reply.
    ("replies", "api"): {
        "intent", "intent_confidence", "intent_model", "intent_manual_override", "is_read", "is_archived", "read_at",
        "needs_review",
    },
    # A message that matched nobody, put away by a person.
    ("inbound_raw", "api"): {"dismissed_at"},
}  # fmt: skip
# Both write these: a person's command, and the sender's transition that checks the state it leaves.
BY_BOTH = {
    "campaigns": {"status", "started_at", "completed_at"},
    "inboxes": {"status", "status_reason", "paused_at"},
    "replies": SHARED["replies", "api"],
    "inbound_raw": SHARED["inbound_raw", "api"],
}


async def names(tx: Connection, sql: str) -> list[str]:
    return [record[0] for record in await tx.fetch(sql)]


async def test_every_table_has_row_level_security_partitions_too(tx: Connection) -> None:
    # shadow is analytics' own workshop, which no other role may enter.
    assert await names(
        tx,
        """SELECT c.oid::regclass::text FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
        WHERE c.relkind IN ('r', 'p') AND NOT c.relrowsecurity AND n.nspname !~ '^(pg_|information_schema|shadow$)'""",
    ) == []  # fmt: skip
    assert await names(
        tx,
        """SELECT r.rolname FROM pg_roles AS r
        WHERE has_schema_privilege(r.oid, 'shadow', 'USAGE') AND NOT r.rolsuper AND r.rolname !~ '^pg_'""",
    ) == ["coldstream_analytics"]  # fmt: skip


async def test_no_policy_is_for_everybody_and_each_table_lets_services_in_by_one(tx: Connection) -> None:
    assert await names(tx, "SELECT polname FROM pg_policy WHERE polroles = '{0}'") == []
    assert await names(
        tx,
        """SELECT c.relname FROM pg_class AS c
        WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition
            AND (SELECT count(*) FROM pg_policy AS p
                WHERE p.polrelid = c.oid AND 'coldstream_service'::regrole = ANY (p.polroles)
                    AND 'coldstream_api'::regrole = ANY (p.polroles)) <> 1""",
    ) == []  # fmt: skip


async def test_a_policy_asks_who_calls_once_a_statement_and_checks_what_it_writes(tx: Connection) -> None:
    rows = await tx.fetch(
        """SELECT polname, polcmd::text AS verb, pg_get_expr(polqual, polrelid) AS rows,
            pg_get_expr(polwithcheck, polrelid) AS written
        FROM pg_policy"""
    )

    assert len(rows) > 100
    for row in rows:
        for expression in filter(None, (row["rows"], row["written"])):
            # A bare call would be made for each row; inside a SELECT of its own it is made once.
            bare_calls = re.findall(r"(?<!SELECT )(?:auth\.uid|app\.\w+)\(", expression)
            assert bare_calls == [], row["polname"]
        if row["verb"] in ("w", "*") and row["rows"] != "true":
            assert row["written"] == row["rows"], row["polname"]


async def test_no_view_goes_round_row_level_security(tx: Connection) -> None:
    assert await names(
        tx,
        """SELECT c.oid::regclass::text FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
        WHERE n.nspname !~ '^(pg_|information_schema)' AND (c.relkind = 'm'
            OR (c.relkind = 'v' AND NOT coalesce('security_invoker=true' = ANY (c.reloptions), false)))""",
    ) == []  # fmt: skip


async def test_every_function_pins_its_search_path_and_a_definers_owner_cannot_log_in(tx: Connection) -> None:
    assert await names(
        tx,
        """SELECT p.oid::regprocedure::text FROM pg_proc AS p JOIN pg_namespace AS n ON n.oid = p.pronamespace
        WHERE n.nspname !~ '^(pg_|information_schema)' AND NOT coalesce('search_path=""' = ANY (p.proconfig), false)""",
    ) == []  # fmt: skip
    # Making a partition takes the tables' owner; that function takes two times and no name.
    assert await names(
        tx,
        """SELECT p.proname FROM pg_proc AS p JOIN pg_namespace AS n ON n.oid = p.pronamespace
        WHERE n.nspname !~ '^(pg_|information_schema)' AND p.prosecdef
            AND p.proowner <> 'coldstream_definer'::regrole""",
    ) == ["make_month_partitions"]  # fmt: skip
    assert await tx.fetchval("SELECT rolcanlogin FROM pg_roles WHERE rolname = 'coldstream_definer'") is False


async def test_clients_may_call_what_is_meant_for_them_and_nothing_else(tx: Connection) -> None:
    callable_by = """
        SELECT p.oid::regprocedure::text FROM pg_proc AS p
        WHERE p.pronamespace IN ('public'::regnamespace, 'app'::regnamespace)
            AND has_function_privilege($1, p.oid, 'EXECUTE')
        ORDER BY 1"""

    for role, besides in (("authenticated", []), ("coldstream_tenant", ["app.find_conversations(tsquery)"])):
        assert [record[0] for record in await tx.fetch(callable_by, role)] == [
            *besides,
            "app.my_team_ids()",
            "app.my_team_ids(text[])",
            "app.user_id()",
            "create_team(text,text)",
        ]
    assert await tx.fetch(callable_by, "anon") == []


async def test_no_role_of_ours_may_more_than_its_grants(tx: Connection) -> None:
    roles = await tx.fetch(
        """SELECT rolname, rolsuper OR rolbypassrls OR rolcreaterole OR rolcreatedb OR rolreplication AS mighty
        FROM pg_roles WHERE rolname LIKE 'coldstream\\_%'"""
    )
    owned = await names(
        tx, "SELECT relname FROM pg_class WHERE relowner::regrole::text LIKE 'coldstream\\_%' AND relkind IN ('r', 'p')"
    )

    assert {role["rolname"] for role in roles} >= {f"coldstream_{service}" for service in SERVICES}
    assert [role["rolname"] for role in roles if role["mighty"]] == []
    assert owned == []


async def test_only_sender_and_replies_read_mailbox_passwords_and_only_those_they_log_in_with(tx: Connection) -> None:
    readers: dict[str, set[str]] = defaultdict(set)
    for grant in await read_grants(tx):
        if (grant.table_name, grant.verb) == ("inboxes", "select"):
            readers[grant.column_name or ""].add(grant.role)

    assert readers["smtp_password"] == {"coldstream_sender", "coldstream_replies"}
    assert readers["imap_password"] == {"coldstream_replies"}
    assert readers["oauth_access_token"] == {"coldstream_sender", "coldstream_replies", "coldstream_api"}
    assert readers["oauth_refresh_token"] == {"coldstream_api"}


async def test_each_table_and_column_has_the_writers_that_the_design_names(tx: Connection) -> None:
    grants = await read_grants(tx)
    columns: dict[str, set[str]] = defaultdict(set)
    for grant in grants:
        columns[grant.table_name].add(grant.column_name or "")
    wrong: list[str] = []
    for grant in grants:
        actor, table, column = ACTORS[grant.role], grant.table_name, grant.column_name or ""
        if grant.verb == "select" or table in EVERYBODYS:
            continue
        owner = next((service for service, tables in OWNERS.items() if table in tables), "api")
        borrowed = {(t, c) for (t, _), shared in SHARED.items() for c in shared if c not in BY_BOTH.get(t, set())}
        if grant.verb == "update" and (table, column) in borrowed and actor == owner:
            wrong.append(f"{actor} updates {table}.{column}, which is another's")
        allowed = (
            actor == owner
            or (grant.verb == "insert" and actor in ADDED_BY.get(table, set()))
            or (grant.verb == "update" and column in SHARED.get((table, actor), set()))
        )
        if not allowed:
            wrong.append(f"{actor} may {grant.verb} {table}.{column}")

    assert wrong == []
    assert set(columns) >= {table for tables in OWNERS.values() for table in tables} | ADDED_BY.keys() | EVERYBODYS


@pytest.mark.parametrize("service", SERVICES)
async def test_a_service_that_writes_into_anothers_slice_is_denied(tx: Connection, service: str) -> None:
    mine = OWNERS[service] | EVERYBODYS | {table for table, adders in ADDED_BY.items() if service in adders}
    tables = {table for tables in OWNERS.values() for table in tables} - mine
    verbs = ["INSERT", "DELETE", "TRUNCATE"]
    rows = await tx.fetch(
        """SELECT t AS table_name, v AS verb
        FROM unnest($2::text[]) AS t, unnest($3::text[]) AS v
        WHERE has_table_privilege('coldstream_' || $1, t, v)
            OR (v = 'INSERT' AND has_any_column_privilege('coldstream_' || $1, t, v))""",
        service,
        sorted(tables),
        verbs,
    )

    assert [f"{row['verb']} {row['table_name']}" for row in rows] == []


async def test_the_table_in_architecture_md_is_what_the_grants_say(tx: Connection) -> None:
    page = PAGE.read_text("utf-8")

    assert replace_between_markers(page, await render(tx)) == page, (
        "run `python -m libs.schema.ownership DATABASE_URL ARCHITECTURE.md` on a migrated database"
    )


def test_a_page_without_the_marks_is_refused() -> None:
    with pytest.raises(ValueError, match="ownership:begin"):
        replace_between_markers(f"a page {END}", "| table |")
