"""The unibox: conversations as people see them, and one of them from unread to archived."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from uuid import uuid4

import pytest

from libs.schema.commands import AnswerReply
from libs.schema.runtime.db import transaction
from services.api.queries.threads import ThreadFilter, list_threads
from services.api.rules.search import words_query
from tests.contract.http_rig import MONDAY, Rig, expect, rig_on
from tests.contract.unibox_world import jobs, make_desk, make_member


@pytest.fixture(scope="module")
async def rig(module_database: str) -> AsyncIterator[Rig]:
    async with rig_on(module_database) as rig:
        yield rig


async def test_a_conversation_goes_from_unread_to_archived_and_comes_back_with_the_next_reply(rig: Rig) -> None:
    desk = await make_desk(rig)
    caller, bob = desk.caller, await desk.lead("bob@lead.test", company="Lead Ltd")
    sent = await desk.email(bob, thread="<t@acme.test>")
    reply_id = await desk.reply(bob, thread="<t@acme.test>", minute=5, email_id=sent)

    (thread,) = await desk.threads("unread=true")
    assert (thread["unread_count"], thread["reply_count"], thread["intent"]) == (1, 1, "interested")
    assert (thread["lead"]["company"], thread["inbox"]["email"]) == ("Lead Ltd", desk.inbox.email)
    assert (thread["campaign"]["name"], thread["assigned_to"]) == ("Spring", None)
    assert thread["last_reply_id"] == str(reply_id)
    assert thread["last_message"] == {
        "at": "2026-03-02T10:05:00Z",
        "direction": "received",
        "preview": "Tell me more.",
    }
    path = f"/v1/threads/{thread['id']}"
    seen = (await caller.ask("GET", path)).headers["etag"]

    read = expect(await caller.ask("PATCH", path, {"is_read": True}), 200)
    assert (read["unread_count"], await desk.threads("unread=true")) == (0, [])

    zoe = await make_member(desk, "zoe")
    assert str(zoe) in {member["id"] for member in (await caller.get("/v1/team/members"))["data"]}
    given = expect(await caller.ask("PATCH", path, {"assigned_to": str(zoe)}), 200)
    assert given["assigned_to"]["id"] == str(zoe)

    accepted = await caller.ask("POST", f"/v1/replies/{reply_id}/answer", {"body_text": "Gladly.\r\nAnn"})
    job_id = expect(accepted, 202)["job_id"]
    assert accepted.headers["location"] == f"/v1/jobs/{job_id}"
    told = {"reply_id": str(reply_id), "body_text": "Gladly.\nAnn", "body_html": None, "by_user": None}
    assert await jobs(desk) == [("sender", AnswerReply.TYPE, told)]
    job = await caller.get(f"/v1/jobs/{job_id}")
    assert (job["type"], job["status"], job["reply_id"], job["error"]) == (
        "answer_reply",
        "waiting",
        str(reply_id),
        None,
    )
    messages = (await caller.get(path))["messages"]
    assert [(each["kind"], each["text"], each["status"]) for each in messages] == [
        ("campaign", "A word with you?", "sent"),
        ("job", "Gladly.\nAnn", "waiting"),
        ("reply", "Tell me more.", None),
    ]

    expect(await caller.ask("PATCH", path, {"is_archived": True}, if_match=seen), 200)
    assert (await desk.threads(), [each["id"] for each in await desk.threads("archived=true")]) == ([], [thread["id"]])
    await desk.reply(bob, thread="<t@acme.test>", minute=60, subject="And another thing")
    late = await caller.ask("PATCH", path, {"is_archived": True}, if_match=seen)
    assert (late.status_code, late.json()["code"]) == (412, "stale_revision")
    (again,) = await desk.threads()
    assert (again["id"], again["unread_count"], again["reply_count"]) == (thread["id"], 1, 2)
    assert again["assigned_to"]["id"] == str(zoe)
    trail = await rig.owner.fetch("SELECT action FROM audit_log WHERE team_id = $1 ORDER BY position", desk.team.id)
    assert [row["action"] for row in trail] == ["thread.assign", "reply.answer"]


async def test_both_sides_of_a_conversation_are_told_in_the_order_of_time_page_by_page(rig: Rig) -> None:
    desk = await make_desk(rig)
    bob, other = await desk.lead("bob@lead.test"), await desk.lead("eve@lead.test")
    (step,) = desk.campaign.step_ids
    thread = "<t@acme.test>"
    await desk.email(bob, thread=thread, at=MONDAY, sequence_id=step, body_text="x" * 20_001)
    await desk.reply(
        bob,
        thread=thread,
        minute=1,
        match_method="in_reply_to",
        match_confidence=1.0,
        is_alias=True,
        intent="out_of_office",
        return_date=MONDAY.date(),
        needs_review=True,
    )
    answer = await desk.email(
        bob, thread=thread, kind="reply", status="queued", sent_at=None, scheduled_at=MONDAY + timedelta(minutes=2)
    )
    await desk.email(bob, thread=thread, status="queued", sent_at=None, body_text="a step that waits")
    await desk.email(bob, thread="<elsewhere@acme.test>")
    await desk.email(other, thread=thread)
    (listed,) = await desk.threads()
    assert listed["needs_review"]

    path = f"/v1/threads/{listed['id']}?limit=2"
    first = await desk.caller.get(path)
    rest = await desk.caller.get(f"{path}&cursor={first['next_cursor']}")
    ours, note = first["messages"]
    (waiting,) = rest["messages"]
    assert rest["next_cursor"] is None
    assert (ours["kind"], ours["step_number"], len(ours["text"]), ours["text_is_cut"]) == ("campaign", 1, 20_000, True)
    assert (ours["is_read"], ours["intent"], len(ours["preview"])) == (None, None, 500)
    assert (note["kind"], note["to_email"], note["match_method"]) == ("reply", desk.inbox.email, "in_reply_to")
    assert (note["is_alias"], note["return_date"], note["text_is_cut"]) == (True, "2026-03-02", False)
    assert (waiting["kind"], waiting["id"], waiting["status"]) == ("answer", str(answer), "queued")


async def test_an_automatic_note_is_listed_and_neither_unread_nor_above_what_a_person_wrote(rig: Rig) -> None:
    desk = await make_desk(rig)
    bob, eve = await desk.lead("bob@lead.test"), await desk.lead("eve@lead.test")
    await desk.reply(bob, thread="<bob>", minute=1, subject="Bob", is_read=True)
    await desk.reply(eve, thread="<eve>", minute=2, subject="Eve")
    await desk.reply(bob, thread="<bob>", minute=3, subject="Away", intent="out_of_office")
    await desk.reply(await desk.lead("zoe@lead.test"), thread="<zoe>", minute=0, subject="Ticket", intent="auto_reply")
    assert await desk.subjects() == ["Eve", "Bob", "Ticket"]
    assert await desk.subjects("unread=true") == ["Eve"]
    assert await desk.subjects("unread=false") == ["Bob", "Ticket"]
    (_, bobs, _) = await desk.threads()
    assert (bobs["intent"], bobs["reply_count"], bobs["unread_count"]) == ("interested", 2, 0)
    assert bobs["last_message"]["at"] > bobs["last_reply_at"]
    counts = await desk.caller.get("/v1/threads/counts")
    assert counts == {
        "total": 1,
        "by_inbox": [{"key": str(desk.inbox.id), "unread": 1}],
        "by_campaign": [{"key": str(desk.campaign.id), "unread": 1}],
        "by_intent": [{"key": "interested", "unread": 1}],
    }


async def test_conversations_are_filtered_by_all_that_a_person_may_look_for(rig: Rig) -> None:
    desk = await make_desk(rig)
    zoe = await make_member(desk, "zoe")
    bob, eve = await desk.lead("bob@lead.test", status="interested"), await desk.lead("eve@lead.test")
    await desk.reply(bob, thread="<1>", minute=1, subject="Mine")
    await desk.reply(
        eve,
        thread="<2>",
        minute=2,
        subject="Free",
        intent="question",
        needs_review=True,
        campaign_id=None,
        is_read=True,
    )
    await desk.reply(eve, thread="<3>", minute=3, subject="Old", is_archived=True)
    mine = (await desk.threads("intent=interested"))[0]["id"]
    expect(await desk.caller.ask("PATCH", f"/v1/threads/{mine}", {"assigned_to": str(zoe)}), 200)

    wanted = {
        f"inbox_id={desk.inbox.id}": ["Free", "Mine"],
        f"inbox_id={uuid4()}": [],
        f"campaign_id={desk.campaign.id}": ["Mine"],
        f"lead_id={eve.id}": ["Free"],
        f"lead_id={eve.id}&archived=any": ["Old", "Free"],
        "lead_status=interested": ["Mine"],
        "intent=question": ["Free"],
        "unread=true": ["Mine"],
        "unread=false": ["Free"],
        "archived=true": ["Old"],
        "needs_review=true": ["Free"],
        "needs_review=false": ["Mine"],
        f"assigned_to={zoe}": ["Mine"],
        f"assigned_to={uuid4()}": [],
        "assigned_to=anybody": ["Mine"],
        "assigned_to=none": ["Free"],
    }
    found = await asyncio.gather(*(desk.subjects(query) for query in wanted))
    assert dict(zip(wanted, found, strict=True)) == wanted


async def test_the_list_is_read_page_by_page_whatever_arrives_meanwhile(rig: Rig) -> None:
    desk = await make_desk(rig)
    late = await desk.lead("late@lead.test")
    for number in range(5):
        lead = await desk.lead(f"n{number}@lead.test")
        await desk.reply(lead, thread=f"<{number}>", minute=number // 2, subject=str(number))
        await desk.reply(lead, thread=f"<{number}>", minute=-1, subject="older")
    seen: list[str] = []
    path: str | None = "/v1/threads?limit=2"
    while path:
        page = await desk.caller.get(path)
        seen += [thread["subject"] for thread in page["data"]]
        await desk.reply(late, thread=f"<new {len(seen)}>", minute=50 + len(seen), subject="new")
        path = page["next_cursor"] and f"/v1/threads?limit=2&cursor={page['next_cursor']}"
    assert seen == ["4", "3", "2", "1", "0"]


@pytest.mark.parametrize(
    ("typed", "found"),
    [
        ("bob", ["Bob"]),
        ("LEAD.TEST", ["Bob", "Japan"]),
        ("pric", ["Bob"]),
        ("price list", ["Bob"]),
        ("list price", ["Bob"]),
        ("price banana", []),
        ("rice", []),
        ("Schlüsselübergabe", ["Bob"]),
        ("schlüssel", ["Bob"]),
        ("会議", ["Japan"]),
        ("議会", []),
        ("の日程", ["Japan"]),
        ("zoom リンク", ["Japan"]),
        ("ＺＯＯＭﾘﾝｸ", ["Japan"]),
        ("人々", ["Japan"]),
        ("Schlu\u0308ssel", ["Bob"]),
        ("\u0939\u093f\u0928\u094d\u0926\u0940", ["Bob"]),  # Hindi, with vowels that are marks
        ("\ud55c\uad6d", ["Bob"]),  # Korean: the beginning of a word
        ("tuesday", ["Bob"]),  # an answer by hand says it
        ("template", []),  # a campaign's mail says it
    ],
)
async def test_conversations_are_found_by_words_and_beginnings_of_words_of_both_sides(
    rig: Rig, searched: dict[str, str], typed: str, found: list[str]
) -> None:
    answer = await rig.api.get("/v1/threads", params={"q": typed}, headers=searched)
    assert [thread["subject"] for thread in expect(answer, 200)["data"]] == found


@pytest.fixture(scope="module")
async def searched(rig: Rig) -> dict[str, str]:
    """A caller's header, whose team has a reply in English and German and one in Japanese."""
    desk = await make_desk(rig)
    bob, ken = await desk.lead("bob@lead.test"), await desk.lead("ken@lead.test")
    await desk.email(bob, thread="<1>", body_text="the template's words")
    text = "The “price-list” at <b>the</b> Schlüsselübergabe? हिन्दी 한국어로"
    await desk.reply(bob, thread="<1>", minute=2, subject="Bob", body_text=text)
    await desk.email(bob, thread="<1>", kind="reply", body_text="On Tuesday.")
    await desk.reply(
        ken, thread="<2>", minute=1, subject="Japan", body_text="来週の会議の日程とZoomリンクを人々にお願いします。"
    )
    stranger = await make_desk(rig)
    await stranger.reply(await stranger.lead("bob@lead.test"), thread="<1>", subject="Bob", body_text="price list")
    return {"Authorization": f"Bearer {desk.caller.key}"}


HOSTILE = [
    "'", "''", "a' | 'b", "a:*", "!", "!a", "(", "a & ", "<->", "\\", "a\\'b", "%", "_", "x' ; DROP TABLE replies; --",
    "\u202e", "'会", "会<->", "ｱ", "\U00020000", "a" * 200, "a b " * 50, "Ⅷ ² ½ ª", "\u0301a", "😀 a", "İ", "ß", "-",
    "$1",
]  # fmt: skip


async def test_whatever_is_typed_is_a_search_and_never_a_fault(rig: Rig, searched: dict[str, str]) -> None:
    queries = [words_query(f"a{chr(point)}b {chr(point)}") for point in range(0x3100)]
    assert (
        await rig.owner.fetchval("SELECT count(to_tsquery('simple', q)) FROM unnest($1::text[]) AS q", queries)
        == 0x3100
    )
    answers = [await rig.api.get("/v1/threads", params={"q": each}, headers=searched) for each in HOSTILE]
    assert {answer.status_code for answer in answers} == {200, 422}
    assert {answer.json()["errors"][0]["parameter"] for answer in answers if answer.status_code == 422} == {"q"}
    for control in ("a\nb", "a\x85", "a\x00b", "x" * 201):
        answer = await rig.api.get("/v1/threads", params={"q": control}, headers=searched)
        assert (answer.status_code, answer.json()["errors"][0]["parameter"]) == (422, "q")


# Of this connection, since it last reported them: only their growth says something.
SCANS = """SELECT
    pg_stat_get_xact_numscans('replies'::regclass) + pg_stat_get_xact_numscans('emails'::regclass) AS whole,
    pg_stat_get_xact_numscans('idx_replies_words'::regclass) AS words"""


async def test_no_page_reads_what_is_not_its_teams_whatever_is_asked_for(rig: Rig) -> None:
    desk, small = await make_desk(rig), await make_desk(rig)
    bob = await desk.lead("bob@lead.test")
    await small.reply(await small.lead("eve@lead.test"), thread="<1>")
    await rig.owner.execute(
        """INSERT INTO replies (team_id, lead_id, inbox_id, thread_id, from_email, received_at, body_text, is_read)
        SELECT $1, $2, $3, 'thread ' || n / 2, 'bob@lead.test', $4::timestamptz + n * interval '1 second', 'word' || n,
            n < 2900
        FROM generate_series(1, 3000) AS n""",
        desk.team.id,
        bob.id,
        desk.inbox.id,
        MONDAY,
    )
    await rig.owner.execute(
        """WITH many AS (
            INSERT INTO leads (team_id, email) SELECT $1, n || '@lead.test' FROM generate_series(1, 3000) AS n
            RETURNING id, email
        )
        INSERT INTO emails (team_id, lead_id, inbox_id, thread_id, from_email, to_email, subject, sent_at)
        SELECT $1, id, $2, 'thread ' || email, 'ann@acme.test', email, 'Hello', $3
        FROM many""",
        small.team.id,
        small.inbox.id,
        MONDAY,
    )
    await rig.owner.execute("VACUUM (ANALYZE) replies, emails, leads")
    for team_id in (desk.team.id, small.team.id):
        for wanted in (
            ThreadFilter(archived=False),
            ThreadFilter(archived=False, unread=True),
            ThreadFilter(lead_id=bob.id),
            ThreadFilter(inbox_id=desk.inbox.id, assigned=False),
            ThreadFilter(words="'word77':*"),
        ):
            async with transaction(rig.pool) as tx:
                await tx.execute("SET LOCAL ROLE coldstream_tenant")
                await tx.execute("SELECT set_config('app.team_id', $1, true)", str(team_id))
                (before,) = await tx.fetch(SCANS)
                await list_threads(tx, team_id, wanted, None, 50)
                (after,) = await tx.fetch(SCANS)
            assert after["whole"] == before["whole"], wanted
            assert (after["words"] > before["words"]) == (wanted.words is not None), wanted
