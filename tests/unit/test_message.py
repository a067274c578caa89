"""The message's bytes: what no input can do to them, and that a reader gets back what was written."""

import re
from email import message_from_bytes
from email.header import decode_header, make_header

import msgspec
import pytest
from hypothesis import example, given, settings

from libs.planning.words.render import Content, clean, one_line
from services.sender.rules.message import NotAnAddressError, build
from services.sender.rules.mime import encoded_words
from tests.mail import HEADERS, NAMES, check_wire, parse, texts

CONTENT = Content(subject="Re: Hello", text="Hi\n")


@settings(max_examples=150, deadline=None)
@given(name=texts, subject=texts, text=texts, html=texts)
@example(name="=?utf-8?q?x?=", subject="x" * 2000, text="x" * 75 + ".\n" + "y" * 75 + "From me \n", html="")
def test_whatever_is_written_is_read_again_and_adds_nothing(name: str, subject: str, text: str, html: str) -> None:
    headers = msgspec.structs.replace(HEADERS, sender_name=name)
    raw = build(headers, Content(subject=subject, text=text, html=html)).content
    check_wire(raw)
    mail = parse(raw)
    assert mail.keys() == NAMES
    assert not mail.defects
    assert mail["Subject"] == one_line(subject)
    assert mail["From"].addresses[0].addr_spec == HEADERS.sender
    assert sender_name(raw) == one_line(name)
    assert [part.get_content_type() for part in mail.iter_parts()] == ["text/plain", "text/html"]
    for part, wanted in zip(mail.iter_parts(), (text, html), strict=True):
        assert part.keys() == ["Content-Type", "Content-Transfer-Encoding"]
        assert read(part) == clean(wanted).removesuffix("\n") + "\n"


@settings(max_examples=100, deadline=None)
@given(text=texts)
def test_a_plain_mail_has_one_part(text: str) -> None:
    raw = build(HEADERS, msgspec.structs.replace(CONTENT, text=text)).content
    check_wire(raw)
    mail = parse(raw)
    assert mail.keys() == [*NAMES, "Content-Transfer-Encoding"]
    assert read(mail) == clean(text).removesuffix("\n") + "\n"


def sender_name(raw: bytes) -> str:
    """As a reader sees it. The library's newer reader, in 3.11, puts a space between two encoded words of a name."""
    phrase = str(message_from_bytes(raw)["From"]).rpartition(" <")[0]
    if "=?" in phrase:
        return str(make_header(decode_header(phrase.strip())))
    return parse(raw)["From"].addresses[0].display_name


def read(part: object) -> str:
    return part.get_content().replace("\r\n", "\n")  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType, reportUnknownVariableType]  parts are EmailMessages


@settings(max_examples=100, deadline=None)
@given(subject=texts)
def test_lines_with_encoded_words_keep_to_76_and_cut_no_character(subject: str) -> None:
    subject = one_line(subject)
    words = encoded_words(subject, 67)
    assert len(words[0]) <= 67
    assert all(len(word) <= 75 for word in words)
    assert "".join(decoded(word) for word in words) == subject


def decoded(word: str) -> str:
    return str(parse(f"Subject: {word}\r\n\r\n".encode())["Subject"])


def test_a_long_subject_beyond_ascii_folds_between_encoded_words() -> None:
    raw = build(HEADERS, msgspec.structs.replace(CONTENT, subject="Zweiter Besuch für Müller & Söhne " * 3)).content
    assert (
        b"\r\nSubject: =?utf-8?q?Zweiter_Besuch_f=C3=BCr_M=C3=BCller_=26_S=C3=B6hne_Zwei?=\r\n"
        b" =?utf-8?q?ter_Besuch_f=C3=BCr_M=C3=BCller_=26_S=C3=B6hne_Zweiter_Besuch_f?=\r\n"
        b" =?utf-8?q?=C3=BCr_M=C3=BCller_=26_S=C3=B6hne?=\r\nDate: "
    ) in raw


def test_a_subject_in_another_writing_is_base64() -> None:
    raw = build(HEADERS, msgspec.structs.replace(CONTENT, subject="日本語の件名")).content
    assert b"\r\nSubject: =?utf-8?b?5pel5pys6Kqe44Gu5Lu25ZCN?=\r\n" in raw


def test_the_head_of_a_mail_is_these_bytes() -> None:
    headers = msgspec.structs.replace(HEADERS, sender_name="Ann B. Löwe")
    assert build(headers, CONTENT).content == (
        b"From: =?utf-8?q?Ann_B=2E_L=C3=B6we?= <ann@acme.test>\r\n"
        b"To: bob@lead.test\r\n"
        b"Subject: Re: Hello\r\n"
        b"Date: Mon, 02 Mar 2026 09:00:00 +0000\r\n"
        b"Message-ID: <abcdefghijklmnopqrstuvwxyz@acme.test>\r\n"
        b"Reply-To: ann+abcdefghijklmnopqrstuvwxyz@acme.test\r\n"
        b"List-Unsubscribe: <https://x.test/u/" + b"t" * 86 + b">\r\n"
        b"List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n"
        b"Feedback-ID: " + b"c" * 32 + b":" + b"d" * 32 + b":campaign:eeeeeeeeeeee\r\n"
        b"X-Coldstream-Ref: abcdefghijklmnopqrstuvwxyz\r\n"
        b"MIME-Version: 1.0\r\n"
        b'Content-Type: text/plain; charset="utf-8"\r\n'
        b"Content-Transfer-Encoding: quoted-printable\r\n\r\n"
        b"Hi\r\n"
    )


def test_identifiers_are_never_encoded_and_fold_between_words() -> None:
    chain = [f"<{letter * 26}@a-rather-long-sending-domain.example>" for letter in "abcd"]
    raw = build(msgspec.structs.replace(HEADERS, in_reply_to=chain[-1], references=chain), CONTENT).content
    head = raw.partition(b"\r\n\r\n")[0]
    assert b"=?" not in raw
    assert "\r\nReferences: {}\r\n {}\r\n {}\r\n {}\r\n".format(*chain).encode() in raw
    assert all(len(line) <= 78 for line in head.split(b"\r\n") if not line.startswith((b"List-Unsubscribe:", b"Feed")))
    assert parse(raw)["In-Reply-To"] == chain[-1]


def test_a_thread_too_long_for_a_line_keeps_its_beginning_and_its_end() -> None:
    chain = [f"<{number:026}@acme.test>" for number in range(100)]
    raw = build(msgspec.structs.replace(HEADERS, references=chain), CONTENT).content
    kept = str(parse(raw)["References"]).split()
    assert kept == [chain[0], *chain[-len(kept) + 1 :]]
    assert 998 - len(" " + chain[0]) < len("References: " + " ".join(kept)) <= 998


@pytest.mark.parametrize(
    "strange", ["<a b@x.test>", "none", "<é@x.test>", "<a@x\r\nBcc: eve@x.test>", f"<{'x' * 400}@y>"]
)
def test_an_identifier_that_no_header_can_hold_is_left_out(strange: str) -> None:
    headers = msgspec.structs.replace(HEADERS, in_reply_to=strange, references=["<first@x.test>", strange])
    mail = parse(build(headers, CONTENT).content)
    assert mail.keys() == [*NAMES[:6], "References", *NAMES[6:], "Content-Transfer-Encoding"]
    assert mail["References"] == "<first@x.test>"


@pytest.mark.parametrize("field", ["reference", "feedback_id", "unsubscribe_url"])
def test_of_our_own_words_a_wrong_one_is_refused(field: str) -> None:
    with pytest.raises(ValueError, match="not a"):
        build(msgspec.structs.replace(HEADERS, **{field: "x\r\nBcc: eve@x.test"}), CONTENT)


@pytest.mark.parametrize(
    "address",
    ["bob@lead.test\r\nBcc: eve@x.test", "bob", "@lead.test", "bob@", "a b@lead.test", "a@b@lead.test", "bob@lead>",
     "<bob@lead.test>", ".bob@lead.test", "a..b@lead.test", "bob@[127.0.0.1]", "bo\0b@lead.test", "bob@xn--.test\u2028",
     "\ud800@lead.test", f"{'x' * 250}@lead.test"],
)  # fmt: skip
@pytest.mark.parametrize("field", ["sender", "recipient"])
def test_what_is_no_address_is_refused(field: str, address: str) -> None:
    with pytest.raises(NotAnAddressError) as caught:
        build(msgspec.structs.replace(HEADERS, **{field: address}), CONTENT)
    assert caught.value.whose == field


def test_a_message_id_that_is_none_is_the_senders_fault_whose_domain_is_in_it() -> None:
    with pytest.raises(NotAnAddressError) as caught:
        build(msgspec.structs.replace(HEADERS, message_id="<a@b\u00fcro.test>"), CONTENT)
    assert caught.value.whose == "sender"


def test_a_long_identifier_stands_whole_on_its_line() -> None:
    long = f"<{'x' * 250}@{'y' * 60}.test>"
    raw = build(msgspec.structs.replace(HEADERS, message_id=long, references=[long] * 9), CONTENT).content
    assert f"\r\nMessage-ID: {long}\r\n".encode() in raw
    assert f"\r\nReferences: {long}\r\n {long}\r\n {long}\r\nList-".encode() in raw


def test_only_a_local_part_beyond_ascii_needs_smtputf8() -> None:
    abroad = build(msgspec.structs.replace(HEADERS, recipient="bob@büro.test"), CONTENT)
    assert (abroad.recipient, abroad.smtputf8) == ("bob@xn--bro-hoa.test", False)
    assert b"\r\nTo: bob@xn--bro-hoa.test\r\n" in abroad.content
    special = build(msgspec.structs.replace(HEADERS, recipient="böb@büro.test"), CONTENT)
    assert (special.recipient, special.smtputf8) == ("böb@xn--bro-hoa.test", True)
    assert "\r\nTo: böb@xn--bro-hoa.test\r\n".encode() in special.content


def test_the_same_mail_is_the_same_bytes() -> None:
    content = msgspec.structs.replace(CONTENT, html="<p>Hi</p>")
    assert build(HEADERS, content) == build(HEADERS, content)


@pytest.mark.parametrize(
    "name", ["Smith, Ann", 'Ann "the boss"', "a\\b", "ann@acme.test", "x" * 60, "Ann  <eve@x.test>"]
)
def test_a_name_with_signs_of_the_syntax_stays_a_name(name: str) -> None:
    raw = build(msgspec.structs.replace(HEADERS, sender_name=name), CONTENT).content
    assert re.findall(rb"<[^>]*>", raw.partition(b"\r\nTo:")[0])[-1] == b"<ann@acme.test>"
    assert [(a.display_name, a.addr_spec) for a in parse(raw)["From"].addresses] == [(one_line(name), "ann@acme.test")]
