"""What a message is and means: bounces, automatic answers, return dates, quotes, intents."""

from datetime import date

import msgspec
import pytest

from deploy.local.sandbox.recipients import Behaviour
from deploy.local.sandbox.wordings import REPLIES
from services.replies.rules.bounce import Recipient, Report, decisive, without_addresses
from services.replies.rules.inspection import Inspection, inspect
from services.replies.rules.intent import read_intent
from services.replies.rules.refusal import CLASS_OF, classify, status_in
from services.replies.rules.text import new_text


@pytest.mark.parametrize(
    ("status", "words", "reason", "kind"),
    [
        ("5.1.1", "550 5.1.1 <x@y>: User unknown", "user_unknown", "hard"),
        ("5.7.1", "550 5.7.1 User unknown", "user_unknown", "hard"),  # words override codes
        ("5.1.1", "550 5.1.1 Message blocked", "reputation", "blocked"),
        ("5.1.1", "550 5.1.1 detected as spam", "spam", "blocked"),
        ("5.0.0", "550 5.1.1 unclear", "user_unknown", "hard"),  # the code inside is the better one
        ("5.4.1", "550 5.4.1 Recipient address rejected: Access denied", "user_unknown", "hard"),
        ("5.4.4", "550 5.4.4 Invalid domain", "host_unknown", "hard"),
        ("4.4.3", "450 4.4.3 Host or domain name not found. Name service error", "network", "soft"),
        ("5.1.6", "551 not our customer", "moved", "hard"),
        ("5.1.10", "host/domain does not accept mail", "no_mail_host", "hard"),
        ("5.2.1", "550 5.2.1 mailbox disabled", "user_unknown", "hard"),
        ("5.0.0", "554 This account has been suspended", "mailbox_disabled", "soft"),
        ("5.2.2", "552 5.2.2 Quota exceeded", "mailbox_full", "soft"),
        ("5.1.8", "553 5.1.8 Domain of sender address x@y does not exist", "sender_rejected", "blocked"),
        ("5.7.26", "550 5.7.26 Unauthenticated email, DMARC policy", "authentication", "blocked"),
        ("5.7.1", "554 5.7.1 Relay access denied", "relay_denied", "blocked"),
        ("5.7.1", "550 5.7.1 Service unavailable; client host blocked using zen.spamhaus.org", "reputation", "blocked"),
        ("5.3.4", "552 5.3.4 Message size exceeds fixed limit", "too_big", "blocked"),
        ("4.7.1", "451 4.7.1 Greylisting in action", "greylisted", "soft"),
        ("4.4.7", "554 4.4.7 Message expired: unable to deliver in 840 minutes", "expired", "soft"),
        ("", "550 Requested action not taken: mailbox unavailable", "user_unknown", "hard"),
        ("5.7.9", "", "policy", "blocked"),
        ("4.2.1", "", "unknown", "soft"),
        ("", "", "unknown", "soft"),
    ],
)
def test_a_refusal_is_understood_by_its_words_before_its_codes(status: str, words: str, reason: str, kind: str) -> None:
    refusal = classify(words, status=status)
    assert (refusal.reason, refusal.bounce_class) == (reason, kind)


def test_an_unknown_user_after_the_message_is_a_filter_and_not_a_dead_address() -> None:
    assert classify("550 User unknown", status="5.0.0", after_data=True).bounce_class == "blocked"
    assert classify("550 5.1.1 User unknown", after_data=True).bounce_class == "hard"


def test_every_reason_that_kills_an_address_is_about_the_address() -> None:
    assert {reason for reason, kind in CLASS_OF.items() if kind == "hard"} == {
        "user_unknown",
        "host_unknown",
        "moved",
        "no_mail_host",
    }


def test_an_ip_address_or_a_version_is_no_status() -> None:
    assert status_in("host 5.1.1.1 said, Exim 4.94.2.1") == ""
    assert status_in("(#5.5.0) then 5.1.1") == "5.5.0"
    assert status_in("5.0.0 and 5.1.1") == "5.1.1"


def test_the_persons_own_row_decides_else_the_mildest() -> None:
    def row(address: str, kind: str) -> Recipient:
        return Recipient(address=address, action="failed", bounce_class=kind)  # type: ignore[arg-type]

    rows = (row("a@x.test", "hard"), row("b@x.test", "soft"))
    report = Report(recipients=rows, message_ids=(), tokens=())
    assert decisive(report, "A@x.test") is rows[0]
    assert decisive(report, "list@x.test") is rows[1]
    assert decisive(report, None) is rows[1]


def test_addresses_are_masked() -> None:
    assert (
        without_addresses("550 <bob@lead.test>... no\n such user bob@lead.test")
        == "550 <address>... no such user <address>"
    )


@pytest.mark.parametrize(
    ("text", "intent"),
    [
        *[(text, "interested") for text in REPLIES[Behaviour.INTERESTED] if "call" not in text],
        *[(text, "not_interested") for text in REPLIES[Behaviour.NOT_INTERESTED]],
        *[(text, "unsubscribe") for text in REPLIES[Behaviour.UNSUBSCRIBE]],
        ("Yes, I'm interested. Can we have a call next Tuesday?", "meeting_request"),
        ("STOP", "unsubscribe"),
        ("stop it!", "unsubscribe"),
        ("Bitte abmelden", "unsubscribe"),
        ("How do I unsubscribe from this?", "unsubscribe"),
        ("Take me off your mailing list, now.", "unsubscribe"),
        ("Please delete my data.", "unsubscribe"),
        ("I don\N{RIGHT SINGLE QUOTATION MARK}t want to receive any more emails from you", "unsubscribe"),
        ("Bitte nehmen Sie mich aus dem Verteiler.", "unsubscribe"),
        ("take me off the list of speakers, but the call is fine", "meeting_request"),
        ("I'm not interested.", "not_interested"),
        ("We are really not that interested", "not_interested"),
        ("No need at the moment, thanks", "not_interested"),
        ("We already use HubSpot.", "not_interested"),
        ("I'll pass.", "not_interested"),
        ("Kein Interesse, danke.", "not_interested"),
        ("Nicht interessiert", "not_interested"),
        ("Not only am I interested, please send me pricing", "interested"),
        ("Klingt spannend, schicken Sie mir mehr Infos.", "interested"),
        ("Sure, here's my calendar: calendly.com/bob", "meeting_request"),
        ("Does Thursday at 3pm work?", "meeting_request"),
        ("Passt Dienstag um 10 Uhr?", "meeting_request"),
        ("How much does it cost?", "question"),
        ("Was kostet das?", "question"),
        ("I've passed this on to my colleague.", "neutral"),
        ("I'm the wrong person for this.", "neutral"),
        ("ok", "neutral"),
        ("", "neutral"),
    ],
)
def test_a_persons_words_are_understood(text: str, intent: str) -> None:
    assert read_intent(new_text(text)).intent == intent


def test_both_at_once_asks_for_a_person() -> None:
    no_then_yes = read_intent("Not interested in the tool, but please send me the price of the service.")
    assert (no_then_yes.intent, no_then_yes.needs_review) == ("interested", True)
    yes_then_no = read_intent("The tool sounds interesting, but we will pass.")
    assert (yes_then_no.intent, yes_then_no.needs_review) == ("not_interested", True)
    assert read_intent("It rains here").needs_review
    assert not read_intent("Sounds good").needs_review


QUOTED = {
    "arrows": "> Unsubscribe here",
    "english": "On Mon, 2 Mar 2026 at 10:00, Ann Lee <ann@acme.test> wrote:\nUnsubscribe",
    "english, folded": "On Mon, 2 Mar 2026 at 10:00, Ann Lee\n<ann@acme.test> wrote:\n\nUnsubscribe",
    "german": "Am 02.03.2026 um 10:00 schrieb Ann Lee:\nUnsubscribe",
    "spanish": "El lun, 2 mar 2026 a las 10:00, Ann (<ann@acme.test>) escribió:\nUnsubscribe",
    "any language": "2026年3月2日(月) 10:00 Ann Lee <ann@acme.test>:\nUnsubscribe",
    "outlook": "From: Ann Lee\nSent: Monday\nTo: Bob\nSubject: Hello\n\nUnsubscribe",
    "outlook, german": "Von: Ann Lee\nGesendet: Montag\nAn: Bob\nBetreff: Hallo\n\nUnsubscribe",
    "rule": "-----Original Message-----\nUnsubscribe",
    "line": "________________________________\nUnsubscribe",
    "signature": "-- \nBob, unsubscribe team",
    "closing": "Best regards,\nBob of Unsubscribe Inc.",
    "device": "Sent from my iPhone\nUnsubscribe",
}


@pytest.mark.parametrize("quoted", QUOTED.values(), ids=QUOTED.keys())
def test_what_is_quoted_or_signed_is_not_what_was_written(quoted: str) -> None:
    assert new_text(f"Sounds good, tell me more.\n\n{quoted}") == "Sounds good, tell me more."


def test_our_own_lines_are_not_what_was_written_even_without_a_mark() -> None:
    ours = "Hello Bob,\nif this is not for you, unsubscribe here: https://acme.test/u/1"
    assert new_text(f"Tell me more\n{ours}", ours) == "Tell me more"


def test_what_stands_between_quotes_was_written() -> None:
    assert new_text("> do you have time?\nYes, on Monday.\n> regards") == "Yes, on Monday."


def message(text: str = "hello", **fields: str) -> bytes:
    lines = {"From": "bob@lead.test", "Subject": "Re: Hello", "Date": "Mon, 2 Mar 2026 10:00:00 +0000"}
    lines |= {name.replace("_", "-"): value for name, value in fields.items()}
    return "\n".join([*(f"{name}: {value}" for name, value in lines.items()), "", text]).encode()


@pytest.mark.parametrize(
    ("raw", "kind", "intent"),
    [
        (message(Auto_Submitted="auto-replied", Subject="Automatic reply: x"), "auto_reply", "out_of_office"),
        (message("I am out of the office until Friday.", Auto_Submitted="auto-replied"), "auto_reply", "out_of_office"),
        (message("Ticket #1 has been created", Auto_Submitted="auto-generated"), "auto_reply", "auto_reply"),
        (message(Auto_Submitted="no"), "reply", "neutral"),
        (message(X_Autoreply="yes"), "auto_reply", "auto_reply"),
        (message(Subject="Abwesenheitsnotiz: Hello"), "auto_reply", "out_of_office"),
        (message(Subject="Réponse automatique : Hello"), "auto_reply", "out_of_office"),
        (message("I am on vacation. In urgent cases call me.", Subject="AW: Hello"), "auto_reply", "out_of_office"),
        (message("I was on vacation, sorry. Tell me more."), "reply", "interested"),
        (message("I'm on annual leave. I will answer when I am back."), "auto_reply", "out_of_office"),
        (message(X_Auto_Response_Suppress="All"), "reply", "neutral"),  # a ticket system's wish is no proof
        (message(X_Auto_Response_Suppress="All", Precedence="bulk"), "auto_reply", "auto_reply"),
        (message("tell me more", Precedence="bulk"), "reply", "interested"),
        (
            message("Interested!", Subject="Re: Out of office, out of mind?"),
            "reply",
            "interested",
        ),
        (message("", Subject="unsubscribe", Auto_Submitted="auto-replied"), "reply", "unsubscribe"),
        (message(List_Id="<news.shop.test>"), "other", None),
        (message(List_Id="<team.lead.test>", In_Reply_To="<x@acme.test>"), "reply", "neutral"),
        (message(From="undisclosed"), "other", None),
    ],
)
def test_machines_and_people_are_told_apart(raw: bytes, kind: str, intent: str | None) -> None:
    found = inspect(raw)
    assert (found.kind, found.intent) == (kind, intent)


@pytest.mark.parametrize(
    "text",
    [
        "Your mail could not be delivered to our buyer, user unknown to me. Try bob@lead.test",
        "550 5.1.1 is what our server said to you yesterday, I have mended it",
        "Delivery failed? No, it arrived.",
    ],
)
def test_a_person_who_writes_of_bounces_is_no_bounce(text: str) -> None:
    assert inspect(message(text, Subject="Re: Delivery failure", Return_Path="<bob@lead.test>")).kind == "reply"


def test_an_inspection_is_the_object_that_the_command_prints() -> None:
    raw = message(
        "<kim@lead.test>: host mx said: 550 5.1.1 user unknown",
        From="MAILER-DAEMON@mx.test",
        Subject="failure notice",
        Return_Path="<>",
        References="<token@acme.test>",
    )
    assert msgspec.json.decode(msgspec.json.encode(inspect(raw))) == {
        "kind": "bounce",
        "recipients": [
            {
                "address": "kim@lead.test",
                "status": "5.1.1",
                "code": "550",
                "class": "hard",
                "hard": True,
                "reason": "user_unknown",
            }
        ],
        "intent": "bounce",
        "confidence": None,
        "return_date": None,
        "matched_message_id": "<token@acme.test>",
        "left_company": False,
    }
    away = inspect(message("Back on 9 March.", Auto_Submitted="auto-replied", Subject="Out of office: Hello"))
    assert isinstance(away, Inspection)
    assert away.return_date == date(2026, 3, 9)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Danke, aber kein Bedarf.", "kein bedarf"),
        ("Does Thursday at 3pm work?", "does thursday at 3pm work"),
        ("Tack, men nej tack. Ta bort mig från listan.", "ta bort mig fran listan"),
    ],
)
def test_a_reading_names_the_words_that_decided(text: str, words: str) -> None:
    assert any(words in each for each in read_intent(text).because)


@pytest.mark.parametrize(
    ("text", "intent"),
    [
        ("I am not happy with our current provider.", "interested"),  # a negation that is a yes
        ("Not bad. Send it over.", "interested"),
        ("We don't have anything like this yet.", "interested"),
        ("I can't say that I'd be interested in a demo.", "not_interested"),
        ("No need for a call.", "not_interested"),
        ("Is there an unsubscribe link in the mails that your tool sends out?", "question"),
        ("I'd love to unsubscribe from our present provider. Send me your deck.", "interested"),
        ("Great, another spam mail. Exactly what I needed.", "not_interested"),
        ("Not now.", "not_interested"),
        ("Not now, but please get back to me in spring.", "neutral"),
        ("Before we talk: are you certified?", "question"),
        ("I've forwarded it to Bob. He is free on Tuesday at 10.", "meeting_request"),
        ("pas interesse, koennen sie mich loeschen", "unsubscribe"),
        ("KEIN INTERESSE!!!", "not_interested"),
        ("Nie, dziękuję", "not_interested"),
        ("nee bedankt", "not_interested"),
        ("Hej,\n\ninte intresserad.\n\nErik", "not_interested"),
        ("Wilt u mij van deze lijst verwijderen?", "unsubscribe"),
        ("Czy pasuje Panu czwartek o 14:00?", "meeting_request"),
    ],
)
def test_wordings_that_are_easily_misread(text: str, intent: str) -> None:
    assert read_intent(text).intent == intent


@pytest.mark.parametrize(
    ("text", "intent"),
    [("STOOOOP", "unsubscribe"), ("Jaaaa gerne!!", "interested"), ("Fantastico!", "interested"), ("xyzzy", "neutral")],
)
def test_stretched_words_and_words_of_no_known_language_are_read(text: str, intent: str) -> None:
    assert read_intent(text).intent == intent
