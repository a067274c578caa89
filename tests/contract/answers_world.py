"""A reply as the replies service leaves it, and what the sender makes of the command to answer it."""

from typing import Any
from uuid import UUID

from libs.schema.commands import AnswerReply
from libs.schema.runtime.clock import new_id
from libs.schema.runtime.jobs import enqueue
from services.sender.jobs.answer import answer_replies
from tests.sender_world import World
from tests.support import insert

THEIRS = "<answer-1@lead.test>"


async def got_reply(world: World, email_id: UUID, **columns: Any) -> UUID:
    """A reply to the email as the replies service leaves it."""
    email = await world.owner.fetchrow("SELECT * FROM emails WHERE id = $1", email_id)
    assert email is not None
    reply_id = new_id()
    values = {
        "id": reply_id,
        "team_id": email["team_id"],
        "email_id": email_id,
        "lead_id": email["lead_id"],
        "inbox_id": email["inbox_id"],
        "campaign_id": email["campaign_id"],
        "message_id": THEIRS,
        "thread_id": email["thread_id"],
        "from_email": email["to_email"],
        "subject": f"AW: {email['subject']}",
        "intent": "question",
        "received_at": world.clock.now(),
        "created_at": world.clock.now(),
    }
    await insert(world.owner, "replies", values | columns)
    return reply_id


async def answer(world: World, reply_id: UUID, text: str = "Of course, tomorrow?", html: str | None = None) -> UUID:
    """Leaves the command and lets the sender take it; the job's id."""
    command = AnswerReply(reply_id=reply_id, body_text=text, body_html=html, by_user=world.team.owner_id)
    job_id = await enqueue(world.owner, world.team.id, command, world.clock.now())
    assert await answer_replies(world.deps)
    return job_id


async def job(world: World, job_id: UUID) -> tuple[str, Any]:
    """The job's status and its result, or why it was refused."""
    row = await world.owner.fetchrow("SELECT status, result, last_error FROM job_queue WHERE id = $1", job_id)
    assert row is not None
    return row["status"], row["result"] or row["last_error"]


async def ends(world: World) -> list[tuple[Any, ...]]:
    """State and reason of the answers in the ledger."""
    return [
        tuple(row)
        for row in await world.owner.fetch(
            """SELECT l.state, m.status, m.error_message FROM send_ledger l JOIN emails m ON m.id = l.send_id
            WHERE l.kind = 'reply' ORDER BY l.created_at, l.send_id"""
        )
    ]
