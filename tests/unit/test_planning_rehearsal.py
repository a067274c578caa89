"""A rehearsal answers as the letter itself would, whatever words and values; by Hypothesis and tables."""

from typing import Any
from uuid import UUID

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from libs.planning.sequence import Words
from libs.planning.words.letter import Writer, write
from libs.planning.words.rehearsal import Rehearsal, is_plain
from libs.planning.words.render import LEAD_FIELDS, CannotRenderError

STEP = UUID(int=7)
URL = "https://out.test/u/1"


class Somebody(msgspec.Struct, frozen=True, kw_only=True):
    lead_key: bytes
    custom_fields: dict[str, Any]
    first_name: str | None = None
    last_name: str | None = None
    company: str | None = None
    title: str | None = None
    email: str = "bob@lead.test"
    phone: str | None = None
    linkedin_url: str | None = None
    website: str | None = None
    city: str | None = None
    country: str | None = None


pieces = st.sampled_from(
    [
        "Hello ",
        "{{ first_name }}",
        "{{ first_name | default: 'you' }}",
        "{{ company | upcase }}",
        "{{ custom_fields.plan }}",
        "{{plan}}",
        "{{ sender_name }}",
        "{{ plan | divided_by: 2 }}",
        "{% if company %}of {{ company }}{% endif %}",
        "{Hi|Ho {{ city }}}",
        "<p>",
        '<a href="{{ website }}">here</a>',
        "{{ no | such: filter }}",
        "{{ broken",
        " ",
    ]
)
templates = st.lists(pieces, max_size=4).map("".join)
values = st.sampled_from([None, "", " ", "Bob", "javascript:x", "3", "\x00", "long " * 5000])
people = st.builds(
    Somebody,
    lead_key=st.binary(min_size=1, max_size=2),
    custom_fields=st.dictionaries(
        st.sampled_from(["plan", "first_name", "city"]), values | st.integers(0, 3), max_size=2
    ),
    first_name=values,
    company=values,
    website=values,
    city=values,
)
# A person has one row in a team, and so one set of values while a rehearsal lasts.
crowds = st.lists(people, min_size=1, max_size=6, unique_by=lambda person: person.lead_key)
writers = st.builds(
    Writer,
    email=st.just("ann@acme.test"),
    name=st.sampled_from([None, "Ann"]),
    company=st.none(),
    physical_address=st.sampled_from([None, "1 Main Street"]),
)


def answer(tell: Any, *args: Any) -> tuple[str, ...]:
    try:
        told = tell(*args)
    except CannotRenderError as error:
        return error.gate, error.value
    return (told if isinstance(told, str) else told.subject,)


@settings(max_examples=300, deadline=None)
@given(templates, templates, crowds, writers, st.sampled_from([None, "Hello"]))
def test_a_rehearsal_says_of_everybody_what_the_letter_says(
    subject: str, body: str, readers: list[Somebody], writer: Writer, thread: str | None
) -> None:
    words, rehearsal = Words(step_id=STEP, subject=subject, body=body), Rehearsal()
    for reader in (*readers, *readers):
        told = answer(rehearsal.subject, words, reader, writer, URL, thread)
        assert told == answer(write, words, reader, writer, URL, thread)


@pytest.mark.parametrize(
    ("body", "plain"),
    [
        ('Hi {{ first_name }}, how is {{company | default: "work"}}?', True),
        ("<p>Hi {{ first_name }}</p>", True),
        ("{{ first_name }}", False),  # a value of control characters only would leave nothing
        ("Hi {{ first_name | upcase }}", False),
        ("Hi {% if company %}{{ company }}{% endif %}", False),
        ("<a href='{{ website }}'>x</a>", False),
        ("Hi {{ first_name", False),
    ],
)
def test_only_plain_words_are_remembered(body: str, *, plain: bool) -> None:
    assert is_plain(body) == plain


def test_every_field_of_a_lead_can_be_named() -> None:
    assert set(LEAD_FIELDS) <= set(Somebody.__struct_fields__)
