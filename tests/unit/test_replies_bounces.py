"""Reports of many systems, in our own words: what they are, whom they speak of, and what only resembles them."""

import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.replies.rules.bounce import Report, decisive, read_report
from services.replies.rules.inspection import inspect
from services.replies.rules.parse import parse

SHARED = Path(__file__).parents[2].parent / "shared" / "bounces"
TOKEN = "abcdefghijklmnopqrstuvwx23"
ORIGINAL = f"Received: from ours\nMessage-ID: <{TOKEN}@acme.test>\nFrom: ann@acme.test\nTo: bob@lead.test\n\nhello\n"


def plain(sender: str, subject: str, body: str, extra: str = "") -> bytes:
    """A message of one text part."""
    head = f"From: {sender}\nTo: ann@acme.test\nSubject: {subject}\n{extra}Content-Type: text/plain; charset=utf-8\n"
    return f"{head}\n{body}\n".encode()


def enclosing(sender: str, subject: str, body: str, extra: str = "") -> bytes:
    """A message of a text, and of the message that came back."""
    head = f"From: {sender}\nTo: ann@acme.test\nSubject: {subject}\n{extra}"
    parts = f"--b\nContent-Type: text/plain\n\n{body}\n--b\nContent-Type: message/rfc822\n\n{ORIGINAL}\n--b--\n"
    return f"{head}Content-Type: multipart/mixed; boundary=b\n\n{parts}".encode()


def dsn(status: str, *, notice: str = "Sorry.", head: str = "") -> bytes:
    """A report after RFC 3464 with the given fields."""
    parts = (
        f"--b\nContent-Type: text/plain\n\n{notice}\n--b\nContent-Type: message/delivery-status\n\n"
        f"Reporting-MTA: dns; mx.lead.test\n\n{status}\n--b\nContent-Type: text/rfc822-headers\n\n{ORIGINAL}\n--b--\n"
    )
    top = "From: postmaster@lead.test\nContent-Type: multipart/report; report-type=delivery-status; boundary=b\n"
    return f"{head}{top}\n{parts}".encode()


def report(raw: bytes) -> Report:
    """The report in the message, which must be one."""
    found = read_report(parse(raw))
    assert found is not None
    return found


DAEMON = "MAILER-DAEMON@mx.lead.test"
OFFICE = "System Administrator <postmaster@lead.test>"
NULL = "Return-Path: <>\n"
LATE = "We could not yet pass your mail on to:\n\n <bob@lead.test>\n\nNo need to act, we will keep trying for 4 days.\n"
NO_USER = "The following address failed:\n\n <bob@lead.test>\n   (reason: 550 5.1.1 <bob@lead.test>... User unknown)\n"
NOTICES = {
    "transcript": (plain(DAEMON, "Returned mail", f"{NO_USER}\n... while talking to mx:\n>>> RCPT To:<bob@le"), "hard"),
    "queue manager": (
        plain(DAEMON, "failure notice", "Sorry.\n<bob@lead.test>:\nNo such mailbox here. (#5.1.1)"),
        "hard",
    ),
    "directory": (
        plain(
            OFFICE, "Undeliverable message", "--- Reasons ---\n\nUser not listed in the Domino Directory\nbob@lead.test"
        ),
        "hard",
    ),
    "directory name": (
        plain(
            OFFICE,
            "Undeliverable: Hi",
            "Your message\n\n  To: team@lead.test\n\ndid not reach the following recipient(s):\n\n"
            "c=US;a= ;p=X;dda:SMTP=bob@lead.test; on Fri, 4 Oct\n    The recipient name is not recognized",
        ),
        "hard",
    ),
    "gateway": (
        enclosing(
            "imss@lead.test", "Mail could not be delivered", "**** Message from the virus wall ****\n\n" + NO_USER
        ),
        "hard",
    ),
    "enclosed, no subject": (enclosing(DAEMON, "", "lead.test says:\n\n<bob@lead.test>: gone"), "soft"),
    "own subject kept": (
        enclosing(DAEMON, "Re: Hi", "Failed recipient:\nbob@lead.test\n\n550 no such user here"),
        "hard",
    ),
    "nobody's": (plain("<>", "", "You wrote to bob@lead.test. That is not a valid user here.", NULL), "hard"),
    "nobody in particular": (
        plain("smtp-service@lead.test", "Mail Error", "Failed recipients\n\n<bob@lead.test>: 550 no such user"),
        "hard",
    ),
    "page alone": (
        plain(
            OFFICE, "Undeliverable: Hi", "<p>Not delivered to<br>bob@lead.test<br>550 5.1.10 Recipient not found</p>"
        ).replace(b"text/plain", b"text/html"),
        "hard",
    ),
    "full": (plain(DAEMON, "failure notice", "<bob@lead.test>: 552 mailbox is full"), "soft"),
    "busy": (plain(DAEMON, "failure notice", "<bob@lead.test>: 450 mailbox unavailable"), "soft"),
    "blocked": (plain(DAEMON, "failure notice", "<bob@lead.test>: 550 5.1.1 blocked, see spamhaus"), "blocked"),
    "policy": (plain(DAEMON, "failure notice", "<bob@lead.test>: 550 5.7.1 you use a mass mailer"), "blocked"),
    "no words": (plain(DAEMON, "failure notice", "<bob@lead.test>: 550"), "soft"),
    "late": (plain(DAEMON, "Warning: could not send message for past 4 hours", LATE), "none"),
    "de": (
        plain(OFFICE, "Unzustellbar: Hi", "Nicht zugestellt an:\nbob@lead.test\n550 5.1.1 Empfänger unbekannt"),
        "hard",
    ),
    "fr": (plain(DAEMON, "Échec de la remise", "<bob@lead.test>: 550 5.1.1 destinataire inconnu"), "hard"),
    "es": (plain(DAEMON, "Mensaje no entregado", "<bob@lead.test>: 550 El usuario no existe"), "hard"),
    "pt": (plain(DAEMON, "Mensagem não entregue", "<bob@lead.test>: 550 usuário desconhecido"), "hard"),
    "it": (plain(DAEMON, "Mancata consegna", "<bob@lead.test>: 550 utente sconosciuto"), "hard"),
    "nl": (plain(DAEMON, "Niet bezorgd", "<bob@lead.test>: 550 gebruiker onbekend"), "hard"),
    "pl": (plain(DAEMON, "Nie dostarczono wiadomości", "<bob@lead.test>: 550 nie ma takiego użytkownika"), "hard"),
    "cs": (plain(DAEMON, "Nedoručitelná zpráva", "<bob@lead.test>: 550 uživatel neexistuje"), "hard"),
    "sv": (plain(DAEMON, "Gick inte att leverera", "<bob@lead.test>: 550 okänd mottagare"), "hard"),
    "ru": (plain(DAEMON, "Письмо не доставлено", "bob@lead.test\n  550 нет такого пользователя"), "hard"),
    "ja": (plain(DAEMON, "配信エラー", "<bob@lead.test>: 550 宛先が見つかりません"), "hard"),
    "zh": (plain(OFFICE, "系统退信", "收件人(bob@lead.test)不存在。\n550 5.1.1"), "hard"),
    "base64 fields": (
        dsn("x").replace(
            b"delivery-status\n\nReporting-MTA: dns; mx.lead.test\n\nx",
            b"delivery-status\nContent-Transfer-Encoding: base64\n\n"
            b"RmluYWwtUmVjaXBpZW50OiByZmM4MjI7IGJvYkBsZWFkLnRlc3QKU3RhdHVzOiA1LjEuMQo=",
        ),
        "hard",
    ),
    "status alone": (dsn("Final-Recipient: rfc822; bob@lead.test\nStatus: 5.1.1"), "hard"),
    "status and a footer": (
        dsn("Final-Recipient: rfc822; bob@lead.test\nStatus: 5.1.1", notice="Scanned for viruses and bad content."),
        "hard",
    ),
    "no recipient": (dsn("Action: failed\nStatus: 5.1.1", notice="<bob@lead.test>: 550 no such user"), "hard"),
    "odd action": (dsn("Final-Recipient: rfc822; bob@lead.test\nAction: error\nStatus: 5.1.2"), "hard"),
    "delayed": (dsn("Final-Recipient: rfc822; bob@lead.test\nAction: delayed\nStatus: 4.4.1"), "none"),
    "untyped diagnostic": (
        dsn("Final-Recipient: rfc822; bob@lead.test\nDiagnostic-Code: 550 no such user; sorry"),
        "hard",
    ),
    "published": (
        plain(
            "no-reply@sns.amazonaws.com",
            "Notification",
            '{"eventType":"Bounce","bounce":{"bouncedRecipients":[{"emailAddress":"bob@lead.test","status":"5.1.1"}]}}',
        ),
        "hard",
    ),
}


@pytest.mark.parametrize(("raw", "bounce_class"), NOTICES.values(), ids=NOTICES)
def test_a_report_tells_whom_it_is_about_and_how_bad_it_is(raw: bytes, bounce_class: str) -> None:
    found = inspect(raw)
    assert found.kind == "bounce"
    assert [(each.address, each.bounce_class) for each in found.recipients] == [("bob@lead.test", bounce_class)]


BOB, ANSWERS = "Bob <bob@lead.test>", "In-Reply-To: <x@acme.test>\n"
NO_REPORTS = {
    "speaks of a bounce": plain(BOB, "Re: Hi", "My last mail to you bounced with 550 5.1.1 user unknown.", ANSWERS),
    "subject of a bounce": plain(BOB, "Undeliverable mail", "Hi, your mail could not be delivered to carol@lead.test."),
    "forwards one": plain(BOB, "Fwd: Undelivered Mail Returned to Sender", f"Yours?\n\n{NO_USER}"),
    "forwards one bare": plain(BOB, "FW: Mail delivery failed", NO_USER),
    "forwards its parts": dsn("Final-Recipient: rfc822; bob@lead.test\nStatus: 5.1.1", head="Subject: Fwd: failed\n")
    .replace(b"From: postmaster", b"From: carol")
    .replace(b"multipart/report; report-type=delivery-status", b"multipart/mixed"),
    "encloses one": enclosing(BOB, "Delivery failed", "Hi Ann, this came back to me: bob@lead.test."),
    "answers one": plain(BOB, "RE: Undeliverable: Hi", "Odd, we do get mail.\n\n> Delivery has failed\n> 550", ANSWERS),
    "is postmaster": plain("postmaster@lead.test", "Re: Hi", "I run the mail here. Yours was rejected. Why?", ANSWERS),
    "is a namesake": plain("Pia Postmaster <pia@lead.test>", "About you", "Your proposal was rejected by our board."),
    "a parcel": plain("shop@lead.test", "Not delivered", "The following address is wrong:\nMain Street 5"),
    "read receipt": plain(BOB, "Read: Hi", "Your message was displayed.").replace(
        b"text/plain", b"multipart/report; report-type=disposition-notification"
    ),
    "mail policy report": plain(
        "noreply-dmarc@lead.test", "Report Domain: acme.test Submitter: lead.test Report-ID: 1", "", NULL
    ),
}


@pytest.mark.parametrize("raw", NO_REPORTS.values(), ids=NO_REPORTS)
def test_what_people_write_about_reports_is_none(raw: bytes) -> None:
    assert read_report(parse(raw)) is None


@pytest.mark.parametrize(
    "words",
    [
        "I am away until 5 March. Mail to carol@lead.test is not delivered to me.",
        "I am out of the office. Nothing was rejected, delivery is just delayed.",
    ],
)
def test_an_absence_note_with_a_null_path_is_an_automatic_answer(words: str) -> None:
    raw = plain(BOB, "Out of office: delivery problems?", words, f"{NULL}Auto-Submitted: auto-replied\n")
    assert inspect(raw).kind == "auto_reply"


def test_what_a_report_says_last_of_a_recipient_holds() -> None:
    group = "Final-Recipient: rfc822; {}@lead.test\nAction: {}\nStatus: {}\n"
    told = [("bob", "delayed", "4.4.1"), ("carol", "failed", "5.1.1"), ("bob", "failed", "5.2.2")]
    for gap in ("", "\n", "\n \n\n"):  # systems that forget the empty line, or write too many
        found = report(dsn(gap.join(group.format(*each) for each in told)))
        assert [(each.address, each.bounce_class) for each in found.recipients] == [
            ("bob@lead.test", "soft"),
            ("carol@lead.test", "hard"),
        ]
        assert decisive(found, "Bob@lead.test").bounce_class == "soft"


def test_each_recipient_of_a_plain_notice_has_its_own_words() -> None:
    body = "Unable to reach:\n\n<bob@lead.test>:\n550 no such user\n\n<carol@lead.test>:\n552 mailbox full\n"
    found = report(plain(DAEMON, "Delivery failure", body))
    assert [each.bounce_class for each in found.recipients] == ["hard", "soft"]


@pytest.mark.parametrize(
    "raw",
    [
        plain(DAEMON, "failure notice", f"{NO_USER}\n--- Below this line is a copy of it.\n\n{ORIGINAL}"),
        enclosing(DAEMON, "failure notice", NO_USER),
        dsn("Final-Recipient: rfc822; bob@lead.test\nStatus: 5.1.1"),
        plain(DAEMON, "failure notice", NO_USER, f"In-Reply-To: <{TOKEN}@acme.test>\n"),
    ],
)
def test_the_message_that_came_back_is_named(raw: bytes) -> None:
    assert report(raw).message_ids == (f"<{TOKEN}@acme.test>",)


@pytest.mark.parametrize(
    "raw",
    [
        plain(DAEMON, "failure notice", NO_USER, f"Delivered-To: ann+{TOKEN.upper()}@acme.test\n"),
        plain(DAEMON, "failure notice", f"{NO_USER}\nMessage-ID: <{TOKEN}@acme.test>\n"),
        enclosing(DAEMON, "", NO_USER).replace(b"hello", b"").replace(b"From: ann@", f"From: ann+{TOKEN}@".encode()),
        enclosing(DAEMON, "", NO_USER).replace(b"From: ann@", f"X-Coldstream-Ref: {TOKEN}\nFrom: ann@".encode()),
    ],
)
def test_our_token_is_found_wherever_a_report_carries_it(raw: bytes) -> None:
    assert report(raw).tokens == (TOKEN,)


def test_a_report_is_not_about_what_its_message_answered() -> None:
    raw = enclosing(DAEMON, "failure notice", NO_USER, "References: <first@acme.test>\n")
    assert report(raw).message_ids == (f"<{TOKEN}@acme.test>",)


def test_a_complaint_without_an_rfc_is_one() -> None:
    raw = enclosing("staff@lead.test", "complaint about message from 192.0.2.1", "").replace(
        b"Received: from ours", b"X-HmXmrOriginalRecipient: bob@lead.test"
    )
    found = inspect(raw)
    assert (found.kind, [each.address for each in found.recipients]) == ("complaint", ["bob@lead.test"])


def test_a_complaint_whose_own_part_is_missing_is_one() -> None:
    words = "This is an email abuse report for a message of Mon, 2 Mar 2026."
    found = inspect(enclosing("fbl@lead.test", "Fwd: Hi", words))
    assert (found.kind, [each.address for each in found.recipients]) == ("complaint", ["bob@lead.test"])
    assert inspect(plain("bob@lead.test", "Hi", words)).kind == "reply"


samples = sorted(SHARED.glob("*.eml"))[::4] if SHARED.is_dir() else []
seeds = [raw for raw, _ in NOTICES.values()] + [path.read_bytes() for path in samples]


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(seeds), st.data())
def test_a_damaged_report_is_read_in_no_time(raw: bytes, data: st.DataObject) -> None:
    start, end = (data.draw(st.integers(0, len(raw))) for _ in range(2))
    piece = data.draw(st.one_of(st.binary(max_size=20), st.just(raw[start:end]), st.just(b"")))
    damaged = raw[:start] + piece + raw[end:]
    assert seconds(damaged) < 2 or seconds(damaged) < 2  # a language that is met first compiles its words


def seconds(raw: bytes) -> float:
    started = time.process_time()
    inspect(raw)
    return time.process_time() - started


MEGABYTES = 20 * 1024 * 1024
NOTICE = b"From: MAILER-DAEMON@lead.test\nSubject: failure notice\n\n"
REPORT = NOTICE.replace(b"\n\n", b"\nContent-Type: multipart/report; boundary=b; report-type=delivery-status\n\n")
HEAVY = {
    "addresses": (NOTICE, b"<a@b.test>: 550 no such user\n"),
    "words": (NOTICE, b"user not unknown "),
    "dashes": (NOTICE, b"-----\n"),
    "blank lines": (NOTICE, b" \n"),
    "recipients": (
        REPORT + b"--b\nContent-Type: message/delivery-status\n\n",
        b"Final-Recipient: rfc822; a@b.test\nAction: failed\n\n",
    ),
    "fields in a text": (NOTICE, b"Final-Recipient: rfc822; a@b.test\n"),
    "notices": (REPORT, b"--b\nContent-Type: text/plain\n\n" + b"user a@b.test not found\n" * 2000),
    "nested": (b"", b"Content-Type: multipart/mixed; boundary=b\n\n--b\n"),
}


@pytest.mark.parametrize(("head", "unit"), HEAVY.values(), ids=HEAVY)
def test_twenty_megabytes_take_no_two_seconds(head: bytes, unit: bytes) -> None:
    raw = head + unit * (MEGABYTES // len(unit))
    assert seconds(raw) < 2 or seconds(raw) < 2  # as above
