"""`coldstream inspect`: what would be made of messages, without a database, a setting or a server."""

import asyncio
import re
import sys
from pathlib import Path

import msgspec
import pytest

from tests.command import coldstream, without_settings

REPLY = (
    b"From: Bob <bob@lead.test>\r\nTo: ann@acme.test\r\nIn-Reply-To: <a@acme.test>\r\n"
    b"Date: Wed, 4 Mar 2026 12:00:00 +0000\r\n"
)
DECLINED = REPLY + b"\r\nI am not interested.\r\n"
AWAY = REPLY + b"Auto-Submitted: auto-replied\r\nSubject: Out of office\r\n\r\nI will be back on 16 March 2026.\r\n"
LEFT = REPLY + b"Auto-Submitted: auto-replied\r\n\r\nBob has left the company.\r\n"
NEWSLETTER = b"From: News <news@shop.test>\r\nSubject: Sale\r\nList-Unsubscribe: <https://s.test/u>\r\n\r\nBuy.\r\n"
OPT_OUT = b"From: Bob <bob@lead.test>\r\nTo: ann@acme.test\r\nSubject: unsubscribe\r\n\r\n\r\n"
REPORT = b"""Return-Path: <>
From: MAILER-DAEMON@mx.test
Subject: Undelivered Mail Returned to Sender
Content-Type: multipart/report; report-type=delivery-status; boundary=b

--b
Content-Type: message/delivery-status

Reporting-MTA: dns; mx.test

Final-Recipient: rfc822; bob@lead.test
Action: failed
Status: 5.1.1
Diagnostic-Code: smtp; 550 5.1.1 user unknown

--b
Content-Type: text/rfc822-headers

Message-ID: <a@acme.test>

--b--
"""
KEYS = ["kind", "recipients", "intent", "confidence", "return_date", "matched_message_id", "left_company"]


@pytest.fixture
def box(tmp_path: Path) -> Path:
    messages = {"away": AWAY, "left": LEFT, "news": NEWSLETTER, "no": DECLINED, "opt-out": OPT_OUT, "report": REPORT}
    for name, raw in messages.items():
        (tmp_path / f"{name}.eml").write_bytes(raw)
    (tmp_path / "notes.txt").write_text("no message")
    return tmp_path


async def test_each_message_is_an_object_on_a_line(box: Path) -> None:
    done = await coldstream("inspect", str(box), "--json")
    found = [msgspec.json.decode(line) for line in done.out.splitlines()]
    assert (done.code, done.err) == (0, "")
    assert {tuple(each) for each in found} == {("file", *KEYS)}
    assert [Path(each["file"]).stem for each in found] == ["away", "left", "news", "no", "opt-out", "report"]
    assert [(each["kind"], each["intent"]) for each in found] == [
        ("auto_reply", "out_of_office"),
        ("auto_reply", "auto_reply"),
        ("other", None),
        ("reply", "not_interested"),
        ("reply", "unsubscribe"),
        ("bounce", "bounce"),
    ]
    assert [each["return_date"] for each in found] == ["2026-03-16", *[None] * 5]
    assert [each["left_company"] for each in found] == [False, True, False, False, False, False]
    assert [each["matched_message_id"] for each in found[2:]] == [None, "<a@acme.test>", None, "<a@acme.test>"]
    assert [each["recipients"] for each in found[:5]] == [[]] * 5
    recipient = {"address": "bob@lead.test", "status": "5.1.1", "code": "550", "class": "hard", "hard": True}
    assert found[5]["recipients"] == [{**recipient, "reason": "user_unknown"}]


async def test_a_file_that_cannot_be_read_is_named_and_the_others_are_inspected(box: Path) -> None:
    done = await coldstream("inspect", str(box / "gone.eml"), str(box / "no.eml"), "--json")
    assert done.code == 1
    assert done.json() | {"file": ""} == {**done.json(), "file": "", "intent": "not_interested"}
    assert done.err.splitlines() == [f"{box / 'gone.eml'}: No such file or directory"]


async def test_people_read_only_what_there_is_to_say(box: Path) -> None:
    done = await coldstream("inspect", *(str(box / f"{name}.eml") for name in ("report", "away", "news")))
    report, away, news = (str(box / f"{name}.eml") for name in ("report", "away", "news"))
    assert re.sub(r"\d\d%", "…", done.out).splitlines() == [
        f"{report}: bounce",
        "  recipient: bob@lead.test hard (550 5.1.1 user unknown)",
        "  about: <a@acme.test>",
        f"{away}: auto_reply",
        "  intent: out_of_office (…)",
        "  returns: Monday, 2026-03-16",
        "  about: <a@acme.test>",
        f"{news}: other",
    ]


async def test_a_message_comes_through_a_pipe(box: Path) -> None:
    command = [sys.executable, "-m", "deploy.cli", "inspect", "-", "--json"]
    with (box / "no.eml").open("rb") as message:
        process = await asyncio.create_subprocess_exec(
            *command, stdin=message, stdout=asyncio.subprocess.PIPE, env=without_settings()
        )
        out, _ = await process.communicate()
    found = msgspec.json.decode(out)
    assert (process.returncode, found["file"], found["intent"]) == (0, "-", "not_interested")
