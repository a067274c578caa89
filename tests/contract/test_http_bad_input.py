"""Bad input gets its 4xx with its place and its rule, never a 500, and loses nothing else (reliability.md §4)."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import msgspec
import pytest

from services.api.requests import MAX_BODY_BYTES
from tests.contract.http_rig import STEP, Caller, Rig, inbox_body, rig_on

ABYSS = "{" * 50 + "a|b" + "}" * 50


@dataclass(frozen=True, kw_only=True)
class Case:
    """A request that must be refused: a row of §4, the rule that it breaks, and where."""

    row: str
    method: str = "POST"
    path: str
    body: Any
    code: str
    pointer: str = ""

    def __str__(self) -> str:
        return self.row


def step(**more: Any) -> dict[str, Any]:
    return {"name": "x", "sequences": [STEP | more]}


def text(row: str, code: str, **fields: Any) -> Case:
    """A fault in one field of a step."""
    pointer = f"/sequences/0/{next(iter(fields))}"
    return Case(row=row, path="/v1/campaigns", body=step(**fields), code=code, pointer=pointer)


def campaign(row: str, code: str, pointer: str, **fields: Any) -> Case:
    return Case(row=row, path="/v1/campaigns", body={"name": "x"} | fields, code=code, pointer=pointer)


def schedule(row: str, code: str, **fields: Any) -> Case:
    """A fault in one field of a campaign's settings."""
    return campaign(row, code, f"/settings/{next(iter(fields))}", settings=fields)


def inbox(row: str, code: str, **fields: Any) -> Case:
    """A fault in the first of these fields of an inbox."""
    pointer = f"/{next(iter(fields))}"
    return Case(row=row, path="/v1/inboxes", body=inbox_body("a@b.test", **fields), code=code, pointer=pointer)


def limit(row: str, code: str, **fields: Any) -> Case:
    """A fault in one field of a new inbox's settings."""
    body, pointer = inbox_body("a@b.test", settings=fields), f"/settings/{next(iter(fields))}"
    return Case(row=row, path="/v1/inboxes", body=body, code=code, pointer=pointer)


def window(row: str, code: str, pointer: str, **fields: Any) -> Case:
    """A fault in a change of an inbox's settings."""
    path = "/v1/inboxes/{inbox}/settings"
    return Case(row=row, method="PATCH", path=path, body=fields, code=code, pointer=pointer)


def server(row: str, code: str, pointer: str, **fields: Any) -> Case:
    """A fault in a change of an inbox."""
    return Case(row=row, method="PATCH", path="/v1/inboxes/{inbox}", body=fields, code=code, pointer=pointer)


def other(row: str, path: str, body: Any, code: str, pointer: str = "") -> Case:
    return Case(row=row, path=path, body=body, code=code, pointer=pointer)


CASES = [
    other("B1 CR LF in a name", "/v1/lead-lists", {"name": "a\r\nb"}, "line_break", "/name"),
    other("B1 NEL in a name", "/v1/lead-lists", {"name": "a\x85b"}, "control_character", "/name"),
    text("B1 U+2028 in a subject", "control_character", subject="a\u2028b"),
    inbox("B1 VT in a from name", "control_character", from_name="a\x0bb"),
    other("B3 NUL in a name", "/v1/lead-lists", {"name": "a\x00b"}, "control_character", "/name"),
    text("B3 NUL in a body", "control_character", body="a\x00b"),
    other("B6 address", "/v1/suppressions", {"email": "a b@x.test"}, "address_space", "/email"),
    other("B9 domain", "/v1/domains", {"domain": "xn--a.test"}, "domain", "/domain"),
    text("B18 attribute of a literal", "template_syntax", body="{{ ''.__class__ }}"),
    text("B18 include", "template_syntax", body="{% include 'x' %}"),
    text("B18 endless loop", "template_syntax", body="{% for i in (1..9999999) %}{% endfor %}"),
    text("B20 unclosed {{", "template_syntax", body="Hi {{ x"),
    text("B20 unknown filter", "template_filter", body="{{ x | shout }}"),
    text("B20 fifty braces", "template_syntax", body=ABYSS),
    text("B20 spintax fifty deep", "spintax", body="{a|" * 50 + "b" + "}" * 50),
    text("B20 spintax with a million variants", "spintax", body="{a|b}" * 20),
    text("B20 spintax unclosed", "spintax", subject="{a|b"),
    text("B23 a body over 100 KB", "too_long", body="x" * 100_001),
    text("B23 many links", "too_many_links", body="<a href=http://x>" * 101),
    text("B23 javascript:", "link_scheme", body='<a href="JavaScript:x">'),
    text("B23 data:", "link_scheme", body="<img src='data:x'>"),
    text("B24 subject of 501", "too_long", subject="x" * 501),
    text("B24 subject of spaces", "blank_subject", subject="  "),
    other("B24 first subject empty", "/v1/campaigns", step(subject=""), "first_subject"),
    text("B27 negative delay", "greater_than_equal", delay_days=-1),
    text("B27 delay of a billion days", "less_than_equal", delay_days=10**9),
    other("B27 steps out of order", "/v1/campaigns", step(step_number=2), "step_number"),
    schedule("B28 zone", "timezone", timezone="Mars/X"),
    schedule("B28 day twice", "send_days", send_days=["mon", "mon"]),
    schedule("B28 no day", "send_days", send_days=[]),
    window("B28 window of nothing", "send_window", "", send_window_start="09:00", send_window_end="09:00"),
    window("B28 window of nothing", "send_window", "/send_window_end", send_window_start="17:00"),
    window("B29 25:00", "time_parsing", "/send_window_start", send_window_start="25:00"),
    window("B29 seconds as a number", "time", "/send_window_start", send_window_start=3600),
    campaign("B30 unknown field", "extra_forbidden", "/color", color=1),
    campaign("B30 wrong type", "string_type", "/name", name=5),
    inbox("B30 extra enum", "literal_error", provider="yahoo"),
    other("B30 missing", "/v1/campaigns", {}, "missing", "/name"),
    other("B30 not an object", "/v1/campaigns", ["x"], "model_attributes_type"),
    other("B30 no body", "/v1/campaigns", None, "missing"),
    schedule("B30 tracking by another word", "bool_type", track_opens="yes"),
    schedule("B30 styles by a number", "bool_type", inline_css=1),
    window("B30 null where there must be one", "int_type", "/hourly_limit", hourly_limit=None),
    inbox("B49 a port of our own", "host_forbidden", smtp_host="192.0.2.1", smtp_port=6379),
    inbox("B49 internal address", "host_forbidden", imap_host="10.0.0.1", imap_port=993),
    inbox("B49 internal address in hexadecimal", "host_forbidden", smtp_host="0xa000001", smtp_port=587),
    inbox("B49 mapped address", "host_forbidden", smtp_host="::ffff:10.0.0.1", smtp_port=587),
    inbox("B49 in clear text", "host_forbidden", smtp_host="8.8.8.8", smtp_tls="none", smtp_port=587),
    inbox("B49 not a host", "host", smtp_host="http://x/"),
    server("B49 on change", "host_forbidden", "/smtp_host", smtp_host="10.0.0.1", smtp_port=587, smtp_tls="starttls"),
    server("half a server", "server", "", smtp_host="127.0.0.1"),
    inbox("B50 CR LF in a password", "control_character", smtp_password="a\r\nb"),
    inbox("B50 LF in a user name", "control_character", smtp_username="a\nb"),
    limit("B53 limit of 501", "less_than_equal", daily_send_limit=501),
    limit("B53 limit of 0", "greater_than", daily_send_limit=0),
    inbox("B53 text as a number", "int_type", smtp_port="587"),
    inbox("B53 true as a number", "int_type", smtp_port=True),
    window("B53 delays crossed", "check", "", min_delay_seconds=700),
    other(
        "B53 weight of 0",
        "/v1/campaigns",
        step(variants=[STEP | {"weight": 0}]),
        "greater_than",
        "/sequences/0/variants/0/weight",
    ),
    other("one of two", "/v1/suppressions", {"email": "a@b.test", "domain": "b.test"}, "one_of"),
]


@pytest.fixture(scope="module")
async def rig(module_database: str) -> AsyncIterator[Rig]:
    async with rig_on(module_database) as rig:
        yield rig


@pytest.fixture(scope="module")
async def caller(rig: Rig) -> Caller:
    return await rig.team()


@pytest.fixture(scope="module")
async def inbox_id(caller: Caller) -> str:
    return (await caller.post("/v1/inboxes", inbox_body("patched@b.test")))["id"]


@pytest.mark.parametrize("case", CASES, ids=str)
async def test_a_bad_value_is_refused_with_its_place_and_rule(
    rig: Rig, caller: Caller, inbox_id: str, case: Case
) -> None:
    problem = await caller.refused(case.method, case.path.format(inbox=inbox_id), case.body)
    fault = problem["errors"][0]
    assert (problem["status"], fault["code"], fault.get("pointer", "")) == (422, case.code, case.pointer), problem
    assert fault["detail"]
    left = await rig.owner.fetchval(
        "SELECT count(*) FROM campaigns WHERE team_id = $1 AND deleted_at IS NULL", caller.team_id
    )
    assert left == 0


def nested(depth: int) -> bytes:
    return b'{"name": ' + b"[" * depth + b"]" * depth + b"}"


JSON = "application/json"
RAW: list[tuple[str, bytes, str, int, str]] = [
    ("B4 lone surrogate", rb'{"name": "\ud800"}', JSON, 400, "malformed_json"),
    ("B4 escaped NUL", rb'{"name": "\u0000"}', JSON, 422, "invalid"),
    ("B4 NUL in a key", rb'{"na\u0000me": "x"}', JSON, 422, "invalid"),
    ("B4 NaN", b'{"name": NaN}', JSON, 400, "malformed_json"),
    ("B4 Infinity", b'{"name": -Infinity}', JSON, 400, "malformed_json"),
    ("B5 depth 20,000", nested(20_000), JSON, 422, "invalid"),
    ("B5 depth 40", nested(40), JSON, 422, "invalid"),
    ("B5 a body over the limit", b'{"name": "' + b"x" * MAX_BODY_BYTES + b'"}', JSON, 413, "body_too_large"),
    ("B5 80,000 keys", msgspec.json.encode({str(n): 1 for n in range(80_000)}), JSON, 422, "invalid"),
    ("half a JSON", b'{"name": "x"', JSON, 400, "malformed_json"),
    ("not UTF-8", b'{"name": "\xff"}', JSON, 400, "malformed_json"),
    ("UTF-16", '{"name": "x"}'.encode("utf-16"), JSON, 400, "malformed_json"),
    ("a form", b"name=x", "application/x-www-form-urlencoded", 415, "unsupported_media_type"),
    ("text", b'{"name": "x"}', "text/plain", 415, "unsupported_media_type"),
]


@pytest.mark.parametrize("case", RAW, ids=[case[0] for case in RAW])
async def test_a_body_that_is_no_good_json_is_refused(caller: Caller, case: tuple[str, bytes, str, int, str]) -> None:
    _, body, media_type, status, code = case
    headers = {"Authorization": f"Bearer {caller.key}", "Content-Type": media_type}
    answer = await caller.client.post("/v1/lead-lists", content=body, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (status, code)


PATHS: list[tuple[str, str, str]] = [
    ("B32 limit -1", "/v1/leads?limit=-1", "limit"),
    ("B32 limit 10⁹", "/v1/leads?limit=1000000000", "limit"),
    ("B32 limit x", "/v1/leads?limit=x", "limit"),
    ("B30 status", "/v1/leads?status=nice", "status"),
    ("no id", "/v1/leads/none", "lead_id"),
    ("no id in a filter", "/v1/emails?campaign_id=1", "campaign_id"),
    ("B6 address in a filter", "/v1/leads?email=none", "email"),
    ("B3 NUL in a search", "/v1/leads?search=%00", "search"),
    ("B29 no such day", "/v1/daily-stats?first=2026-02-30", "first"),
    ("B29 epoch", "/v1/daily-stats?last=1700000000", "last"),
    ("B29 year 9999", "/v1/daily-stats?last=9999-01-01", "last"),
    ("event type", "/v1/events?type=x", "0"),
]


@pytest.mark.parametrize(("row", "path", "parameter"), PATHS, ids=[case[0] for case in PATHS])
async def test_a_bad_parameter_is_refused_by_name(caller: Caller, row: str, path: str, parameter: str) -> None:
    problem = await caller.refused("GET", path)
    assert (problem["status"], problem["errors"][0]["parameter"]) == (422, parameter), row


async def test_a_subject_may_hold_emoji_and_loses_direction_overrides(caller: Caller) -> None:
    made = await caller.post("/v1/campaigns", step(subject="🎉 \u202eabc"))
    path = f"/v1/campaigns/{made['id']}"
    (saved,) = (await caller.get(f"{path}/sequences"))["data"]
    await caller.ask("DELETE", path)
    assert saved["subject"] == "🎉 abc"


async def test_a_password_with_quotes_umlauts_and_four_thousand_characters_is_taken(caller: Caller) -> None:
    password = "\"'\\ üñ" + "x" * 4000
    await caller.post("/v1/inboxes", inbox_body("odd@password.test", smtp_password=password))
