"""German."""

from services.replies.rules.lexicon import Lexicon

GERMAN = Lexicon(
    absence_subject=r"""
        abwesenheit\w*|automatische (?:antwort|abwesenheit\w*)|auto-?antwort|abwesend|nicht im (?:büro|haus)
        im urlaub|urlaub|außer haus|ausser haus
        """,
    absence=r"""
        (?:nicht|außer|ausser) (?:im|am|haus)(?: \w+)?(?: büro| haus| platz| arbeitsplatz)?|im (?:\w+ )?urlaub
        abwesend|in elternzeit|in mutterschutz|auf (?:dienst|geschäfts)?reisen?
        nicht (?:erreichbar|verfügbar|anwesend)|bin (?:ich )?(?:erst )?(?:wieder )?(?:ab|am|bis)|krankgeschrieben
        erkrankt
        """,
    absence_note=r"""
        (?:e-?mails?|nachrichten?) (?:wird|werden) nicht (?:\w+ )?(?:gelesen|weitergeleitet|bearbeitet)
        in (?:dringenden|eiligen) (?:fällen|angelegenheiten)
        (?:dringende|eilige)\w* (?:fälle|anliegen|angelegenheiten|anfragen)|nach meiner rückkehr
        wieder (?:im büro|erreichbar|für sie da|zurück|zu erreichen)|vertretung|wenden sie sich
        automatisch (?:erstellt|generiert|versendet)|eingeschränkt(?:en)? (?:zugriff|erreichbar)
        melde mich (?:danach|nach)
        """,
    automatic=r"""
        automatisch (?:erstellt|generiert|erzeugt|versendet|versandt)\w*
        automatische (?:nachricht|antwort|e-?mail|eingangsbestätigung)|eingangsbestätigung
        (?:wir haben )?ihre (?:e-?mail|nachricht|anfrage) (?:ist|wurde|erhalten|haben wir)(?: \w+)?
        ticket(?:nummer|-nr)|vorgangsnummer|nicht auf diese (?:e-?mail|nachricht)
        nicht mehr (?:im unternehmen|bei uns|für \w+ tätig|in unserem)|hat (?:das|unser) unternehmen verlassen
        ausgeschieden
        """,
    return_cue=r"""
        (?:wieder|zurück)(?: \w+){0,3}? (?:ab|am|zum)|(?:ab|am)(?: dem)?(?=.{0,40}(?:wieder|zurück))
        rückkehr(?: \w+)? (?:ab|am)
        """,
    until_cue=r"bis(?: \w+){0,2}?(?: zum| einschließlich| einschl\.| inkl\.)?|bis",
    months="""
        januar|jänner|jan, februar|feb, märz|maerz|mrz, april|apr, mai, juni|jun, juli|jul, august|aug,
        september|sept|sep, oktober|okt, november|nov, dezember|dez
        """,
    unsubscribe_whole=r"""
        (?:bitte )?(?:abmelden|austragen|abbestellen|löschen|entfernen|stopp?|stop)(?: bitte| danke)?
        keine (?:e-?mails?|werbung|mails) mehr(?: bitte)?
        """,
    unsubscribe=r"""
        (?:bitte|möchte|will|kann) (?:\w+ ){0,6}(?:abmelden|austragen|abbestellen)
        (?:nehmen|streichen|löschen|entfernen|tragen) sie (?:mich|uns|meine|unsere)(?: \w+){0,6}
        (?:mich|uns|meine \S+|unsere \S+)(?: \w+){0,5} (?:löschen|entfernen|streichen|austragen|verteiler\w*)
        (?:keine|nie) (?:weiteren? |mehr )?(?:e-?mails?|mails|nachrichten|werbung|kontaktaufnahme)
        (?:aus|von) (?:ihrem|dem|der|ihrer) (?:verteiler|liste|mailingliste)
        (?:schreiben|kontaktieren|mailen|belästigen|anschreiben) sie (?:mich|uns) (?:bitte )?(?:nicht|nie)(?: \w+)?
        hören sie auf|unterlassen sie|lassen sie (?:mich|uns) in ruhe
        """,
    declines=r"""
        nein,? danke|kein(?:en)? (?:interesse|bedarf|budget)|nicht interessiert
        (?:sind|bin) (?:bereits |schon )?(?:versorgt|gut aufgestellt|bestens|zufrieden)
        (?:haben|nutzen|arbeiten|verwenden) (?:wir |ich )?(?:bereits|schon)
        bereits (?:einen|eine|ein) (?:\w+ )?(?:anbieter|lösung|partner)|passt (?:leider )?nicht
        nichts für (?:uns|mich)|(?:derzeit|momentan|aktuell|zurzeit|im moment) (?:leider )?(?:nicht|kein\w*)
        kommt (?:für uns |leider )*nicht in ?frage|muss (?:ich )?(?:leider )?(?:absagen|ablehnen)|lehne ich ab
        """,
    negators=r"nicht|kein|keine|keinen|keinerlei|nie|niemals",
    wanted=r"interess\w*|interessiert|bedarf|relevant|benötigen|brauchen|suchen|passend",
    meeting=r"""
        termin(?:e|vorschlag|vorschläge)?|telefonat|(?:kurzes|gerne ein|ein) (?:telefonat|gespräch|meeting|call)
        telefonieren|rufen sie (?:mich|uns)|(?:mich|uns) an(?:rufen)?
        (?:passt|ginge|geht|klappt)(?: \w+){0,4} (?:montag|dienstag|mittwoch|donnerstag|freitag|morgen|uhr)
        (?:montag|dienstag|mittwoch|donnerstag|freitag) (?:um|ab|vormittag|nachmittag|passt)
        um \d{1,2}(?::\d\d)? uhr|kalender|demo(?: \w+)? (?:vereinbaren|ansehen|sehen|zeigen)|eine demo
        treffen wir uns|calendly\.com
        """,
    interested=r"""
        interessant|interessiert|(?:mehr|weitere|nähere) (?:infos?|informationen|details|unterlagen|erfahren)
        klingt (?:gut|spannend|interessant|super|vielversprechend)
        (?:schicken|senden|lassen) sie (?:mir|uns)(?: \w+){0,4}|(?:schick|send)(?:e|en)? (?:mir|uns)(?: \w+){0,4}
        gerne mehr|erzählen sie|neugierig|hört sich gut an|sehr gerne|ja,? gerne
        """,
    question=r"wer|was (?:kostet|ist|sind|bietet)|wann|wo|warum|wieso|welche\w*|wie (?:viel|teuer|lange|hoch)|preise?",
)
