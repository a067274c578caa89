"""What holds for every route of the unibox: nothing of another team's, no more than a role may, and no bad input."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import pytest

from services.api.rules.answers import MAX_BYTES
from tests.contract.http_rig import Rig, expect, rig_on
from tests.contract.unibox_world import Desk, make_desk


@pytest.fixture(scope="module")
async def rig(module_database: str) -> AsyncIterator[Rig]:
    async with rig_on(module_database) as rig:
        yield rig


@dataclass(frozen=True, kw_only=True)
class Act:
    """A request about something of a team's."""

    method: str
    path: str
    body: Any = None
    code: str = ""
    pointer: str = ""

    def __str__(self) -> str:
        return f"{self.method} {self.path} {str(self.body)[:40]}"


ACTS = [
    Act(method="GET", path="/v1/replies/{reply}"),
    Act(method="PATCH", path="/v1/replies/{reply}", body={"is_read": True}),
    Act(method="PUT", path="/v1/replies/{reply}/intent", body={"intent": "question"}),
    Act(method="POST", path="/v1/replies/{reply}/answer", body={"body_text": "Hi"}),
    Act(method="GET", path="/v1/threads/{thread}"),
    Act(method="PATCH", path="/v1/threads/{thread}", body={"is_archived": True}),
    Act(method="GET", path="/v1/messages/{message}"),
    Act(method="PATCH", path="/v1/messages/{message}", body={"is_dismissed": True}),
    Act(method="POST", path="/v1/messages/{message}/assign", body={}),
    Act(method="GET", path="/v1/jobs/{job}"),
]
LISTS = ["/v1/replies", "/v1/threads", "/v1/messages/unmatched", "/v1/jobs"]


@dataclass(frozen=True, kw_only=True)
class Ground:
    """A team with one of each, and the ids by the words that stand for them in a path."""

    desk: Desk
    ids: dict[str, str]


@pytest.fixture(scope="module")
async def ground(rig: Rig) -> Ground:
    desk = await make_desk(rig)
    lead = await desk.lead("bob@lead.test")
    reply_id = await desk.reply(lead, thread="<t>")
    answered = expect(await desk.caller.ask("POST", f"/v1/replies/{reply_id}/answer", {"body_text": "Hi"}), 202)
    words = {
        "reply": reply_id,
        "lead": lead.id,
        "thread": (await desk.threads())[0]["id"],
        "message": await desk.unmatched(),
        "job": answered["job_id"],
    }
    return Ground(desk=desk, ids={name: str(value) for name, value in words.items()})


def filled(act: Act, ids: dict[str, str]) -> tuple[str, Any]:
    """The request's path and body with these ids."""
    body = {"lead_id": ids["lead"]} if act.path.endswith("/assign") and not act.code else act.body
    return act.path.format_map(ids), body


@pytest.mark.parametrize("act", ACTS, ids=str)
async def test_what_is_anothers_is_not_there(rig: Rig, ground: Ground, act: Act) -> None:
    stranger = (await make_desk(rig)).caller
    unknown = dict.fromkeys(ground.ids, str(uuid4()))
    theirs = await stranger.refused(act.method, *filled(act, ground.ids))
    nobodys = await stranger.refused(act.method, *filled(act, unknown))
    assert (theirs["status"], theirs) == (404, nobodys)


async def test_no_list_shows_what_is_anothers(rig: Rig, ground: Ground) -> None:
    stranger = (await make_desk(rig)).caller
    assert [len((await ground.desk.caller.get(path))["data"]) for path in LISTS] == [1] * 4
    assert [(await stranger.get(path))["data"] for path in LISTS] == [[]] * 4
    assert (await stranger.get(f"/v1/threads?lead_id={ground.ids['lead']}&q=tell&archived=any"))["data"] == []


async def test_a_viewer_reads_and_changes_nothing_and_a_scope_is_kept_to(rig: Rig, ground: Ground) -> None:
    viewer = await rig.key_of(ground.desk.team.id, role="viewer")
    marker = await rig.key_of(ground.desk.team.id, role="member", scopes=("results:read", "replies:write"))
    for act in ACTS:
        path, body = filled(act, ground.ids)
        if act.method == "GET":
            await viewer.get(path)
        else:
            assert (await viewer.refused(act.method, path, body))["code"] == "missing_scope", act
    batch = {"ids": [ground.ids["reply"]], "is_read": True}
    assert (await viewer.refused("POST", "/v1/replies:batch", batch))["code"] == "missing_scope"
    for path in (*LISTS, "/v1/threads/counts", "/v1/team/members"):
        await viewer.get(path)
    expect(await marker.ask("POST", "/v1/replies:batch", batch), 200)
    problem = await marker.refused("POST", f"/v1/replies/{ground.ids['reply']}/answer", {"body_text": "Hi"})
    assert (problem["status"], "replies:send" in problem["detail"]) == (403, True)


def bad(method: str, path: str, body: Any, code: str, pointer: str = "") -> Act:
    return Act(method=method, path=path, body=body, code=code, pointer=pointer)


ANSWER = "/v1/replies/{reply}/answer"
BAD = [
    bad("PATCH", "/v1/replies/{reply}", {}, "missing"),
    bad("PATCH", "/v1/replies/{reply}", {"is_read": "yes"}, "bool_type", "/is_read"),
    bad("PATCH", "/v1/replies/{reply}", {"is_read": None}, "bool_type", "/is_read"),
    bad("PATCH", "/v1/replies/{reply}", {"intent": "question"}, "extra_forbidden", "/intent"),
    bad("PATCH", "/v1/threads/{thread}", {"assigned_to": "me"}, "uuid_parsing", "/assigned_to"),
    bad("PATCH", "/v1/threads/{thread}", {"needs_review": False}, "extra_forbidden", "/needs_review"),
    bad("POST", "/v1/replies:batch", {"ids": [], "is_read": True}, "too_short", "/ids"),
    bad("POST", "/v1/replies:batch", {"ids": ["x"] * 1001, "is_read": True}, "too_long", "/ids"),
    bad("POST", "/v1/replies:batch", {"ids": "x", "is_read": True}, "list_type", "/ids"),
    bad("POST", "/v1/replies:batch", {"ids": ["x"]}, "missing"),
    bad("PUT", "/v1/replies/{reply}/intent", {"intent": "angry"}, "literal_error", "/intent"),
    bad("PUT", "/v1/replies/{reply}/intent", {}, "missing", "/intent"),
    bad("POST", ANSWER, {}, "missing", "/body_text"),
    bad("POST", ANSWER, {"body_text": " \r\n\t"}, "blank_body", "/body_text"),
    bad("POST", ANSWER, {"body_text": 5}, "string_type", "/body_text"),
    bad("POST", ANSWER, {"body_text": "x" * (MAX_BYTES + 1)}, "too_long", "/body_text"),
    bad("POST", ANSWER, {"body_text": "é" * (MAX_BYTES // 2 + 1)}, "too_long", "/body_text"),
    bad("POST", ANSWER, {"body_text": "a\x00b"}, "control_character", "/body_text"),
    bad("POST", ANSWER, {"body_text": "a\x0bb"}, "control_character", "/body_text"),
    bad("POST", ANSWER, {"body_text": "a", "subject": "x\r\nBcc: y@z.test"}, "extra_forbidden", "/subject"),
    bad("POST", ANSWER, {"body_text": "a", "to": "y@z.test"}, "extra_forbidden", "/to"),
    bad("POST", ANSWER, {"body_text": "a", "body_html": "<" * (MAX_BYTES + 1)}, "too_long", "/body_html"),
    bad("POST", ANSWER, {"body_text": "a", "body_html": "<b>a</b><Script >x"}, "active_content", "/body_html"),
    bad("POST", ANSWER, {"body_text": "a", "body_html": "<b OnLoad = x>"}, "active_content", "/body_html"),
    bad("POST", ANSWER, {"body_text": "a", "body_html": "<a href='java\tscript:x'>"}, "link_scheme", "/body_html"),
    bad("PATCH", "/v1/messages/{message}", {}, "missing", "/is_dismissed"),
    bad("POST", "/v1/messages/{message}/assign", {}, "missing", "/lead_id"),
    bad("POST", "/v1/messages/{message}/assign", {"lead_id": 5}, "uuid_type", "/lead_id"),
]  # fmt: skip


@pytest.mark.parametrize("case", BAD, ids=str)
async def test_bad_input_is_refused_with_its_place(ground: Ground, case: Act) -> None:
    problem = await ground.desk.caller.refused(case.method, *filled(case, ground.ids))
    (fault,) = problem["errors"]
    assert (problem["status"], fault["code"], fault.get("pointer", "")) == (422, case.code, case.pointer)


@pytest.mark.parametrize(
    "query",
    [
        "threads?limit=0",
        "threads?limit=101",
        "threads?cursor=x",
        "threads?intent=angry",
        "threads?unread=perhaps",
        "threads?archived=some",
        "threads?assigned_to=me",
        "threads?lead_status=x",
        "threads?inbox_id=5",
        "threads/5",
        "messages/5",
        "messages/unmatched?dismissed=x",
        "jobs?status=x",
        "jobs/5",
    ],
)
async def test_a_strange_query_is_refused(ground: Ground, query: str) -> None:
    assert (await ground.desk.caller.refused("GET", f"/v1/{query}"))["status"] == 422


async def test_a_page_of_one_conversation_leads_into_no_other(ground: Ground) -> None:
    caller = ground.desk.caller
    cursor = (await caller.get(f"/v1/threads/{ground.ids['thread']}?limit=1"))["next_cursor"]
    assert (await caller.refused("GET", f"/v1/threads?cursor={cursor}"))["status"] == 422
