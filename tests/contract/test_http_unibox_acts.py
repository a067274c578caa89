"""What people do with replies and with messages that matched nobody: marks, meanings, answers, whose a message is."""

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from libs.schema.ids import lead_key
from libs.schema.runtime.clock import new_id
from tests.contract.http_rig import MONDAY, Rig, expect, rig_on
from tests.contract.unibox_world import Desk, jobs, make_desk, make_member
from tests.support import PEPPER, insert, make_lead


@pytest.fixture(scope="module")
async def rig(module_database: str) -> AsyncIterator[Rig]:
    async with rig_on(module_database) as rig:
        yield rig


async def one_reply(desk: Desk, **columns: Any) -> UUID:
    return await desk.reply(await desk.lead(f"{new_id()}@lead.test"), thread="<t>", **columns)


async def test_a_reply_is_marked_and_the_marks_are_taken_off_again(rig: Rig) -> None:
    desk = await make_desk(rig)
    reply_id = await one_reply(desk, needs_review=True, match_method="colleague", left_company=True)
    path = f"/v1/replies/{reply_id}"
    body = {"is_read": True, "is_archived": True, "needs_review": False}
    marked = expect(await desk.caller.ask("PATCH", path, body), 200)
    assert (marked["is_read"], marked["is_archived"], marked["needs_review"]) == (True, True, False)
    assert (marked["read_at"], marked["match_method"], marked["left_company"]) == (
        "2026-03-02T10:00:00Z",
        "colleague",
        True,
    )
    rig.clock.move(timedelta(hours=1))
    again = expect(await desk.caller.ask("PATCH", path, {"is_read": True}), 200)
    rig.clock.move(-timedelta(hours=1))
    assert again == marked
    unread = expect(await desk.caller.ask("PATCH", path, {"is_read": False}), 200)
    assert (unread["is_read"], unread["read_at"], unread["is_archived"]) == (False, None, True)


async def test_many_replies_are_marked_at_once_and_bad_ids_lose_nothing_else(rig: Rig) -> None:
    desk, other = await make_desk(rig), await make_desk(rig)
    mine, theirs = [await one_reply(desk), await one_reply(desk)], await one_reply(other)
    ids = [str(mine[0]), "no id", str(theirs), str(mine[1]), 5, str(mine[0]), str(uuid4()), "\ud800"]
    body = {"ids": ids[:7], "is_read": True}
    done = expect(await desk.caller.ask("POST", "/v1/replies:batch", body), 200)
    assert (done["updated"], done["not_found"], done["rejected"]) == (3, 2, 2)
    assert [each["outcome"] for each in done["results"]] == [
        "updated",
        "rejected",
        "not_found",
        "updated",
        "rejected",
        "updated",
        "not_found",
    ]
    assert (await desk.caller.get("/v1/threads/counts"))["total"] == 0
    assert (await other.caller.get("/v1/threads/counts"))["total"] == 1


async def test_a_person_says_what_a_reply_means(rig: Rig) -> None:
    desk = await make_desk(rig)
    reply_id = await one_reply(desk, intent="neutral")
    done = await desk.caller.ask("PUT", f"/v1/replies/{reply_id}/intent", {"intent": "not_interested"})
    job = expect(done, 202)
    assert done.headers["location"] == f"/v1/jobs/{job['job_id']}"
    assert await jobs(desk) == [
        ("replies", "classify_reply", {"reply_id": str(reply_id), "intent": "not_interested", "by_user": None})
    ]
    (row,) = await rig.owner.fetch("SELECT action, detail FROM audit_log WHERE team_id = $1", desk.team.id)
    assert (row["action"], row["detail"]) == ("reply.classify", {"from": "neutral", "to": "not_interested"})
    assert (await desk.caller.get(f"/v1/replies/{reply_id}"))["intent"] == "neutral"  # until the job is done


async def test_an_answer_under_one_key_is_left_once(rig: Rig) -> None:
    desk = await make_desk(rig)
    path = f"/v1/replies/{await one_reply(desk)}/answer"
    body = {"body_text": "Yes.", "body_html": "<p>Yes, <a href='https://acme.test'>here</a>.</p>"}
    first, second = [await desk.caller.ask("POST", path, body, idempotency_key="a1") for _ in range(2)]
    assert (first.status_code, first.content) == (202, second.content)
    assert second.headers["location"] == first.headers["location"]
    assert [payload["body_html"] for _, _, payload in await jobs(desk)] == [body["body_html"]]


@pytest.mark.parametrize("by", ["email", "domain", "value_hash", "everybody"])
async def test_nobody_is_answered_who_wants_no_mail(rig: Rig, by: str) -> None:
    desk = await make_desk(rig)
    bob = await desk.lead("bob@quiet.test")
    reply_id = await desk.reply(bob, thread="<t>", from_email=f"Colleague@{by.replace('_', '-')}.test")
    row = {
        "id": new_id(),
        "team_id": None if by == "everybody" else desk.team.id,
        "email": {"email": "colleague@email.test", "domain": "domain.test", "everybody": "everybody.test"}.get(
            by, "x@y.test"
        ),
        "scope": "email" if by in {"email", "value_hash"} else "domain",
        "reason": "unsubscribe",
        "value_hash": lead_key(PEPPER, "colleague@value-hash.test") if by == "value_hash" else None,
    }
    await insert(rig.owner, "suppression_list", row)
    problem = await desk.caller.refused("POST", f"/v1/replies/{reply_id}/answer", {"body_text": "Hi"})
    assert (problem["status"], problem["code"]) == (409, "wrong_state")
    (fault,) = problem["errors"]
    assert (fault["code"], "/v1/suppressions" in fault["mend"]) == ("suppressed", True)
    assert "unsubscribe" in fault["detail"]
    assert await jobs(desk) == []


async def test_a_reply_to_a_mailbox_that_cannot_send_says_what_to_do(rig: Rig) -> None:
    desk = await make_desk(rig)
    path = f"/v1/replies/{await one_reply(desk)}/answer"
    await rig.owner.execute("UPDATE inboxes SET status = 'paused' WHERE id = $1", desk.inbox.id)
    (paused,) = (await desk.caller.refused("POST", path, {"body_text": "Hi"}))["errors"]
    assert (paused["code"], paused["mend"]) == (
        "inbox_not_active",
        f"resume or reconnect it, POST /v1/inboxes/{desk.inbox.id}/resume",
    )
    await rig.owner.execute("UPDATE inboxes SET deleted_at = $2 WHERE id = $1", desk.inbox.id, MONDAY)
    (gone,) = (await desk.caller.refused("POST", path, {"body_text": "Hi"}))["errors"]
    assert gone["code"] == "inbox_deleted"


async def test_an_unmatched_message_is_read_given_to_a_lead_or_put_away(rig: Rig) -> None:
    desk = await make_desk(rig)
    caller = desk.caller
    zoe, gone = (
        await desk.lead("zoe@lead.test", company="Lead Ltd"),
        await desk.lead("old@lead.test", deleted_at=MONDAY),
    )
    stranger = await make_desk(rig)
    foreign = await make_lead(rig.owner, stranger.team, email="zoe@lead.test")
    candidates = [str(zoe.id), str(gone.id), str(foreign.id)]
    first = await desk.unmatched(
        candidates=candidates, preview="What does", text="What does it cost?", intent="question"
    )
    second = await desk.unmatched(minute=5)
    await desk.unmatched(minute=9, outcome="ignored")

    listed = (await caller.get("/v1/messages/unmatched"))["data"]
    assert [row["id"] for row in listed] == [str(second), str(first)]
    row = listed[1]
    assert (row["from_email"], row["subject"], row["preview"]) == ("zoe@lead.test", "Prices", "What does")
    assert (row["text"], row["inbox"]["email"], row["intent"]) == (None, desk.inbox.email, "question")
    assert [(lead["id"], lead["company"]) for lead in row["candidates"]] == [(str(zoe.id), "Lead Ltd")]
    shown = await caller.get(f"/v1/messages/{first}")
    assert (shown["text"], shown["reply_id"]) == ("What does it cost?", None)

    email_id = await desk.email(zoe, thread="<t>")
    body = {"lead_id": str(zoe.id), "email_id": str(email_id)}
    expect(await caller.ask("POST", f"/v1/messages/{first}/assign", body), 202)
    told = {"raw_id": str(first), "lead_id": str(zoe.id), "email_id": str(email_id), "by_user": None}
    assert await jobs(desk) == [("replies", "assign_message", told)]
    ((job),) = (await caller.get("/v1/jobs?status=waiting"))["data"]
    assert (job["message_id"], job["type"]) == (str(first), "assign_message")

    put_away = expect(await caller.ask("PATCH", f"/v1/messages/{second}", {"is_dismissed": True}), 200)
    assert (put_away["is_dismissed"], put_away["outcome"]) == (True, "unmatched")
    assert [row["id"] for row in (await caller.get("/v1/messages/unmatched"))["data"]] == [str(first)]
    assert [row["id"] for row in (await caller.get("/v1/messages/unmatched?dismissed=true"))["data"]] == [str(second)]
    expect(await caller.ask("PATCH", f"/v1/messages/{second}", {"is_dismissed": False}), 200)
    page = await caller.get("/v1/messages/unmatched?limit=1")
    rest = await caller.get(f"/v1/messages/unmatched?limit=1&cursor={page['next_cursor']}")
    assert [row["id"] for row in page["data"] + rest["data"]] == [str(second), str(first)]
    assert (await caller.get(f"/v1/messages/unmatched?inbox_id={uuid4()}"))["data"] == []


async def test_a_message_that_is_known_cannot_be_assigned_nor_put_away(rig: Rig) -> None:
    desk = await make_desk(rig)
    zoe, eve = await desk.lead("zoe@lead.test"), await desk.lead("eve@lead.test")
    reply_id = new_id()
    known = await desk.unmatched(outcome="reply", reply_id=str(reply_id))
    for method, path, body in (
        ("POST", f"/v1/messages/{known}/assign", {"lead_id": str(zoe.id)}),
        ("PATCH", f"/v1/messages/{known}", {"is_dismissed": True}),
    ):
        assert (await desk.caller.refused(method, path, body))["code"] == "wrong_state"
    assert (await desk.caller.get(f"/v1/messages/{known}"))["reply_id"] == str(reply_id)
    path = f"/v1/messages/{await desk.unmatched(minute=1)}/assign"
    for body, pointer in (
        ({"lead_id": str(uuid4())}, "/lead_id"),
        ({"lead_id": str(zoe.id), "email_id": str(await desk.email(eve, thread="<t>"))}, "/email_id"),
    ):
        problem = await desk.caller.refused("POST", path, body)
        assert (problem["status"], problem["errors"][0]["pointer"]) == (404, pointer)


async def test_a_job_shows_how_it_ended_and_not_what_it_was_given(rig: Rig) -> None:
    desk = await make_desk(rig)
    reply_id = await one_reply(desk)
    for _ in range(2):
        expect(await desk.caller.ask("POST", f"/v1/replies/{reply_id}/answer", {"body_text": "a secret"}), 202)
    refused, done = (await desk.caller.get("/v1/jobs"))["data"]
    await rig.owner.execute(
        "UPDATE job_queue SET status = 'failed', last_error = 'The inbox is paused' WHERE id = $1", UUID(refused["id"])
    )
    await rig.owner.execute(
        """UPDATE job_queue SET status = 'completed', attempts = 1, started_at = $2, completed_at = $2, result = $3
        WHERE id = $1""",
        UUID(done["id"]),
        MONDAY,
        {"email_id": "5"},
    )
    after = await desk.caller.get(f"/v1/jobs/{done['id']}")
    assert (after["status"], after["result"], after["attempts"]) == ("completed", {"email_id": "5"}, 1)
    assert after["completed_at"] == "2026-03-02T10:00:00Z"
    listed = await desk.caller.ask("GET", "/v1/jobs?limit=1&status=failed")
    assert ([each["error"] for each in listed.json()["data"]], "secret" in listed.text) == (
        ["The inbox is paused"],
        False,
    )
    (thread,) = await desk.threads()
    messages = (await desk.caller.get(f"/v1/threads/{thread['id']}"))["messages"]
    assert [(each["kind"], each["status"], each["error"]) for each in messages if each["kind"] == "job"] == [
        ("job", "failed", "The inbox is paused")
    ]


async def test_a_conversation_is_a_members_for_as_long_as_they_are_one(rig: Rig) -> None:
    desk, other = await make_desk(rig), await make_desk(rig)
    await one_reply(desk)
    path = f"/v1/threads/{(await desk.threads())[0]['id']}"
    zoe, invited = await make_member(desk, "zoe"), await make_member(desk, "new", accepted=False)
    assert {str(zoe), str(desk.team.owner_id)} == {
        each["id"] for each in (await desk.caller.get("/v1/team/members"))["data"]
    }
    for nobody in (invited, other.team.owner_id, uuid4()):
        problem = await desk.caller.refused("PATCH", path, {"assigned_to": str(nobody), "is_read": True})
        assert (problem["status"], problem["errors"][0]["pointer"]) == (404, "/assigned_to")
    assert (await desk.threads())[0]["unread_count"] == 1  # a refused change changes nothing
    for user_id in (zoe, desk.team.owner_id, desk.team.owner_id, zoe):
        given = expect(await desk.caller.ask("PATCH", path, {"assigned_to": str(user_id)}), 200)
        assert given["assigned_to"]["id"] == str(user_id)
    trail = await rig.owner.fetch("SELECT detail FROM audit_log WHERE team_id = $1 ORDER BY position", desk.team.id)
    assert [row["detail"]["to"] for row in trail] == [str(zoe), str(desk.team.owner_id), str(zoe)]
    await rig.owner.execute("DELETE FROM team_members WHERE user_id = $1", zoe)
    assert (await desk.threads("assigned_to=none"))[0]["assigned_to"] is None
    expect(await desk.caller.ask("PATCH", path, {"assigned_to": str(desk.team.owner_id)}), 200)
    taken = expect(await desk.caller.ask("PATCH", path, {"assigned_to": None}), 200)
    assert taken["assigned_to"] is None
