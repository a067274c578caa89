"""Every table, a row of it, and who may do what to it: the RLS matrix's one list. Never says how it is tried."""

from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class Table:
    """What a client would say to one table, and who may.

    `row` is a whole row as SQL expressions; {id}, {team}, {n} and {small} (unlike in every row) and {<what>} (a row's
    id) are filled in. `rights` maps a verb to who may use it on the own team's row as `authenticated` (a client of the
    database), and `api` to who else may as `coldstream_tenant` (a request of the API): those who read, work or manage
    in the team, or anyone.
    """

    name: str
    row: dict[str, str]
    change: str
    rights: dict[str, str] = field(default_factory=dict[str, str])
    api: dict[str, str] = field(default_factory=dict[str, str])
    where: str = "team_id = '{team}'"


OURS = {"team_id": "'{team}'"}
READ = {"select": "read"}
WORK = {"select": "read", "insert": "work", "update": "work"}
MANAGE = {"select": "read", "insert": "manage", "update": "manage", "delete": "manage"}
ADD = {"select": "read", "insert": "work"}
NOW = "'2026-03-02 08:00Z'"
KEY = "decode('{n}', 'hex')"

TABLES = (
    Table(
        name="teams",
        row={"id": "'{team}'", "name": "'{n}'", "slug": "'{n}'"},
        change="name",
        rights={"select": "read", "update": "manage"},
        where="id = '{team}'",
    ),
    Table(
        name="users",
        row={"id": "'{id}'", "email": "'{n}@x.test'"},
        change="full_name",
        # Everybody sees the team; a person changes the own profile only, which test_rls tries by itself.
        rights={"select": "read"},
        where="id = '{leaver}'",
    ),
    Table(
        name="team_members",
        row={**OURS, "user_id": "'{stranger}'", "role": "'member'", "invited_at": NOW},
        change="role",
        rights=MANAGE,
        where="team_id = '{team}' AND user_id = '{leaver}'",
    ),
    Table(
        name="domains",
        row={"id": "'{id}'", **OURS, "domain": "'{n}.test'"},
        change="dkim_selector",
        rights=MANAGE,
    ),
    Table(
        name="inboxes",
        row={"id": "'{id}'", **OURS, "domain_id": "'{domains}'", "email": "'{n}@x.test'", "provider": "'smtp'"},
        change="from_name",
        rights=MANAGE,
    ),
    Table(
        name="inbox_settings",
        row={**OURS, "inbox_id": "'{inboxes}'"},
        change="hourly_limit",
        rights={"select": "read", "insert": "manage", "update": "manage"},
    ),
    Table(name="warmup_state", row={**OURS, "inbox_id": "'{inboxes}'"}, change="enabled", rights=READ),
    Table(
        name="warmup_interactions",
        row={"from_inbox_id": "'{inboxes}'", "to_inbox_id": "'{inboxes}'", "interaction_type": "'sent'"},
        change="subject",
        rights=READ,
        where="from_inbox_id = '{inboxes}'",
    ),
    Table(name="lead_lists", row={"id": "'{id}'", **OURS, "name": "'{n}'"}, change="name", rights=WORK),
    Table(
        name="leads",
        row={"id": "'{id}'", **OURS, "lead_list_id": "'{lead_lists}'", "email": "'{n}@lead.test'"},
        change="first_name",
        rights=WORK,
    ),
    Table(
        name="suppression_list",
        row={**OURS, "email": "'{n}@no.test'", "reason": "'manual'"},
        change="value_hash",
        rights=ADD,
        api={"update": "work", "delete": "work"},
    ),
    Table(
        name="campaigns",
        row={"id": "'{id}'", **OURS, "lead_list_id": "'{lead_lists}'", "name": "'{n}'"},
        change="name",
        rights=WORK,
    ),
    Table(
        name="campaign_inboxes",
        row={**OURS, "campaign_id": "'{campaigns}'", "inbox_id": "'{inboxes}'"},
        change="inbox_id",
        rights={"select": "read", "insert": "work", "delete": "work"},
    ),
    Table(
        name="sequences",
        row={
            "id": "'{id}'",
            **OURS,
            "campaign_id": "'{campaigns}'",
            "step_number": "{small}",
            "subject": "''",
            "body": "''",
        },
        change="body",
        rights=WORK,
    ),
    Table(
        name="sequence_variants",
        row={**OURS, "sequence_id": "'{sequences}'", "variant_index": "{small}", "subject": "''", "body": "''"},
        change="body",
        rights=WORK,
    ),
    Table(
        name="emails",
        row={
            "id": "'{id}'",
            **OURS,
            "campaign_id": "'{campaigns}'",
            "lead_id": "'{leads}'",
            "inbox_id": "'{inboxes}'",
            "from_email": "'a@x.test'",
            "to_email": "'b@x.test'",
            "subject": "''",
        },
        change="subject",
        rights=READ,
    ),
    Table(
        name="email_events",
        row={**OURS, "email_id": "'{emails}'", "event_type": "'sent'", "created_at": NOW},
        change="metadata",
        rights=READ,
    ),
    Table(
        name="replies",
        row={**OURS, "lead_id": "'{leads}'", "inbox_id": "'{inboxes}'", "from_email": "'b@x.test'", "received_at": NOW},
        change="is_read",
        rights={"select": "read", "update": "work"},
    ),
    Table(
        name="conversation_assignee",
        row={**OURS, "conversation_id": "'{id}'", "user_id": "'{owner}'", "assigned_at": NOW},
        change="assigned_at",
        api={"select": "read", "insert": "work", "update": "work", "delete": "work"},
    ),
    Table(
        name="webhooks",
        row={"id": "'{id}'", **OURS, "url": "'https://x.test'", "events": "'{{email.sent}}'"},
        change="url",
        rights=MANAGE,
    ),
    Table(
        name="webhook_logs",
        row={**OURS, "webhook_id": "'{webhooks}'", "event": "'email.sent'", "payload": "'{{}}'"},
        change="success",
        rights=READ,
    ),
    Table(name="daily_stats", row={**OURS, "date": "DATE '2026-01-01' + {small}"}, change="emails_sent", rights=READ),
    Table(
        name="inbox_daily_stats",
        row={**OURS, "inbox_id": "'{inboxes}'", "date": "DATE '2026-01-01' + {small}"},
        change="campaign_sent",
        rights=READ,
    ),
    Table(
        name="email_outcome",
        row={
            "email_id": "'{id}'",
            **OURS,
            **dict.fromkeys(("sent", "delivered", "returned", "bounced", "opened", "clicked", "unsubscribed"), "false"),
            "human_replies": "0",
        },
        change="sent",
    ),
    Table(
        name="job_queue",
        row={**OURS, "queue_name": "'api'", "job_type": "'import'", "payload": "'{{}}'"},
        change="status",
        api=ADD,
    ),
    Table(
        name="installation",
        row={"paused": "false"},
        change="paused",
        api={"select": "anyone"},
        where="singleton",
    ),
    Table(
        name="event_log",
        row={
            "event_id": "'{id}'",
            **OURS,
            "type": "'lead.imported'",
            "subject": "'lead/{leads}'",
            "time": NOW,
            "body": "'{{}}'",
        },
        change="type",
        api=ADD,
    ),
    Table(
        name="event_handled",
        row={"consumer": "'{team}'", "event_id": "'{id}'"},
        change="handled_at",
        where="consumer = '{team}'",
    ),
    Table(
        name="parked",
        row={"consumer": "'{team}'", "event_id": "'{id}'", "type": "''", "error": "''", "attempts": "1"},
        change="error",
        where="consumer = '{team}'",
    ),
    Table(
        name="projection_offset",
        row={"projection": "'{n}'"},
        change="last_seq",
        api={"select": "anyone"},
        where="true",
    ),
    Table(
        name="recipient_domain",
        row={"domain": "'{n}.test'"},
        change="provider",
        api={"select": "anyone", "insert": "anyone"},
        where="true",
    ),
    Table(
        name="sequence_version",
        row={
            "id": "'{id}'",
            **OURS,
            "campaign_id": "'{campaigns}'",
            "version": "1 + {small}",
            "steps": "'[]'",
            "created_at": NOW,
        },
        change="steps",
        api=ADD,
    ),
    Table(
        name="enrollments",
        row={
            "id": "'{id}'",
            **OURS,
            "campaign_id": "'{campaigns}'",
            "lead_id": "'{leads}'",
            "lead_key": KEY,
            "sequence_version": "1",
            "step_number": "1",
            "enrolled_at": NOW,
        },
        change="state",
        api=READ,
    ),
    Table(
        name="send_ledger",
        row={
            "send_id": "'{id}'",
            "kind": "'test'",
            **OURS,
            "lead_key": KEY,
            "inbox_id": "'{inboxes}'",
            "message_id": "'{n}'",
            "slot_at": NOW,
            "not_before": NOW,
            "created_at": NOW,
        },
        change="state",
        api=READ,
    ),
    Table(
        name="lead_stop",
        row={"id": "'{id}'", **OURS, "lead_key": KEY, "reason": "'marked'", "event_id": "'{id}'", "stopped_at": NOW},
        change="reason",
        api=ADD,
    ),
    Table(
        name="replan",
        row={"id": "'{id}'", **OURS, "scope": "'team'", "scope_id": "'{team}'", "asked_at": NOW},
        change="scope",
        api=ADD,
    ),
    Table(
        name="breaker",
        row={**OURS, "kind": "'auth'", "scope": "'inbox'", "scope_key": "'{n}'", "changed_at": NOW},
        change="state",
        api=READ,
    ),
    Table(
        name="refusal",
        row={
            "email_id": "'{id}'",
            **OURS,
            "lead_key": KEY,
            "class": "'hard'",
            "inbox_id": "'{inboxes}'",
            "source": "'smtp'",
            "refused_at": NOW,
        },
        change="class",
        api=READ,
    ),
    Table(
        name="imap_cursor",
        row={"inbox_id": "'{inboxes}'", **OURS, "folder": "'{n}'", "uidvalidity": "1", "updated_at": NOW},
        change="last_uid",
        api=READ,
    ),
    Table(
        name="inbound_raw",
        row={
            "id": "'{id}'",
            **OURS,
            "inbox_id": "'{inboxes}'",
            "folder": "'INBOX'",
            "uidvalidity": "1",
            "uid": "{small}",
            "dedupe": KEY,
            "internal_date": NOW,
            "size_bytes": "1",
            "raw": "'x'",
            "stored_at": NOW,
        },
        change="folder",
        api=READ,
    ),
    Table(
        name="invitation",
        row={
            "id": "'{id}'",
            **OURS,
            "email": "'{n}@x.test'",
            "role": "'member'",
            "token_hash": KEY,
            "created_at": NOW,
            "expires_at": NOW,
        },
        change="revoked_at",
        api={"select": "manage", "insert": "manage", "update": "manage"},
    ),
    Table(
        name="api_keys",
        row={"id": "'{id}'", **OURS, "name": "''", "prefix": "'{n}'", "key_hash": KEY, "created_at": NOW},
        change="name",
        api={"select": "manage", "insert": "manage", "update": "manage"},
    ),
    Table(
        name="audit_log",
        row={**OURS, "actor": "'system'", "action": "'lead.export'", "at": NOW},
        change="action",
        api={"select": "manage", "insert": "read"},
    ),
    Table(
        name="idempotency_key",
        row={**OURS, "key": "'{n}'", "request_hash": KEY, "created_at": NOW},
        change="response_status",
        api={"select": "read", "insert": "read", "update": "read", "delete": "read"},
    ),
    Table(
        name="tracked_link",
        row={"id": "'{id}'", **OURS, "campaign_id": "'{campaigns}'", "url": "'https://{n}.test'", "created_at": NOW},
        change="url",
        api=ADD,
    ),
    Table(
        name="webhook_delivery",
        row={"id": "'{id}'", **OURS, "webhook_id": "'{webhooks}'", "event_id": "'{id}'", "created_at": NOW},
        change="status",
        api=READ,
    ),
)
