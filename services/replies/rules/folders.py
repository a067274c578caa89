"""Which folder is which: by the flags of RFC 6154, else by the names that servers and programs give them.

Never takes a folder that cannot be opened. Names come as the server writes them (modified UTF-7, RFC 3501 §5.1.3).
"""

import base64
import binascii
import re
import unicodedata
from collections.abc import Sequence
from typing import Literal

import msgspec

Role = Literal["INBOX", "Junk", "Sent"]

_SHIFTED = re.compile(r"&([A-Za-z0-9+,]*)-")
_CLOSED = frozenset({"\\noselect", "\\nonexistent"})
_FLAGS: dict[Role, str] = {"Junk": "\\junk", "Sent": "\\sent"}
# One language a line: mail programs make folders in their user's language, and not all servers flag them.
_NAMES: dict[Role, str] = {
    "Junk": """
        junk | junk mail | junk email | junk e-mail | junk-e-mail | spam | spam mail | bulk | bulk mail
        spamverdacht | unerwünscht | junk-e-mail-ordner | spam-ordner
        courrier indésirable | indésirables | pourriel | pourriels
        correo no deseado | correo electrónico no deseado
        lixo eletrônico | lixo eletrónico | lixo electrónico | e-mail de lixo
        posta indesiderata
        ongewenste e-mail | ongewenste mail
        skräppost
        uønsket e-mail | uønsket mail | uønsket post | søppelpost
        roskaposti
        wiadomości-śmieci | niechciane
        nevyžádaná pošta | hromadná pošta | nevyžiadaná pošta
        levélszemét
        спам | нежелательная почта
        gereksiz | gereksiz e-posta | önemsiz e-posta
        迷惑メール
        垃圾邮件 | 垃圾郵件 | 垃圾箱
        스팸 | 스팸메일함 | 정크 메일
    """,
    "Sent": """
        sent | sent items | sent mail | sent messages | sent e-mail | sent-mail | sent email
        gesendet | gesendete objekte | gesendete elemente | gesendete nachrichten | gesendete e-mails
        envoyés | éléments envoyés | messages envoyés | courrier envoyé | envoyé
        enviados | elementos enviados | mensajes enviados | correo enviado
        itens enviados | mensagens enviadas | e-mails enviados | enviadas | correio enviado
        inviata | inviati | posta inviata | elementi inviati | messaggi inviati
        verzonden | verzonden items | verzonden berichten
        skickat | skickade objekt | skickade meddelanden
        sendt | sendt post | sendte elementer | sendt e-post | sendte meldinger
        lähetetyt | lähetetyt viestit
        wysłane | elementy wysłane | wysłane elementy
        odeslané | odeslaná pošta | odoslané | odoslaná pošta
        elküldött | elküldött elemek | elküldött üzenetek
        отправленные | надіслані
        gönderilmiş | gönderilmiş öğeler | gönderilenler | gönderilmiş postalar
        送信済み | 送信済みアイテム | 送信済みメール
        已发送 | 已发送邮件 | 已傳送郵件 | 寄件備份
        보낸편지함 | 보낸 편지함
    """,
}


class Folder(msgspec.Struct, frozen=True, kw_only=True):
    """A folder as LIST shows it: `mark` stands between its name and its parent's, flags are in lower case."""

    name: str
    mark: str
    flags: frozenset[str]


def readable(name: str) -> str:
    """The name in Unicode; what is no modified UTF-7 stays as it is."""
    try:
        return _SHIFTED.sub(_unshifted, name)
    except (binascii.Error, UnicodeDecodeError):
        return name


def choose(folders: Sequence[Folder]) -> dict[Role, str]:
    """The names of the folders that matter, as the server writes them; INBOX is always one (RFC 3501 §5.1)."""
    chosen: dict[Role, str] = {"INBOX": "INBOX"}
    usable = [each for each in folders if not each.flags & _CLOSED]
    for role, flag in _FLAGS.items():
        flagged = [each for each in usable if flag in each.flags]
        # The shallower it lies the likelier it is the account's own, and not an archive of another one.
        named = sorted((each for each in usable if _word(each) in _WORDS[role]), key=_depth)
        if flagged or named:
            chosen[role] = (flagged or named)[0].name
    return chosen


def _unshifted(match: re.Match[str]) -> str:
    if not match[1]:
        return "&"
    text = match[1].replace(",", "/")
    return base64.b64decode(text + "=" * (-len(text) % 4), validate=True).decode("utf-16-be")


def _depth(folder: Folder) -> int:
    return folder.name.count(folder.mark) if folder.mark else 0


def _word(folder: Folder) -> str:
    name = readable(folder.name)
    return _folded(name.rpartition(folder.mark)[2] if folder.mark else name)


def _folded(name: str) -> str:
    return unicodedata.normalize("NFKC", name).casefold().strip()


_WORDS = {
    role: frozenset(_folded(name) for line in names.strip().splitlines() for name in line.split("|"))
    for role, names in _NAMES.items()
}
