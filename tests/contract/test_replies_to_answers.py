"""What comes back to an answer by hand: a reply, a report, an opt-out; about its own recipient, in its lead's talk."""

from collections.abc import AsyncIterator

import msgspec
import pytest

from libs.schema.events.email import BounceHard
from libs.schema.events.reply import ReplyReceived
from libs.schema.ids import answer_send_id, lead_key, message_id
from libs.schema.runtime.clock import new_id
from libs.schema.runtime.db import Connection
from services.replies.deps import Deps
from services.replies.jobs.sort import sort_inbound
from tests.contract.replies_world import (
    Office,
    Sent,
    complaint,
    delivery_report,
    make_office,
    replies,
    reply,
    send,
    store,
    told,
)
from tests.support import PEPPER, SECRET_KEY

COLLEAGUE = "cleo@lead.test"
# The campaign's first mail once more, as an answer by hand to Bob's colleague: in the ledger it has no campaign.
ANSWER = """
INSERT INTO emails (id, team_id, campaign_id, lead_id, inbox_id, message_id, thread_id, from_email, to_email, subject,
    body_text, status, kind, sent_at, sent_on, inbox_sent_on)
SELECT $2, team_id, campaign_id, lead_id, inbox_id, $3, thread_id, from_email, $4, subject, 'Gladly.', 'sent', 'reply',
    sent_at, sent_on, inbox_sent_on
FROM emails
WHERE id = $1
"""
LEDGER = """
INSERT INTO send_ledger (send_id, kind, team_id, lead_id, lead_key, inbox_id, message_id, state, slot_at, not_before,
    committed_at, sent_on, inbox_sent_on, created_at)
SELECT $2, 'reply', team_id, lead_id, $4, inbox_id, $3, 'accepted', slot_at, not_before, committed_at, sent_on,
    inbox_sent_on, created_at
FROM send_ledger
WHERE send_id = $1
"""


@pytest.fixture
async def office(owner: Connection) -> Office:
    return await make_office(owner)


@pytest.fixture
async def deps(database: str) -> AsyncIterator[Deps]:
    async with replies(database) as deps:
        yield deps


@pytest.fixture
async def answer(owner: Connection, office: Office) -> Sent:
    """An answer to Bob's colleague, in the talk with Bob."""
    first = await send(owner, office)
    send_id = answer_send_id(new_id())
    ours = message_id(SECRET_KEY, send_id, "acme.test")
    await owner.execute(ANSWER, first.id, send_id, ours, COLLEAGUE)
    await owner.execute(LEDGER, first.id, send_id, ours, lead_key(PEPPER, COLLEAGUE))
    return msgspec.structs.replace(first, id=send_id, message_id=ours)


async def suppressed(owner: Connection) -> list[tuple[str, str]]:
    rows = await owner.fetch("SELECT email, reason FROM suppression_list ORDER BY email")
    return [(row["email"], row["reason"]) for row in rows]


async def test_the_reply_to_an_answer_is_its_leads_in_the_same_thread_and_campaign(
    owner: Connection, deps: Deps, office: Office, answer: Sent
) -> None:
    await store(deps.pool, office, reply("Ten is fine.", to=answer, sender=COLLEAGUE))
    assert await sort_inbound(deps)
    (event,) = await told(owner)
    assert isinstance(event, ReplyReceived)
    assert (event.email_id, event.lead_id, event.campaign_id) == (answer.id, answer.lead.id, office.campaign.id)
    threads = await owner.fetch("SELECT thread_id FROM emails UNION SELECT thread_id FROM replies")
    assert len(threads) == 1


async def test_an_answer_that_comes_back_suppresses_whom_it_went_to_and_not_the_lead(
    owner: Connection, deps: Deps, office: Office, answer: Sent
) -> None:
    about = msgspec.structs.replace(answer, lead=msgspec.structs.replace(answer.lead, email=COLLEAGUE))
    await store(deps.pool, office, delivery_report(about))
    assert await sort_inbound(deps)
    (event,) = await told(owner)
    assert isinstance(event, BounceHard)
    assert (event.kind, event.campaign_id) == ("reply", office.campaign.id)
    assert await suppressed(owner) == [(COLLEAGUE, "hard_bounce")]
    assert await owner.fetchval("SELECT lead_key FROM lead_stop") == lead_key(PEPPER, COLLEAGUE)


async def test_a_complaint_about_an_answer_is_its_recipients(
    owner: Connection, deps: Deps, office: Office, answer: Sent
) -> None:
    await store(deps.pool, office, complaint(answer))
    assert await sort_inbound(deps)
    assert await suppressed(owner) == [(COLLEAGUE, "spam_complaint")]


async def test_who_opts_out_after_an_answer_is_left_alone_and_so_is_the_lead_for_whom_they_wrote(
    owner: Connection, deps: Deps, office: Office, answer: Sent
) -> None:
    await store(deps.pool, office, reply("Please remove me from your list.", to=answer, sender=COLLEAGUE))
    assert await sort_inbound(deps)
    assert await suppressed(owner) == [("bob@lead.test", "unsubscribe"), (COLLEAGUE, "unsubscribe")]
