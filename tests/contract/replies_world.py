"""A mailbox with emails that have gone out, and messages that come back: what the tests of replies share."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any
from uuid import UUID

import msgspec

from deploy.local.sandbox.world import MailWorld
from libs.schema.events.base import open_envelope, open_event
from libs.schema.ids import campaign_send_id, message_id, message_token
from libs.schema.runtime.clock import FixedClock, new_id
from libs.schema.runtime.db import Connection, Pool, close_pool, open_pool
from libs.schema.runtime.network import tls_context
from libs.schema.runtime.telemetry import logger
from libs.schema.secrets import seal_secret
from services.replies.app import Settings
from services.replies.deps import Deps
from services.replies.imap import Network
from services.replies.queries import mailboxes
from services.replies.queries.mailboxes import DueInbox, Pace
from services.replies.sessions import Sessions
from tests.support import (
    PEPPER,
    SECRET_KEY,
    Campaign,
    Inbox,
    Lead,
    Team,
    insert,
    make_campaign,
    make_inbox,
    make_lead,
    make_list,
    make_team,
    role_url,
)

LOOPBACK = ("127.0.0.0/8",)
PASSWORD = "sandbox"


class Sent(msgspec.Struct, frozen=True, kw_only=True):
    id: UUID
    lead: Lead
    message_id: str
    token: str


class Office(msgspec.Struct, frozen=True, kw_only=True):
    """A team with one mailbox and one campaign."""

    team: Team
    inbox: Inbox
    campaign: Campaign
    list_id: UUID


async def make_office(owner: Connection, *, imap_port: int = 993, **columns: Any) -> Office:
    """The rows of an office; its mailbox is asked at `imap_port` of 127.0.0.1."""
    team = await make_team(owner)
    inbox = await make_inbox(owner, team, imap_port=imap_port, imap_tls="implicit", **columns)
    sealed = seal_secret(SECRET_KEY, PASSWORD, row_id=inbox.id, column="smtp_password")
    await owner.execute("UPDATE inboxes SET smtp_password = $2 WHERE id = $1", inbox.id, sealed)
    list_id = await make_list(owner, team)
    campaign = await make_campaign(owner, team, inboxes=[inbox], list_id=list_id)
    return Office(team=team, inbox=inbox, campaign=campaign, list_id=list_id)


async def send(
    owner: Connection,
    office: Office,
    *,
    to: str | Lead = "bob@lead.test",
    at: datetime | None = None,
    state: str = "accepted",
    subject: str = "Hello Bob",
    **columns: Any,
) -> Sent:
    """An email of the campaign's first step that went out at `at` (an hour ago), as the sender leaves it."""
    at = at or datetime.now(UTC) - timedelta(hours=1)
    lead = to if isinstance(to, Lead) else await make_lead(owner, office.team, email=to, list_id=office.list_id)
    step = office.campaign.step_ids[0]
    send_id = campaign_send_id(office.campaign.id, step, lead.key)
    sent = Sent(
        id=send_id,
        lead=lead,
        message_id=message_id(SECRET_KEY, send_id, "acme.test"),
        token=message_token(SECRET_KEY, send_id),
    )
    enrollment = {
        "id": new_id(),
        "team_id": office.team.id,
        "campaign_id": office.campaign.id,
        "lead_id": lead.id,
        "lead_key": lead.key,
        "sequence_version": 1,
        "step_number": 1,
        "inbox_id": office.inbox.id,
        "enrolled_at": at - timedelta(days=1),
    }
    await insert(owner, "enrollments", enrollment)
    email = {
        "id": sent.id,
        "team_id": office.team.id,
        "campaign_id": office.campaign.id,
        "sequence_id": step,
        "lead_id": lead.id,
        "inbox_id": office.inbox.id,
        "message_id": sent.message_id,
        "from_email": office.inbox.email,
        "to_email": lead.email,
        "subject": subject,
        "body_text": "A word with you, Bob?",
        "thread_id": sent.message_id,
        "status": "sent",
        "sent_at": at,
        "sent_on": at.date(),
        "inbox_sent_on": at.date(),
    }
    await insert(owner, "emails", email)
    ledger = {
        "send_id": sent.id,
        "kind": "campaign",
        "team_id": office.team.id,
        "campaign_id": office.campaign.id,
        "step_id": step,
        "lead_id": lead.id,
        "lead_key": lead.key,
        "enrollment_id": enrollment["id"],
        "inbox_id": office.inbox.id,
        "message_id": sent.message_id,
        "state": state,
        "slot_at": at,
        "not_before": at,
        "committed_at": at,
        "sent_on": at.date(),
        "inbox_sent_on": at.date(),
        "created_at": at,
    }
    await insert(owner, "send_ledger", ledger | columns)
    return sent


async def send_five(owner: Connection, office: Office) -> list[Sent]:
    states = ["accepted", "accepted", "accepted", "accepted", "unknown"]
    return [await send(owner, office, to=f"lead{number}@lead.test", state=state) for number, state in enumerate(states)]


async def rows(owner: Connection) -> dict[str, list[tuple[Any, ...]]]:
    """All that a run leaves behind, without the ids and times of the run."""
    statements = {
        "raw": "SELECT folder, uid, raw, outcome FROM inbound_raw ORDER BY folder, uid",
        "cursor": "SELECT folder, uidvalidity, last_uid FROM imap_cursor ORDER BY folder",
        "replies": "SELECT message_id, intent::text, lead_id, match_method, thread_id FROM replies ORDER BY message_id",
        "events": "SELECT type, body -> 'data' ->> 'email_id' FROM event_log ORDER BY 1, 2",
        "stops": "SELECT lead_key, reason FROM lead_stop ORDER BY 1, 2",
        "suppressed": "SELECT email, reason FROM suppression_list ORDER BY 1",
        "jobs": "SELECT job_type, status::text, attempts FROM job_queue ORDER BY 1, 2",
    }
    return {name: [tuple(row) for row in await owner.fetch(sql)] for name, sql in statements.items()}


@asynccontextmanager
async def replies(
    database: str, world: MailWorld | None = None, *, clock: FixedClock | None = None, login_gap_s: float = 0.0
) -> AsyncGenerator[Deps]:
    """What the service works with, under its own login; with a mail world its certificates are trusted."""
    settings = Settings(
        database_url=role_url(database, "replies"),
        nats_url="nats://nowhere.test",
        secret_key=SECRET_KEY,
        pepper=PEPPER,
        dangerous_allow_networks=LOOPBACK,
        poll_interval_s=0,
    )
    pool = await open_pool(settings.database_url, application_name="test-replies")
    network = Network(context=tls_context(str(world.ca_file) if world else None), allow=LOOPBACK)
    sessions = Sessions(pool, network, most=20, login_gap_s=login_gap_s)
    deps = Deps(
        settings=settings,
        pool=pool,
        clock=clock or FixedClock(datetime.now(UTC)),
        new_id=new_id,
        log=logger(),
        stopping=asyncio.Event(),
        sessions=sessions,
        poll_interval=timedelta(0),
    )
    try:
        yield deps
    finally:
        await deps.polls.close()
        await sessions.close()
        await close_pool(pool)


async def outcome_of(owner: Connection, raw_id: Any) -> tuple[str, dict[str, Any]]:
    """What the message turned out to be, and what is known of it."""
    row = await owner.fetchrow("SELECT outcome, outcome_detail FROM inbound_raw WHERE id = $1", raw_id)
    assert row is not None
    return row["outcome"], row["outcome_detail"]


async def told(owner: Connection) -> list[Any]:
    """All events, in their order."""
    bodies = await owner.fetch("SELECT body FROM event_log ORDER BY position")
    return [open_event(open_envelope(row["body"])) for row in bodies]


async def due(deps: Deps) -> list[DueInbox]:
    """Every mailbox, whenever it was asked."""
    async with deps.pool.acquire() as connection:
        late = datetime.now(UTC) + timedelta(days=3650)
        return await mailboxes.due_inboxes(connection, late, Pace(fastest=0, slowest=0), [], {}, 100)


async def store(pool: Pool, office: Office, raw: bytes, *, folder: str = "INBOX", at: datetime | None = None) -> UUID:
    """A message as the poll stores it, waiting for its outcome."""
    raw_id = new_id()
    async with pool.acquire() as connection:
        uid = await connection.fetchval("SELECT count(*) + 1 FROM inbound_raw")
        values = {
            "id": raw_id,
            "team_id": office.team.id,
            "inbox_id": office.inbox.id,
            "folder": folder,
            "uidvalidity": 1,
            "uid": uid,
            "dedupe": raw_id.bytes,
            "internal_date": at or datetime.now(UTC),
            "size_bytes": len(raw),
            "raw": raw,
            "stored_at": datetime.now(UTC),
        }
        await insert(connection, "inbound_raw", values)
    return raw_id


def reply(
    text: str,
    *,
    to: Sent | None = None,
    sender: str = "bob@lead.test",
    message_id: str = "<reply-1@lead.test>",
    headers: dict[str, str] | None = None,
) -> bytes:
    """A reply in plain text; `to` puts our Message-ID into In-Reply-To and References."""
    fields = {
        "From": f"Bob <{sender}>",
        "To": "ann@acme.test",
        "Subject": "Re: Hello Bob",
        "Date": format_datetime(datetime.now(UTC)),
        "Message-ID": message_id,
    }
    if to:
        fields |= {"In-Reply-To": to.message_id, "References": to.message_id}
    lines = [f"{name}: {value}" for name, value in (fields | (headers or {})).items()]
    return "\r\n".join([*lines, "", text]).encode()


def delivery_report(
    sent: Sent, *, status: str = "5.1.1", diagnostic: str = "smtp; 550 5.1.1 User unknown", **changes: str
) -> bytes:
    """An RFC 3464 report about the email, returned headers and all."""
    action = changes.get("action", "failed")
    about = changes.get("message_id", sent.message_id)
    return f"""From: Mail Delivery Subsystem <mailer-daemon@mx.test>\r
To: ann@acme.test\r
Subject: Undelivered Mail Returned to Sender\r
Message-ID: <{changes.get("id", "dsn-1")}@mx.test>\r
MIME-Version: 1.0\r
Content-Type: multipart/report; report-type=delivery-status; boundary="b1"\r
\r
--b1\r
Content-Type: text/plain\r
\r
Your message could not be delivered.\r
--b1\r
Content-Type: message/delivery-status\r
\r
Reporting-MTA: dns; mx.test\r
\r
Final-Recipient: rfc822; {sent.lead.email}\r
Action: {action}\r
Status: {status}\r
Diagnostic-Code: {diagnostic}\r
--b1\r
Content-Type: text/rfc822-headers\r
\r
Message-ID: {about}\r
{f"X-Coldstream-Ref: {changes['mark']}" if "mark" in changes else "X-Nothing: here"}\r
From: ann@acme.test\r
To: {sent.lead.email}\r
Subject: Hello Bob\r
--b1--\r
""".encode()


def complaint(sent: Sent) -> bytes:
    """An RFC 5965 report about the email."""
    return f"""From: fbl@mailbox.test\r
To: ann@acme.test\r
Subject: complaint\r
Message-ID: <arf-1@mailbox.test>\r
MIME-Version: 1.0\r
Content-Type: multipart/report; report-type=feedback-report; boundary="b1"\r
\r
--b1\r
Content-Type: text/plain\r
\r
This is an email abuse report.\r
--b1\r
Content-Type: message/feedback-report\r
\r
Feedback-Type: abuse\r
User-Agent: SomeGenerator/1.0\r
Version: 1\r
Original-Rcpt-To: <{sent.lead.email}>\r
--b1\r
Content-Type: message/rfc822\r
\r
Message-ID: {sent.message_id}\r
From: ann@acme.test\r
To: {sent.lead.email}\r
Subject: Hello Bob\r
\r
A word with you, Bob?\r
--b1--\r
""".encode()
