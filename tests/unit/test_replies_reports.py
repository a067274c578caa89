"""Refusals and notices as mail systems word them, in many languages: what is one, and which address is dead."""

import tomllib
from pathlib import Path
from typing import Any

import pytest

from services.replies.rules.inspection import inspect
from services.replies.rules.refusal import classify

REPORTS: dict[str, Any] = tomllib.loads((Path(__file__).parent / "reports.toml").read_text(encoding="utf-8"))
NOTICES: list[dict[str, Any]] = REPORTS["notices"]


@pytest.mark.parametrize("words", REPORTS["refusals"]["dead"])
def test_a_refusal_that_says_so_makes_an_address_dead(words: str) -> None:
    assert classify(words).bounce_class == "hard"


@pytest.mark.parametrize("words", REPORTS["refusals"]["alive"])
def test_a_refusal_of_the_sender_or_the_message_or_for_now_does_not(words: str) -> None:
    assert classify(words).bounce_class in {"soft", "blocked"}


def message(notice: dict[str, Any]) -> bytes:
    """The notice as a message of one part."""
    path = f"Return-Path: {notice['path']}\n" if "path" in notice else ""
    kind = notice.get("type", "text/plain; charset=utf-8")
    head = f"{path}From: {notice['from']}\nTo: ann@acme.test\nSubject: {notice['subject']}\n{notice.get('fields', '')}"
    return f"{head}Content-Type: {kind}\n\n{notice['body']}\n".encode()


@pytest.mark.parametrize("notice", NOTICES, ids=[each["name"] for each in NOTICES])
def test_a_notice_is_known_by_its_form_in_any_language(notice: dict[str, Any]) -> None:
    found = inspect(message(notice))
    assert found.kind == "bounce"
    assert [(each.address, each.hard) for each in found.recipients] == [("bob@lead.test", notice["dead"])]


@pytest.mark.parametrize(
    ("subject", "words"),
    [
        ("Delivery Status Notification (Delay)", "There is a problem with bob@lead.test."),
        ("Warning: message delayed", "<bob@lead.test> has not got your message. It will be retried for 5 days."),
        ("Zustellung verzögert", "Ihre Nachricht an bob@lead.test wurde noch nicht zugestellt."),
        ("Courrier en attente", "Votre message n'a pas encore été remis à bob@lead.test."),
    ],
)
def test_a_warning_is_no_refusal(subject: str, words: str) -> None:
    found = inspect(message({"from": "MAILER-DAEMON@lead.test", "subject": subject, "body": words}))
    assert [(each.address, each.bounce_class) for each in found.recipients] == [("bob@lead.test", "none")]


def test_in_a_transcript_what_stands_above_a_verdict_is_about_its_recipient() -> None:
    body = (
        "----- These addresses had errors -----\nbob@lead.test\ncarol@gone.test (reason: 552 mailbox full)\n\n"
        "----- Transcript of session follows -----\nWhile talking to mx.lead.test:\n"
        "<<< 501 <ann@acme.test>... no access, you are an open relay.\n554 <bob@lead.test>... Remote protocol error\n"
        "550 gone.test (smtp)... 550 Host unknown\n554 <carol@gone.test>... 550 Host unknown\n"
    )
    notice = {"from": "MAILER-DAEMON@mx.acme.test", "subject": "Returned mail", "body": body}
    assert [(each.address, each.bounce_class) for each in inspect(message(notice)).recipients] == [
        ("bob@lead.test", "blocked"),
        ("carol@gone.test", "hard"),
    ]


def test_the_notice_is_read_wherever_the_returned_message_stands() -> None:
    returned = (
        "Received: from ours\nMessage-ID: <x@acme.test>\nFrom: ann@acme.test\nTo: bob@lead.test\n\nFull? Unknown?"
    )
    notice = "Content-Type: text/html\n\n<p>These people could not be reached:</p><p>bob@lead.test: mailbox full</p>"
    for parts in ((returned, notice), (notice, returned)):
        inside = "".join(f"--b\n{part}\n" for part in parts)
        head = "From: MAILER-DAEMON@lead.test\nSubject: Hi\nContent-Type: multipart/mixed; boundary=b"
        found = inspect(f"{head}\n\n{inside}--b--\n".encode())
        assert [(each.address, each.reason) for each in found.recipients] == [("bob@lead.test", "mailbox_full")]
        assert found.matched_message_id == "<x@acme.test>"


LETTERS: list[dict[str, Any]] = REPORTS["letters"]


@pytest.mark.parametrize("letter", LETTERS, ids=[each["name"] for each in LETTERS])
def test_what_only_resembles_a_notice_is_none(letter: dict[str, Any]) -> None:
    assert inspect(message(letter)).kind in {"reply", "auto_reply"}


def test_every_status_part_of_a_report_is_read() -> None:
    parts = "".join(
        f"--b\nContent-Type: message/delivery-status\n\nFinal-Recipient: rfc822; {name}@lead.test\nStatus: {status}\n"
        for name, status in (("bob", "5.1.1"), ("carol", "5.2.2"))
    )
    head = "From: postmaster@lead.test\nContent-Type: multipart/report; report-type=delivery-status; boundary=b"
    found = inspect(f"{head}\n\n{parts}--b--\n".encode())
    assert [(each.address, each.hard) for each in found.recipients] == [
        ("bob@lead.test", True),
        ("carol@lead.test", False),
    ]
