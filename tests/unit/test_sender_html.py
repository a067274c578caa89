"""The HTML part on its way out: styles at their elements, links and pixel only where asked, nothing fetched."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.sender.rules.html import inlined, with_counted_links, with_pixel

KNOWN = {"https://x.test/?a=1&b=2": "https://c.test/t/c/1", "https://y.test/": "https://c.test/t/c/2"}
SELECTORS = "div ~ div ~ div ~ div ~ i{color:red}"


def test_styles_move_to_their_elements_and_media_rules_stay() -> None:
    page = inlined("<style>p { color: red } @media (max-width: 600px) { p { color: blue } }</style><p>Hi</p>")
    assert '<p style="color: red;">Hi</p>' in page
    assert "@media (max-width: 600px)" in page


def test_no_style_sheet_is_fetched() -> None:
    page = inlined(
        "<style>@import url(http://127.0.0.1:1/a.css); p { margin: 0 }</style>"
        "<link rel=stylesheet href='http://127.0.0.1:1/b.css'><link rel=stylesheet href='file:///etc/hostname'><p>Hi</p>"
    )
    assert '<p style="margin: 0;">Hi</p>' in page


@pytest.mark.parametrize("page", ["<p>Hi &lt;you&gt;", "<P CLASS=a>Hi</P>", "plain"])
def test_a_page_without_styles_is_left_as_it_is(page: str) -> None:
    assert inlined(page) == page


@pytest.mark.parametrize(
    "page",
    [
        "<style>p{color:red}</style>" + "<i>" * 30_000,
        f"<style>{SELECTORS * 200}</style>" + "<div></div>" * 900,
        "<style>" + "p{color:red}" * 5_000 + "</style><p>Hi</p>",
    ],
)
def test_a_page_that_would_cost_too_much_keeps_its_styles_where_they_are(page: str) -> None:
    assert inlined(page) == page


@settings(deadline=None)
@given(st.text(st.sampled_from("p{}:;@\"'\\#.*[]()>+~ \n\0é1-/!<&"), max_size=200))
def test_any_style_is_survived(style: str) -> None:
    assert "Hi" in inlined(f"<p>Hi</p><style>{style}</style>")


def test_the_worst_page_that_is_inlined_costs_less_than_a_second() -> None:
    page = "<style>" + "[a*='x']{color:red}" * 1_000 + "</style>" + "<b a=xx></b>" * 900
    started = time.process_time()
    assert inlined(page) != page
    assert time.process_time() - started < 1


@pytest.mark.parametrize(
    ("written", "sent"),
    [
        ('<a href="https://x.test/?a=1&amp;b=2">', '<a href="https://c.test/t/c/1">'),
        ("<a class=b href=https://y.test/ >", "<a class=b href=https://c.test/t/c/2 >"),
        ("<a href=' https://y.test/ '>", "<a href='https://c.test/t/c/2'>"),
        ('<a href="https://x.test/">', None),
        ('<a href="mailto:a@b.test">', None),
        ("https://y.test/", None),
    ],
)
def test_only_known_links_are_counted_however_they_are_written(written: str, sent: str | None) -> None:
    around = '<p><a href="https://y.test/">{}</a></p>'
    page = with_counted_links(around.format(written), KNOWN.get)
    assert page == around.replace("https://y.test/", "https://c.test/t/c/2").format(sent or written)


def test_links_are_found_again_after_styles_were_inlined() -> None:
    page = inlined('<style>a{color:red}</style><a href="https://x.test/?a=1&b=2">1</a>')
    assert 'href="https://c.test/t/c/1"' in with_counted_links(page, KNOWN.get)


@pytest.mark.parametrize(("page", "end"), [("<body><p>Hi</p></BODY></html>", "</BODY></html>"), ("<p>Hi</p>", "")])
def test_the_pixel_is_the_last_thing_that_is_shown(page: str, end: str) -> None:
    assert with_pixel(page, "https://c.test/t/o/1") == page.removesuffix(end) + (
        '<img src="https://c.test/t/o/1" width="1" height="1" alt="" style="display:block;border:0">' + end
    )
