"""What tells a machine from a person: its subject, what it says of itself, what only people say."""

from datetime import date

import pytest

from services.replies.rules.auto_reply import AutoReply, read_auto_reply
from services.replies.rules.dates import Locale, return_date
from services.replies.rules.folding import fold
from services.replies.rules.parse import parse
from services.replies.rules.text import body_of, new_text

MONDAY = date(2026, 3, 2)


def automatic(text: str, subject: str = "Re: Hello", fields: str = "") -> AutoReply | None:
    raw = f"From: Bob Jones <bob.jones@lead.test>\nSubject: {subject}\n{fields}\n{text}"
    parsed = parse(raw.encode())
    return read_auto_reply(parsed, new_text(body_of(parsed)), MONDAY)


def named(language: str, text: str, *, on: date = MONDAY) -> date | None:
    return return_date(fold(text), on, Locale(languages=(language,)))


@pytest.mark.parametrize(
    ("subject", "text"),
    [
        ("Case 00918273 opened: Hello", "Your message is in the queue and will be answered in the order received."),
        ("Eingangsbestätigung", "Wir haben Ihre E-Mail erhalten und melden uns innerhalb von zwei Werktagen."),
        ("Accusé de réception", "Nous avons bien reçu votre message. Une réponse vous sera apportée sous 48 heures."),
        ("Hemos recibido su mensaje", "Hemos recibido su mensaje y le contestaremos lo antes posible."),
        ("Potwierdzenie otrzymania wiadomości", "Otrzymaliśmy Państwa wiadomość i odpowiemy najszybciej."),
        ("Ontvangstbevestiging", "Wij hebben uw bericht in goede orde ontvangen."),
    ],
)
def test_a_receipt_is_known_by_its_subject_and_only_by_its_own(subject: str, text: str) -> None:
    found = automatic(text, subject)
    assert found is not None
    assert found.intent == "auto_reply"
    assert automatic(text, f"Re: {subject}") is None


@pytest.mark.parametrize(
    ("text", "until"),
    [
        ("This is an automated response. I have no access to my mailbox through 2026-03-11.", date(2026, 3, 11)),
        (
            "Ich bin vom 4. bis 6. März nicht erreichbar. Ihre E-Mail wird nicht weitergeleitet.",
            date(2026, 3, 6),
        ),
        ("Diese Nachricht wurde automatisch erzeugt. Ich bin ab Montag wieder erreichbar.", date(2026, 3, 9)),
        ("Dit is een automatisch bericht. Ik ben niet beschikbaar en reageer zo spoedig mogelijk.", None),
    ],
)
def test_who_says_that_a_machine_writes_may_still_be_away(text: str, until: date | None) -> None:
    found = automatic(text, fields="Auto-Submitted: auto-replied\n")
    assert found is not None
    assert (found.intent, found.return_date) == ("out_of_office", until)
    assert automatic(text) == found


@pytest.mark.parametrize(
    "text",
    [
        "** Do not edit the subject line ** Your query has been assigned to the Purchasing queue [PUR-20931].",
        "ventas@acme.example está apagado desde enero. Nadie lee lo que llega aquí.",
        "Um mich vor Spam zu schützen, bestätigen Sie bitte, dass Sie ein Mensch sind: https://spam.test/c?id=9 Danke.",
        "お送りいただいたメールは転送されません。このアドレスは使用を停止しました。",
    ],
)
def test_some_words_are_only_a_machines(text: str) -> None:
    found = automatic(text)
    assert found is not None
    assert found.intent == "auto_reply"


@pytest.mark.parametrize(
    "text",
    [
        "Mein letzter Arbeitstag bei Acme war der 27. Februar. Meine Projekte übernimmt Eva: eva@lead.test.",
        "Mensagem automática: não faço mais parte da Acme. Seu novo contato é eva@lead.test.",
        "M. Leroux a fait valoir ses droits à la retraite. Merci d'écrire à eva@lead.test.",
        "Wiadomość automatyczna: z dniem 28 lutego zakończyłem pracę w Acme. Nowy kontakt: eva@lead.test.",
    ],
)
def test_a_machine_says_that_its_owner_has_left_and_who_follows(text: str) -> None:
    found = automatic(text, fields="X-Autoreply: yes\n")
    assert found is not None
    assert (found.left_company, found.replacement) == (True, "eva@lead.test")


@pytest.mark.parametrize(
    "text",
    [
        "I'm out of office most of the month and honestly this isn't for us. Thanks anyway.",
        "Ik ben tot april afwezig en we hebben er ook geen belangstelling voor.",
        "Priya's on mat leave until September.",
        "Di queste cose si occupa la collega preposta, signora Neri, è in congedo di maternità sino a ottobre.",
        "Raadpleeg Sofie, thans afwezig",
        "Ik ben om 12.00 uur vrij op 0475 33 18 62.",
        "jag är ledig vid tolv så slå mig en pling 070-555 01 88",
        "Danke, habe ich erhalten. Ich bin diese Woche unterwegs und lese es am Wochenende.",
        "merci pour ces infos, laissez-moi le temps d'y voir clair, je reviens vers vous dès que possible",
        "uy ahorita no, que se me enfermó el parrillero",
        "Votre message a été lu le budget n'est pas encore voté",
    ],
)
def test_what_only_people_say_makes_no_note(text: str) -> None:
    assert automatic(text) is None


def test_a_day_of_return_in_another_language_goes_before_a_last_day() -> None:
    text = fold("Vårt kontor håller stängt 3/4 - 6/4.\nVi öppnar igen den 7/4.")
    assert return_date(text, MONDAY, Locale(languages=("da", "sv"))) == date(2026, 4, 7)


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("en", "My working days are Monday through Wednesday, 9am-3pm."),
        ("de", "Ich bin von Dienstag bis Donnerstag im Büro zu erreichen."),
        ("it", "Sono in ufficio dal martedì al giovedì."),
        ("nl", "Ik werk parttime: dinsdag tot en met donderdag."),
        ("ja", "勤務日は火曜日から木曜日までとなっております。"),
    ],
)
def test_days_of_work_are_no_days_of_return(language: str, text: str) -> None:
    assert named(language, text) is None


def test_today_is_the_last_day_of_who_is_away_today() -> None:
    assert named("de", "Ich bin heute ganztägig in Besprechungen.") == MONDAY


def test_weekdays_of_absence_are() -> None:
    assert named("en", "I am out of the office from Monday to Wednesday") == date(2026, 3, 4)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Ik ben afwezig tot 02-12.", date(2026, 12, 2)),
        ("Vanaf 02-12 ben ik weer bereikbaar", date(2026, 12, 2)),
        ("Ik ben bereikbaar tot 09-12 uur", None),
        ("Ik ben afwezig, bel mij op 01-12 34 56", None),
    ],
)
def test_a_dutch_day_and_month_may_stand_with_a_dash(text: str, expected: date | None) -> None:
    assert named("nl", text, on=date(2026, 11, 20)) == expected


@pytest.mark.parametrize(
    ("text", "until"),
    [
        ("I'm hiking with no signal. I resurface on 18 March.", date(2026, 3, 18)),
        ("I am away. Our new prices begin on 18 March, the old ones end on 17 March.", date(2026, 3, 17)),
        ("I am on a trip, starting on 18 March.", None),
        ("I am hiking. See 18 March or 20 March.", None),
    ],
)
def test_the_only_day_of_a_machines_note_is_its_end_unless_one_begins_on_it(text: str, until: date | None) -> None:
    found = automatic(text, "Automatic reply: Hello")
    assert found is not None
    assert found.return_date == until
