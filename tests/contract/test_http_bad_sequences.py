"""A sequence or a setting that cannot be sent is refused whole when it is saved (reliability.md §4).

Every case is written over a good sequence, which must be found as it was: no step, variant, version or event more.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.contract.http_rig import STEP, Caller, Rig, campaign_of, expect, rig_on

GOOD = [STEP, {"body": "Two", "delay_days": 2}, {"body": "Three", "delay_days": 2}]


@dataclass(frozen=True, kw_only=True)
class Case:
    """What is wrong with the second step, or with a setting; the rule's code, and its place."""

    row: str
    change: dict[str, Any]
    code: str
    pointer: str | None = None
    place: str = ""  # line and column, where the fault lies in a template

    def __str__(self) -> str:
        return self.row


def template(row: str, code: str, body: str, place: str = "") -> Case:
    return Case(row=row, change={"body": body}, code=code, pointer="/sequences/1/body", place=place)


def subject(row: str, code: str, text: str, place: str = "") -> Case:
    return Case(row=row, change={"subject": text}, code=code, pointer="/sequences/1/subject", place=place)


def conditions(row: str, code: str, pointer: str, *asked: dict[str, Any]) -> Case:
    return Case(row=row, change={"conditions": list(asked)}, code=code, pointer=f"/sequences/1{pointer}")


def delay(row: str, code: str, **fields: Any) -> Case:
    return Case(row=row, change=fields, code=code, pointer=f"/sequences/1/{next(iter(fields))}")


def arm(row: str, code: str, pointer: str, **fields: Any) -> Case:
    change = {"variants": [{"subject": "A", "body": "a"}, {"subject": "B", "body": "b"} | fields]}
    return Case(row=row, change=change, code=code, pointer=f"/sequences/1/variants/{pointer}")


def when(kind: str, action: str, **more: Any) -> dict[str, Any]:
    return {"type": kind, "action": action, **more}


STEPS = [
    subject("B1 CR LF", "line_break", "a\r\nBcc: eve@x.test"),
    subject("B1 NEL", "control_character", "a\x85b"),
    subject("B1 U+2028", "control_character", "a\u2028b"),
    subject("B1 VT", "control_character", "a\x0bb"),
    template("B3 NUL", "control_character", "a\x00b"),
    template("B18 attribute", "template_syntax", "Hi\n{{ ''.__class__ }}", "line 2, column 6"),
    template("B18 attr filter", "template_filter", "{{ x | attr: 'a' }}", "line 1, column 8"),
    template("B18 env", "template_syntax", "{% env %}", "line 1"),
    template("B18 include", "template_syntax", "\n\n{% include 'x' %}", "line 3"),
    template("B18 loop", "template_syntax", "a\n{% for i in (1..1000000000) %}x{% endfor %}", "line 2"),
    template("B18 loop in an option", "template_syntax", "{a|{% for i in (1..1000000000) %}x{% endfor %}}", "line 1"),
    template("B20 unclosed output", "template_syntax", "Hi\n  {{ first_name", "line 2, column 3"),
    template("B20 unclosed tag", "template_syntax", "Hi\n{% if x", "line 2, column 1"),
    template("B20 unclosed if", "template_syntax", "Hi {% if x %}", "line 1"),
    template("B20 unknown filter", "template_filter", "Hi\n{{ x | shout }}", "line 2, column 8"),
    subject("B20 unknown filter in a subject", "template_filter", "{{ x | shout }}", "line 1, column 8"),
    template("B20 spintax 11 deep", "spintax", "a\n" + "{a|" * 11 + "b" + "}" * 11, "line 2, column 1"),
    template("B20 spintax 50 deep", "spintax", "{a|" * 50 + "b" + "}" * 50, "line 1"),
    template("B20 a million variants", "spintax", "{a|b}" * 20, "line 1, column 66"),
    template("B20 spintax unclosed", "spintax", "ok {a|b}\n  {a|b", "line 2, column 3"),
    subject("B20 spintax unclosed in a subject", "spintax", "{a|b", "line 1, column 1"),
    template("B20 half a tag in an option", "template_syntax", "{a|{% if x %}}{b|{% endif %}}", "line 1"),
    template("B20 unknown filter in an option", "template_filter", "a {b|\n{{ x | shout }}}", "line 2, column 8"),
    template("B23 over 100 KB", "too_long", "x" * 100_001),
    template("B23 101 links", "too_many_links", "<a href=http://x>" * 101),
    template("B23 javascript:", "link_scheme", "<p>\n<a href='javascript:x'>", "line 2, column 9"),
    template("B23 javascript: disguised", "link_scheme", "<a href=' java&#115;\tcript:x'>", "line 1, column 9"),
    template("B23 data:", "link_scheme", "<img src=data:x>", "line 1, column 10"),
    template("B23 vbscript: of a button", "link_scheme", "<button formaction=vbscript:x>", "line 1, column 20"),
    subject("B24 501 characters", "too_long", "x" * 501),
    subject("B24 only spaces", "blank_subject", "  "),
    template("only spaces", "blank_body", " \n "),
    delay("B27 negative delay", "greater_than_equal", delay_days=-1),
    delay("B27 a billion days", "less_than_equal", delay_days=10**9),
    delay("B27 24 hours", "less_than_equal", delay_hours=24),
    delay("B30 a delay in words", "int_type", delay_days="2"),
    delay("B30 a delay of a half", "int_type", delay_days=0.5),
    delay("B30 unknown field", "extra_forbidden", colour="red"),
    conditions("B27 to itself", "goto_step", "/conditions/0/step", when("replied", "goto", step=2)),
    conditions(
        "B27 backwards", "goto_step", "/conditions/1/step", when("opened", "skip"), when("replied", "goto", step=1)
    ),
    conditions("B27 to nowhere", "goto_step", "/conditions/0/step", when("replied", "goto", step=4)),
    conditions("B27 without a step", "condition_step", "/conditions/0", when("replied", "goto")),
    conditions("B27 a step too much", "condition_step", "/conditions/0", when("replied", "skip", step=3)),
    conditions("B27 step zero", "greater_than", "/conditions/0/step", when("replied", "goto", step=0)),
    conditions("B27 unknown type", "literal_error", "/conditions/0/type", when("full_moon", "skip")),
    conditions("B27 unknown action", "literal_error", "/conditions/0/action", when("opened", "dance")),
    conditions(
        "B27 no tenth intent", "literal_error", "/conditions/0/intent/0", when("intent_is", "stop", intent="love")
    ),
    conditions("B27 no intent", "condition_intent", "/conditions/0", when("intent_is", "stop")),
    conditions(
        "B27 an empty choice of intents", "too_short", "/conditions/0/intent", when("intent_is", "stop", intent=[])
    ),
    conditions("B27 an intent too much", "condition_intent", "/conditions/0", when("opened", "stop", intent="neutral")),
    conditions("B30 no action", "missing", "/conditions/0/action", {"type": "opened"}),
    conditions("B30 unknown field", "extra_forbidden", "/conditions/0/else", when("opened", "stop", **{"else": 1})),
    conditions("B30 too many", "too_long", "/conditions", *[when("opened", "skip")] * 21),
    Case(
        row="B27 a step that nobody can reach",
        change={"conditions": [when("opened", "stop"), when("not_opened", "stop")]},
        code="unreachable_step",
        pointer="/sequences/2",
    ),
    arm("B20 a variant's template", "template_syntax", "1/body", body="{{ x"),
    arm("B1 a variant's subject", "line_break", "1/subject", subject="a\nb"),
    arm("B53 weight 0", "greater_than", "1/weight", weight=0),
    arm("B53 weight 101", "less_than_equal", "1/weight", weight=101),
    arm("B53 weight of a half", "int_type", "1/weight", weight=0.5),
]


@pytest.fixture(scope="module")
async def rig(module_database: str) -> AsyncIterator[Rig]:
    async with rig_on(module_database) as rig:
        yield rig


@dataclass(frozen=True, kw_only=True)
class Stage:
    """A good campaign: its caller, its path, its steps as they were shown, and whether it runs."""

    rig: Rig
    caller: Caller
    path: str
    steps: list[dict[str, Any]]

    async def everything(self) -> list[Any]:
        """Every row of the team that saving a campaign can touch."""
        tables = ("campaigns", "sequences", "sequence_variants", "sequence_version", "tracked_link", "event_log")
        return [
            await self.rig.owner.fetch(f"SELECT t::text FROM {table} AS t WHERE team_id = $1 ORDER BY 1", self.caller.team_id)  # noqa: E501, S608  our own words
            for table in tables
        ]  # fmt: skip


async def stage_of(rig: Rig, *, active: bool) -> Stage:
    caller = await rig.team()
    campaign = await campaign_of(caller, settings={"timezone": "UTC"})
    path = f"/v1/campaigns/{campaign['id']}"
    steps = expect(await caller.ask("PUT", f"{path}/sequences", {"sequences": GOOD}), 200)["data"]
    if active:
        await caller.post(f"{path}/activate", status=202)
    return Stage(rig=rig, caller=caller, path=path, steps=steps)


@pytest.fixture(scope="module")
async def draft(rig: Rig) -> Stage:
    return await stage_of(rig, active=False)


@pytest.fixture(scope="module")
async def live(rig: Rig) -> Stage:
    return await stage_of(rig, active=True)


@pytest.mark.parametrize("case", STEPS, ids=str)
async def test_a_bad_step_is_refused_with_its_place_and_nothing_of_the_sequence_is_saved(
    draft: Stage, live: Stage, case: Case
) -> None:
    for stage in (draft, live):
        first, second, third = (GOOD[n] | {"id": stage.steps[n]["id"]} for n in range(3))
        wanted = [first | {"body": "Changed, and must not be"}, second | case.change, third]
        before = await stage.everything()
        problem = await stage.caller.refused("PUT", f"{stage.path}/sequences", {"sequences": wanted, "apply_to": "all"})
        fault = problem["errors"][0]
        assert (problem["status"], fault["code"], fault.get("pointer")) == (422, case.code, case.pointer), problem
        assert fault["detail"].startswith(case.place), fault
        assert await stage.everything() == before
    made = await draft.caller.refused(
        "POST", "/v1/campaigns", {"name": "x", "sequences": [STEP, STEP | case.change, STEP]}
    )
    assert made["status"] == 422


WHOLE: list[tuple[str, Any, str, str | None]] = [
    ("B27 steps out of order", [STEP | {"step_number": 2}], "step_number", None),
    ("B27 51 steps", [STEP] * 51, "too_long", "/sequences"),
    ("B24 no first subject", [{"body": "x"}], "first_subject", None),
    (
        "B24 a variant without the first subject",
        [STEP | {"variants": [{"subject": "", "body": "x"}]}],
        "first_subject",
        None,
    ),
    ("B30 a step that is none", ["x"], "model_attributes_type", "/sequences/0"),
    (
        "B53 11 variants",
        [STEP | {"variants": [{"subject": "A", "body": "a"}] * 11}],
        "too_long",
        "/sequences/0/variants",
    ),
]


@pytest.mark.parametrize(("row", "steps", "code", "pointer"), WHOLE, ids=[row for row, *_ in WHOLE])
async def test_a_sequence_that_is_wrong_as_a_whole_is_refused(
    live: Stage, row: str, steps: list[Any], code: str, pointer: str | None
) -> None:
    before = await live.everything()
    problem = await live.caller.refused("PUT", f"{live.path}/sequences", {"sequences": steps})
    fault = problem["errors"][0]
    assert (problem["status"], fault["code"], fault.get("pointer") or None) == (422, code, pointer), (row, problem)
    assert await live.everything() == before


async def test_no_steps_at_all_are_refused_for_an_active_campaign(live: Stage) -> None:
    before = await live.everything()
    assert (await live.caller.refused("PUT", f"{live.path}/sequences", {"sequences": []}))["code"] == "wrong_state"
    assert await live.everything() == before


SETTINGS: list[tuple[str, dict[str, Any], str, str]] = [
    ("B28 zone", {"timezone": "Mars/X"}, "timezone", "/settings/timezone"),
    ("B28 day twice", {"send_days": ["mon", "mon"]}, "send_days", "/settings/send_days"),
    ("B28 no day", {"send_days": []}, "send_days", "/settings/send_days"),
    ("B28 no such day", {"send_days": ["monday"]}, "send_days", "/settings/send_days"),
    ("B28 empty window", {"lead_window_start": "17:00"}, "send_window", "/settings/lead_window_end"),
    ("B28 empty window in seconds", {"lead_window_end": "09:00:00"}, "send_window", "/settings/lead_window_end"),
    ("B29 25:00", {"lead_window_start": "25:00"}, "time", "/settings/lead_window_start"),
    ("B29 seconds as a number", {"lead_window_start": 3600}, "string_type", "/settings/lead_window_start"),
    ("B29 2026-02-30", {"skip_dates": ["2026-02-30"]}, "date", "/settings/skip_dates"),
    ("B29 year 9999", {"skip_dates": ["9999-01-01"]}, "date", "/settings/skip_dates"),
    ("B29 epoch", {"skip_dates": [1772438400]}, "string_type", "/settings/skip_dates/0"),
    ("B29 two years of days", {"skip_dates": ["2026-03-02"] * 367}, "too_long", "/settings/skip_dates"),
    ("B30 unknown field", {"colour": "red"}, "extra_forbidden", "/settings/colour"),
    ("B30 extra enum", {"esp_matching_mode": "never"}, "literal_error", "/settings/esp_matching_mode"),
    ("B30 a flag in words", {"track_opens": "yes"}, "bool_type", "/settings/track_opens"),
    ("B30 a flag as a number", {"send_in_lead_timezone": 1}, "bool_type", "/settings/send_in_lead_timezone"),
    ("B30 null where there must be one", {"timezone": None}, "string_type", "/settings/timezone"),
    ("B30 no such country", {"holidays": "XX"}, "holidays", "/settings/holidays"),
    ("B53 health 101", {"min_health_score": 101}, "less_than_equal", "/settings/min_health_score"),
    ("B53 health -1", {"min_health_score": -1}, "greater_than_equal", "/settings/min_health_score"),
]


@pytest.mark.parametrize(("row", "settings", "code", "pointer"), SETTINGS, ids=[row for row, *_ in SETTINGS])
async def test_a_bad_setting_is_refused_and_the_campaign_stays_as_it_is(
    live: Stage, row: str, settings: dict[str, Any], code: str, pointer: str
) -> None:
    before = await live.everything()
    for method, path, body in (
        ("PATCH", live.path, {"name": "Changed, and must not be", "settings": settings}),
        ("POST", "/v1/campaigns", {"name": "x", "settings": settings}),
    ):
        problem = await live.caller.refused(method, path, body)
        fault = problem["errors"][0]
        assert (problem["status"], fault["code"], fault.get("pointer")) == (422, code, pointer), (row, problem)
        assert fault["detail"]
    assert await live.everything() == before


async def test_good_settings_are_kept_as_they_were_written(live: Stage) -> None:
    wanted = {"holidays": "de", "skip_dates": ["2026-12-24"], "lead_window_start": "22:00", "lead_window_end": "06:00"}
    more = {"track_opens": True, "track_clicks": True, "esp_matching_mode": "strict", "send_in_lead_timezone": False}
    made = await live.caller.post("/v1/campaigns", {"name": "Night", "settings": wanted | more})
    assert {name: made["settings"][name] for name in wanted | more} == wanted | more | {"holidays": "DE"}
    path = f"/v1/campaigns/{made['id']}"
    changed = expect(await live.caller.ask("PATCH", path, {"settings": {"holidays": None}}), 200)
    assert (changed["settings"]["holidays"], changed["settings"]["lead_window_start"]) == (None, "22:00")
    await live.caller.ask("DELETE", path)


async def test_what_people_write_is_saved(rig: Rig) -> None:
    draft = await stage_of(rig, active=False)
    subject_and_body = [
        ("🎉 {Hi|Hello} \u202eabc", "{{{ first_name }}|friend}, <style>a{color:red}</style>"),
        ("é" * 500, "x" * 100_000),
        ("Re: {{ company | default: 'you' }}", "<a href='{{ website }}'>x</a> <a href=mailto:a@b.test>y</a>"),
    ]
    for title, body in subject_and_body:
        step = {"id": draft.steps[0]["id"], "subject": title, "body": body}
        (saved,) = expect(await draft.caller.ask("PUT", f"{draft.path}/sequences", {"sequences": [step]}), 200)["data"]
        assert (saved["subject"], saved["body"]) == (title.replace("\u202e", ""), body)
