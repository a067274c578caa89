"""A team whose leads have answered: rows as the services leave them, which the tests of the unibox share."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from libs.schema.runtime.clock import new_id
from libs.schema.runtime.db import Connection
from tests.contract.http_rig import MONDAY, Caller, Rig
from tests.support import (
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
)


@dataclass(frozen=True, kw_only=True)
class Desk:
    """A team's rows, and a program that acts for it."""

    owner: Connection
    caller: Caller
    team: Team
    inbox: Inbox
    campaign: Campaign
    list_id: UUID

    async def lead(self, email: str, **columns: Any) -> Lead:
        return await make_lead(self.owner, self.team, email=email, list_id=self.list_id, **columns)

    async def email(self, lead: Lead, *, thread: str, at: datetime = MONDAY, **columns: Any) -> UUID:
        """An email to the lead that has gone; more columns of `emails` by name."""
        email_id = new_id()
        row: dict[str, Any] = {
            "id": email_id,
            "team_id": self.team.id,
            "campaign_id": self.campaign.id,
            "lead_id": lead.id,
            "inbox_id": self.inbox.id,
            "message_id": f"<{new_id().hex}@acme.test>",
            "thread_id": thread,
            "from_email": self.inbox.email,
            "to_email": lead.email,
            "subject": "Hello",
            "body_text": "A word with you?",
            "status": "sent",
            "sent_at": at,
            "created_at": at,
        }
        await insert(self.owner, "emails", row | columns)
        return email_id

    async def reply(self, lead: Lead, *, thread: str | None, minute: int = 0, **columns: Any) -> UUID:
        """A reply of the lead, so many minutes past Monday's ten o'clock; more columns of `replies` by name."""
        reply_id = new_id()
        row: dict[str, Any] = {
            "id": reply_id,
            "team_id": self.team.id,
            "lead_id": lead.id,
            "inbox_id": self.inbox.id,
            "campaign_id": self.campaign.id,
            "message_id": f"<{new_id().hex}@lead.test>",
            "thread_id": thread,
            "from_email": lead.email,
            "subject": "Re: Hello",
            "body_text": "Tell me more.",
            "body_preview": "Tell me more.",
            "intent": "interested",
            "intent_confidence": 0.9,
            "received_at": MONDAY + timedelta(minutes=minute),
        }
        await insert(self.owner, "replies", row | columns)
        return reply_id

    async def unmatched(self, *, minute: int = 0, outcome: str = "unmatched", **detail: Any) -> UUID:
        """A message that nobody's email explains; more of its outcome by name."""
        at = MONDAY + timedelta(minutes=minute)
        raw_id = new_id()
        row: dict[str, Any] = {
            "id": raw_id,
            "team_id": self.team.id,
            "inbox_id": self.inbox.id,
            "folder": "INBOX",
            "uidvalidity": 1,
            "uid": 1000 + minute,
            "dedupe": new_id().bytes,
            "internal_date": at,
            "size_bytes": 4,
            "raw": b"raw\n",
            "stored_at": at,
            "outcome": outcome,
            "outcome_detail": {"from": "zoe@lead.test", "subject": "Prices", "candidates": [], **detail},
            "sorted_at": at,
        }
        await insert(self.owner, "inbound_raw", row)
        return raw_id

    async def threads(self, query: str = "") -> list[dict[str, Any]]:
        """The conversations that are listed."""
        return (await self.caller.get(f"/v1/threads?{query}"))["data"]

    async def subjects(self, query: str = "") -> list[str]:
        """The subjects of the conversations that are listed."""
        return [thread["subject"] for thread in await self.threads(query)]


async def make_desk(rig: Rig) -> Desk:
    """A team with one mailbox and one campaign, and nothing in it yet."""
    slug = f"desk-{new_id().hex}"
    team = await make_team(rig.owner, slug=slug)
    inbox = await make_inbox(rig.owner, team, email=f"ann@{slug}.test")
    list_id = await make_list(rig.owner, team)
    campaign = await make_campaign(rig.owner, team, inboxes=[inbox], list_id=list_id)
    caller = await rig.key_of(team.id)
    return Desk(owner=rig.owner, caller=caller, team=team, inbox=inbox, campaign=campaign, list_id=list_id)


async def make_member(desk: Desk, name: str, *, accepted: bool = True) -> UUID:
    """The id of a person of the team, who has accepted the invitation or not yet."""
    user_id = new_id()
    await desk.owner.execute("INSERT INTO auth.users (id, email) VALUES ($1, $2)", user_id, f"{name}-{user_id}@x.test")
    await desk.owner.execute(
        "INSERT INTO team_members (team_id, user_id, role, accepted_at) VALUES ($1, $2, 'member', $3)",
        desk.team.id,
        user_id,
        MONDAY if accepted else None,
    )
    return user_id


async def jobs(desk: Desk) -> list[tuple[str, str, dict[str, Any]]]:
    """Queue, type and payload of what the team has left for services, in that order."""
    rows = await desk.owner.fetch(
        "SELECT queue_name, job_type, payload FROM job_queue WHERE team_id = $1 ORDER BY created_at, id", desk.team.id
    )
    return [(row["queue_name"], row["job_type"], row["payload"]) for row in rows]
