"""Spintax: what is spun, what is left alone, and that every lead gets one variant for ever; must pass for any text."""

from collections import Counter
from typing import Any
from uuid import UUID

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from liquid import Environment

from libs.planning.facts import DueLead
from libs.planning.sequence import Step, Variant, Words, words_of
from libs.planning.words.letter import Writer, write
from libs.planning.words.spintax import SpintaxError, every_word, parse, spin
from services.api.rules import templates
from services.api.rules.text import Refused

STEP = UUID(int=7)
ANN = Writer(email="ann@acme.test", name="Ann", company=None, physical_address="1 Main Street")


def spun(source: str, *, leads: int = 200, part: str = "body") -> set[str]:
    return {spin(source, f"lead {number}".encode(), STEP, part) for number in range(leads)}


@pytest.mark.parametrize(
    ("source", "variants"),
    [
        ("{Hi|Hello} you", {"Hi you", "Hello you"}),
        ("{a|b|{c|d}}", {"a", "b", "c", "d"}),
        ("{a{b|c}|}", {"ab", "ac", ""}),
        ("{{{ city }}|town}", {"{{ city }}", "town"}),
        ("{{% if x %}1{% endif %}|2}", {"{% if x %}1{% endif %}", "2"}),
        (r"{a\|b|c\}}", {"a|b", "c}"}),
    ],
)
def test_one_option_of_each_choice_is_taken(source: str, variants: set[str]) -> None:
    assert spun(source) == variants


@pytest.mark.parametrize(
    "source",
    [
        "{{ first_name | default: 'you' }} and {% if a %}|{% endif %}",
        "{curly} | a } b",
        "a {color:red} {b: {c: 1}}",
        "<style>a{b|c}</style><SCRIPT>if(a||b){c|d}</script >",
        "{% raw %}{a|b}{% endraw %}",
        "{{ x | y",
    ],
)
def test_liquid_styles_scripts_and_braces_without_a_bar_are_left_alone(source: str) -> None:
    assert spun(source, leads=20) == {source}


@pytest.mark.parametrize(
    ("source", "text"), [(r"\{a\|b\}", "{a|b}"), (r"a\b \n", r"a\b \n"), (r"\{{ x }}", r"\{{ x }}")]
)
def test_a_backslash_makes_a_mark_a_character(source: str, text: str) -> None:
    assert spun(source, leads=3) == {text}


@pytest.mark.parametrize(
    ("source", "index"),
    [
        ("a {b|c", 2),
        ("{x}{y|{z}", 3),
        ("{a|b}" * 14, 65),
        ("{a|" * 11 + "b" + "}" * 11, 0),
        (" {" + "|" * 10_000 + "}", 1),
    ],
)
def test_what_is_never_closed_too_deep_or_too_much_is_refused_with_its_place(source: str, index: int) -> None:
    with pytest.raises(SpintaxError) as caught:
        parse(source)
    assert caught.value.index == index


def test_ten_deep_and_ten_thousand_variants_are_taken() -> None:
    assert spun("{a|" * 10 + "b" + "}" * 10, leads=5)
    assert spun("{a|b|c|d|e|f|g|h|i|j}" * 4, leads=5)


def test_a_lead_gets_the_same_variant_for_ever_and_each_option_its_share() -> None:
    drawn = [spin("{a|b|c|d}", f"lead {n}".encode(), STEP, "body") for n in range(4000)]
    assert drawn == [spin("{a|b|c|d}", f"lead {n}".encode(), STEP, "body") for n in range(4000)]
    assert all(900 < count < 1100 for count in Counter(drawn).values())


def test_choices_fall_independently_of_each_other_of_the_step_and_of_the_part() -> None:
    assert spun("{a|b}{c|d}") == {"ac", "ad", "bc", "bd"}
    leads = [f"lead {n}".encode() for n in range(400)]
    pairs = {
        *((spin("{a|b}", lead, STEP, "subject"), spin("{a|b}", lead, STEP, "body")) for lead in leads),
        *((spin("{c|d}", lead, STEP, "body"), spin("{c|d}", lead, UUID(int=8), "body")) for lead in leads),
    }
    assert len(pairs) == 8


@given(st.text(st.sampled_from("{}|%ab \\\n"), max_size=60), st.binary(min_size=1, max_size=8))
@example("{{{a}}|b}", b"x")
def test_what_was_saved_can_be_sent_in_every_variant(source: str, lead_key: bytes) -> None:
    try:
        accepted = templates.body(source)
    except Refused:
        return
    text = spin(accepted, lead_key, STEP, "body")
    assert len(text) <= sum(span.end - span.start for span in every_word(parse(accepted)))
    templates.unknown_variables(accepted, frozenset())
    assert Environment().from_string(text)


def lead(**columns: Any) -> DueLead:
    blank: dict[str, Any] = dict.fromkeys(DueLead.__struct_fields__)
    known: dict[str, Any] = {"lead_key": b"bob", "custom_fields": {}, "email": "b@lead.test"}
    return DueLead(**(blank | known | columns))


def test_a_leads_value_never_spins() -> None:
    words = Words(step_id=STEP, subject="{Hi|Hi} {{ first_name }}", body="{Yo|Yo} {{ first_name }}")
    content = write(words, lead(first_name="{a|b}"), ANN, "https://x.test/u", None)
    assert content.subject == "Hi {a|b}"
    assert content.text.startswith("Yo {a|b}")


def test_the_words_of_a_variant_spin_too() -> None:
    arm = Variant(variant_id=UUID(int=9), subject="{One|One}", body="{Two|Two}")
    step = Step(step_id=STEP, step_number=1, subject="x", body="y", variants=(arm,))
    content = write(words_of(step, arm.variant_id), lead(), ANN, "https://x.test/u", None)
    assert (content.subject, content.text[:3]) == ("One", "Two")
