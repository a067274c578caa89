"""A talk, through the whole platform's own doors: campaign mail, a reply, an answer by hand, and the reply to that."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from email.message import EmailMessage
from email.policy import SMTP
from pathlib import Path
from typing import Any

import pytest

from deploy.local.sandbox.world import MailWorld
from services.replies.deps import Deps as RepliesDeps
from services.replies.jobs.poll import poll
from services.replies.jobs.sort import sort_inbound
from services.sender.app import close
from services.sender.deps import Deps as SenderDeps
from services.sender.jobs.answer import answer_replies
from services.sender.jobs.enrol import enrol
from services.sender.jobs.plan import plan_slots
from services.sender.jobs.send import send_due
from tests.contract.http_rig import MONDAY, Caller, Rig, inbox_body, rig_on
from tests.contract.replies_world import replies
from tests.contract.sandbox_mail import texts
from tests.sender_world import sender_deps
from tests.support import eventually

ANN, BOB = "ann@acme.test", "question.bob@lead.test"
HOUR = timedelta(hours=1)
STEPS = [
    {"subject": "A question, {{ first_name }}", "body": "A word with you, {{ first_name }}?"},
    {"delay_days": 2, "body": "Did my note reach you, {{ first_name }}?"},
]


@dataclass(frozen=True, kw_only=True)
class House:
    """API, sender and replies on one database, and the sandbox in which Bob lives."""

    rig: Rig
    caller: Caller
    mail: MailWorld
    sender: SenderDeps
    replies: RepliesDeps

    async def go_on(self, by: timedelta) -> None:
        """Lets time pass, an hour at a time, and everybody do what is due in it."""
        for _ in range(by // HOUR):
            self.rig.clock.move(HOUR)
            self.mail.advance(HOUR)
            await self.work()

    async def work(self) -> None:
        """Everybody does what is due now."""
        while await answer_replies(self.sender):
            pass
        await enrol(self.sender)
        while await plan_slots(self.sender):
            pass
        while await send_due(self.sender):
            await self.sender.deliveries.drain()
        await eventually(lambda: self.mail.state().quiet)
        await poll(self.replies)
        while await sort_inbound(self.replies):
            pass

    async def write_to(self) -> None:
        """Ann's mailbox, Bob on a list, and a campaign of two steps to him."""
        servers = {"smtp_port": self.mail.smtp_port, "imap_port": self.mail.imap_port}
        inbox = await self.caller.post("/v1/inboxes", inbox_body(ANN, from_name="Ann", **servers))
        people = await self.caller.post("/v1/lead-lists", {"name": "People"})
        leads = [{"email": BOB, "first_name": "Bob"}]
        await self.caller.post("/v1/leads:batch", {"lead_list_id": people["id"], "leads": leads}, 200)
        body = {"name": "Spring", "lead_list_id": people["id"], "inbox_ids": [inbox["id"]], "sequences": STEPS}
        campaign = await self.caller.post("/v1/campaigns", body)
        await self.caller.post(f"/v1/campaigns/{campaign['id']}/activate", status=202)

    async def threads(self) -> list[dict[str, Any]]:
        """The team's conversations."""
        return (await self.caller.get("/v1/threads"))["data"]


@pytest.fixture
async def house(database: str, tmp_path: Path) -> AsyncIterator[House]:
    async with MailWorld(tmp_path / "mail", longest_delay=timedelta(0)) as mail, rig_on(database) as rig:
        rig.clock.move(mail.clock.now() - MONDAY)
        sender = await sender_deps(database, rig.clock, mail.certificates)
        async with replies(database, mail, clock=rig.clock) as reader:
            yield House(rig=rig, caller=await rig.team(), mail=mail, sender=sender, replies=reader)
        await close(sender)
        await sender.pool.close()


async def test_a_reply_is_answered_by_hand_and_the_talk_goes_on_in_one_thread(house: House) -> None:
    await house.write_to()
    await house.go_on(timedelta(days=4))
    (first,) = await texts(house.mail, address=BOB)  # the second step never went: Bob had answered

    (thread,) = await house.threads()
    assert (thread["unread_count"], thread["intent"], thread["lead"]["email"]) == (1, "question", BOB)
    path = f"/v1/replies/{thread['last_reply_id']}/answer"
    job = await house.caller.post(path, {"body_text": "Gladly: tomorrow at ten?\n\nAnn"}, 202)
    await house.work()
    done = await house.caller.get(f"/v1/jobs/{job['job_id']}")
    assert (done["status"], done["error"]) == ("completed", None)

    theirs = (await house.caller.get(f"/v1/replies/{thread['last_reply_id']}"))["message_id"]
    _, answer = await texts(house.mail, address=BOB)
    assert (answer["Subject"], answer["In-Reply-To"]) == ("Re: A question, Bob", theirs)
    assert answer["References"].split() == [first["Message-ID"], theirs]
    assert answer.get_content().splitlines() == ["Gladly: tomorrow at ten?", "", "Ann"]
    assert answer["List-Unsubscribe"] is None

    house.mail.put(ANN, _second_reply(answer))
    await house.go_on(2 * HOUR)
    (thread,) = await house.threads()
    assert (thread["reply_count"], thread["unread_count"], thread["intent"]) == (2, 2, "meeting_request")
    content = await house.caller.get(f"/v1/threads/{thread['id']}")
    asked, _ = await texts(house.mail, address=ANN)
    assert [(each["kind"], each["text"].splitlines()[0]) for each in content["messages"]] == [
        ("campaign", "A word with you, Bob?"),
        ("reply", asked.get_content().splitlines()[0]),
        ("answer", "Gladly: tomorrow at ten?"),
        ("reply", "Ten is fine, let us meet tomorrow at 10:00 then."),
    ]
    assert len(await texts(house.mail, address=BOB)) == 2


def _second_reply(answer: EmailMessage) -> bytes:
    reply = EmailMessage(policy=SMTP)
    reply["From"], reply["To"], reply["Subject"] = f"Bob <{BOB}>", ANN, answer["Subject"]
    reply["Message-ID"] = "<second@lead.test>"
    reply["In-Reply-To"] = answer["Message-ID"]
    reply["References"] = f"{answer['References']} {answer['Message-ID']}"
    reply.set_content("Ten is fine, let us meet tomorrow at 10:00 then.\n\nBob")
    return reply.as_bytes()
