"""Many more notes, receipts and people in ten languages, each known for what it is."""

from datetime import date

import pytest

from tests.unit.test_replies_automatic import automatic

# Without any sign in the header; seen on Monday, 2 March 2026.
NOTES = (
    ("I am off until Monday 9 March. Speak soon.", date(2026, 3, 9)),
    (
        (
            "Hi there! Thanks for reaching out. I'm enjoying some time off with my family and will be checking "
            "email intermittently. I'll be back at my desk on Tuesday, March 10th."
        ),
        date(2026, 3, 10),
    ),
    ("Annual leave. Back 9th March. Contact Jo Smith 01234 567890 in my absence.", date(2026, 3, 9)),
    (
        "Hello, You have reached Bob. I'm out on PTO through 3/6. For anything urgent ping Dana (dana@lead.test).",
        date(2026, 3, 6),
    ),
    ("I am attending a trade show in Las Vegas this week and my replies will be slower than usual.", None),
    ("I'm on sabbatical until 1 June 2026 and not reading email.", date(2026, 6, 1)),
    (
        "Thank you for your e-mail. I am unavailable at the moment and will reply upon my return on 12/03/2026.",
        date(2026, 3, 12),
    ),
    (
        "Guten Tag, ich bin derzeit nicht im Dienst. Ab dem 10.03.2026 bin ich wieder im Büro erreichbar.",
        date(2026, 3, 10),
    ),
    (
        (
            "Vielen Dank für Ihre Mail! Ich genieße gerade meinen Urlaub und bin ab 16.03. zurück. Bis dahin "
            "hilft Ihnen Frau Klein gerne weiter."
        ),
        date(2026, 3, 16),
    ),
    (
        "Wegen einer Fortbildung bin ich am 3. und 4. März nicht erreichbar. Ihre Nachricht wird nicht weitergeleitet.",
        date(2026, 3, 4),
    ),
    (
        (
            "Ich bin krankheitsbedingt abwesend. Ein Rückkehrdatum steht noch nicht fest. Bitte wenden Sie sich "
            "an service@lead.test"
        ),
        None,
    ),
    ("Unser Unternehmen macht Betriebsferien vom 23. Februar bis 6. März.", date(2026, 3, 6)),
    (
        "Bonjour, actuellement en déplacement, je n'ai qu'un accès restreint à mes mails. Retour le 10/03.",
        date(2026, 3, 10),
    ),
    ("Je suis en arrêt maladie pour une durée indéterminée. Merci de vous adresser à accueil@lead.test.", None),
    ("Notre société sera fermée du 2 au 6 mars. Nous traiterons votre message dès notre retour.", date(2026, 3, 6)),
    ("Absente jusqu'au 11 mars. En mon absence, contactez Julie au 01 02 03 04 05.", date(2026, 3, 11)),
    (
        (
            "Estimado remitente: me encuentro de viaje por trabajo y mi respuesta puede demorarse. Vuelvo a la "
            "oficina el 10 de marzo."
        ),
        date(2026, 3, 10),
    ),
    ("En este momento no puedo atender su correo. Estaré ausente hasta el lunes 9 de marzo.", date(2026, 3, 9)),
    ("Nuestras oficinas permanecerán cerradas por Semana Santa del 2 al 6 de marzo.", date(2026, 3, 6)),
    (
        "Agradeço o contacto. Encontro-me ausente do escritório, em gozo de férias, até ao dia 13 de março.",
        date(2026, 3, 13),
    ),
    ("Estou de licença parental. O meu colega Rui Costa (rui@lead.test) assume os meus assuntos.", None),
    (
        "Olá! Estou viajando a trabalho e retornarei no dia 10/03. Para urgências, ligue para 11 99999-0000.",
        date(2026, 3, 10),
    ),
    (
        "Gentile mittente, sono assente per ferie dal 2 al 13 marzo compresi. Le risponderò al mio rientro.",
        date(2026, 3, 13),
    ),
    (
        "Sono in trasferta e potrò leggere la posta solo saltuariamente. Sarò di nuovo in sede martedì 10 marzo.",
        date(2026, 3, 10),
    ),
    ("I nostri uffici resteranno chiusi per ferie fino al 6 marzo.", date(2026, 3, 6)),
    ("Beste afzender, i.v.m. vakantie ben ik afwezig t/m 6 maart. Uw mail wordt niet doorgestuurd.", date(2026, 3, 6)),
    (
        (
            "Momenteel ben ik met zwangerschapsverlof. Vanaf 1 juni 2026 ben ik weer aanwezig. Voor vragen kun "
            "je terecht bij Els."
        ),
        date(2026, 6, 1),
    ),
    (
        (
            "Szanowni Państwo, w dniach 2-6 marca przebywam na urlopie wypoczynkowym. W pilnych sprawach proszę "
            "dzwonić do Anny."
        ),
        date(2026, 3, 6),
    ),
    ("Obecnie jestem na zwolnieniu lekarskim. Do 13 marca zastępuje mnie Jan Kowalski.", date(2026, 3, 13)),
    ("Uprzejmie informuję, że do dnia 10.03.2026 nie będzie mnie w biurze.", date(2026, 3, 10)),
    ("Hej, jag är ledig t o m 6 mars. Behöver du hjälp innan dess, mejla support@lead.test.", date(2026, 3, 6)),
    ("Just nu är jag på resande fot och läser mejl oregelbundet. Åter på kontoret tisdag 10 mars.", date(2026, 3, 10)),
    ("Jag är sjukskriven tills vidare. Kontakta Lena på ekonomi.", None),
    (
        "平素より大変お世話になっております。誠に勝手ながら、3月2日(月)~3月6日(金)まで休暇を頂戴しております。ご連絡は9日以降に順次対応いたします。",
        date(2026, 3, 9),
    ),
    ("本日終日外出しております。明日以降にご返信いたします。", date(2026, 3, 3)),
    ("出張のため、メールの返信が遅れる場合がございます。急ぎのご用件は携帯までお願いします。", None),
)
NOTES_WITH_SIGN = (
    "Please note I work part time (Mon-Wed). I will respond to your message on my next working day.",
    "I am currently on jury duty. Please contact legal@lead.test.",
    "The office is closed for the Thanksgiving holiday and will reopen Monday, March 9.",
    "Ich arbeite nur vormittags und bin am Freitag nicht im Haus.",
    "Op vrijdag werk ik niet. Ik lees uw bericht maandag.",
)
MACHINES = (
    "Thanks for contacting Acme support. A member of our team will get back to you within 24 hours.",
    "Thank you for your application. We have received it and will be in touch.",
    "This mailbox is no longer in use. Please use info@lead.test instead.",
    "Danke für Ihre Nachricht, wir haben sie erhalten und melden uns innerhalb von zwei Werktagen.",
    "Ihre Anfrage ist bei uns eingegangen. Vorgangsnummer: 2026-113",
    "Diese E-Mail-Adresse ist nicht mehr aktiv. Bitte nutzen Sie info@lead.test.",
    "Nous avons bien reçu votre message et reviendrons vers vous dans les 48 heures.",
    "Hemos recibido su solicitud. Un asesor se pondrá en contacto con usted en breve.",
    "Recebemos a sua mensagem e responderemos em até 2 dias úteis.",
    "Abbiamo ricevuto la sua richiesta, le risponderemo entro 48 ore.",
    "Wij hebben uw bericht in goede orde ontvangen en nemen binnen 2 werkdagen contact met u op.",
    "Potwierdzamy otrzymanie wiadomości. Odpowiemy w ciągu 2 dni roboczych.",
    "Vi har mottagit ditt ärende och återkommer inom två arbetsdagar.",
    "お問い合わせありがとうございます。2営業日以内に担当者よりご連絡いたします。",
    (
        "Thank you for writing. Our support team is available Monday to Friday, 9 am to 5 pm. We will reply "
        "as soon as we are back online."
    ),
    "You have contacted us outside our business hours. We will respond on the next working day.",
    "This e-mail address is not available any more. Please use our contact form.",
    "This mailbox has been closed. Messages are not read.",
    "Your mail was delivered to the recipient's mailbox.",
    "We got your message! A human will answer soon.",
    "Your message has been received by our sales team and will be handled shortly.",
    (
        "Außerhalb unserer Öffnungszeiten können wir Ihre Nachricht leider nicht bearbeiten. Wir melden uns "
        "am nächsten Werktag."
    ),
    "Diese Adresse ist nicht mehr erreichbar. Bitte schreiben Sie an info@lead.test.",
    "Dieses Postfach wird nicht mehr genutzt und nicht gelesen.",
    "Wir haben Ihre Nachricht erhalten und kümmern uns so schnell wie möglich darum.",
    "Vielen Dank für Ihre Bestellanfrage! Ein Mitarbeiter meldet sich in Kürze bei Ihnen.",
    "Ihre Nachricht an die Liste wartet auf die Freigabe durch die Moderation.",
    "Ihre Nachricht wurde am 03.03.2026 um 10:12 gelesen.",
    "Vous nous contactez en dehors de nos horaires d'ouverture. Nous vous répondrons dès que possible.",
    "Cette adresse n'est plus disponible. Écrivez à info@lead.test.",
    "Votre demande a été transmise au service concerné.",
    "Nous accusons réception de votre message et vous répondrons dans les meilleurs délais.",
    "Votre message est en attente de validation par un modérateur.",
    "Ha escrito fuera de nuestro horario de atención. Le responderemos lo antes posible.",
    "Esta dirección de correo ya no está disponible. Escriba a info@lead.test.",
    "Gracias por contactarnos. Hemos registrado su consulta con el número 4711.",
    "Su mensaje está pendiente de aprobación por el moderador de la lista.",
    "Este buzón no se lee. Utilice nuestro formulario.",
    "Gracias por su interés. Nuestro equipo le contestará en un plazo de 24 horas.",
    "Escreveu-nos fora do horário de atendimento. Responderemos assim que possível.",
    "Este endereço de e-mail já não está disponível. Use info@lead.test.",
    "Seu chamado foi aberto com o número 4711.",
    "Confirmamos a receção da sua mensagem. Entraremos em contacto brevemente.",
    "Obrigado por entrar em contato. Nossa equipe retornará em até 24 horas.",
    "Ci ha scritto al di fuori dell'orario di ufficio. Le risponderemo appena possibile.",
    "Questo indirizzo non è più disponibile. Scriva a info@lead.test.",
    "La sua segnalazione è stata registrata con il numero 4711.",
    "Grazie per averci contattato. Un nostro operatore le risponderà al più presto.",
    "Il suo messaggio è in attesa di approvazione da parte del moderatore.",
    "U heeft ons buiten kantooruren bereikt. Wij reageren zo snel mogelijk.",
    "Dit e-mailadres is niet meer beschikbaar. Mail naar info@lead.test.",
    "Wij bevestigen de ontvangst van uw bericht.",
    "Uw melding is geregistreerd onder nummer 4711.",
    "Bedankt voor uw bericht, een medewerker neemt spoedig contact met u op.",
    "Piszą Państwo poza godzinami naszej pracy. Odpowiemy najszybciej, jak to możliwe.",
    "Ten adres e-mail nie jest już dostępny. Prosimy pisać na info@lead.test.",
    "Państwa zgłoszenie zostało zarejestrowane pod numerem 4711.",
    "Dziękujemy za kontakt. Nasz konsultant wkrótce się odezwie.",
    "Twoja wiadomość oczekuje na akceptację moderatora.",
    "Du har kontaktat oss utanför våra öppettider. Vi svarar så snart vi kan.",
    "Den här adressen är inte längre tillgänglig. Skriv till info@lead.test.",
    "Ditt ärende har registrerats med nummer 4711.",
    "Tack för att du kontaktar oss! En medarbetare återkommer inom kort.",
    "Ditt meddelande väntar på godkännande av moderatorn.",
    "営業時間外のため、翌営業日に担当者よりご連絡いたします。",
    "このメールアドレスは現在使用されておりません。info@lead.testまでご連絡ください。",
    "お問い合わせを受け付けました。受付番号は4711です。順次対応いたします。",
    "お申し込みありがとうございます。確認のうえ折り返しご連絡いたします。",
    "投稿は管理者の承認待ちです。",
    "ご連絡ありがとうございます。内容を確認のうえ、返信まで2~3営業日いただいております。",
    "山田は3月1日付で異動いたしました。後任は佐藤です。",
)
LEFT = (
    "Please be advised that Bob is no longer employed with Lead Ltd. All enquiries should go to sales@lead.test",
    "Bob left Lead at the end of January. Please update your records and write to ann@lead.test.",
    "I have moved on from Lead. For sales, reach out to ann@lead.test.",
    "Herr Jones hat unser Haus zum 31.12. verlassen. Bitte richten Sie Ihre Anfragen an vertrieb@lead.test.",
    "Bob Jones a quitté l'entreprise. Pour toute demande : contact@lead.test",
    "Bob Jones dejó la empresa en enero. Diríjase a Ana López, ana@lead.test.",
    "O Bob Jones deixou de colaborar com a Lead. Por favor contacte comercial@lead.test.",
    "Bob Jones non fa più parte del nostro team. Scrivere a vendite@lead.test.",
    "Bob Jones heeft onze organisatie verlaten. Stuur uw bericht naar info@lead.test.",
    "Bob Jones zakończył współpracę z naszą firmą. Prosimy o kontakt: biuro@lead.test",
    "Bob Jones har slutat på Lead. Kontakta info@lead.test.",
    "ジョーンズは2月末をもちまして退職いたしました。今後は営業部(eigyo@lead.test)までお願いいたします。",
    "Bob Jones is not employed here any longer.",
    "Bob Jones' employment with Lead has ended.",
    "Our colleague Bob Jones is no longer available at this address, he left us in May.",
    "Bob Jones steht Ihnen leider nicht mehr zur Verfügung, da er das Unternehmen gewechselt hat.",
    "Unser Mitarbeiter Bob Jones ist seit dem 1. Februar in Rente.",
    "Le collaborateur que vous cherchez à joindre a quitté la société.",
    "Monsieur Jones n'exerce plus au sein de notre entreprise.",
    "La persona a la que escribe ya no forma parte de la plantilla.",
    "O colaborador já não faz parte dos nossos quadros.",
    "O funcionário não integra mais o quadro da empresa.",
    "Il destinatario non è più in forza presso la nostra azienda.",
    "De heer Jones is sinds 1 januari niet meer bij ons in dienst.",
    "Pan Jones nie jest już pracownikiem naszej firmy.",
    "Bob har slutat sin anställning hos oss.",
    "Bob jobbar inte kvar här.",
    "山田は当社を退職しております。",
)
PEOPLE = (
    "I'm traveling for the rest of the month, let me know a good time in April.",
    "Currently on vacation. Will read this properly next week, but at first sight we already have something like it.",
    "I'm out until the 9th. Resend then and I'll take a look.",
    "I'm on parental leave and no longer handle procurement, Anna (anna@lead.test) does. She would love a demo.",
    "Bin bis Freitag auf Dienstreise, danach schaue ich mir das gerne an.",
    "Je suis en congé cette semaine, on se parle lundi prochain ?",
    "Estoy fuera toda la semana, mándame una propuesta y la veo el lunes.",
    "Tô de férias, me chama na volta!",
    "Sono in ferie, ci risentiamo la settimana del 16?",
    "Ben vandaag vrij, bel morgen even terug.",
    "Jestem na urlopie, odezwij się po 9 marca.",
    "Jag är på semester, hör av dig i april så tar vi ett möte.",
    "今週は出張なので、来週改めてお話を伺えますか?",
    "I'm out of the office on Monday but Tuesday at 10 suits me.",
    "On PTO this week. Let's reconnect the week of the 16th.",
    "I'm away until Thursday; grab a slot on my calendar after that: calendly.com/bob",
    "We're closed next week for inventory. Ask me again in April.",
    "Bob is on holiday, I look after his mailbox. We do not need this.",
    "I am covering for Bob while he is on leave. Please send the details to me.",
    "I'm leaving the company at the end of the month, so talk to Ann (ann@lead.test) instead.",
    "Bob left us last year, I do purchasing now.",
    "He no longer works with us, sorry.",
    "My predecessor has retired. What is this about?",
    "Thanks, but I'm retired and not buying anything.",
    "I will be on vacation when your event takes place, so no.",
    "I'm sick today, can we move the call to tomorrow?",
    "Out of office until Monday, but forward me the deck and I'll have a look from the beach.",
    "I'm on parental leave, so this is not for me right now.",
    "Our office is closed on Fridays. Thursday afternoon would work.",
    "Ich bin diese Woche im Urlaub, melden Sie sich doch ab dem 16. noch einmal.",
    "Bin bis Mittwoch unterwegs, Donnerstag 10 Uhr würde passen.",
    "Im Urlaub lese ich ungern Werbung. Bitte keine weiteren Mails.",
    "Frau Lenz ist im Mutterschutz, ich vertrete sie. Worum geht es?",
    "Mein Kollege ist nicht mehr im Unternehmen, ich habe das übernommen.",
    "Ich bin ab 1. April in Rente und brauche das nicht mehr.",
    "Wir haben gerade Betriebsferien, aber das Thema interessiert mich.",
    "Nach meinem Urlaub gerne, sagen wir am 24.?",
    "Je suis en congés la semaine prochaine, mais le mardi 17 à 10 h me convient.",
    "Je ne travaille plus sur ce sujet, voyez avec Paul.",
    "Paul a quitté l'entreprise, je reprends ses dossiers.",
    "Je pars en vacances demain, envoyez-moi votre plaquette d'ici là.",
    "Estoy de viaje esta semana, pero el jueves 12 a las 10 me viene bien.",
    "Pedro ya no está con nosotros, ahora lo llevo yo.",
    "Salgo de vacaciones mañana, mándeme la información antes.",
    "Estou de férias mas podemos falar na próxima terça às 10h.",
    "O Pedro já não trabalha cá, agora sou eu o responsável. De que se trata?",
    "Sono in ferie questa settimana, ma giovedì 12 alle 10 va bene.",
    "Il collega è andato in pensione, ora me ne occupo io.",
    "Ora sono fuori sede, mi chiami giovedì.",
    "Ik ben volgende week met vakantie, maar dinsdag de 17e om 10 uur schikt.",
    "Jan werkt hier niet meer, ik heb zijn taken overgenomen.",
    "Ik ben ziek thuis; kunnen we de afspraak verzetten?",
    "Ben er tot maandag niet, stuur gerust wat informatie door.",
    "W przyszłym tygodniu jestem na urlopie, ale wtorek 17 marca o 10 pasuje.",
    "Jan już u nas nie pracuje, teraz ja się tym zajmuję.",
    "Jestem chory, przełóżmy rozmowę na środę.",
    "Jag är på semester nästa vecka, men tisdag den 17 klockan 10 fungerar.",
    "Jan har slutat, jag har tagit över hans uppgifter.",
    "Jag är sjuk idag, kan vi flytta mötet?",
    "Borta till måndag. Ring mig på tisdag.",
    "来週は休暇ですが、17日の10時なら可能です。",
    "前任の山田は退職しましたので、私が担当しております。",
    "本日は体調不良のため、打ち合わせを延期させてください。",
    "今週は出張中です。資料をお送りください。",
)


@pytest.mark.parametrize(("text", "back"), NOTES)
def test_a_note_needs_no_header_and_names_its_day(text: str, back: date | None) -> None:
    found = automatic(text, Subject="Hello")
    assert found is not None
    assert (found.intent, found.return_date) == ("out_of_office", back)


@pytest.mark.parametrize("text", NOTES_WITH_SIGN)
def test_a_note_with_a_header_is_one_too(text: str) -> None:
    found = automatic(text, Subject="Hello", Auto_Submitted="auto-replied")
    assert found is not None
    assert found.intent == "out_of_office"


@pytest.mark.parametrize("text", MACHINES)
def test_whatever_else_a_machine_answers_is_no_absence(text: str) -> None:
    found = automatic(text, Subject="Hello", Auto_Submitted="auto-replied")
    assert found is not None
    assert (found.intent, found.left_company) == ("auto_reply", False)


@pytest.mark.parametrize("text", LEFT)
def test_a_machine_says_that_somebody_has_left(text: str) -> None:
    found = automatic(text, Subject="Hello", Auto_Submitted="auto-replied")
    assert found is not None
    assert (found.intent, found.left_company) == ("auto_reply", True)


@pytest.mark.parametrize("text", PEOPLE)
def test_a_person_is_no_machine(text: str) -> None:
    assert automatic(text) is None


OWN_MAILBOX = (
    "Bob Jones no longer works at Lead Ltd. Please contact Ann Lee at ann@lead.test.",
    "Thank you for your email. I am no longer with the company. Please direct your request to ann@lead.test.",
    "I have left Lead Ltd as of 1 March. My successor is Ann Lee, ann@lead.test.",
    "Bob has retired. This mailbox is not monitored.",
    "Vielen Dank für Ihre Nachricht. Bob Jones ist nicht mehr im Unternehmen. Bitte wenden Sie sich an ann@lead.test.",
    "Ich bin nicht mehr bei der Lead GmbH beschäftigt. Meine Nachfolgerin ist Ann Lee, ann@lead.test.",
    "Bonjour, Bob Jones ne fait plus partie de la société. Veuillez contacter ann@lead.test.",
    "Je ne travaille plus chez Lead. Merci de contacter Ann Lee : ann@lead.test",
    "Bob Jones ya no trabaja en la empresa. Por favor, diríjase a ann@lead.test.",
    "Bob Jones já não trabalha na empresa. Contacte ann@lead.test.",
    "Bob Jones non lavora più in azienda. Si prega di contattare ann@lead.test.",
    "Bob Jones is niet meer werkzaam bij Lead. Neem contact op met ann@lead.test.",
    "Bob Jones nie pracuje już w naszej firmie. Proszę o kontakt z ann@lead.test.",
    "Bob Jones arbetar inte längre hos oss. Kontakta ann@lead.test.",
    "Bob Jonesは退職いたしました。後任の田中(ann@lead.test)までご連絡ください。",
)


@pytest.mark.parametrize("text", OWN_MAILBOX)
def test_who_has_left_is_said_by_their_own_mailbox(text: str) -> None:
    found = automatic(text, Subject="Hello")
    assert found is not None
    replacement = "ann@lead.test" if "ann@" in text else None
    assert (found.intent, found.left_company, found.replacement) == ("auto_reply", True, replacement)


@pytest.mark.parametrize("text", [each for each in OWN_MAILBOX if each.startswith("Bob Jones")])
def test_the_same_words_from_another_mailbox_are_a_persons(text: str) -> None:
    assert automatic(text, From="Eve Adams <eve@lead.test>") is None


def test_an_address_far_from_any_word_of_contact_is_no_successor() -> None:
    found = automatic("Bob Jones has left the company.\n\nLead Ltd\n\nimprint@lead.test", Auto_Submitted="auto-replied")
    assert found is not None
    assert (found.left_company, found.replacement) == (True, None)


def test_who_writes_that_they_have_left_may_be_a_person() -> None:
    text = "I no longer work at Lead. Ann (ann@lead.test) does that now."
    assert automatic(text, Subject="Re: Hello") is None
    assert automatic(f"Thank you for your e-mail. {text}", Subject="Re: Hello") is not None


MORE_LANGUAGES = (
    ("Tak for din mail. Jeg er på ferie til og med 13. marts. Ved hastende sager kontakt min kollega Jens.", 13),
    ("Jeg er ikke på kontoret, men er tilbage mandag den 16. marts.", 16),
    ("Takk for din e-post. Jeg er på ferie til og med 13. mars. Ved hastesaker, kontakt min kollega Per.", 13),
    ("Jeg er ikke på kontoret og er tilbake mandag 16. mars.", 16),
    ("Děkuji za zprávu. Jsem na dovolené do 13. března. V naléhavých případech kontaktujte kolegu Nováka.", 13),
    ("Jsem mimo kancelář a vrátím se 16. března.", 16),
    ("Kiitos viestistäsi. Olen lomalla 13.3. asti. Kiireellisissä asioissa ota yhteyttä kollegaani.", 13),
    ("En ole toimistolla. Palaan 16.3.", 16),
)


@pytest.mark.parametrize(("text", "day"), MORE_LANGUAGES)
def test_notes_are_read_in_danish_norwegian_czech_and_finnish(text: str, day: int) -> None:
    found = automatic(text, Subject="Hello")
    assert found is not None
    assert (found.intent, found.return_date) == ("out_of_office", date(2026, 3, day))
