"""What holds for every route: repeated requests, pages, positions, outages, limits; and nothing secret leaves."""

import asyncio
from collections.abc import AsyncIterator
from uuid import UUID, uuid4

import asyncpg
import httpx
import pytest

from libs.schema.ids import lead_key
from libs.schema.runtime.clock import new_id
from libs.schema.runtime.db import open_pool
from libs.schema.runtime.service import Runtime
from services.api.app import api_app
from services.api.jobs import forget_answers
from services.api.limits import Limiter
from tests.contract.http_rig import STEP, Caller, Rig, campaign_of, expect, inbox_body, rig_on
from tests.support import PEPPER, eventually, role_url


@pytest.fixture(scope="module")
async def rig(module_database: str) -> AsyncIterator[Rig]:
    async with rig_on(module_database) as rig:
        yield rig


async def test_the_same_key_and_body_are_done_once_and_answered_alike(rig: Rig) -> None:
    caller = await rig.team()
    first = await caller.ask("POST", "/v1/lead-lists", {"name": "Once"}, idempotency_key="k1")
    second = await caller.ask("POST", "/v1/lead-lists", {"name": "Once"}, idempotency_key="k1")
    assert (first.status_code, first.content, first.headers["location"]) == (
        second.status_code,
        second.content,
        second.headers["location"],
    )
    assert second.headers["idempotency-replayed"] == "true"
    assert len((await caller.get("/v1/lead-lists"))["data"]) == 1
    other = await caller.ask("POST", "/v1/lead-lists", {"name": "Twice"}, idempotency_key="k1")
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_mismatch")
    elsewhere = await rig.team()
    expect(await elsewhere.ask("POST", "/v1/lead-lists", {"name": "Mine"}, idempotency_key="k1"), 201)


async def test_a_key_in_flight_is_refused_and_a_refused_request_leaves_its_key_free(rig: Rig) -> None:
    caller = await rig.team()
    async with rig.owner.transaction():
        await rig.owner.execute(
            "SELECT pg_advisory_xact_lock(hashtextextended('idempotency/' || $1::uuid || '/k2', 0))", caller.team_id
        )
        busy = await caller.ask("POST", "/v1/lead-lists", {"name": "x"}, idempotency_key="k2")
        assert (busy.status_code, busy.json()["code"]) == (409, "idempotency_in_flight")
        assert busy.headers["retry-after"] == "1"
    assert (await caller.ask("POST", "/v1/lead-lists", {"name": ""}, idempotency_key="k2")).status_code == 422
    expect(await caller.ask("POST", "/v1/lead-lists", {"name": "x"}, idempotency_key="k2"), 201)


async def test_a_hundred_equal_requests_at_once_make_one_thing(rig: Rig) -> None:
    caller = await rig.team()

    async def ask() -> int:
        return (await caller.ask("POST", "/v1/lead-lists", {"name": "x"}, idempotency_key="k3")).status_code

    statuses = await asyncio.gather(*(ask() for _ in range(100)))
    assert set(statuses) <= {201, 409, 503}
    assert 201 in statuses
    assert len((await caller.get("/v1/lead-lists"))["data"]) == 1


async def test_a_kept_answer_is_forgotten_after_a_day(rig: Rig) -> None:
    caller = await rig.team()
    expect(await caller.ask("POST", "/v1/lead-lists", {"name": "x"}, idempotency_key="k4"), 201)
    await rig.owner.execute(
        "UPDATE idempotency_key SET created_at = created_at - interval '25 hours' WHERE team_id = $1", caller.team_id
    )
    assert await forget_answers(rig.runtime) is False
    assert await rig.owner.fetchval("SELECT count(*) FROM idempotency_key WHERE team_id = $1", caller.team_id) == 0


@pytest.mark.parametrize("key", ["", "x" * 256, "a\tb"])
async def test_a_strange_idempotency_key_is_refused(rig: Rig, key: str) -> None:
    caller = await rig.team()
    answer = await caller.ask("POST", "/v1/lead-lists", {"name": "x"}, idempotency_key=key)
    assert (answer.status_code, answer.json()["errors"][0]["parameter"]) == (422, "Idempotency-Key")


async def test_a_list_is_read_page_by_page_without_gap_or_repeat(rig: Rig) -> None:
    caller = await rig.team()
    rows = [{"email": f"n{n}@page.test"} for n in range(25)]
    await caller.post("/v1/leads:batch", {"leads": rows}, 200)
    seen: list[str] = []
    path: str | None = "/v1/leads?limit=10"
    while path:
        page = await caller.get(path)
        seen += [row["email"] for row in page["data"]]
        path = page["next_cursor"] and f"/v1/leads?limit=10&cursor={page['next_cursor']}"
    assert sorted(seen) == sorted(row["email"] for row in rows)


async def test_a_cursor_is_good_for_its_own_list_and_team_only(rig: Rig) -> None:
    caller, other = await rig.team(), await rig.team()
    await caller.post("/v1/leads:batch", {"leads": [{"email": f"n{n}@c.test"} for n in range(2)]}, 200)
    cursor = (await caller.get("/v1/leads?limit=1"))["next_cursor"]
    flipped = ("A" if cursor[0] != "A" else "B") + cursor[1:]
    for who, path in (
        (other, f"/v1/leads?limit=1&cursor={cursor}"),
        (caller, f"/v1/campaigns?cursor={cursor}"),
        (caller, f"/v1/leads?status=pending&cursor={cursor}"),
        (caller, f"/v1/leads?cursor={flipped}"),
        (caller, "/v1/leads?cursor=%00"),
        (caller, "/v1/leads?cursor=é"),
    ):
        problem = await who.refused("GET", path)
        assert (problem["status"], problem["errors"][0]["parameter"]) == (422, "cursor"), path


async def test_a_read_waits_for_its_write_to_be_counted_and_no_longer_than_two_seconds(rig: Rig) -> None:
    caller = await rig.team()
    campaign = await campaign_of(caller)
    path = f"/v1/campaigns/{campaign['id']}"
    event_id = (await caller.post(f"{path}/activate", status=202))["event_id"]
    assert (await caller.refused("GET", f"{path}?min_position={event_id}"))["code"] == "position_not_reached"
    waiting = asyncio.create_task(caller.get(f"{path}?min_position={event_id}"))
    await rig.owner.execute("UPDATE event_log SET stream_seq = position + 1000000 WHERE event_id = $1", UUID(event_id))
    assert (await waiting)["status"] == "active"
    assert (await caller.refused("GET", f"{path}?min_position={uuid4()}"))["status"] == 404
    other = await rig.team()
    assert (await other.refused("GET", f"/v1/campaigns?min_position={event_id}"))["status"] == 404


async def test_a_key_that_asks_too_fast_is_told_when_to_come_back_and_others_are_not_slowed(rig: Rig) -> None:
    app = api_app(rig.runtime, Limiter(per_second=0.5, burst=2))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://api.test") as client:
        fast, other = await rig.team(), await rig.team()
        fast = Caller(team_id=fast.team_id, key=fast.key, client=client)
        other = Caller(team_id=other.team_id, key=other.key, client=client)
        answers = [await fast.ask("GET", "/v1/team") for _ in range(3)]
        assert [answer.status_code for answer in answers] == [200, 200, 429]
        assert answers[2].headers["retry-after"] == "2"
        await other.get("/v1/team")


async def test_a_database_that_is_gone_is_a_503_that_says_when_to_try_again(module_database: str) -> None:
    async with rig_on(module_database) as rig:
        caller = await rig.team()
        await rig.pool.close()
        answer = await caller.ask("GET", "/v1/team")
        assert (answer.status_code, answer.json()["code"], answer.headers["retry-after"]) == (503, "unavailable", "5")
        page = await rig.public.post("/u/some-token")
        assert (page.status_code, page.headers["retry-after"]) == (503, "5")


async def test_an_exhausted_pool_is_a_503_and_not_a_wait_without_end(rig: Rig, module_database: str) -> None:
    pool = await open_pool(role_url(module_database, "api"), application_name="small", max_size=1)
    runtime = Runtime(
        settings=rig.runtime.settings,
        pool=pool,
        clock=rig.clock,
        new_id=new_id,
        log=rig.runtime.log,
        stopping=asyncio.Event(),
    )
    app = api_app(runtime, Limiter(per_second=1e6, burst=10**6))
    async with (
        httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://api.test") as client,
        pool.acquire(),
    ):
        caller = await rig.team()
        caller = Caller(team_id=caller.team_id, key=caller.key, client=client)
        assert (await caller.ask("GET", "/v1/team")).status_code == 503
    await pool.close()


async def test_two_imports_of_the_same_people_in_opposite_order_do_not_lock_each_other_out(rig: Rig) -> None:
    caller = await rig.team()
    rows = [{"email": f"d{n}@dead.test", "first_name": "x"} for n in range(50)]

    async def imports(batch: list[dict[str, str]]) -> set[int]:
        return {(await caller.ask("POST", "/v1/leads:batch", {"leads": batch})).status_code for _ in range(5)}

    assert await asyncio.gather(imports(rows), imports(rows[::-1])) == [{200}, {200}]


async def test_a_deadlock_is_tried_again_and_not_shown(rig: Rig) -> None:
    caller = await rig.team()
    campaign_id = (await campaign_of(caller))["id"]
    async with rig.owner.transaction():
        await rig.owner.execute("UPDATE sequences SET delay_days = 1 WHERE campaign_id = $1", campaign_id)
        path = f"/v1/campaigns/{campaign_id}/sequences"
        request = asyncio.create_task(caller.ask("PUT", path, {"sequences": [STEP]}))
        waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted"
        await eventually(lambda: rig.pool.fetchval(waiting))
        # The request holds the campaign and waits for its steps; who waits longest is the one that is broken off.
        await rig.owner.execute("UPDATE campaigns SET name = 'Mine' WHERE id = $1", campaign_id)
    expect(await request, 200)


async def test_a_stop_that_waits_for_a_send_in_progress_gives_up_as_503(rig: Rig) -> None:
    caller = await rig.team()
    key = lead_key(PEPPER, "held@stop.test")
    async with rig.owner.transaction():
        await rig.owner.execute(
            "SELECT pg_advisory_xact_lock_shared(hashtextextended($1, 0))",
            f"barrier/person/{caller.team_id}/{key.hex()}",
        )
        answer = await caller.ask("POST", "/v1/suppressions", {"email": "held@stop.test"})
    assert answer.status_code == 503
    await caller.post("/v1/suppressions", {"email": "held@stop.test"})


async def test_no_answer_event_or_error_shows_a_credential(rig: Rig) -> None:
    caller = await rig.team()
    canary = "canary-8f2c"
    body = inbox_body("canary@inbox.test", smtp_password=canary, imap_password=canary)
    inbox = await caller.post("/v1/inboxes", body)
    answers = [
        await caller.ask("GET", f"/v1/inboxes/{inbox['id']}"),
        await caller.ask("PATCH", f"/v1/inboxes/{inbox['id']}", {"smtp_password": canary + "\r\n"}),
        await caller.ask("POST", "/v1/inboxes", body),
        await caller.ask("POST", "/v1/inboxes", body | {"smtp_password": [canary]}),
        await caller.ask("POST", "/v1/inboxes", body | {"smtp_host": "127.0.0.1:" + canary, "smtp_port": canary}),
        await caller.ask("GET", "/v1/inboxes"),
        await caller.ask("GET", "/v1/openapi.json"),
    ]
    journal = await rig.owner.fetch("SELECT body FROM event_log WHERE team_id = $1", caller.team_id)
    shown = [answer.text for answer in answers[:4]] + [answers[5].text, answers[6].text]
    assert not any(canary in text for text in shown)
    assert not any(canary.encode() in row["body"] for row in journal)
    assert not any(caller.key in answer.text for answer in answers)


async def test_events_hold_no_addresses(rig: Rig) -> None:
    caller = await rig.team()
    await campaign_of(caller)
    await caller.post("/v1/suppressions", {"email": f"bob@{caller.team_id}.test"})
    bodies = await rig.owner.fetch("SELECT body FROM event_log WHERE team_id = $1", caller.team_id)
    assert len(bodies) >= 3
    assert not any(b"@" in row["body"] for row in bodies)


@pytest.mark.parametrize(
    ("method", "path", "code"), [("GET", "/nowhere", "not_found"), ("DELETE", "/v1/leads", "method_not_allowed")]
)
async def test_what_is_not_there_is_a_problem_too(rig: Rig, method: str, path: str, code: str) -> None:
    answer = await rig.api.request(method, path)
    assert (answer.headers["content-type"], answer.json()["code"]) == ("application/problem+json", code)


async def test_a_role_that_forgets_its_scope_can_write_no_tenants_table(rig: Rig) -> None:
    async with rig.pool.acquire() as connection:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute("UPDATE leads SET first_name = 'x'")
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute("SELECT smtp_password FROM inboxes")
