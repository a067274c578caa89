"""Machines and people told apart: absence notes with and without headers, tickets, receipts, people who have left."""

import time
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.replies.rules.auto_reply import AutoReply, read_auto_reply
from services.replies.rules.inspection import inspect
from services.replies.rules.parse import parse
from services.replies.rules.text import body_of, new_text
from services.replies.rules.vocabulary import LEXICONS

MONDAY = date(2026, 3, 2)
SLOWEST_SECONDS = 2  # of any message (reliability.md B35), on any machine


def message(text: str = "hello", **fields: str) -> bytes:
    lines = {
        "From": "Bob Jones <bob.jones@lead.test>",
        "Subject": "Re: Hello",
        "Date": "Mon, 2 Mar 2026 10:00:00 +0000",
    }
    lines |= {name.replace("_", "-"): value for name, value in fields.items()}
    return "\n".join([*(f"{name}: {value}" for name, value in lines.items()), "", text]).encode()


def automatic(text: str = "hello", **fields: str) -> AutoReply | None:
    parsed = parse(message(text, **fields))
    return read_auto_reply(parsed, new_text(body_of(parsed)), MONDAY)


# Notes as they come through servers that set no header at all.
NOTES = {
    "en": (
        (
            "Thank you for your email. I am out of the office until Monday 9 March with limited access to email.\n"
            "For urgent matters, please contact my colleague Jane Doe at jane@lead.test.\n\nBest regards\nBob"
        ),
        (
            "Hi,\n\nI'm currently on annual leave and will be back on 16 March. I will respond to your message when I "
            "return."
        ),
        (
            "Thanks for your message! I am on parental leave until September. Please contact sales@lead.test in my "
            "absence."
        ),
        "I will be out of the office from March 3 to March 6 and will have no access to email.",
        (
            "Hello, I'm away from my desk at a conference this week and will reply on my return. If it's urgent, "
            "call me on "
            "+44 20 7946 0000."
        ),
        (
            "Our offices are closed for the public holidays and will reopen on 7 April. Your message will be answered "
            "then."
        ),
        "I'm OOO until 03/09. Need help sooner? Please reach out to my team at team@lead.test.",
        "I am currently travelling with sporadic access to email, so please expect a delay in my response.",
    ),
    "de": (
        (
            "Guten Tag,\n\nvielen Dank für Ihre Nachricht. Ich bin bis einschließlich 13. März nicht im Büro. Ihre "
            "E-Mail "
            "wird nicht weitergeleitet. In dringenden Fällen wenden Sie sich bitte an Frau Meier (meier@lead.test).\n\n"
            "Mit freundlichen Grüßen\nBob Jones"
        ),
        "Ich bin vom 2.3. bis 6.3. im Urlaub und ab Montag, den 9.3. wieder für Sie da.",
        "Vielen Dank für Ihre E-Mail. Ich befinde mich derzeit in Elternzeit. Meine Vertretung übernimmt Herr Schulz.",
        (
            "Sehr geehrte Damen und Herren,\nich bin zurzeit auf Geschäftsreise und nur eingeschränkt erreichbar. Ihre "
            "Nachricht beantworte ich nach meiner Rückkehr am 10. März."
        ),
        "Unser Büro ist vom 23.12. bis 6.1. geschlossen. Ihre E-Mails werden in dieser Zeit nicht gelesen.",
    ),
    "fr": (
        (
            "Bonjour,\n\nJe suis absent du bureau jusqu'au 9 mars inclus. En cas d'urgence, veuillez contacter "
            "Marie Dupont "
            "(marie@lead.test).\n\nCordialement"
        ),
        (
            "Merci pour votre message. Je suis actuellement en congés et serai de retour le lundi 16 mars. Je vous "
            "répondrai "
            "à mon retour."
        ),
        "Bonjour, je suis en congé maternité. Pour toute demande, merci de contacter mon collègue Paul Martin.",
        "Je serai absente du 3 au 7 mars avec un accès limité à ma messagerie.",
    ),
    "es": (
        (
            "Gracias por su correo. Estaré fuera de la oficina hasta el 9 de marzo con acceso limitado al correo. Para "
            "asuntos urgentes, por favor contacte con Ana (ana@lead.test)."
        ),
        "Hola,\n\nEstoy de vacaciones del 2 al 13 de marzo. Responderé a su mensaje a mi vuelta.\n\nSaludos",
        "Actualmente me encuentro de baja por maternidad. Para cualquier consulta pueden escribir a mi compañera Eva.",
        "Gracias por tu mensaje. Me encuentro fuera de la oficina y regreso el lunes 16 de marzo.",
    ),
    "pt": (
        (
            "Obrigado pela sua mensagem. Estou de férias até 13 de março, com acesso limitado ao e-mail. Em caso "
            "de urgência, "
            "contacte a minha colega Rita (rita@lead.test)."
        ),
        "Olá,\n\nEstarei ausente do escritório de 2 a 6 de março. Responderei assim que regressar.",
        "Prezados, encontro-me em licença maternidade. Para qualquer assunto, favor contatar Paulo Lima.",
        "Estou fora do escritório e volto no dia 9 de março.",
    ),
    "it": (
        (
            "Grazie per la tua e-mail. Sono fuori ufficio fino al 9 marzo. Per urgenze contattare il mio collega Luca "
            "(luca@lead.test)."
        ),
        "Buongiorno,\nsarò assente dal 2 al 6 marzo con accesso limitato alla posta. Risponderò al mio rientro.",
        "Sono in ferie e rientrerò lunedì 16 marzo. Per qualsiasi necessità potete scrivere a info@lead.test.",
        "Attualmente sono in congedo di maternità. In mia assenza si prega di contattare la segreteria.",
    ),
    "nl": (
        (
            "Bedankt voor uw bericht. Ik ben tot en met 13 maart met vakantie. Voor dringende zaken kunt u contact "
            "opnemen "
            "met mijn collega Jan (jan@lead.test)."
        ),
        "Beste,\n\nIk ben momenteel niet op kantoor. Vanaf maandag 9 maart ben ik weer bereikbaar.",
        "Ik ben met zwangerschapsverlof. Mijn collega Piet neemt mijn taken waar.",
        (
            "Dank voor uw e-mail. Ik ben afwezig van 2 tot 6 maart en beantwoord uw mail zo spoedig mogelijk na mijn "
            "terugkomst."
        ),
    ),
    "pl": (
        (
            "Dziękuję za wiadomość. Jestem na urlopie do 13 marca. W pilnych sprawach proszę o kontakt z Anną Nowak "
            "(anna@lead.test)."
        ),
        "Dzień dobry,\n\njestem poza biurem i wracam 9 marca. Odpowiem po powrocie.\n\nPozdrawiam",
        "Przebywam na urlopie macierzyńskim. W mojej nieobecności zastępuje mnie Jan Kowalski.",
        "W dniach od 2 do 6 marca będę nieobecny, z ograniczonym dostępem do poczty.",
    ),
    "sv": (
        (
            "Tack för ditt mejl. Jag är på semester till och med 13 mars. Vid brådskande ärenden, kontakta min "
            "kollega Eva "
            "(eva@lead.test)."
        ),
        "Hej!\n\nJag är inte på kontoret idag men åter den 9 mars. Jag svarar när jag är tillbaka.",
        "Jag är föräldraledig. Kontakta vår växel vid frågor.",
        "Jag är på tjänsteresa med begränsad tillgång till e-post och svarar så snart jag kan.",
    ),
    "ja": (
        "お世話になっております。\n3月2日から3月6日まで休暇をいただいております。\nメールの確認は3月9日以降となります。",
        "ただいま不在にしております。3月9日に出社予定です。お急ぎの場合は弊社営業部までご連絡ください。",
        "メールをいただきありがとうございます。現在、育児休業中です。ご用件は後任の田中までご連絡をお願いいたします。",
        "夏季休業のため、8月10日から8月16日までお休みをいただきます。ご迷惑をおかけしますが、よろしくお願いいたします。",
    ),
}


@pytest.mark.parametrize(("language", "text"), [(key, text) for key, texts in NOTES.items() for text in texts])
def test_an_absence_note_is_one_without_any_header(language: str, text: str) -> None:
    found = automatic(text, Subject="Hello")
    assert found is not None, language
    assert found.intent == "out_of_office"
    assert not found.left_company


# People who write of absences, theirs or others'.
PEOPLE = (
    "I'm back from vacation, let's talk.",
    "I am out of office tomorrow, call me Friday?",
    "Sorry for the late reply, I was on vacation. Tell me more.",
    "I'm on holiday until the 15th. Can you ping me after that?",
    "I'm out of the office next week but happy to chat the week after.",
    "On leave until Monday, but this looks interesting. Please send me the deck.",
    "I'm out of office this week. How about Tuesday next week?",
    "We are not interested. I am on vacation, please stop emailing me.",
    "Our buyer Jim is on vacation until March 9. Try him then.",
    "John has left the company, you should talk to Mary (mary@lead.test).",
    "Jim no longer works here, I have taken over.",
    "My out of office is on, but yes: I am interested in your product.",
    "Ich bin im Urlaub. Rufen Sie mich am 10. März an.",
    "Ich war im Urlaub, entschuldigen Sie die späte Antwort. Klingt spannend.",
    "Ich bin nächste Woche nicht im Büro, können wir am 16. telefonieren?",
    "Bin gerade aus dem Urlaub zurück. Schicken Sie mir mehr Infos.",
    "Herr Müller ist nicht mehr bei uns.",
    "Je rentre de vacances, pouvez-vous me rappeler la semaine prochaine ?",
    "J'étais en congés, désolé pour le retard. Votre offre m'intéresse.",
    "Je suis en vacances jusqu'au 9 mars, rappelez-moi après.",
    "Estuve de vacaciones, perdón por la demora. Me interesa.",
    "Estoy de vacaciones hasta el 9 de marzo, ¿podemos hablar después?",
    "Acabo de volver de vacaciones, envíeme más información.",
    "Estive de férias, desculpe a demora. Podemos falar amanhã?",
    "Estou de férias até dia 9, me ligue depois.",
    "Ero in ferie, scusi il ritardo. Mi interessa.",
    "Sono in ferie fino al 9 marzo, possiamo sentirci dopo?",
    "Ik was met vakantie, sorry voor de late reactie. Klinkt interessant.",
    "Ik ben tot 9 maart op vakantie. Bel me daarna even.",
    "Byłem na urlopie, przepraszam za zwłokę. Proszę o ofertę.",
    "Jestem na urlopie do 9 marca, czy możemy porozmawiać później?",
    "Jag var på semester, ursäkta sent svar. Låter intressant.",
    "Jag är på semester till 9 mars, kan vi höras efter det?",
    "休暇をいただいておりました。返信が遅くなり申し訳ございません。資料を送ってください。",
    "来週は出張中ですので、その次の週に打ち合わせは可能でしょうか。",
    "Thank you for your message. We already have a supplier.",
    "Your email was so generic that I thought this is an automated message. Remove me from your list.",
    "Is this an automated message?",
    "",
)


@pytest.mark.parametrize("text", PEOPLE)
def test_a_person_who_writes_of_absence_is_a_person(text: str) -> None:
    assert automatic(text) is None


# Of machines, without any header.
RECEIPTS = (
    "Your ticket #48213 has been created. Please do not reply to this email.",
    "Thank you for contacting Acme. This is an automated response: we have received your request.",
    "##- Please type your reply above this line -##\nYour request (4711) has been received and is being reviewed.",
    "Dies ist eine automatisch generierte Nachricht. Ihre Anfrage wurde unter der Ticketnummer 123 erfasst.",
    "Ceci est un message automatique, merci de ne pas y répondre. Votre demande a bien été enregistrée.",
    "Este es un mensaje automático. Por favor, no responda a este correo.",
    "Esta é uma mensagem automática, por favor não responda a este e-mail.",
    "Questa è una risposta automatica. La sua richiesta è stata presa in carico.",
    "Dit is een automatisch bericht. Uw aanvraag is ontvangen.",
    "Ta wiadomość została wygenerowana automatycznie, prosimy na nią nie odpowiadać.",
    "Detta är ett automatiskt meddelande. Ditt ärende har registrerats med ärendenummer 12.",
    "このメールは自動送信されています。お問い合わせを受け付けました。",
    "Your message to list@lead.test awaits moderator approval.",
    "Please click the link below to verify that you are human. Your message is being held until then.",
)


@pytest.mark.parametrize("text", RECEIPTS)
def test_a_machines_words_are_an_automatic_answer_and_no_absence(text: str) -> None:
    found = automatic(text, Subject="Hello")
    assert found is not None
    assert (found.intent, found.left_company, found.return_date) == ("auto_reply", False, None)


@pytest.mark.parametrize(
    "fields",
    [
        {"Auto-Submitted": "auto-replied"},
        {"Auto-Submitted": 'auto-replied; owner-email="x"'},
        {"Auto-Submitted": "auto-generated"},
        {"Auto-Submitted": "auto-notified"},
        {"X-Autoreply": "yes"},
        {"X-Autorespond": "x"},
        {"X-Auto-Reply": "1"},
        {"X-Autoresponder": "x"},
        {"Precedence": "auto_reply"},
        {"X-List-Administrivia": "yes", "List-Id": "<x.test>"},
        {"From": "noreply@boxbe.com"},
        {"Return-Path": "<>", "Precedence": "bulk"},
        {"X-Auto-Response-Suppress": "All", "From": "no-reply@x.test"},
        {"X-Zendesk-From-Account-Id": "1", "X-Auto-Response-Suppress": "All"},
        {"Content-Type": "multipart/report; report-type=disposition-notification; boundary=b"},
        {"Subject": "Automatic reply: x", "X-Auto-Response-Suppress": "All"},
    ],
)  # fmt: skip
def test_one_strong_sign_or_two_weak_ones_are_enough(fields: dict[str, str]) -> None:
    assert automatic("ok", **fields) is not None


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"Auto-Submitted": "no"},
        {"X-Autoreply": "no"},
        {"X-Auto-Response-Suppress": "All"},
        {"X-Auto-Response-Suppress": "DR, OOF, AutoReply"},
        {"Precedence": "bulk"},
        {"Precedence": "list", "List-Id": "<x.test>", "In-Reply-To": "<1@x.test>"},
        {"Return-Path": "<>"},
        {"X-Zendesk-From-Account-Id": "1"},
        {"Subject": "Re: Automatic reply: x"},
        {"Subject": "Re: Out of office, out of mind?"},
        {"Subject": "Out of office? Let us help"},
        {"Subject": "Urlaub in Spanien"},
        {"Subject": "Vacation rentals"},
    ],
)
def test_less_is_not(fields: dict[str, str]) -> None:
    assert automatic("Tell me more.", **fields) is None


@pytest.mark.parametrize("precedence", ["bulk", "list"])
def test_a_mailing_is_nobodys_answer(precedence: str) -> None:
    fields = {
        "Subject": "Offers",
        "List_Id": "<news.x.test>",
        "List_Unsubscribe": "<https://x.test/u>",
        "Precedence": precedence,
    }
    raw = message("Our offers of the week", From="no-reply@x.test", **fields)
    assert (inspect(raw).kind, inspect(raw).intent) == ("other", None)
    notice = message("Our offers of the week", Auto_Submitted="auto-generated", **fields)
    assert inspect(notice).kind == "other"


@pytest.mark.parametrize(
    "subject",
    [
        "Automatic reply: Hello",
        "Out of office: Hello",
        "Out of Office Re: Hello",
        "AUTO: Bob Jones is out of the office (returning 03/10/2026)",
        "Abwesenheitsnotiz: Hello",
        "Automatische Antwort: Hello",
        "Réponse automatique : Hello",
        "Absence du bureau : Hello",
        "Respuesta automática: Hello",
        "Fuera de la oficina: Hello",
        "Resposta automática: Hello",
        "Ausência: Hello",
        "Risposta automatica: Hello",
        "Fuori sede: Hello",
        "Automatisch antwoord: Hello",
        "Afwezigheidsmelding: Hello",
        "Odpowiedź automatyczna: Hello",
        "Nieobecność: Hello",
        "Autosvar: Hello",
        "Frånvaro: Hello",
        "自動返信: Hello",
        "不在通知: Hello",
    ],
)
def test_a_subject_of_its_own_says_absence(subject: str) -> None:
    found = automatic("Hello.", Subject=subject)
    assert found is not None
    assert found.intent == "out_of_office"


def test_a_subject_names_the_day_where_the_text_does_not_and_ours_never() -> None:
    notes = automatic("I am not here.", Subject="AUTO: Bob Jones is out of the office (returning 03/10/2026)")
    assert notes is not None
    assert notes.return_date == date(2026, 3, 10)
    ours = automatic("I am not here.", Subject="Out of office: back on 10 March with new prices")
    assert ours is not None
    assert ours.return_date is None


def test_an_automatic_subject_over_a_receipt_is_no_absence() -> None:
    found = automatic("We have received your message. Ticket number 12.", Subject="Automatic reply: Hello")
    assert found is not None
    assert found.intent == "auto_reply"


def test_an_invitation_is_a_persons_though_a_calendar_sends_it() -> None:
    kind = 'text/calendar; method=REQUEST; charset="utf-8"'
    assert automatic("BEGIN:VCALENDAR", Content_Type=kind, Auto_Submitted="auto-generated") is None
    reply = kind.replace("REQUEST", "REPLY")
    assert automatic("BEGIN:VCALENDAR", Content_Type=reply, Auto_Submitted="auto-replied") is not None


def test_a_read_receipt_is_a_machines() -> None:
    parts = "--b\n\nRead.\n--b\nContent-Type: message/disposition-notification\n\nDisposition: x; displayed\n--b--"
    kind = "multipart/report; report-type=disposition-notification; boundary=b"
    assert inspect(message(parts, Subject="Read: Hello", Content_Type=kind)).kind == "auto_reply"


def test_there_are_ten_languages_and_more() -> None:
    assert set(LEXICONS) >= {"en", "de", "fr", "es", "pt", "it", "nl", "pl", "ja", "sv"}


HOSTILE = (
    "i am " * 1000,
    "out of the office " * 300,
    "we are currently " + "a " * 2400,
    "?" * 5000,
    "until " * 800,
    "back on the " * 400,
    "不在" * 2500,
    "de retour le " * 380,
    "\n" * 5000,
    "1" * 5000,
)


@pytest.mark.parametrize("text", HOSTILE)
def test_no_note_takes_long(text: str) -> None:
    parsed = parse(message("x", Auto_Submitted="auto-replied"))
    read_auto_reply(parsed, text, MONDAY)  # the first note of a language compiles what reads its dates
    started = time.process_time()
    read_auto_reply(parsed, text, MONDAY)
    assert time.process_time() - started < SLOWEST_SECONDS


@given(st.text(max_size=400), st.sampled_from(["", "auto-replied"]), st.dates())
def test_any_text_is_read(text: str, submitted: str, day: date) -> None:
    parsed = parse(message("x", Auto_Submitted=submitted))
    found = read_auto_reply(parsed, text, day)
    assert (found is not None) or not submitted
    if found and found.return_date:
        assert found.return_date >= day
