"""A thousand leads in one request: each row gets its own verdict, and a bad one loses nothing else."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.contract.http_rig import Rig, rig_on


@pytest.fixture(scope="module")
async def rig(module_database: str) -> AsyncIterator[Rig]:
    async with rig_on(module_database) as rig:
        yield rig


# What is wrong with a row, the row, the field it is found in, the rule that is broken.
BAD: list[tuple[Any, str, str]] = [
    ({}, "email", "missing"),
    ({"email": None}, "email", "string_type"),
    ({"email": 5}, "email", "string_type"),
    ({"email": ""}, "email", "address_at"),
    ({"email": "nobody"}, "email", "address_at"),
    ({"email": "a@b@c.test"}, "email", "address_at"),
    ({"email": "a b@x.test"}, "email", "address_space"),
    ({"email": "a@x.test\r\nRCPT TO:<b>"}, "email", "address_space"),
    ({"email": "<a@x.test>"}, "email", "address_brackets"),
    ({"email": "@x.test"}, "email", "address_local"),
    ({"email": '"ab"@x.test'}, "email", "address_local"),
    ({"email": "a..b@x.test"}, "email", "address_local"),
    ({"email": ".a@x.test"}, "email", "address_local"),
    ({"email": "a,b@x.test"}, "email", "address_local"),
    ({"email": "x" * 65 + "@x.test"}, "email", "address_local_long"),
    ({"email": "a@" + "x" * 64 + ".test"}, "email", "domain"),
    ({"email": "a@" + ".".join(["x" * 60] * 5)}, "email", "domain"),
    ({"email": "a@" + "x" * 320}, "email", "string_too_long"),
    ({"email": "a@x"}, "email", "domain"),
    ({"email": "a@x..test"}, "email", "domain"),
    ({"email": "a@-x.test"}, "email", "domain"),
    ({"email": "a@x_y.test"}, "email", "domain"),
    ({"email": "a@xn--a.test"}, "email", "domain"),
    ({"email": "a@10.0.0.1"}, "email", "domain"),
    ({"email": "a@[10.0.0.1]"}, "email", "domain"),
    ({"email": "ok@x.test", "first_name": "a\r\nBcc: b"}, "first_name", "line_break"),
    ({"email": "ok@x.test", "first_name": "a\u2028b"}, "first_name", "control_character"),
    ({"email": "ok@x.test", "first_name": "a\x85b"}, "first_name", "control_character"),
    ({"email": "ok@x.test", "first_name": "x" * 101}, "first_name", "string_too_long"),
    ({"email": "ok@x.test", "first_name": ["x"]}, "first_name", "string_type"),
    ({"email": "ok@x.test", "company": "x" * 256}, "company", "string_too_long"),
    ({"email": "ok@x.test", "phone": "1" * 51}, "phone", "string_too_long"),
    ({"email": "ok@x.test", "timezone": "Mars/X"}, "timezone", "timezone"),
    ({"email": "ok@x.test", "website": "javascript:alert(1)"}, "website", "url"),
    ({"email": "ok@x.test", "linkedin_url": "http://a b"}, "linkedin_url", "url"),
    ({"email": "ok@x.test", "consent_type": "maybe"}, "consent_type", "literal_error"),
    ({"email": "ok@x.test", "team_id": "1"}, "team_id", "extra_forbidden"),
    ({"email": "ok@x.test", "__proto__": {}}, "__proto__", "extra_forbidden"),
    ({"email": "ok@x.test", "custom_fields": []}, "custom_fields", "dict_type"),
    ({"email": "ok@x.test", "custom_fields": {"__proto__": 1}}, "custom_fields", "field_name"),
    ({"email": "ok@x.test", "custom_fields": {"a b": 1}}, "custom_fields", "field_name"),
    ({"email": "ok@x.test", "custom_fields": {"email": "x"}}, "custom_fields", "field_name"),
    ({"email": "ok@x.test", "custom_fields": {"a": {"b": 1}}}, "custom_fields", "field_value"),
    ({"email": "ok@x.test", "custom_fields": {"a": "x\ny"}}, "custom_fields", "line_break"),
    ({"email": "ok@x.test", "custom_fields": {"a": "x" * 5001}}, "custom_fields", "too_long"),
    ({"email": "ok@x.test", "custom_fields": {"a": 2**60}}, "custom_fields", "field_value"),
    ({"email": "ok@x.test", "custom_fields": {f"f{n}": 1 for n in range(201)}}, "custom_fields", "too_many_fields"),
    ("a@x.test", "", "model_type"),
    (None, "", "model_type"),
    ([], "", "model_type"),
]


async def test_a_thousand_rows_with_every_kind_of_fault_lose_none_of_the_good_ones(rig: Rig) -> None:
    caller = await rig.team()
    lead_list = await caller.post("/v1/lead-lists", {"name": "All"})
    good = [{"email": f"lead{n}@good.test", "first_name": f"N{n}"} for n in range(1000 - len(BAD))]
    rows: list[Any] = [row for row, _, _ in BAD] + good
    rows = rows[::2] + rows[1::2]  # the bad ones stand among the good ones
    result = await caller.post("/v1/leads:batch", {"lead_list_id": lead_list["id"], "leads": rows}, 200)
    assert (result["created"], result["rejected"], result["updated"], result["skipped"]) == (len(good), len(BAD), 0, 0)
    assert [row["index"] for row in result["results"]] == list(range(1000))
    stored = await rig.owner.fetchval("SELECT count(*) FROM leads WHERE team_id = $1", caller.team_id)
    told = await rig.owner.fetchval(
        "SELECT count(*) FROM event_log WHERE team_id = $1 AND type = 'lead.imported'", caller.team_id
    )
    assert (stored, told) == (len(good), len(good))
    assert (await caller.get(f"/v1/lead-lists/{lead_list['id']}"))["lead_count"] == len(good)


@pytest.mark.parametrize(("row", "field", "code"), BAD, ids=[f"{code}-{n}" for n, (_, _, code) in enumerate(BAD)])
async def test_a_bad_row_is_rejected_with_its_field_its_rule_and_what_to_do(
    rig: Rig, row: Any, field: str, code: str
) -> None:
    caller = await rig.team()
    result = await caller.post("/v1/leads:batch", {"leads": [{"email": "first@x.test"}, row]}, 200)
    assert [verdict["outcome"] for verdict in result["results"]] == ["created", "rejected"]
    fault = result["results"][1]["errors"][0]
    assert (fault["field"], fault["code"]) == (field, code)
    assert fault["detail"]
    assert fault["mend"]


async def test_spellings_of_one_address_are_one_lead(rig: Rig) -> None:
    caller = await rig.team()
    spellings = [" Foo@X-Corp.test ", "foo@x-corp.test", "foo\uff20x-corp.test", "FOO@X-CORP.TEST."]
    result = await caller.post("/v1/leads:batch", {"leads": [{"email": each} for each in spellings]}, 200)
    assert [row["outcome"] for row in result["results"]] == ["created", "skipped", "skipped", "skipped"]
    assert {row.get("reason") for row in result["results"][1:]} == {"duplicate_in_batch"}
    names = [{"email": "a@m\u00fcller.test"}, {"email": "a@xn--mller-kva.test"}, {"email": "a@fa\u00df.test"}]
    result = await caller.post("/v1/leads:batch", {"leads": names}, 200)
    assert [row["outcome"] for row in result["results"]] == ["created", "skipped", "created"]
    emails = {lead["email"] for lead in (await caller.get("/v1/leads"))["data"]}
    assert emails == {"foo@x-corp.test", "a@xn--mller-kva.test", "a@xn--fa-hia.test"}


async def test_a_second_batch_completes_leads_and_never_empties_a_field(rig: Rig) -> None:
    caller = await rig.team()
    first = {"email": "a@twice.test", "first_name": "Ann", "custom_fields": {"x": 1, "y": 2}}
    await caller.post("/v1/leads:batch", {"leads": [first]}, 200)
    second = {"email": "A@twice.test", "company": "Acme", "first_name": " ", "custom_fields": {"y": 3}}
    result = await caller.post("/v1/leads:batch", {"leads": [second, {"email": "new@twice.test"}]}, 200)
    assert [row["outcome"] for row in result["results"]] == ["updated", "created"]
    lead = await caller.get(f"/v1/leads/{result['results'][0]['id']}")
    assert (lead["first_name"], lead["company"], lead["custom_fields"]) == ("Ann", "Acme", {"x": 1, "y": 3})
    told = await rig.owner.fetchval("SELECT count(*) FROM event_log WHERE team_id = $1", caller.team_id)
    assert told == 3  # the sender looks again at a lead whose gap is filled


async def test_known_leads_are_left_alone_where_that_is_wanted(rig: Rig) -> None:
    caller = await rig.team()
    await caller.post("/v1/leads:batch", {"leads": [{"email": "a@known.test", "first_name": "Ann"}]}, 200)
    batch = {
        "on_existing": "skip",
        "leads": [{"email": "a@known.test", "first_name": "Eve"}, {"email": "b@known.test"}],
    }
    result = await caller.post("/v1/leads:batch", batch, 200)
    assert [(row["outcome"], row["reason"]) for row in result["results"]] == [
        ("skipped", "duplicate"),
        ("created", None),
    ]
    assert (await caller.get(f"/v1/leads/{result['results'][0]['id']}"))["first_name"] == "Ann"


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"leads": []}, "too_short"),
        ({"leads": [{"email": "a@b.test"}] * 1001}, "too_long"),
        ({"leads": {"email": "a@b.test"}}, "list_type"),
        ({}, "missing"),
    ],
)
async def test_a_batch_of_none_or_too_many_is_refused_whole(rig: Rig, body: Any, code: str) -> None:
    caller = await rig.team()
    problem = await caller.refused("POST", "/v1/leads:batch", body)
    assert (problem["errors"][0]["pointer"], problem["errors"][0]["code"]) == ("/leads", code)


async def test_the_number_of_statements_does_not_grow_with_the_number_of_rows(rig: Rig) -> None:
    caller = await rig.team()
    counts: list[int] = []
    for size in (2, 1, 500):  # the first also looks up types and notes the key's use
        before = await statements(rig)
        rows = [{"email": f"n{n}@size{size}.test"} for n in range(size)]
        await caller.post("/v1/leads:batch", {"leads": rows}, 200)
        counts.append(await statements(rig) - before)
    assert counts[1] == counts[2]


async def statements(rig: Rig) -> int:
    """How many queries the pool's connections have run so far, counted by a listener on each."""
    counted: list[int] = rig.api.__dict__.setdefault("statements", [])
    if not counted:
        counted.append(0)
        connections = [await rig.pool.acquire() for _ in range(rig.pool.get_max_size())]
        for connection in connections:
            connection.add_query_logger(lambda _: counted.__setitem__(0, counted[0] + 1))
            await rig.pool.release(connection)
    return counted[0]
