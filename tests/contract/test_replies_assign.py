"""A person says whose answer an unmatched message is: it becomes one, once, with all that follows."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec
import pytest

from libs.schema.commands import AssignMessage
from libs.schema.runtime.clock import new_id
from libs.schema.runtime.db import Connection
from libs.schema.runtime.jobs import enqueue
from services.replies.deps import Deps
from services.replies.jobs.commands import carry_out_commands
from services.replies.jobs.sort import sort_inbound
from tests.contract.replies_world import (
    Office,
    make_office,
    replies,
    reply,
    send,
    store,
    told,
)
from tests.support import make_campaign, make_lead, make_team

EVE = "eve@elsewhere.test"


@pytest.fixture
async def office(owner: Connection) -> Office:
    return await make_office(owner)


@pytest.fixture
async def deps(database: str) -> AsyncIterator[Deps]:
    async with replies(database) as deps:
        yield deps


async def unmatched(deps: Deps, office: Office, text: str = "Sounds good, tell me more.", **headers: str) -> UUID:
    """A stored message that is nobody's answer."""
    raw_id = await store(deps.pool, office, reply(text, sender=EVE, headers={"Subject": "Your offer", **headers}))
    assert await sort_inbound(deps)
    return raw_id


async def assign(owner: Connection, deps: Deps, office: Office, command: AssignMessage) -> tuple[str, Any, str]:
    """Status, result and error of the command's job after it was carried out."""
    job_id = await enqueue(owner, office.team.id, command, deps.clock.now())
    assert await carry_out_commands(deps)
    row = await owner.fetchrow("SELECT status::text, result, last_error FROM job_queue WHERE id = $1", job_id)
    assert row is not None
    return row["status"], row["result"], row["last_error"] or ""


async def stopped(owner: Connection) -> set[tuple[bytes, str]]:
    return {(row["lead_key"], row["reason"]) for row in await owner.fetch("SELECT lead_key, reason FROM lead_stop")}


async def test_an_assigned_message_is_a_reply_like_any_other(owner: Connection, deps: Deps, office: Office) -> None:
    old = await send(owner, office)
    raw_id = await unmatched(deps, office)
    status, result, _ = await assign(owner, deps, office, AssignMessage(raw_id=raw_id, lead_id=old.lead.id))
    (event,) = await told(owner)
    assert (status, result) == ("completed", {"outcome": "reply", "reply_id": str(event.reply_id)})
    assert (event.match_method, event.match_confidence, event.is_alias) == ("manual", 1.0, True)
    assert (event.lead_id, event.email_id, event.intent) == (old.lead.id, old.id, "interested")
    assert (old.lead.key, "replied") in await stopped(owner)
    row = await owner.fetchrow("SELECT outcome, outcome_detail FROM inbound_raw")
    assert row is not None
    assert (row["outcome"], row["outcome_detail"]["reply_id"]) == ("reply", str(event.reply_id))
    assert await owner.fetchval("SELECT thread_id FROM replies") == old.message_id


async def test_without_an_email_named_it_answers_the_newest_one_before_it(
    owner: Connection, deps: Deps, office: Office
) -> None:
    sent = await send(owner, office, at=datetime.now(UTC) - timedelta(days=3))
    raw_id = await unmatched(deps, office)
    campaign = await make_campaign(owner, office.team, inboxes=[office.inbox], list_id=office.list_id)
    later = msgspec.structs.replace(office, campaign=campaign)
    await send(owner, later, to=sent.lead, at=datetime.now(UTC) + timedelta(days=1))
    await assign(owner, deps, office, AssignMessage(raw_id=raw_id, lead_id=sent.lead.id))
    (event,) = await told(owner)
    assert event.email_id == sent.id


async def test_a_lead_whom_nobody_has_written_to_can_be_given_a_message(
    owner: Connection, deps: Deps, office: Office
) -> None:
    lead = await make_lead(owner, office.team, email="dan@elsewhere.test", list_id=office.list_id)
    raw_id = await unmatched(deps, office)
    assert (await assign(owner, deps, office, AssignMessage(raw_id=raw_id, lead_id=lead.id)))[0] == "completed"
    (event,) = await told(owner)
    assert (event.lead_id, event.email_id, event.campaign_id) == (lead.id, None, None)
    row = await owner.fetchrow("SELECT message_id, thread_id, email_id FROM replies")
    assert row is not None
    assert tuple(row) == ("<reply-1@lead.test>", "<reply-1@lead.test>", None)


async def test_what_the_lead_writes_next_is_in_the_thread_of_the_assigned_message(
    owner: Connection, deps: Deps, office: Office
) -> None:
    lead = await make_lead(owner, office.team, email="dan@elsewhere.test", list_id=office.list_id)
    raw_id = await unmatched(deps, office)
    next_ = {"In-Reply-To": "<reply-1@lead.test>", "Subject": "Your offer"}
    await store(deps.pool, office, reply("Hello?", sender=EVE, headers=next_, message_id="<next@elsewhere.test>"))
    await assign(owner, deps, office, AssignMessage(raw_id=raw_id, lead_id=lead.id))
    while await sort_inbound(deps):
        pass
    _, event = await told(owner)
    assert (event.match_method, event.lead_id, event.email_id) == ("thread", lead.id, None)
    assert await owner.fetchval("SELECT count(DISTINCT thread_id) FROM replies") == 1


async def test_an_opt_out_that_is_assigned_suppresses_the_lead_too(
    owner: Connection, deps: Deps, office: Office
) -> None:
    sent = await send(owner, office)
    raw_id = await unmatched(deps, office, "Please unsubscribe me.")
    await assign(owner, deps, office, AssignMessage(raw_id=raw_id, lead_id=sent.lead.id, email_id=sent.id))
    assert [event.TYPE for event in await told(owner)] == ["reply.received", "lead.unsubscribed"]
    assert (sent.lead.key, "unsubscribe") in await stopped(owner)
    suppressed = {row["email"] for row in await owner.fetch("SELECT email FROM suppression_list")}
    assert suppressed == {"bob@lead.test", EVE}


async def test_a_message_is_assigned_once(owner: Connection, deps: Deps, office: Office) -> None:
    sent = await send(owner, office)
    raw_id = await unmatched(deps, office)
    command = AssignMessage(raw_id=raw_id, lead_id=sent.lead.id)
    await assign(owner, deps, office, command)
    status, _, error = await assign(owner, deps, office, command)
    assert (status, error) == ("failed", "the message has become 'reply' already: load the list again")
    assert len(await told(owner)) == 1


async def test_a_command_that_does_not_fit_is_refused_with_the_mend_and_changes_nothing(
    owner: Connection, deps: Deps, office: Office
) -> None:
    sent = await send(owner, office)
    other = await send(owner, office, to="carol@third.test")
    stranger = await make_lead(owner, await make_team(owner, slug="other"), email="x@y.test")
    raw_id = await unmatched(deps, office)
    refused = {
        AssignMessage(raw_id=raw_id, lead_id=stranger.id): "the team has no such lead",
        AssignMessage(raw_id=raw_id, lead_id=sent.lead.id, email_id=other.id): "did not go to this lead",
        AssignMessage(raw_id=raw_id, lead_id=sent.lead.id, email_id=new_id()): "did not go to this lead",
        AssignMessage(raw_id=new_id(), lead_id=sent.lead.id): "there is no such message",
    }
    for command, why in refused.items():
        status, _, error = await assign(owner, deps, office, command)
        assert status == "failed"
        assert why in error
        assert ": " in error  # the mend
    assert await owner.fetchval("SELECT outcome FROM inbound_raw") == "unmatched"
    assert (await told(owner), await stopped(owner)) == ([], set())


async def test_another_teams_message_is_out_of_reach(owner: Connection, deps: Deps, office: Office) -> None:
    await send(owner, office)
    raw_id = await unmatched(deps, office)
    team = await make_team(owner, slug="other")
    lead = await make_lead(owner, team, email="x@y.test")
    theirs = msgspec.structs.replace(office, team=team)
    status, _, error = await assign(owner, deps, theirs, AssignMessage(raw_id=raw_id, lead_id=lead.id))
    assert (status, "there is no such message" in error) == ("failed", True)
    assert await owner.fetchval("SELECT outcome FROM inbound_raw") == "unmatched"
