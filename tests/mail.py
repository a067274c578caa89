"""Mail for tests: headers, texts that break things, and what every message on the wire must keep to."""

import re
from datetime import UTC, datetime
from email import message_from_bytes, policy
from email.message import EmailMessage

from hypothesis import strategies as st

from libs.planning.words.render import Content
from services.sender.rules.message import Headers

HEADERS = Headers(
    sender="ann@acme.test",
    sender_name="Ann",
    recipient="bob@lead.test",
    date=datetime(2026, 3, 2, 9, 0, tzinfo=UTC),
    message_id="<abcdefghijklmnopqrstuvwxyz@acme.test>",
    reference="abcdefghijklmnopqrstuvwxyz",
    reply_to="ann+abcdefghijklmnopqrstuvwxyz@acme.test",
    unsubscribe_url="https://x.test/u/" + "t" * 86,
    feedback_id=f"{'c' * 32}:{'d' * 32}:campaign:{'e' * 12}",
)
NAMES = [
    "From", "To", "Subject", "Date", "Message-ID", "Reply-To", "List-Unsubscribe", "List-Unsubscribe-Post",
    "Feedback-ID", "X-Coldstream-Ref", "MIME-Version", "Content-Type",
]  # fmt: skip
# What protocols trip over, often enough to stand side by side; then all of Unicode, halves of surrogate pairs too.
_TRAPS = [
    "\r", "\n", "\r\n", "\n.\n", "\r\n.\r\n", ".", "From ", "\nFrom ", "=", "=?utf-8?q?x?=", "?=", " ", "  ", "\t",
    "\0", "\x0b", "\x85", "\u2028", "\u202e", "\ud800", "\u00e9", "e\u0301", "\u65e5\u672c", "\U0001f600", "a",
    "long" * 30, '"', "\\", "<", ">", ",", ":", ";", "@", "(", ")", "\nBcc: eve@x.test",
    "--=_abcdefghijklmnopqrstuvwxyz--",
]  # fmt: skip
texts = st.lists(st.sampled_from(_TRAPS), max_size=40).map("".join) | st.text(
    st.characters(exclude_categories=()), max_size=1200
)

contents = st.builds(Content, subject=texts, text=texts, html=st.none() | texts)
stored = texts.map(lambda text: re.sub("[\0\ud800-\udfff]", "", text))  # what a row of the database can hold


def parse(raw: bytes) -> EmailMessage:
    """The message as the standard library understands it."""
    return message_from_bytes(raw, policy=policy.default)


def check_wire(raw: bytes) -> None:
    """What holds of every message that we put on the wire, signed or not."""
    assert not re.search(rb"(?<!\r)\n|\r(?!\n)|\0", raw)
    assert raw.endswith(b"\r\n")
    assert raw.isascii()
    head, _, body = raw.partition(b"\r\n\r\n")
    assert all(len(line) <= 998 for line in head.split(b"\r\n"))
    for line in body.split(b"\r\n"):
        assert len(line) <= 78
        assert not line.startswith((b".", b"From "))
        assert not line.endswith((b" ", b"\t"))
