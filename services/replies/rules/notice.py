"""A mail system's notice in plain words: is it one, where does it end, and which addresses does it speak of.

Never calls a person's words a notice: a machine must have sent it, or it must have the form that only machines write.
"""

import re

from services.replies.rules.folding import alternatives, fold
from services.replies.rules.parse import Headers, Message, Part, addresses, decoded, mailbox, parse_headers, text_of
from services.replies.rules.text import text_from_html
from services.replies.rules.wording import any_of

MAX_RECIPIENTS = 20  # of one report that are read; ours have one
MAX_TEXTS = 20  # parts that are looked at; a report has three
MAX_NOTICE_CHARS = 20_000  # that are read; what a mail system itself has to say is a page at most

_RETURNED = frozenset(
    {"message/rfc822", "text/rfc822-headers", "message/rfc822-headers", "message/global", "message/global-headers"}
)
_TEXTS = frozenset({"text/plain", "text/html"})
# Senders that are no persons: first the one that only machines use, then those that also people answer from.
# Exchange reports from one address name that is the same on every server.
_DAEMON = re.compile(
    r"mailer-?daemon|mail[. ]?deliver|delivery (?:sub)?system|mmsc ndr|microsoftexchange329e71", re.IGNORECASE
)
_POSTMASTER = any_of(
    r"""
    \b(?:mail)?post_?master\b|(?:^|<)(?:ndr|bounces?|mdaemon)@
    """
)
_ADMINISTRATOR = re.compile(r"(?:system|mail) administrator|mail system", re.IGNORECASE)
_NO_REPLY = re.compile(r"\bno-?reply@", re.IGNORECASE)
_ANSWERED = re.compile(r"(?:re|aw|fwd?|wg|sv|vs|antw|odp|rv|res|tr|enc|i|doorst)\s?(?:\[\d+\])?\s?:", re.IGNORECASE)
_SUBJECT = re.compile(
    alternatives(
        r"""
        undeliver|non-?deliver|deliver(?:y|ing) (?:status|fail|notif|report|delay|problem|error|warn|incomplete)
        fail(?:ed|ure)? (?:notice|deliver|mail)|returned mail|mail.{0,20}fail|mail system error|delayed mail
        could not (?:be )?(?:deliver|send)|error (?:sending|during delivery)|not delivered|mail delivery
        mail status|message status|mail error|warning: (?:could not|message)|return(?:ed)? to sender
        delivery has failed|message .{0,40}delayed|zustellung verzogert
        you sent blocked|ignored or not delivered
        unzustellbar|zustell|nicht zugestellt|nicht ubermittelt|non remis|non distribu|n'a pas pu etre|echec de
        entregad|devuelto|devolvid|entregue|falha na entrega|mancata consegna|recapit|non consegnat|bezorg
        onbestelbaar|niedostarcz|nie dostarczon|nie mozna dostarczyc|nedoruc|nelze doruc|olevererat
        no se (?:pudo|puede) entregar|(?:inte|ikke|ikkje).{0,20}lever|leverans\w{0,4} misslyck|teslim edileme
        iletileme|nelivrat|ei voitu toimittaa|toimitus epaonnist|kezbesit\w{1,10} (?:sikertelen|hiba)
        не доставл|недоставл|не уда\w{2,4} достав|ошибка достав
        メールエラー|配信|配送|配達|送信エラー|送信でき|送信失敗|不達|退信|(?:无法|未)(?:投递|送达|传递)
        (?:投递|投遞|傳遞|寄送)失[败敗]|無法(?:投遞|送達|傳遞|寄送)|배달(?:되지|하지|할 수)|(?:발송|전송) ?실패|반송
        """
    )
)
_WORDS = re.compile(
    alternatives(
        r"""
        (?:was|were|be|been|is)(?: not|n't)? (?:able to be )?deliver|could(?: not|n't) (?:be )?deliver
        unable to (?:be )?deliver|able to deliver|deliver(?:y|ing) .{0,60}fail|not deliver|undeliver|fail.{0,20}deliver
        permanent(?:ly)? (?:fatal )?error|returned errors|did not (?:reach|receive)|trouble delivering|user unknown
        unknown user|mail ?box (?:is )?full|rejected|not a valid user|postponed|could(?: not|n't) be sent
        \b[45]\d\d[ -]#?[45]\.\d{1,3}\.\d|final-recipient ?:|will be retried|no such (?:user|recipient)|no mail ?box
        (?:user|recipient|address|domain.{0,60}) (?:(?:was|is|could) )?not (?:be )?(?:found|listed|recogni[sz]ed)
        nicht (?:zugestellt|ubermittelt)|zustellung.{0,60}(?:fehl|nicht)|unzustellbar|non remis
        n'a pas (?:pu |encore )?(?:etre|ete)
        no (?:se )?(?:ha )?(?:pudo|podido|fue)|entregad|nao (?:foi|pode)|entregue|non (?:e stato|puo|sono stati)|recapit
        (?:inte|ikke).{0,20}lever|lever\w{2,8} (?:misslyck|mislyk)|teslim edileme|ei voitu toimittaa
        niet (?:worden )?(?:bezorgd|afgeleverd|besteld)|nie (?:zostala|mogla|mozna|dostarcz)|neb\w+ doruc|nelze doruc
        fehler bei der \w{0,20}zustellung|echec de (?:la )?(?:remise|livraison|distribution)|iletileme|livrat
        не (?:было|может|удалось|доставл)|недоставл|(?:送信|配信|配送|配達).{0,10}(?:でき|失敗|され|エラー)
        届けられ|届きません|(?:无法|未能?)(?:投递|送达|发送|传递)|無法(?:投遞|送達|傳遞|傳送|寄送)|退信
        (?:배달|전송|발송)(?:되지|하지|할 수| ?실패)|반송
        """
    )
)
# How mail systems begin; a person who writes of an undelivered mail begins otherwise, and lists nobody.
_FORMULA = any_of(
    r"""
    ^\W{0,20}this (?:message|is an?) .{0,30}automatic|^\W{0,20}a message that you sent
    ^\W{0,20}(?:the )?following (?:mail|message|recipient|address|e-?mail)
    ^\W{0,20}could not deliver (?:the )?(?:message|mail) to|^\W{0,20}delivery (?:to|of|has failed)
    ^\W{0,20}non-?delivery report|^\W{0,20}failed recipients?|^\W{0,20}unable to deliver (?:the )?(?:mail|message)
    ^\W{0,20}(?:your|the|this) (?:e-?mail|mail|message)(?: below| above)?.{0,80}(?:could|was) not (?:be )?delivered
    ^\W{0,20}message from .{0,60}(?:virus|security)|^\W{0,20}votre message n'a pas pu etre delivre
    """
)
# The line from which on a plain notice quotes the message that came back.
_BELOW = any_of(
    r"""
    (?m:^[-=_* >]{0,40}(?:below this line|(?:this|enclosed|here) is a copy|copy of|original message|unsent message).*$)
    (?m:^[-=_* >]{0,40}(?:returned (?:message|mail)|message headers?|headers? of|included is|old message).*$)
    (?m:^[-=_* >]{0,40}(?:your message (?:is|was) included|undelivered message|forwarded message).*$)
    (?m:^[-=_* >]{0,40}(?:message follows?|the failed message|attachment is a copy).*$)
    (?m:^[-=_* >]{0,40}the (?:headers? and|following headers).*$)
    (?m:^[-=_* >]{0,40}the original message(?! was).*$)|(?m:^[-=_* >]{0,40}original message headers.*$)
    (?m:^[-=_* >]{0,40}(?:text of|remainder of|original mail|mail header|transmitted message|start of returned).*$)
    (?m:^received:\s?from .*$)|(?m:^return-path: ?<.*$)
    """
)
_QUOTED_FIELD = re.compile(
    r"(?:Received|Return-Path|Message-ID|DKIM-Signature|X-[\w-]{1,60}|From|Date): ?\S", re.IGNORECASE
)
_NOT_RECIPIENTS = re.compile(
    r"^.*(?:mail from|envelope-from|envelope sender|^\s*from:|^from |contact|please send|(?<!in )reply to"
    r"|message-id).*$",
    re.IGNORECASE | re.MULTILINE,
)
_LISTED = re.compile(
    r"(?:following|these) .{0,40}(?:recipient|address|user|people|person|mailbox)|failed (?:recipient|address)",
    re.IGNORECASE,
)
# An address where a notice begins to speak of it: at the head of a line, behind a bracket, a bullet or a reply code.
_LINE_HEAD = re.compile(
    r"""^[\s"'<(*>\[]{0,20}(?:[45]\d\d[ <]{1,2})?([^\s<>"'()\[\],;:@]{1,320}@[^\s<>"'()\[\],;:@]{1,255})""",
    re.MULTILINE,
)
# A server's reply as a notice shows it: "Reason: 550 unknown user"; "Order: 550 pieces" is none.
_REPLY = re.compile(
    r"^(?:[^:\n]{0,40}: ?)?[45]\d\d[ -](?:[45]\.\d{1,3}\.\d|.{0,60}\b(?:user|mail ?box|recipient|relay)\b)",
    re.IGNORECASE | re.MULTILINE,
)
_X400 = re.compile(r"\b(?:dda:)?smtp=", re.IGNORECASE)  # "c=US;a= ;p=Acme;dda:SMTP=bob@lead.test;"
_MAILTO = re.compile(r"mailto:([^\s\"'<>?&]{1,320}@[^\s\"'<>?&]{1,255})", re.IGNORECASE)
_OFFICES = ("postmaster@", "mailer-daemon@", "abuse@", "mailerdaemon@")


def returned_headers(message: Message) -> list[Headers]:
    """The header of the message that came back: enclosed as a part, quoted below a notice, or standing on its own."""
    parts = message.parts[:MAX_TEXTS]
    enclosed = [parse_headers(decoded(part).lstrip(b"\r\n")) for part in parts if part.content_type in _RETURNED]
    # A part that begins with the message's own header instead of one of a part's.
    enclosed += [part.headers for part in parts if _is_returned(message, part)]
    if enclosed:
        return enclosed
    texts = [read_text(part) for part in parts if part.content_type == "text/plain"]
    quoted = [text if _QUOTED_FIELD.match(text.lstrip()) else _split(text)[1] for text in texts]
    return [_quoted_headers(text) for text in quoted if text]


def notice_of(message: Message) -> str:
    """What the mail system itself wrote: the first text or page, down to the message that it returns.

    A part that begins with a message's header is that message, wherever it stands.
    """
    own = (part for part in message.parts[:MAX_TEXTS] if not _is_returned(message, part))
    texts = filter(str.strip, (read_text(part) for part in own if part.content_type in _TEXTS))
    first = next(texts, "")
    if len(message.parts) > 1 and _QUOTED_FIELD.match(first.lstrip()):
        first = next(texts, first)
    return _split(first)[0]


def is_notice(message: Message) -> bool:
    """Whether a mail system wrote it about a failed delivery: it says that it is one, and speaks of a failure."""
    headers = message.headers
    if "x-failed-recipients" in headers or "x-ms-exchange-message-is-ndr" in headers or is_report(message):
        return True
    sender = headers.first("from")
    by_daemon = bool(_DAEMON.search(sender)) or sender.strip() == "<>"
    if not by_daemon and is_by_hand(headers):
        return False
    null_path = has_null_path(headers)
    encloses = gives_back(message)
    subject = bool(_SUBJECT.search(fold(headers.first("subject"))))
    if by_daemon:
        return subject or encloses or _speaks_of_failure(message)
    is_office = bool(_POSTMASTER.search(sender))
    if is_office or _ADMINISTRATOR.search(sender):
        by_machine = null_path or encloses or "auto-submitted" in headers
        may_be = by_machine or (subject and "@" in notice_of(message))
        return (subject and (by_machine or is_office)) or (may_be and _speaks_of_failure(message))
    if encloses and (null_path or _NO_REPLY.search(sender)):
        return subject or _speaks_of_failure(message)
    return subject and _has_form(message, null_path=null_path, encloses=encloses)


def _speaks_of_failure(message: Message) -> bool:
    return bool(_WORDS.search(fold(notice_of(message)[:5000])))


def _has_form(message: Message, *, null_path: bool, encloses: bool) -> bool:
    """Nobody in particular sent it: then it begins as only machines do, and shows people, a reply or the message.

    Without a sender in its envelope one of the two is enough; an absence note has neither.
    """
    notice = notice_of(message)
    writer = mailbox(message.headers.first("from")).address  # a person's address may stand below his name
    lists = encloses or bool(_REPLY.search(notice)) or not {writer}.issuperset(_listed(notice))
    begins = bool(_FORMULA.search(fold(notice.lstrip()[:200])))
    if null_path:
        return begins or (lists and bool(_WORDS.search(fold(notice[:5000]))))
    return begins and lists


def is_report(message: Message) -> bool:
    """Whether it calls itself a delivery report (RFC 3464 §2)."""
    return message.params.get("report-type", "").lower() == "delivery-status"


def is_by_hand(headers: Headers) -> bool:
    """Whether somebody answered or forwarded something: what is a report in it is not the message itself."""
    automatic = headers.first("auto-submitted").strip().lower() not in {"", "no"}
    answers = "in-reply-to" in headers or bool(_ANSWERED.match(headers.first("subject")))
    by_daemon = bool(_DAEMON.search(headers.first("from")))
    return answers and not (automatic or by_daemon or has_null_path(headers))


def gives_back(message: Message) -> bool:
    """Whether another message is enclosed in it, or its header."""
    return any(part.content_type in _RETURNED for part in message.parts)


def has_null_path(headers: Headers) -> bool:
    """Whether its envelope names no sender, as that of a report must (RFC 3464 §2)."""
    return headers.first("return-path").strip().upper() in {"<>", "<MAILER-DAEMON>"}


def people(message: Message, notice: str, returned: list[Headers]) -> list[str]:
    """The addresses that the notice speaks of, at most MAX_RECIPIENTS; one "" where it names nobody."""
    failed = addresses(" ".join(message.headers.every("x-failed-recipients")), MAX_RECIPIENTS)
    if failed:
        return failed
    named = [
        each for each in addresses(_X400.sub(" ", _NOT_RECIPIENTS.sub("", notice))) if not each.startswith(_OFFICES)
    ]
    own = _own_addresses(message, returned)
    to = [each for headers in returned for each in addresses(headers.first("to")) if each not in own]
    heads = set(_listed(notice))
    others = [each for each in named if each not in own] or [each for each in named if each in heads]
    listed = _LISTED.search(notice)
    if listed:  # "To: the group … did not reach the following recipients: bob@lead.test"
        below = set(addresses(_X400.sub(" ", notice[listed.end() :])))
        others = [each for each in others if each in below] or others
    others = [each for each in others if each in heads or each in to] or others
    return (others or _linked(message, own) or to or [""])[:MAX_RECIPIENTS]


def _listed(notice: str) -> list[str]:
    """The addresses of which lines of the notice speak first."""
    return addresses(" ".join(_LINE_HEAD.findall(notice)), MAX_RECIPIENTS)


def _linked(message: Message, own: set[str]) -> list[str]:
    """The addresses behind the links of a page, which may show names alone."""
    pages = (text_of(part) for part in message.parts[:MAX_TEXTS] if part.content_type == "text/html")
    found = addresses(" ".join(link for page in pages for link in _MAILTO.findall(page[:MAX_NOTICE_CHARS])))
    return [each for each in found if each not in own and not each.startswith(_OFFICES)]


def _own_addresses(message: Message, returned: list[Headers]) -> set[str]:
    """Who gets the report, and who sends it: hardly the people that could not be reached."""
    names = ("to", "x-original-to", "delivered-to", "envelope-to", "from")
    found = [message.headers.first(name) for name in names]
    return set(addresses(" ".join(found + [headers.first("from") for headers in returned])))


def _is_returned(message: Message, part: Part) -> bool:
    """Whether the part is a message without its wrapping; the only part of a message has that message's own header."""
    return part.headers is not message.headers and "received" in part.headers and "from" in part.headers


def read_text(part: Part) -> str:
    """The part's text, of a page what it shows; at most MAX_NOTICE_CHARS."""
    text = text_of(part)
    return (text_from_html(text) if part.content_type == "text/html" else text)[:MAX_NOTICE_CHARS]


def _split(text: str) -> tuple[str, str]:
    below = _BELOW.search(text, 1)
    return (text[: below.start()], text[below.start() :]) if below else (text, "")


def _quoted_headers(text: str) -> Headers:
    """The fields of a quoted message; marker lines and blank ones between them are skipped."""
    lines = [line.lstrip("> ") if line[:1] == ">" else line for line in text.split("\n") if line.strip()]
    return parse_headers("\n".join(lines).encode())
