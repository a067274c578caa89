"""The API's pure rules: what a text, an address, a template, a window and a ready campaign are."""

from datetime import date, time
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from libs.planning.words.render import LEAD_FIELDS
from libs.schema.ids import normalise_address
from services.api.rules import addresses, templates, text, windows
from services.api.rules.text import Refused

ANY_TEXT = st.text(st.characters(), max_size=40)
LOCAL = st.from_regex(r"[a-zA-Z0-9_+-]{1,20}(\.[a-zA-Z0-9_+-]{1,20})?", fullmatch=True)
LABEL = st.from_regex(r"[a-z0-9]{1,10}", fullmatch=True)


def code_of(rule: Any, value: Any) -> str:
    with pytest.raises(Refused) as refused:
        rule(value)
    assert str(refused.value)
    assert refused.value.mend
    return refused.value.code


# -- text -------------------------------------------------------------------------------------------------------------


@given(ANY_TEXT)
@example("\ud800")
@example("a\u2028b")
@example("\x00")
def test_an_accepted_line_is_one_line_that_utf8_and_postgres_take(value: str) -> None:
    try:
        line = text.line(value)
    except Refused:
        return
    assert line.splitlines() in ([line], [])
    assert "\x00" not in line
    assert line.encode("utf-8").decode("utf-8") == line
    assert text.line(line) == line


@given(ANY_TEXT)
def test_an_accepted_passage_breaks_its_lines_with_lf_only(value: str) -> None:
    try:
        passage = text.passage(value)
    except Refused:
        return
    assert "\r" not in passage
    assert passage.encode("utf-8").decode("utf-8") == passage


@pytest.mark.parametrize("value", [f"a{mark}b" for mark in "\r\n\t\x0b\x0c\x1b\x85\u2028\u2029"])
def test_no_kind_of_line_break_passes_as_a_line(value: str) -> None:
    assert code_of(text.line, value) in {"line_break", "control_character"}


@pytest.mark.parametrize("value", ["a\r", "a\nb", "\x00", "\ud800"])
def test_a_credential_cannot_end_the_command_it_is_sent_in(value: str) -> None:
    assert code_of(text.credential, value) in {"control_character", "lone_surrogate"}


def test_a_credential_stays_as_it_is() -> None:
    assert text.credential(" \"p'ä\\ss ") == " \"p'ä\\ss "


# -- addresses --------------------------------------------------------------------------------------------------------


@given(LOCAL, st.lists(LABEL, min_size=1, max_size=3))
def test_every_spelling_of_an_address_is_the_same_person(local: str, labels: list[str]) -> None:
    plain = f"{local}@{'.'.join(labels)}.test"
    spellings = {plain, plain.upper(), f"  {plain} ", plain.replace("@", "\uff20"), f"{plain}."}
    assert {addresses.address(spelling) for spelling in spellings} == {plain.lower()}


@given(ANY_TEXT)
@example("a@ß.test")
def test_an_accepted_address_is_the_form_that_the_ledger_compares(value: str) -> None:
    try:
        address = addresses.address(value)
    except Refused:
        return
    assert normalise_address(address) == address
    assert addresses.address(address) == address


def test_names_beyond_ascii_are_written_as_idna_2008_says() -> None:
    assert addresses.address("a@Müller.test") == "a@xn--mller-kva.test"
    assert addresses.address("a@faß.test") == "a@xn--fa-hia.test"  # not fass.test: that is somebody else


@pytest.mark.parametrize("value", ["javascript:alert(1)", "data:text/html,x", "file:///etc/passwd", "a b", "a\nb"])
def test_a_web_address_leads_to_the_web(value: str) -> None:
    assert code_of(addresses.web_address, value) in {"url", "line_break"}


@pytest.mark.parametrize("value", ["https://acme.test/x?y=1", "acme.test", "acme.test:8080/x", ""])
def test_a_web_address_may_be_written_as_people_do(value: str) -> None:
    assert addresses.web_address(value) == value


# -- templates --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "place"),
    [
        ("Hi {{ first_name", "line 1, column 4"),
        ("a\nb {{ x | shout }}", "line 2, column 10"),
        ("Hi\n{one|two", "line 2, column 1"),
        ("Hi\n{one|{{ x | shout }}}", "line 2, column 13"),
        ("{one|\\{ two|\n{% if city %}}{% endif %}", "line 1, column 13"),
        ("{one|two} {three|\n<img src='data:x'>}", "line 2, column 10"),
        ("ok\n\n <a href='javascript:x'>", "line 3, column 10"),
        ("{% unknown %}", "line 1, column 4"),
    ],
)
def test_a_fault_in_a_template_is_named_with_its_line_and_column(source: str, place: str) -> None:
    with pytest.raises(templates.TemplateRefused, match=place):
        templates.body(source)


@pytest.mark.parametrize(
    "source",
    [
        "Hi {{ first_name | default: 'there' }}",
        "{curly} braces of {{ company | upcase }}",
        "<style>a{color:red} b{margin:0}</style>",
        "{% if city %}In {{ city }}{% endif %}",
        "{% for n in (1..3) %}{{ n }}{% endfor %}",
        "<a href='{{ website }}'>x</a> <a href=mailto:a@b.test>y</a>",
        "a } b | c",
        "{Hi|Hello} {{{ first_name }}|friend}, {how|what} about {{ company | upcase }}?",
        "{one|{two|{three|}}}",
        "\\{one\\|two\\}",
        "{{% if city %}In {{ city }}{% endif %}|Where you are}",
    ],
)
def test_what_people_write_is_accepted(source: str) -> None:
    assert templates.body(source) == source


@pytest.mark.parametrize(
    "source", ["<a href=java&#115;cript:x>", "<a href=' java\tscript:x'>", '<A HREF="VBSCRIPT:x">', "<img src=data:x>"]
)
def test_a_disguised_scheme_is_found(source: str) -> None:
    assert code_of(templates.body, source) == "link_scheme"


@given(st.text(st.sampled_from("{}|%ab \\\n"), max_size=60))
def test_no_template_breaks_the_check(source: str) -> None:
    try:
        accepted = templates.body(source)
    except Refused:
        return
    templates.unknown_variables(accepted, frozenset())


def test_a_template_may_use_what_the_sender_offers() -> None:
    assert {*LEAD_FIELDS, "custom_fields"} == templates.LEAD_VARIABLES


def test_only_variables_that_nobody_has_are_unknown() -> None:
    source = "{{ first_name }} {{ mine }} {{ custom_fields.x }}\n{{ frist }} {% assign a = 1 %}{{ a }}"
    assert templates.unknown_variables(source, frozenset({"mine"})) == [
        templates.Unknown(name="frist", row=2, column=4)
    ]


def test_variables_are_found_in_every_option_and_at_their_place() -> None:
    source = "{% assign a = 1 %}{\\| {{ a }}|{x|\n{{ frist }}}}"
    assert templates.unknown_variables(source, frozenset()) == [templates.Unknown(name="frist", row=2, column=4)]


@pytest.mark.parametrize(
    "source", ["{a|" * 11 + "b" + "}" * 11, "{a|b}" * 14, "{" + "|" * 10_000 + "}", "{a|b", "{x}{y|{z}"]
)
def test_spintax_that_nobody_can_oversee_or_close_is_refused(source: str) -> None:
    assert code_of(templates.body, source) == "spintax"


# -- windows ----------------------------------------------------------------------------------------------------------


def test_days_come_in_the_weeks_order() -> None:
    assert windows.days(["fri", "mon", "sun"]) == ["mon", "fri", "sun"]


@pytest.mark.parametrize("value", [[], ["mon", "mon"], ["Mon"], ["mon", "x"]])
def test_days_that_are_none_or_twice_are_refused(value: list[str]) -> None:
    assert code_of(windows.days, value) == "send_days"


@pytest.mark.parametrize("value", ["Mars/X", "../etc/passwd", "", "UTC\x00", "europe/paris "])
def test_a_zone_that_is_not_in_the_zone_data_is_refused(value: str) -> None:
    assert code_of(windows.zone, value) == "timezone"


@given(st.times(), st.times())
@example(time(9), time(9))
def test_a_window_may_run_over_midnight_and_must_not_be_empty(start: time, end: time) -> None:
    try:
        windows.check_window(start, end)
    except Refused:
        assert start == end
    else:
        assert start != end


@given(st.times())
def test_every_time_of_day_can_be_written(at: time) -> None:
    assert windows.wall_time(f"{at:%H:%M}") == f"{at:%H:%M}"


@pytest.mark.parametrize("value", ["25:00", "9:00", "09:60", "09:00:60", "", "09:00Z", "noon"])
def test_what_no_clock_shows_is_refused(value: str) -> None:
    assert code_of(windows.wall_time, value) == "time"


def test_holidays_are_of_a_country_that_has_some() -> None:
    assert (windows.country("de"), windows.country("US")) == ("DE", "US")
    assert code_of(windows.country, "XX") == "holidays"


def test_days_to_skip_come_in_order_and_once() -> None:
    assert windows.dates(["2026-12-24", "2026-05-01", "2026-12-24"]) == ["2026-05-01", "2026-12-24"]
    assert code_of(windows.dates, ["2026-02-30"]) == "date"


@pytest.mark.parametrize("value", ["2026-02-30", "1700000000", "9999-01-01", "2026-3-2", "2026-03-02T00:00:00Z", "x"])
def test_a_day_that_is_not_in_the_calendar_is_refused(value: str) -> None:
    assert code_of(windows.written_date, value) == "date"


@given(st.dates(date(2000, 1, 1), date(2099, 12, 31)))
def test_a_written_day_is_that_day(day: date) -> None:
    assert windows.written_date(day.isoformat()) == day
