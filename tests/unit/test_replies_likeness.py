"""What a text is like: by the words of the examples alone, and never against plain words."""

from collections import Counter

import pytest

from services.replies.rules.folding import plain
from services.replies.rules.intent import FINAL, read_intent, read_phrases
from services.replies.rules.lexicon import load_examples
from services.replies.rules.likeness import INTENTS, likeness


def likest(text: str, language: str) -> str | None:
    found = likeness(plain(text), (language,))
    return found and max(found.scores, key=lambda intent: found.scores[intent])


@pytest.mark.parametrize(
    ("language", "text", "intent"),
    [
        ("en", "Our mother company would never allow it, I'm afraid that's the end of it.", "not_interested"),
        ("de", "Bei uns wird im Moment wirklich jeder Cent umgedreht, da ist nichts zu holen.", "not_interested"),
        ("fr", "Passez donc au bureau mardi, on prendra un caf\u00e9.", "meeting_request"),
        ("es", "\u00bfY eso funciona tambi\u00e9n sin internet?", "question"),
        ("ja", "\u4e8c\u5ea6\u3068\u9001\u3089\u306a\u3044\u3067\u304f\u3060\u3055\u3044\u3002", "unsubscribe"),
    ],
)
def test_words_that_are_in_no_lexicon_are_read_by_what_they_are_like(language: str, text: str, intent: str) -> None:
    assert likest(text, language) == intent


def test_a_text_of_which_nothing_was_ever_seen_is_like_nothing() -> None:
    assert likeness("\u03bb\u03cc\u03b3\u03bf\u03c2", ()) is None
    assert likeness("", ("xx",)) is None
    assert read_intent("").needs_review


def test_the_language_that_knows_most_of_a_text_reads_it() -> None:
    text = plain("Schicken Sie mir bitte die Unterlagen dazu.")
    german, either = likeness(text, ("de",)), likeness(text, ("sv", "de", "en"))
    assert german
    assert either
    assert german.scores == either.scores


def test_the_words_that_speak_for_an_intent_are_shown_as_they_stand() -> None:
    found = likeness(plain("Please send the brochure over"), ("en",))
    assert found
    assert "brochure" in found.because("interested")
    assert set(found.because("interested")) <= {"please", "send", "the", "brochure", "over"}


@pytest.mark.parametrize(
    ("text", "never"),
    [
        ("I'm not interested.", {"interested", "meeting_request", "question"}),
        ("Kein Interesse, danke. Was kostet es denn? Nein danke.", {"interested", "meeting_request", "question"}),
        ("Interesting, send me the price list. I never thought it could be of any use to us.", FINAL),
        ("Please remove me from your list.", {"not_interested", "neutral", "interested"}),
    ],
)
def test_plain_words_are_not_turned_into_their_opposite(text: str, never: set[str]) -> None:
    assert read_phrases(text).intent not in never
    assert read_intent(text).intent not in never


def test_nothing_final_is_said_on_a_guess() -> None:
    for language, examples in load_examples().items():
        for example in examples[::40]:
            reading = read_intent(example.text)
            if reading.intent in FINAL and read_phrases(example.text).intent != reading.intent:
                assert not reading.needs_review, (language, example.text, reading)


@pytest.mark.parametrize("language", sorted(load_examples()))
def test_the_examples_of_a_language_say_every_intent_and_none_twice(language: str) -> None:
    examples = load_examples()[language]
    many = Counter(each.intent for each in examples)
    assert set(many) == set(INTENTS)
    assert min(many.values()) >= len(examples) / 12
    assert len({each.text for each in examples}) == len(examples)
