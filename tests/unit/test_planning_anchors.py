"""Which links of a template can be counted, and where they stand."""

import html
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.planning.words.anchors import MAX_URL_CHARS, anchors, countable_urls, is_countable


@pytest.mark.parametrize(
    ("text", "urls"),
    [
        ('<a href="https://example.com/?a=1&amp;b=2">x</a>', ["https://example.com/?a=1&b=2"]),
        ("<A class=x HREF = 'http://example.com/'>x</a>", ["http://example.com/"]),
        ("<a\nhref=https://example.com/x target=_blank>x</a>", ["https://example.com/x"]),
        ('<a href=" https://example.com/ ">x</a>', ["https://example.com/"]),
        ('<a title=" href=\'https://no.test\' >" href="https://yes.test">x</a>', ["https://yes.test"]),
        ('<a href="https://first.test" href="https://second.test">x</a>', ["https://first.test"]),
        (
            '<a href="https://a.test">x</a><a href="https://b.test">y</a><a href="https://a.test">z</a>',
            ["https://a.test", "https://b.test"],
        ),
        ('{<a href="https://a.test">x</a>|<a href="https://b.test">y</a>}', ["https://a.test", "https://b.test"]),
        ('<a href="https://[2001:db8::1]:8443/">x</a>', ["https://[2001:db8::1]:8443/"]),
        ('<a href="https://ü.test/é">x</a>', ["https://ü.test/é"]),
        # Not written out, not the web, not a link, or somebody else's name.
        ('<a href="{{ website }}">x</a><a href="https://example.com/{{ first_name }}">x</a>', []),
        ('<a href="{{ unsubscribe_url }}">x</a><a href="https://{a|b}.test/">x</a>', []),
        ('<a href="mailto:a@b.test">x</a><a href="javascript:alert(1)">x</a><a href="/relative">x</a>', []),
        (
            '<a href="//evil.test">x</a><a href="https:\\\\evil.test">x</a><a href="https://good.test@evil.test">x</a>',
            [],
        ),
        ('<a href="https://">x</a><a href="https://[oops/">x</a><a href>x</a><a name="x">x</a>', []),
        ('<a href="https://example.com/a&#10;b">x</a><a href="https://example.com/a b">x</a>', []),
        ('<abbr href="https://example.com/">x</abbr><img src="https://example.com/">', []),
        ("see https://example.com/ for more", []),
    ],
)
def test_the_countable_links_of_a_template(text: str, urls: list[str]) -> None:
    assert countable_urls(text) == urls


def test_an_anchor_says_where_its_address_stands() -> None:
    text = '<p><a class="b" href="https://example.com/?a=1&amp;b=2">x</a> <a href=https://c.test>y</a>'
    assert [text[each.start : each.end] for each in anchors(text)] == [
        "https://example.com/?a=1&amp;b=2",
        "https://c.test",
    ]


def test_an_address_that_is_too_long_is_left_alone() -> None:
    root = "https://example.com/"
    assert is_countable(root + "x" * (MAX_URL_CHARS - len(root)))
    assert not is_countable(root + "x" * (MAX_URL_CHARS - len(root) + 1))


@given(
    st.text(st.sampled_from("<a href='\">={}&;:/.x \n\\"), max_size=60),
    st.from_regex(r"https://[a-z]{1,9}\.test/[a-z&=?]{0,9}", fullmatch=True),
)
def test_any_text_is_read_and_a_well_written_link_in_it_is_found(before: str, url: str) -> None:
    for each in anchors(before):
        assert html.unescape(before[each.start : each.end]).strip() == each.url
    assert all(is_countable(each) for each in countable_urls(before))
    assert url in countable_urls(f'text <b>bold</b> <a href="{html.escape(url)}">x</a> {before}')


@pytest.mark.parametrize("piece", ["<a ", '<a "', "<a '", '<a href="', "<a x=", "<a href=x", "&", "<a x='\""])
def test_hostile_text_costs_no_more_than_its_length(piece: str) -> None:
    text = piece * (100_000 // len(piece))
    started = time.process_time()
    list(anchors(text))
    assert time.process_time() - started < 1
