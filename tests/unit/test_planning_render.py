"""Rendering: what a template may do, and what no lead's values can."""

from collections.abc import Mapping
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings

from libs.planning.words.render import MAX_SUBJECT, CannotRenderError, Content, Footer, compose, lead_values, one_line
from services.sender.rules.message import build
from tests.mail import HEADERS, NAMES, check_wire, parse, stored

FOOTER = Footer(company="Acme", physical_address="1 Main Street\nSpringfield", unsubscribe_url="https://x.test/u/tok")


def written(subject: str, body: str, *, thread: str | None = None, **columns: Any) -> Content:
    return compose(subject, body, lead_values(columns, {}), thread_subject=thread, footer=FOOTER)


def test_values_fallbacks_and_conditions() -> None:
    content = written(
        "For {{ company }}",
        "Hi {{ first_name | default: 'there' }},{% if title %} {{ title }}{% endif %} a word?",
        company="Löwe & Co",
        first_name=" ",
    )
    assert content.subject == "For Löwe & Co"
    assert content.text.startswith("Hi there, a word?")


@pytest.mark.parametrize(
    ("body", "gate", "value"),
    [
        ("Hi {{ first_name }},", "variable", "first_name"),
        ("Hi {{ custom_fields.plan }},", "variable", "custom_fields.plan"),
        ("{{ nobody.knows.this }}", "variable", "nobody"),
        ("{{ 'x' | shout }}", "template", "UnknownFilterError"),
        ("{{ first_name", "template", "LiquidSyntaxError"),
        ("{% for i in (1..1000000) %}x{% endfor %}", "template", "LoopIterationLimitError"),
        ("{{ ''.__class__ }}", "template", "LiquidSyntaxError"),
        ("{% include 'secrets' %}", "template", "TemplateNotFoundError"),
        ("  ", "body", "empty"),
        ("<a href=\"{{ 'java' }}script:x\">y</a>", "template", "link_scheme"),
    ],
)
def test_what_cannot_be_written_is_refused_with_its_reason(body: str, gate: str, value: str) -> None:
    with pytest.raises(CannotRenderError) as caught:
        written("Subject", body, first_name="")
    assert (caught.value.gate, caught.value.value) == (gate, value)


def test_a_value_is_never_evaluated() -> None:
    content = written("Hi", "Hello {{ first_name }}", first_name="{{ email }}{% raw %}", email="bob@lead.test")
    assert "Hello {{ email }}{% raw %}" in content.text


def test_a_value_is_escaped_in_html_and_plain_in_text() -> None:
    content = written("Hi", "<p>Hello {{ first_name }}</p>", first_name="<b>Bob</b>")
    assert content.html is not None
    assert "Hello &lt;b&gt;Bob&lt;/b&gt;" in content.html
    assert "Hello <b>Bob</b>" in content.text


def test_a_plain_body_stays_plain() -> None:
    assert written("Hi", "1 < 2 and 3 > 2").html is None


def test_address_and_opt_out_stand_under_both_parts() -> None:
    content = written("Hi", "<html><body><p>Hello</p></body></html>")
    assert content.html is not None
    for part in (content.text, content.html):
        assert "Springfield" in part
        assert "https://x.test/u/tok" in part
    assert content.html.endswith("</body></html>")


@pytest.mark.parametrize(("thread", "subject"), [("Hello", "Re: Hello"), ("re: Hello", "re: Hello")])
def test_an_empty_subject_goes_on_in_the_thread(thread: str, subject: str) -> None:
    assert written("", "Still there?", thread=thread).subject == subject


def test_an_empty_subject_without_a_thread_is_refused() -> None:
    with pytest.raises(CannotRenderError):
        written(" ", "Hello")


@settings(max_examples=100, deadline=None)
@given(subject=stored, text=stored, name=stored)
def test_whatever_a_lead_is_called_its_mail_keeps_its_shape(subject: str, text: str, name: str) -> None:
    values: Mapping[str, Any] = {"s": subject, "t": text}
    try:
        content = compose("S {{ s }}", "<p>{{ t }}</p>", values, thread_subject=None, footer=FOOTER)
    except CannotRenderError:
        assert not subject or not text
        return
    raw = build(msgspec.structs.replace(HEADERS, sender_name=name), content).content
    check_wire(raw)
    mail = parse(raw)
    assert mail.keys() == NAMES
    assert mail["To"] == HEADERS.recipient
    assert mail["Subject"] == one_line(f"S {subject}")[:MAX_SUBJECT]
