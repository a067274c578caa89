"""Rendering and the message's bytes: what a template may do, and what no input can; must pass for any Unicode."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email import message_from_bytes
from email.policy import SMTP
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from libs.planning.render import CannotRenderError, Content, Footer, compose, lead_values
from services.sender.rules.message import Headers, build

FOOTER = Footer(company="Acme", physical_address="1 Main Street\nSpringfield", unsubscribe_url="https://x.test/u/tok")
HEADERS = Headers(
    sender="ann@acme.test",
    sender_name="Ann",
    recipient="bob@lead.test",
    date=datetime(2026, 3, 2, 9, 0, tzinfo=UTC),
    message_id="<abcdefghijklmnopqrstuvwxyz@acme.test>",
    reference="abcdefghijklmnopqrstuvwxyz",
    unsubscribe_url="https://x.test/u/" + "t" * 86,
)
NAMES = {
    "from", "to", "subject", "date", "message-id", "list-unsubscribe", "list-unsubscribe-post", "x-coldstream-ref",
    "mime-version", "content-type", "content-transfer-encoding",
}  # fmt: skip


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


def test_identifiers_are_never_encoded_and_fold_between_words() -> None:
    chain = [f"<{letter * 26}@a-rather-long-sending-domain.example>" for letter in "abcd"]
    headers = msgspec.structs.replace(HEADERS, in_reply_to=chain[-1], references=chain)
    raw = build(headers, Content(subject="Re: Hello", text="Hi\n")).content
    assert b"=?" not in raw
    parsed = message_from_bytes(raw, policy=SMTP)
    assert str(parsed["References"]).split() == chain
    assert parsed["In-Reply-To"] == chain[-1]
    assert b"\r\nList-Unsubscribe: <https://x.test/u/" + b"t" * 86 + b">\r\n" in raw
    assert b"\r\nList-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n" in raw


def test_the_same_mail_is_the_same_bytes() -> None:
    content = written("Hi", "<p>Hello</p>")
    assert build(HEADERS, content).content == build(HEADERS, content).content


@pytest.mark.parametrize("address", ["bob@lead.test\r\nBcc: eve@x.test", "bob", "@lead.test", "bob@", "a b@lead.test"])
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(ValueError, match="not an address"):
        build(msgspec.structs.replace(HEADERS, recipient=address), Content(subject="x", text="y"))


anything = st.text(max_size=1200)


@settings(max_examples=150, deadline=None)
@given(subject=anything, text=anything, name=anything, html=st.none() | anything)
def test_no_input_adds_a_header_breaks_a_line_or_outgrows_one(
    subject: str, text: str, name: str, html: str | None
) -> None:
    values: Mapping[str, Any] = {"s": subject, "t": text}
    try:
        content = compose("S {{ s }}", "T {{ t }}", values, thread_subject=None, footer=FOOTER)
    except CannotRenderError:
        assert not subject or not text
        return
    markup = None if html is None else compose("S", "<p>{{ t }}</p>", values, thread_subject=None, footer=FOOTER).html
    headers = msgspec.structs.replace(HEADERS, sender_name=name)
    raw = build(headers, msgspec.structs.replace(content, html=markup)).content
    assert not re.search(rb"(?<!\r)\n|\r(?!\n)|\x00", raw)
    assert all(len(line) <= 998 for line in raw.split(b"\r\n"))
    assert raw.isascii()
    parsed = message_from_bytes(raw, policy=SMTP)
    found = sorted(key.lower() for key, _ in parsed.items())
    assert found == sorted(NAMES - ({"content-transfer-encoding"} if markup else set()))
    assert parsed["To"] == "bob@lead.test"
