"""What the writer wrote, and what mail programs, gateways and signatures put around it."""

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.replies.rules.folding import alternatives, fold
from services.replies.rules.text import new_text, text_from_html

OWN = "Sounds good, tell me more."
ABOVE = {
    "gmail": "On Mon, 2 Mar 2026 at 10:00, Ann Lee <ann@acme.test> wrote:\n\n> Stop",
    "gmail, folded twice": "On Mon, 2 Mar 2026\nat 10:00, Ann Lee\n<ann@acme.test> wrote:\n> Stop",
    "gmail, unmarked": "On Mon, 2 Mar 2026 at 10:00, Ann Lee <ann@acme.test> wrote:\n\nStop\n\nStop",
    "german": "Am Mo., 2. März 2026 um 10:00 Uhr schrieb Ann Lee <ann@acme.test>:\n> Stop",
    "french": "Le lun. 2 mars 2026 à 10:00, Ann Lee <ann@acme.test> a écrit :\n> Stop",
    "spanish": "El lun, 2 mar 2026 a las 10:00, Ann (<ann@acme.test>) escribió:\n> Stop",
    "portuguese": "Em seg., 2 de mar. de 2026 às 10:00, Ann Lee <ann@acme.test> escreveu:\n> Stop",
    "italian": "Il giorno lun 2 mar 2026 alle ore 10:00 Ann Lee <ann@acme.test> ha scritto:\n> Stop",
    "dutch": "Op ma 2 mrt 2026 om 10:00 schreef Ann Lee <ann@acme.test>:\n> Stop",
    "polish": "pon., 2 mar 2026 o 10:00 Ann Lee <ann@acme.test> napisał(a):\n> Stop",
    "swedish": "Den mån 2 mars 2026 kl 10:00 skrev Ann Lee <ann@acme.test>:\n> Stop",
    "danish": "Den man. 2. mar. 2026 kl. 10.00 skrev Ann Lee <ann@acme.test>:\n> Stop",
    "czech": "po 2. 3. 2026 v 10:00 odesílatel Ann Lee <ann@acme.test> napsal:\n> Stop",
    "japanese": "2026年3月2日(月) 10:00 Ann Lee <ann@acme.test>:\n> Stop",
    "russian": "пн, 2 мар. 2026 at 10:00, Ann Lee <ann@acme.test>:\n> Stop",
    "outlook": "From: Ann Lee <ann@acme.test>\nSent: Monday, March 2, 2026 10:00 AM\nTo: Bob\nSubject: Hi\n\nStop",
    "outlook, bold": "*From:* Ann Lee\n*Sent:* Monday\n*To:* Bob\n*Subject:* Hi\n\nStop",
    "outlook, polish": "Od: Ann Lee\nWysłano: poniedziałek\nDo: Bob\nTemat: Cześć\n\nStop",
    "outlook, japanese": "差出人: Ann Lee\n送信日時: 2026年3月2日\n宛先: Bob\n件名: Hello\n\nStop",
    "rule": "-----Original Message-----\nStop",
    "rule, zoho": "---- On Mon, 02 Mar 2026 10:00:00 +0000 Ann Lee wrote ----\n\nStop",
    "rule, swedish": "-----Ursprungligt meddelande-----\nStop",
    "forwarded": "---------- Forwarded message ---------\nFrom: Ann\nStop",
    "apple, forwarded": "Begin forwarded message:\n\nStop",
    "line": "________________________________\nStop",
    "signature": "-- \nBob, Stop Ltd.",
    "closing": "Best regards,\nBob of Stop Inc.",
    "closing and name": "Best, Bob\nStop Inc.",
    "closing, polish": "Pozdrawiam serdecznie\nJan Stop",
    "thanks and name": "Thanks!\nBob Miller\nStop Inc.",
    "device": "Sent from my iPhone\n\nOn 2 Mar 2026, at 10:00, Ann Lee <ann@acme.test> wrote:\n\n> Stop",
    "device, german": "Von meinem iPhone gesendet",
    "device, dutch": "Verstuurd vanaf mijn iPhone",
    "device, polish": "Wysłane z iPhone'a",
    "app": "Get Outlook for iOS<https://aka.ms/o0ukef>",
    "name and contact data": "Bob Miller\nHead of Stops | Lead Ltd\nBook a call: https://lead.test/bob",
    "legal note": "This e-mail and any attachments are confidential. If you are not the recipient, please stop.",
    "legal note, german": "Diese E-Mail enthält vertrauliche Informationen. Bitte löschen Sie sie.",
    "scanner": "Virus-free. www.avast.com",
}


@pytest.mark.parametrize("below", ABOVE.values(), ids=ABOVE.keys())
def test_an_answer_above_is_read_without_what_stands_below(below: str) -> None:
    assert new_text(f"{OWN}\n\n{below}\n") == OWN


@pytest.mark.parametrize(
    "banner",
    [
        "[EXTERNAL]",
        "CAUTION: This email originated from outside of the organization. Do not click links.",
        "You don't often get email from bob@lead.test. Learn why this is important",
        "ACHTUNG: Diese E-Mail stammt von einem externen Absender. Bitte klicken Sie nicht auf Links.",
        "LET OP: deze e-mail komt van buiten de organisatie.\nKlik niet op links.",
        "[cid:image001.png@01DA]",
    ],
)
def test_what_a_gateway_puts_on_top_is_not_read(banner: str) -> None:
    assert new_text(f"{banner}\n\n{OWN}") == OWN


QUOTE = "On Mon, 2 Mar 2026 at 10:00, Ann Lee <ann@acme.test> wrote:\n> Do you have time?\n"


def test_an_answer_below_or_between_quotes_is_read() -> None:
    assert new_text(f"{QUOTE}\n{OWN}\n-- \nBob") == OWN
    assert new_text(f"{QUOTE}Yes, on Monday.\n> And the price?\nIt is fine.\n> Bye") == "Yes, on Monday.\nIt is fine."


def test_an_answer_below_goes_on_after_a_signature_on_top() -> None:
    assert new_text(f"See below.\n\nBest regards\nBob\n\n{QUOTE}\nOn Monday.") == "See below.\n\n\n\nOn Monday."


def test_a_postscript_is_read_below_a_signature() -> None:
    assert new_text("Sounds good.\n\nBest,\nBob\n\nP.S. Call me on Monday.").endswith("P.S. Call me on Monday.")


def test_the_unmarked_rest_of_a_quoted_line_is_quoted() -> None:
    long = "> this line of the original was so long that a mail program broke it into"
    assert new_text(f"{OWN}\n\n{QUOTE}{long}\ntwo pieces\n> Bye") == OWN


def test_our_own_words_are_known_also_where_they_were_broken_otherwise() -> None:
    ours = "If this is not for you, unsubscribe here: https://acme.test/u/1"
    assert new_text(f"{OWN}\nIf this is not for you, unsubscribe\nhere: https://acme.test/u/1", ours) == (
        f"{OWN}\nhere: https://acme.test/u/1"
    )


def test_a_text_whose_line_breaks_were_lost_ends_at_its_quote() -> None:
    assert new_text(f"{OWN} On Mon, 2 Mar 2026 at 10:00, Ann Lee <ann@acme.test> wrote: Stop it") == OWN


@pytest.mark.parametrize(
    "text",
    [
        "Attention: please remove my e-mail address from your list.",
        "Thanks!\nWhen can we talk?",
        "Best would be Tuesday.",
        "On Monday I wrote to you: no.",
        "From: what I see, this is for us.",
        "Regards the price: how much is it?",
        "This e-mail made me curious.",
        "Bob Miller told me about you. Call me.",
        "My number:\n+49 30 1234567",
        "Ann,\nplease call me: +49 30 1234567",
    ],
)
def test_what_only_looks_like_a_mark_is_read(text: str) -> None:
    assert new_text(text) == text


PAGES = {
    "gmail": '<div>{own}</div><div class="gmail_quote"><div class="gmail_attr">On Mon, 2 Mar 2026 at 10:00, Ann '
    '&lt;<a href="x">ann@acme.test</a>&gt; wrote:<br></div><blockquote class="gmail_quote">Stop</blockquote></div>',
    "outlook": "<div>{own}</div><div style='border:none;border-top:solid #E1E1E1 1.0pt'><p><b>From:</b> Ann<br>"
    "<b>Sent:</b> Monday<br><b>To:</b> Bob<br><b>Subject:</b> Hi</p></div><p>Stop</p>",
    "outlook on the web": '<div>{own}</div><div id="Signature"><p>Bob Stop</p></div><div id="appendonsend"></div><hr>'
    '<div id="divRplyFwdMsg"><b>From:</b> Ann<br><b>Sent:</b> Monday<br><b>Subject:</b> Hi</div><div>Stop</div>',
    "apple": "<div>{own}</div><br><blockquote type='cite'><div>On 2 Mar 2026, Ann wrote:</div>Stop</blockquote>",
    "thunderbird": '<div class="moz-cite-prefix">On 02.03.26 10:00, Ann wrote:<br></div><blockquote cite="mid:x">Stop'
    "</blockquote><p>{own}</p>",
    "yahoo": '<div>{own}</div><div class="yahoo_quoted"><div>On Monday, March 2, 2026 at 10:00:00 AM GMT, Ann '
    "&lt;ann@acme.test&gt; wrote:</div><div>Stop</div></div>",
    "signature": '<p>{own}</p><div class="gmail_signature" data-smartmail="gmail_signature">Bob Stop</div>',
}


@pytest.mark.parametrize("page", PAGES.values(), ids=PAGES.keys())
def test_in_a_page_only_the_writers_words_are_read(page: str) -> None:
    assert new_text(text_from_html(page.replace("{own}", OWN))) == OWN


def test_folded_text_is_found_with_and_without_diacritics_and_umlauts() -> None:
    found = re.compile(alternatives("für|größe|déjà|łódź"))
    for word in ("für", "fur", "fuer", "FÜR", "größe", "grosse", "groesse", "déjà", "deja", "Łódź", "lodz"):
        assert found.fullmatch(fold(word)), word
    assert fold("\uff2f\uff2b\uff1f \u304c") == "ok? \u304c"  # full width, and a kana with its mark


@given(st.text())
def test_folding_twice_is_folding_once(text: str) -> None:
    assert fold(fold(text)) == fold(text)


@given(st.text(alphabet=st.sampled_from("> |-:<>@\n_*aAwrote 1.,")), st.text())
def test_any_text_is_cleaned(body: str, ours: str) -> None:
    assert len(new_text(body, ours, "Bob Miller")) <= len(body)


@pytest.mark.parametrize(
    "line",
    [
        "On " + "1 " * 900 + "wrote",
        "-_" * 1000,
        "<" * 1000 + "@" * 1000,
        "*from" * 400,
        "Tel. +" + "1 " * 900,
        "A " * 1000,
        "kind " * 400 + "x",
        "this e-mail " * 160,
        "caution " * 250,
        "sent from my " * 150,
        ("Aa " * 4 + "\n") * 200,
    ],
)
def test_no_line_takes_long(line: str) -> None:
    began = time.process_time()
    new_text("hello\n" + f"{line}\n" * 500)
    assert time.process_time() - began < 2
