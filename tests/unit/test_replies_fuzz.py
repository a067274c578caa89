"""Whatever arrives is read: any bytes, any structure, damaged real mail; within two seconds and in bounded memory."""

import base64
import re
import time
import tracemalloc
from functools import cache
from pathlib import Path
from typing import get_args

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from libs.schema.events.reply import Intent
from services.replies.rules.inspection import Inspection, Kind, inspect
from services.replies.rules.lexicon import Wants, load
from tests.labelled.letters import cases, messages, sceneries

MAX_S = 2.0
BOUNCES = Path(__file__).parents[2].parent / "shared" / "bounces"  # real reports, where they are at hand
WORDS = {
    each.language: re.findall(r"[^\W\d_]{2,}", f"{each.common} {each.declines} {each.meeting}")
    for each in load("intent", Wants)
}


def timed(raw: bytes) -> tuple[Inspection, float]:
    started = time.process_time()
    found = inspect(raw)
    return found, time.process_time() - started


def checked(raw: bytes) -> Inspection:
    """What was made of it, after it was found to be valid, and made in time."""
    found, seconds = timed(raw)
    assert seconds < MAX_S or timed(raw)[1] < MAX_S  # a language that is met first compiles its words
    assert msgspec.json.decode(msgspec.json.encode(found), type=Inspection) == found
    assert found.kind in get_args(Kind)
    assert found.intent is None or found.intent in get_args(Intent)
    assert found.confidence is None or 0 < found.confidence <= 1
    assert (found.intent == "bounce") == (found.kind == "bounce")
    return found


# -- any bytes, any structure

SNIPPETS = (
    *(b"\n", b"\r\n", b"\n\n", b"\r", b" ", b"\t", b"\0", b":", b";", b"<", b">", b'"', b"=", b"--", b"--b", b"--b--"),
    *(b"=?utf-8?q?", b"=?iso-2022-jp?b?GyRC?=", b"?=", b"\x1b$B", b"\xff\xfe", b"\xe2\x80\xae", b"\xf0\x9f\x98\x80"),
    *(b"From: ", b"Date: ", b"Content-Type: ", b"multipart/mixed; boundary=b", b"message/rfc822", b"text/html"),
    *(b"Status: 5.1.1", b"Final-Recipient: rfc822; ", b"550 5.1.1 user unknown", b"<blockquote>", b"</div", b"<!--"),
)
any_bytes = st.lists(st.sampled_from(SNIPPETS) | st.binary(max_size=60), max_size=50).map(b"".join)

charsets = st.sampled_from(
    [
        "utf-8",
        "utf-16",
        "utf-7",
        "iso-2022-jp",
        "shift_jis",
        "gb18030",
        "koi8-r",
        "cp1252",
        "idna",
        "rot13",
        "x" * 50,
        "",
    ]
)
kinds = st.sampled_from(
    ["text/plain", "text/html", "message/rfc822", "message/delivery-status", "message/feedback-report", "text/calendar"]
)
encodings = st.sampled_from(["base64", "quoted-printable", "7bit", "uuencode", "BASE64 ", "\u00e9"])
dates = st.sampled_from(
    ["Wed, 4 Mar 2026 12:00:00 +0000", "Wed, 99 Mar 2026", "1 Jan 0001 00:00:00 +9999", "1 Jan 99999 00:00", "\u00b2"]
)
values = st.text(max_size=60) | st.sampled_from(
    ["<a@b.test>", "Re: x", "auto-replied", "out of office", "=?utf-8?q?=C3=A9?=", "=?x?b?!?=", "a@b.test, ,, <", "<>"]
)
names = st.sampled_from(
    [
        "From",
        "To",
        "Subject",
        "In-Reply-To",
        "References",
        "Auto-Submitted",
        "Return-Path",
        "List-Id",
        "Precedence",
        "X",
    ]
)


@st.composite
def leaves(draw: st.DrawFn) -> bytes:
    """One text part in some charset, encoded somehow, not always as it says."""
    text = draw(st.text(max_size=300)).encode("utf-8", "replace")
    encoding = draw(encodings)
    body = base64.encodebytes(text) if encoding == "base64" else text
    head = f"Content-Type: {draw(kinds)}; charset={draw(charsets)}\nContent-Transfer-Encoding: {encoding}\n\n"
    return head.encode() + body


def _multipart(parts: list[bytes], boundary: str, kind: str) -> bytes:
    head = f'Content-Type: multipart/{kind}; report-type=delivery-status; boundary="{boundary}"\n\n'.encode()
    line = f"--{boundary}\n".encode()
    return head + b"".join(line + part + b"\n" for part in parts) + f"--{boundary}--\n".encode()


parts = st.recursive(
    leaves(),
    lambda inner: st.builds(
        _multipart,
        st.lists(inner, max_size=4),
        st.sampled_from(["b", "bb", "=_x", ""]),
        st.sampled_from(["mixed", "alternative", "report", "related"]),
    ),
    max_leaves=12,
)


@st.composite
def structured(draw: st.DrawFn) -> bytes:
    """A message of the right shape with anything in its places."""
    fields = draw(st.lists(st.tuples(names, values), max_size=8))
    head = "".join(f"{name}: {value}\n" for name, value in fields) + f"Date: {draw(dates)}\n"
    return head.encode("utf-8", "replace") + draw(parts)


@settings(max_examples=150)
@given(any_bytes | st.binary(max_size=2000))
def test_any_bytes_are_a_message(raw: bytes) -> None:
    checked(raw)


@settings(max_examples=150)
@given(structured())
def test_any_structure_is_a_message(raw: bytes) -> None:
    checked(raw)


# -- damaged real mail


@cache
def real() -> list[bytes]:
    """Replies of the labelled set in several shapes, and real reports."""
    found: list[bytes] = []
    for language, scenery in sceneries().items():
        for case in cases("tuned", language)[::9]:
            found += list(messages(case, language, scenery).values())[::3]
    return found + [path.read_bytes()[:20_000] for path in sorted(BOUNCES.glob("*.eml"))[::5]]


@settings(max_examples=150)
@given(st.data())
def test_damaged_mail_is_still_read(data: st.DataObject) -> None:
    raw = data.draw(st.sampled_from(real()))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(raw)))
        end = at + data.draw(st.integers(0, 60))
        new = data.draw(st.sampled_from([b"", raw[at:end] * 3, *SNIPPETS]) | st.binary(max_size=30))
        raw = raw[:at] + new + raw[end:]
    checked(raw)


def test_mail_that_ends_anywhere_is_read() -> None:
    for raw in real()[::40]:
        for end in range(0, len(raw), 1 + len(raw) // 25):
            checked(raw[:end])


def test_mail_inside_out_is_read() -> None:
    for one, other in zip(real()[::50], real()[25::50], strict=False):
        head, _, body = one.partition(b"\n\n")
        checked(body + b"\n\n" + head)
        checked(head + b"\n" + other)
        checked(_multipart([one, other], "real", "mixed"))


# -- words without end


@pytest.mark.parametrize("language", WORDS)
@settings(max_examples=8)
@given(st.data())
def test_no_wording_takes_long(language: str, data: st.DataObject) -> None:
    words = data.draw(st.lists(st.sampled_from(WORDS[language]), min_size=1, max_size=12))
    gap = data.draw(st.sampled_from([" ", "", " ' ", ", ", "\n", "-"]))
    text = gap.join(words * (6000 // (len(words) + len(gap.join(words)))))
    checked(f"From: a@b.test\nDate: Wed, 4 Mar 2026 12:00:00 +0000\n\n{text}".encode())
    checked(f"From: a@b.test\nAuto-Submitted: auto-replied\nSubject: {text[:900]}\n\n{text}".encode())


# -- memory

HEAD = b"From: a@b.test\nSubject: Re: x\n"
MEGABYTE = 1 << 20
MIXED = HEAD + b"Content-Type: multipart/mixed; boundary=b\n\n"
ZIP = b"Content-Type: application/zip\nContent-Disposition: attachment\nContent-Transfer-Encoding: base64\n\n"
REPORT = b"Return-Path: <>\nContent-Type: multipart/report; report-type=delivery-status; boundary=b\n\n"
NESTED = [b"Content-Type: multipart/mixed; boundary=b%d\n\n--b%d\n" % (n, n) for n in range(1000)]
RECIPIENTS = [b"Final-Recipient: rfc822; x%d@y.test\nAction: failed\nStatus: 5.1.1\n\n" % n for n in range(20_000)]
HOSTILE = {
    "an attachment of 40 MB": MIXED + b"--b\n" + ZIP + b"UEsDBBQ" * (6 * MEGABYTE) + b"\n--b\n\nnot interested\n--b--",
    "8 MB in 49 parts": HEAD + b"".join(NESTED[:49]) + b"\n" + b"hello\n" * (MEGABYTE * 8 // 6),
    "base64 without end": HEAD + b"Content-Transfer-Encoding: base64\n\n" + b"aGVsbG8" * MEGABYTE,
    "10,000 parts": MIXED + b"--b\n\nx\n" * 10_000,
    "1,000 nested": HEAD + b"".join(NESTED),
    "1,000 enclosed": HEAD + b"Content-Type: message/rfc822\n\n" * 1000 + b"not interested",
    "20,000 addresses": b"From: a@b.test\nTo: " + b"".join(b"x%d@y.test, " % n for n in range(20_000)) + b"\n\nhi",
    "5,000 parameters": HEAD + b"Content-Type: text/plain" + b"; a=b" * 5000 + b"\n\nhi",
    "10,000 fields": HEAD + b"X-Y: z\n" * 10_000 + b"\nhi",
    "a line without end": HEAD + b"\n" + b"x" * (8 * MEGABYTE),
    "quoted without end": HEAD + b"\n" + b"> " * (4 * MEGABYTE),
    "2 MB of HTML": HEAD + b"Content-Type: text/html\n\n" + b"<div><b>hi</b></div>" * (2 * MEGABYTE // 20),
    "recipients without end": REPORT + b"--b\nContent-Type: message/delivery-status\n\n" + b"".join(RECIPIENTS),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_mail_takes_bounded_time_and_memory(name: str) -> None:
    raw = HOSTILE[name]
    checked(raw)
    tracemalloc.start()
    try:
        inspect(raw)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 3 * len(raw) + 16 * MEGABYTE  # a message is copied as it is split, never piled up
