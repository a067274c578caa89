"""The day of return as absence notes name it, in ten languages and by every habit of writing dates."""

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.local.sandbox.answers import DATE_FORMS
from deploy.local.sandbox.wordings import OUT_OF_OFFICE
from services.replies.rules.dates import MAX_DAYS, Locale, return_date
from services.replies.rules.folding import fold
from services.replies.rules.vocabulary import LEXICONS

MONDAY = date(2026, 3, 2)


def named(language: str, text: str, *, on: date = MONDAY, **locale: str) -> date | None:
    return return_date(fold(text), on, Locale(languages=(language,), **locale))


def day(month: int, number: int, year: int = 2026) -> date:
    return date(year, month, number)


NINTH, SIXTH, THIRTEENTH = day(3, 9), day(3, 6), day(3, 13)
TABLE: dict[str, list[tuple[str, date | None]]] = {
    "en": [
        ("I will be back on March 9, 2026", NINTH),
        ("I will be back in the office on Monday, 9th of March.", NINTH),
        ("I am out of the office until Friday 6 March", SIXTH),
        ("away until 2026-03-09", NINTH),
        ("I am away from 2 March until 6 March and return on 9 March", NINTH),
        ("out of office from 2nd of March through the 6th of March", SIXTH),
        ("I will be out of the office from 1 to 6 March", SIXTH),
        ("Out of office 2-6 March", SIXTH),
        ("I am on leave March 2-6, 2026", SIXTH),
        ("I am on leave (03/02/2026 - 03/13/2026)", THIRTEENTH),
        ("On 9 March I'll be back", NINTH),
        ("I won't be back until 9 March at 10:00", NINTH),
        ("I am out until the 13th", THIRTEENTH),
        ("back on the 9th", NINTH),
        ("I'm back on Monday", NINTH),
        ("out of office until Friday", SIXTH),
        ("I am out of the office today and back tomorrow", day(3, 3)),
        ("I am out of the office tomorrow", day(3, 3)),
        ("I am out of the office today.", MONDAY),
        ("I am out of the office on 6 March", SIXTH),
        ("I will be back on Wednesday next week", day(3, 11)),
        ("I am on maternity leave until 1 December 2026", day(12, 1)),
        ("I am on leave until 30 August", day(8, 30)),
        ("I'm out from 5 March and will be back in two weeks", None),
        ("I am out of office since 20 February", None),
        ("I'll be back next week", None),
        ("I am away until the end of March", None),
        ("I am on leave until further notice", None),
        ("I was away until 1 February 2026", None),
        ("back on 2 January", None),
        ("until 31.02.2026", None),
        ("I am out of the office. Call 10.3.4.5 or +1 555 03/09", None),
    ],
    "de": [
        ("Ich bin bis 06.03. im Urlaub und ab 09.03. wieder da", NINTH),
        ("Ich bin vom 2. bis 6. März nicht im Büro", SIXTH),
        ("Ich bin vom 2.3. bis einschließlich 13.3.2026 abwesend", THIRTEENTH),
        ("Ab dem 9. März bin ich wieder erreichbar", NINTH),
        ("Am Montag, den 9. März, stehe ich Ihnen gerne wieder zur Verfügung", NINTH),
        ("Ich bin erst am Montag wieder im Büro", NINTH),
        ("Ich bin ab dem 9. März im Urlaub und dann wieder da", None),
        ("Ich bin bis zum 13. März außer Haus", THIRTEENTH),
        ("Ich bin 2.\u20136. März im Urlaub", SIXTH),
        ("Ich bin bis 13.03.26 nicht erreichbar", THIRTEENTH),
        ("Ich bin heute nicht im Büro, morgen wieder erreichbar", day(3, 3)),
        ("Nach meiner Rückkehr am 9.3. melde ich mich", NINTH),
        ("Ich bin bis zum 13. nicht da", THIRTEENTH),
        ("Ich bin bis Ende März im Urlaub", None),
        ("Ich bin im Juli wieder da", None),
    ],
    "fr": [
        ("Je suis absent jusqu'au 13 mars inclus", THIRTEENTH),
        ("Je serai de retour le lundi 9 mars", NINTH),
        ("Je suis en congés du 3 au 13 mars", THIRTEENTH),
        ("Je suis absente du 02/03/2026 au 13/03/2026", THIRTEENTH),
        ("À partir du 9 mars je serai de nouveau joignable", NINTH),
        ("Je reviens lundi", NINTH),
        ("Absent jusqu'au vendredi 6 mars, de retour le lundi 9 mars", NINTH),
        ("Je suis en vacances jusqu'au 1er avril", day(4, 1)),
        ("Je reprends le 9/3", NINTH),
        ("Je serai de retour demain", day(3, 3)),
        ("Je suis absent jusqu'à fin mars", None),
        ("Je rentre la semaine prochaine", None),
    ],
    "es": [
        ("Estaré fuera de la oficina hasta el 13 de marzo", THIRTEENTH),
        ("Vuelvo el lunes 9 de marzo", NINTH),
        ("Estoy de vacaciones del 2 al 13 de marzo de 2026", THIRTEENTH),
        ("Estaré de vuelta el 9/3/2026", NINTH),
        ("A partir del 9 de marzo estaré disponible", NINTH),
        ("Regreso mañana", day(3, 3)),
        ("Estaré ausente desde el 2 de marzo hasta el 6 de marzo inclusive", SIXTH),
        ("Regresaré el próximo lunes", NINTH),
        ("Estoy fuera hasta el día 13", THIRTEENTH),
        ("Vuelvo en marzo", None),
    ],
    "pt": [
        ("Estou de férias até 13 de março", THIRTEENTH),
        ("Volto no dia 9 de março", NINTH),
        ("Estarei ausente de 2 a 6 de março", SIXTH),
        ("Regresso na segunda-feira, 9 de março", NINTH),
        ("Estarei fora do escritório até ao dia 13", THIRTEENTH),
        ("Estarei de volta em 09/03/2026", NINTH),
        ("Retornarei na próxima segunda-feira", NINTH),
        ("Retorno amanhã", day(3, 3)),
        ("Volto para a semana", None),
    ],
    "it": [
        ("Sono fuori ufficio fino al 13 marzo", THIRTEENTH),
        ("Sarò assente dal 2 al 6 marzo compreso", SIXTH),
        ("Rientrerò lunedì 9 marzo", NINTH),
        ("Tornerò in ufficio il 09/03/2026", NINTH),
        ("Sono in ferie fino a venerdì", SIXTH),
        ("Sarò di nuovo in ufficio dal 9 marzo", NINTH),
        ("Rientro domani", day(3, 3)),
        ("Sono in ferie fino all'11 marzo", day(3, 11)),
        ("Torno a fine mese", None),
    ],
    "nl": [
        ("Ik ben tot en met 13 maart met vakantie", THIRTEENTH),
        ("Vanaf maandag 9 maart ben ik weer bereikbaar", NINTH),
        ("Ik ben afwezig van 2 t/m 6 maart", SIXTH),
        ("Ik ben op 9 maart weer op kantoor", NINTH),
        ("Ik ben terug op 9-3-2026", NINTH),
        ("Ik ben maandag weer terug", NINTH),
        ("Ik ben vandaag afwezig en morgen weer bereikbaar", day(3, 3)),
        ("Ik ben volgende week weer terug", None),
    ],
    "pl": [
        ("Jestem na urlopie do 13 marca", THIRTEENTH),
        ("Wracam 9 marca", NINTH),
        ("Od 2 do 6 marca jestem nieobecny", SIXTH),
        ("Od 9 marca będę ponownie dostępny", NINTH),
        ("Jestem na urlopie do dnia 13.03.2026 r.", THIRTEENTH),
        ("Wracam w poniedziałek", NINTH),
        ("Wracam do biura w poniedziałek, 9 marca 2026", NINTH),
        ("Wracam jutro", day(3, 3)),
        ("Wracam po świętach", None),
    ],
    "sv": [
        ("Jag är på semester till och med 13 mars", THIRTEENTH),
        ("Jag är åter på kontoret måndagen den 9 mars", NINTH),
        ("Jag är tillbaka den 9/3", NINTH),
        ("Jag är ledig 2-6 mars", SIXTH),
        ("Jag är borta t.o.m. 13/3", THIRTEENTH),
        ("Från 9 mars är jag åter på plats", NINTH),
        ("Jag är åter i morgon", day(3, 3)),
        ("Jag är tillbaka på måndag", NINTH),
        ("Jag är tillbaka efter sommaren", None),
    ],
    "ja": [
        ("3月13日まで休暇をいただいております", THIRTEENTH),
        ("3月2日から3月6日まで不在にしております", SIXTH),
        ("3月9日に出社いたします", NINTH),
        ("3月9日より通常通り業務を再開いたします", NINTH),
        ("2026年3月9日(月)に復帰予定です", NINTH),
        ("３月１３日まで出張のため不在です", THIRTEENTH),
        ("3/2\uff5e3/6の期間、休暇をいただきます", SIXTH),
        ("3月2日\uff5e6日まで休業とさせていただきます", SIXTH),
        ("令和8年3月13日まで不在です", THIRTEENTH),
        ("月曜日に出社します", NINTH),
        ("明日出社いたします", day(3, 3)),
        ("来週まで不在です", None),
        ("本日は不在にしております", MONDAY),
    ],
}


@pytest.mark.parametrize(
    ("language", "text", "expected"), [(key, text, found) for key, rows in TABLE.items() for text, found in rows]
)
def test_the_return_date_is_the_one_that_the_text_names(language: str, text: str, expected: date | None) -> None:
    assert named(language, text) == expected


@pytest.mark.parametrize("text", OUT_OF_OFFICE)
@pytest.mark.parametrize("form", DATE_FORMS)
def test_the_sandboxs_notes_are_read(text: str, form: str) -> None:
    assert named("en", text.format(name="Bob", date=NINTH.strftime(form))) == NINTH


WEDNESDAY = day(3, 4)


@pytest.mark.parametrize(
    ("language", "text", "expected"),
    [
        ("en", "I will be back at my desk Monday 23rd", day(3, 23)),
        ("en", "Back Mon 23 March", day(3, 23)),
        ("en", "I'm back on Monday, the 23rd", day(3, 23)),
        ("en", "away thru 03-13-2026", day(3, 13)),
        ("en", "I'll return to work on or about April 6", day(4, 6)),
        ("en", "out from the 3rd-13th March", day(3, 13)),
        ("en", "OOO 3/9 - 3/13", day(3, 13)),
        ("en", "I'm out until next Wednesday", day(3, 11)),
        ("en", "until noon tomorrow I am not reachable", day(3, 5)),
        ("en", "I will be out of the office Thursday, March 5 and Friday, March 6.", day(3, 6)),
        ("en", "Leave dates: 02/03/2026 to 13/03/2026", day(3, 13)),
        ("en", "I will be out of office beginning March 5th and returning March 16th", day(3, 16)),
        ("en", "I'm on leave and will be back in the office first thing Monday morning", day(3, 9)),
        ("en", "Returning: 16 March 2026", day(3, 16)),
        ("en", "Return date - March 16", day(3, 16)),
        ("en", "My last day in the office before my leave is 6 March; I return on 30 March", day(3, 30)),
        ("en", "I'll respond after 16 March", day(3, 16)),
        ("en", "I will reply to your email on Monday", day(3, 9)),
        ("en", "I am away from Monday to Friday this week", day(3, 6)),
        ("en", "I am out of the office all day on 5 March", day(3, 5)),
        ("en", "will be available again from 16 March", day(3, 16)),
        ("en", "I'm on vacation til 3/13", day(3, 13)),
        ("en", "I am out of office this week", None),
        ("en", "back in two weeks", None),
        ("en", "back in April", None),
        ("en", "I have been out since 2 March", None),
        ("de", "Ich bin wieder am Montag, 23.03., erreichbar", day(3, 23)),
        ("de", "bis einschl. 13.3. nicht im Büro", day(3, 13)),
        ("de", "Ab Montag 23. bin ich wieder da", day(3, 23)),
        ("de", "Rückkehr: 16.03.2026", day(3, 16)),
        ("de", "Ich bin am 16. März wieder für Sie da", day(3, 16)),
        ("de", "abwesend 02.03.2026 - 13.03.2026", day(3, 13)),
        ("de", "Ich kehre am 16. März zurück", day(3, 16)),
        ("de", "bin ab Donnerstag zurück", day(3, 5)),
        ("de", "Mein Urlaub endet am 13. März", day(3, 13)),
        ("de", "Ich bin bis inkl. Freitag im Urlaub", day(3, 6)),
        ("de", "Ich bin voraussichtlich bis 30. April in Elternzeit", day(4, 30)),
        ("de", "Ihre Nachricht bearbeite ich ab dem 16.3.", day(3, 16)),
        ("de", "Ich bin in KW 11 im Urlaub", None),
        ("de", "Ich bin bis auf Weiteres nicht im Büro", None),
        ("fr", "de retour lundi 23", day(3, 23)),
        ("fr", "Je serai de retour au bureau le 16/03", day(3, 16)),
        ("fr", "Retour le mercredi 11 mars", day(3, 11)),
        ("fr", "absent du lundi 2 au vendredi 13 mars inclus", day(3, 13)),
        ("fr", "Je serai absent le 5 et le 6 mars", day(3, 6)),
        ("fr", "absente jusqu'à lundi", day(3, 9)),
        ("fr", "Je reprendrai mes fonctions le 16 mars 2026", day(3, 16)),
        ("fr", "mon retour est prévu le 16 mars", day(3, 16)),
        ("fr", "je répondrai à votre message à partir du 16 mars", day(3, 16)),
        ("fr", "jusqu'au vendredi 13", day(3, 13)),
        ("es", "Vuelvo el lunes 23", day(3, 23)),
        ("es", "de regreso el próximo lunes 16 de marzo", day(3, 16)),
        ("es", "Estaré ausente del 02/03/2026 al 13/03/2026", day(3, 13)),
        ("es", "Me reincorporo el 16 de marzo", day(3, 16)),
        ("es", "hasta el viernes 13 inclusive", day(3, 13)),
        ("es", "Me reincorporaré a mi puesto el día 16", day(3, 16)),
        ("es", "mi regreso está previsto para el 16 de marzo", day(3, 16)),
        ("es", "Responderé a partir del 16 de marzo", day(3, 16)),
        ("es", "vuelvo mañana por la mañana", day(3, 5)),
        ("pt", "Volto na segunda, dia 23", day(3, 23)),
        ("pt", "retorno às atividades em 16 de março", day(3, 16)),
        ("pt", "de 02/03 a 13/03 estarei de férias", day(3, 13)),
        ("pt", "Estarei de regresso a 16 de março", day(3, 16)),
        ("pt", "até sexta-feira, 13 de março", day(3, 13)),
        ("pt", "Regresso ao escritório no dia 16/3", day(3, 16)),
        ("pt", "Estarei de volta na segunda-feira", day(3, 9)),
        ("pt", "meu retorno está previsto para 16/03/2026", day(3, 16)),
        ("it", "Torno lunedì 23", day(3, 23)),
        ("it", "il mio rientro è previsto per il 16 marzo", day(3, 16)),
        ("it", "assente dal 02/03/2026 al 13/03/2026", day(3, 13)),
        ("it", "fino a venerdì 13 marzo incluso", day(3, 13)),
        ("it", "sarò nuovamente disponibile da lunedì 16 marzo", day(3, 16)),
        ("it", "risponderò a partire dal 16 marzo", day(3, 16)),
        ("nl", "maandag 23 ben ik er weer", day(3, 23)),
        ("nl", "Ik ben vanaf 16-03-2026 weer aanwezig", day(3, 16)),
        ("nl", "afwezig van 2-3-2026 tot en met 13-3-2026", day(3, 13)),
        ("nl", "Ik ben pas op 16 maart weer bereikbaar", day(3, 16)),
        ("nl", "tot vrijdag 13 maart ben ik vrij", day(3, 13)),
        ("nl", "Ik keer terug op 16 maart", day(3, 16)),
        ("pl", "Wracam w poniedziałek 23 marca", day(3, 23)),
        ("pl", "nieobecny od 02.03.2026 do 13.03.2026", day(3, 13)),
        ("pl", "będę dostępny od poniedziałku 16 marca", day(3, 16)),
        ("pl", "powrót: 16.03.2026", day(3, 16)),
        ("pl", "do piątku jestem na urlopie", day(3, 6)),
        ("pl", "Do pracy wracam 16-go marca", day(3, 16)),
        ("sv", "Jag är åter måndag 23 mars", day(3, 23)),
        ("sv", "åter måndag den 23", day(3, 23)),
        ("sv", "ledig 2/3-13/3", day(3, 13)),
        ("sv", "borta från och med 2 mars till och med 13 mars", day(3, 13)),
        ("sv", "Jag är åter i tjänst den 16:e mars", day(3, 16)),
        ("sv", "Jag kommer tillbaka torsdag", day(3, 5)),
        ("sv", "semester v. 11", None),
        ("sv", "Den 16 mars är jag tillbaka", day(3, 16)),
        ("ja", "3月16日(月)より通常どおり出社いたします", day(3, 16)),
        ("ja", "2026/3/2~2026/3/13まで休暇", day(3, 13)),
        ("ja", "3月13日(金)まで不在", day(3, 13)),
        ("ja", "休暇期間:3月2日~3月13日", day(3, 13)),
        ("ja", "次回出社日は3月16日です", day(3, 16)),
        ("ja", "3月16日以降に返信いたします", day(3, 16)),
        ("ja", "3/16(月)に戻ります", day(3, 16)),
        ("ja", "3月16日の午後に戻ります", day(3, 16)),
        ("ja", "16日に復帰します", day(3, 16)),
    ],
)
def test_so_is_one_named_on_a_wednesday(language: str, text: str, expected: date | None) -> None:
    assert named(language, text, on=WEDNESDAY) == expected


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("en", "I will be back the day after tomorrow"),
        ("de", "Ich bin übermorgen wieder da"),
        ("fr", "Je serai de retour après-demain"),
        ("es", "Vuelvo pasado mañana"),
        ("pt", "Volto depois de amanhã"),
        ("it", "Torno dopodomani"),
        ("nl", "Ik ben overmorgen terug"),
        ("pl", "Wracam pojutrze"),
        ("sv", "Jag är åter i övermorgon"),
        ("ja", "明後日出社いたします"),
    ],
)
def test_the_day_after_tomorrow_is_no_tomorrow(language: str, text: str) -> None:
    assert named(language, text, on=WEDNESDAY) == day(3, 6)


def test_the_table_is_large() -> None:
    assert len(TABLE) == 10
    assert sum(len(rows) for rows in TABLE.values()) >= 100


@pytest.mark.parametrize(
    ("locale", "expected"),
    [
        ({"domain": "uk"}, day(3, 5)),
        ({"tags": "en-GB"}, day(3, 5)),
        ({"tags": "en-US"}, day(5, 3)),
        ({"sent_at": "Mon, 2 Mar 2026 10:00:00 -0500"}, day(5, 3)),
        ({"sent_at": "Mon, 2 Mar 2026 10:00:00 +0100"}, day(3, 5)),
        ({"domain": "uk", "tags": "en-US"}, day(3, 5)),
        ({"domain": "gov"}, day(5, 3)),
        ({}, day(3, 5)),
    ],
)
def test_a_slash_is_read_as_its_writer_does(locale: dict[str, str], expected: date) -> None:
    habits = Locale(languages=("en",), **locale)
    assert return_date("i am away until 5/3", MONDAY, habits) == expected


def test_other_dates_of_the_note_and_weekdays_tell_how_a_slash_is_read() -> None:
    assert named("en", "away from 2/27 until 3/5") == day(3, 5)
    assert named("en", "away from 27/2 until 5/3", domain="us") == day(3, 5)
    assert named("en", "back on Monday 03/09") == NINTH
    assert named("en", "until 3/25") == day(3, 25)
    assert named("en", "returning 03/10/2026") == day(3, 10)


def test_a_date_without_a_year_lies_ahead_over_the_turn_of_the_year() -> None:
    december = date(2026, 12, 21)
    assert named("en", "I am away until 4 January", on=december) == day(1, 4, 2027)
    assert named("de", "Ich bin bis 06.01. im Urlaub", on=december) == day(1, 6, 2027)
    assert named("en", "away until the 4th", on=december) == day(1, 4, 2027)
    assert named("en", "away until 20 December", on=december) is None


def test_the_first_language_that_names_a_day_decides() -> None:
    text = fold("Ich bin bis 13. März im Urlaub.\nI am out of office until 13 March.")
    assert return_date(text, MONDAY, Locale(languages=("en", "de"))) == THIRTEENTH


@given(st.text(max_size=300), st.sampled_from(sorted(LEXICONS)), st.dates())
def test_any_text_is_read(text: str, language: str, on: date) -> None:
    found = named(language, text, on=on)
    assert found is None or timedelta(0) <= found - on <= timedelta(days=MAX_DAYS)


_WORDS = "until back on the 5 march monday 2026 03/05 31.02. 99 - to from 1st , . tomorrow next week bis am wieder"
_PIECES = st.sampled_from([*_WORDS.split(), "3月", "5日", "から", "まで", "~", "令和", "0", "2024-02-29"])


@given(st.lists(_PIECES, max_size=25), st.sampled_from(["en", "de", "ja", "es"]), st.dates())
def test_any_pieces_of_dates_are_read(pieces: list[str], language: str, on: date) -> None:
    found = named(language, " ".join(pieces), on=on)
    assert found is None or timedelta(0) <= found - on <= timedelta(days=MAX_DAYS)
