"""Any bytes are a message, read in bounded time."""

import time

from hypothesis import given, settings
from hypothesis import strategies as st

from services.replies.rules.inspection import inspect
from services.replies.rules.parse import (
    MAX_DEPTH,
    MAX_PARTS,
    addresses,
    clean,
    decoded,
    mailbox,
    message_ids,
    parse,
    parse_headers,
    text_of,
)
from services.replies.rules.text import text_from_html

REPORT = b"""Return-Path: <>
From: MAILER-DAEMON@mx.test (Mail Delivery System)
Subject: Undelivered Mail Returned to Sender
Content-Type: multipart/report; report-type=delivery-status; boundary="b=1"

--b=1
Content-Type: text/plain; charset=iso-8859-1
Content-Transfer-Encoding: quoted-printable

<bob@lead.test>: host mx said: 550 5.1.1 user unknown=2E
--b=1
Content-Type: message/delivery-status

Reporting-MTA: dns; mx.test

Final-Recipient: rfc822; bob@lead.test
Action: failed
Status: 5.1.1
Diagnostic-Code: smtp; 550 5.1.1 user unknown

--b=1
Content-Type: message/rfc822

Message-ID: <token@acme.test>
To: bob@lead.test

hello
--b=1--
"""
REPLY = b"""From: =?utf-8?q?B=C3=B6b?= <bob@lead.test>
Subject: Re: Hello
In-Reply-To: <token@acme.test>
Content-Type: multipart/alternative; boundary=xx

--xx
Content-Type: text/html; charset=utf-8
Content-Transfer-Encoding: base64

PHA+VGVsbCBtZSBtb3JlPC9wPjxibG9ja3F1b3RlPnF1b3RlZDwvYmxvY2txdW90ZT4=
--xx--
"""

FRAGMENTS = (
    *(b"\r\n", b"\n", b"\n\n", b": ", b"<", b">", b"(", b'"', b"\0", b"@", b"=", b"\xff\xfe", b"=?utf-8?b?", b"?="),
    *(b"--b=1", b"--b=1--", b"Content-Type: multipart/mixed; boundary=b=1\n\n", b"Content-Transfer-Encoding: base64\n"),
    *(b"From: ", b"Subject: ", b"Status: 5.1.1", b"Action: failed", b"charset=utf-7", b"charset=idna"),
    *(b"<blockquote>", b"until 31.02.", b"On 1 wrote:"),
)
fragments = st.sampled_from(FRAGMENTS)


def seconds(raw: bytes) -> float:
    started = time.process_time()
    inspect(raw)
    return time.process_time() - started


@given(st.lists(st.one_of(fragments, st.binary(max_size=40)), max_size=60))
def test_any_bytes_are_a_message(pieces: list[bytes]) -> None:
    assert seconds(b"".join(pieces)) < 2


@settings(max_examples=300)
@given(st.sampled_from([REPORT, REPLY]), st.data())
def test_a_damaged_message_is_still_one(message: bytes, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(message)))
    length = data.draw(st.integers(0, 40))
    damage = data.draw(st.one_of(fragments, st.binary(max_size=20)))
    damaged = message[:at] + damage + message[at + length :]
    assert seconds(damaged) < 2 or seconds(damaged) < 2  # a language that is met first compiles its words


HOSTILE = {
    "nested 1,000 deep": b"".join(
        b"Content-Type: multipart/mixed; boundary=b%d\n\n--b%d\n" % (n, n) for n in range(1000)
    ),
    "20,000 recipients": b"From: a@b.test\nTo: " + b", ".join(b"x%d@y.test" % n for n in range(20_000)) + b"\n\nhi",
    "5,000 brackets in From": b"From: " + b"(" * 5000 + b"\n\nhi",
    "5,000 parameters": b"Content-Type: text/plain" + b"; a=b" * 5000 + b"\n\nhi",
    "10,000 parts": b"Content-Type: multipart/mixed; boundary=b\n\n" + b"--b\n\nx\n" * 10_000,
    "a megabyte of one line": b"From: a@b.test\n\n" + b"x" * 1_000_000,
    "a megabyte of header": b"X: " + b"y" * 1_000_000,
    "a megabyte of line feeds": b"From: a@b.test\n\n" + b"\n" * 1_000_000,
    "open tags": b"From: a@b.test\nContent-Type: text/html\n\n" + b"<style><" * 100_000,
    "open comments": b"From: a@b.test\nContent-Type: text/html\n\n" + b"<!--" * 200_000,
    "attributions": b"From: a@b.test\n\n" + b"On 1 On 1 On 1 " * 60_000,
    "addresses": b"From: mailer-daemon@x.test\nSubject: failure notice\n\n" + b"<a@b.test>: " * 60_000,
    "encoded words": b"Subject: " + b"=?utf-8?q?a?= " * 20_000 + b"\n\nhi",
    "ids": b"From: a@b.test\nReferences: " + b"<a@b> " * 40_000 + b"\n\nhi",
    "not a word": b"From: a@b.test\n\n" + b"not " + b" " * 100_000 + b"not now" * 10_000,
    "dates": b"From: a@b.test\nAuto-Submitted: auto-replied\n\nout of office " + b"until back on 1.1. " * 50_000,
    "blanks": b"From: mailer-daemon@x.test\nSubject: failure notice\n\n" + b" " * 900_000 + b"550 ",
    "boundary of nothing": b"Content-Type: multipart/mixed; boundary=\n\n" + b"--\n" * 300_000,
    "deep JSON": b'From: x@sns.amazonaws.com\n\n{"x": ' + b"[" * 200_000,
    "signature lines": b"From: a@b.test\n\n" + b"From: x\n" * 100_000,
}


def test_hostile_messages_take_no_longer_than_any_other() -> None:
    slow = {name: taken for name, raw in HOSTILE.items() if (taken := seconds(raw)) >= 2}
    assert slow == {}


def test_nested_parts_are_read_down_to_the_limit() -> None:
    nested = b"".join(b"Content-Type: multipart/mixed; boundary=b%d\n\n--b%d\n" % (n, n) for n in range(MAX_DEPTH - 1))
    assert text_of(parse(nested + b"Content-Type: text/plain\n\ninside").parts[0]) == "inside"
    deeper = b"Content-Type: multipart/mixed; boundary=x\n\n--x\n" * 2 + nested
    assert parse(deeper + b"Content-Type: text/plain\n\ninside").parts[0].content_type == "multipart/mixed"


def test_no_more_parts_are_read_than_the_limit() -> None:
    assert len(parse(HOSTILE["10,000 parts"]).parts) == MAX_PARTS


def test_header_fields_are_unfolded_and_decoded() -> None:
    headers = parse_headers(
        b"From nobody Mon Mar  2 08:00:00 2026\nSubject: =?iso-8859-1?Q?Gr=FC=DFe?=\n =?utf-8?b?IHp1cg==?= Mitte\n"
        b"X: a\n\tb\nbroken line\nX: c\n\nbody"
    )
    assert headers.first("subject") == "Gr\u00fc\u00dfe zur Mitte"
    assert headers.every("x") == ["a\tb", "c"]
    assert headers.first("missing") == ""
    assert "missing" not in headers


def test_transfer_encodings_and_charsets_are_undone_as_far_as_they_go() -> None:
    def text(head: bytes, body: bytes) -> str:
        return text_of(parse(b"Content-Type: text/plain" + head + b"\n\n" + body).parts[0])

    assert text(b"; charset=iso-8859-1", b"gr\xfc\xdfe") == "gr\u00fc\u00dfe"
    assert text(b"; charset=iso-2022-jp", "\u732b".encode()) == "\u732b"  # says one thing, is another
    assert text(b"", "\u732b".encode("iso-2022-jp")) == "\u732b"  # says nothing
    assert text(b"; charset=iso-2022-jp", "\u732b\u306f".encode("euc-jp")) == "\u732b\u306f"
    assert text(b"; charset=no-such", b"caf\xe9") == "caf\ufffd"
    assert text(b"; charset=unicode_escape", b"\\d") == "\\d"
    assert text(b"\nContent-Transfer-Encoding: base64", b"aGVsbG8=!!!") == "hello"
    assert text(b"\nContent-Transfer-Encoding: base64", b"aGVsbG8gd") == "hello "
    assert text(b"\nContent-Transfer-Encoding: quoted-printable", b"a=3Db=\r\nc=ZZ") == "a=bc=ZZ"
    assert text(b"", b"a\0b\r\nc\rd") == "a\ufffdb\nc\nd"


def test_what_a_database_cannot_hold_is_replaced() -> None:
    assert clean("a\0b\ud800c") == "a\ufffdb?c"


def test_a_mark_of_utf_8_in_front_hides_no_header() -> None:
    assert parse(b"\xef\xbb\xbfSubject: hello\n\n").headers.first("subject") == "hello"


def test_a_header_in_japanese_that_was_not_encoded_is_read() -> None:
    assert parse(b"Subject: " + "\u732b".encode("iso-2022-jp") + b"\n\n").headers.first("subject") == "\u732b"


def test_a_boundary_that_is_not_the_declared_one_is_found() -> None:
    raw = b'Content-Type: multipart/mixed; boundary="wrong"\n\n--right\nContent-Type: text/plain\n\nhello\n--right--\n'
    assert [text_of(part) for part in parse(raw).parts] == ["hello"]


def test_attachments_and_enclosed_messages_are_leaves() -> None:
    raw = (
        b"Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: message/rfc822\n\n"
        b"Content-Type: multipart/mixed; boundary=b2\n\n--b2\n\nx\n--b2--\n--b\n"
        b"Content-Type: application/zip\nContent-Disposition: attachment\n\nPK\n--b--"
    )
    enclosed, attached = parse(raw).parts
    assert enclosed.content_type == "message/rfc822"
    assert decoded(enclosed).startswith(b"Content-Type: multipart/mixed; boundary=b2")
    assert attached.is_attachment


def test_mailboxes_and_ids_are_found_in_odd_fields() -> None:
    found = mailbox('"Doe, Bob" <Bob@Lead.test>')
    assert (found.name, found.address) == ("Doe, Bob", "bob@lead.test")
    assert mailbox("bob@lead.test (Bob)").address == "bob@lead.test"
    assert mailbox("undisclosed-recipients:;").address == ""
    assert message_ids("<a@b> junk <c@d>\n\t<e f> <g@h>") == ["<a@b>", "<c@d>", "<g@h>"]
    assert addresses("to A@x.test, a@x.test and <b@y.test>.") == ["a@x.test", "b@y.test"]


def test_html_is_read_as_its_visible_text_without_quotes() -> None:
    page = (
        "<html><head><title>t</title><style>p{}</style></head><body><p>Hi&nbsp;Ann,</p><div>sounds&amp;good<br>Bob</div>"
        "<script>x()</script><!-- <p>no</p> --><blockquote>old <blockquote>older</blockquote> old</blockquote>after"
    )
    assert [line for line in text_from_html(page).split("\n") if line.strip()] == [
        "Hi\u00a0Ann,",
        "sounds&good",
        "Bob",
        ">",
        "after",
    ]
