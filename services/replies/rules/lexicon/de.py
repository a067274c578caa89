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
)
