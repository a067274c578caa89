"""Delivery reports and complaints: is it one, about whom, which message, and what does it say (RFC 3464, RFC 5965).

Judges shapes and wording families; never decides whether a report is about a message of ours, which the ledger knows.
"""

import re

import msgspec

from services.replies.rules.notice import (
    MAX_RECIPIENTS,
    MAX_TEXTS,
    gives_back,
    is_by_hand,
    is_notice,
    is_report,
    notice_of,
    people,
    read_text,
    returned_headers,
)
from services.replies.rules.notification import Notification, read_notification
from services.replies.rules.parse import (
    Headers,
    Message,
    addresses,
    decoded,
    message_ids,
    parse_headers,
    text_of,
)
from services.replies.rules.refusal import BounceClass, classify, is_vague
from services.replies.rules.wording import any_of

MARK_FIELD = "x-coldstream-ref"  # our token (libs/schema/ids.py), for relays that rewrite the Message-ID
# Feedback that blames nobody: "this is no spam" (RFC 6430), and what a domain's owner asked to hear of (RFC 6591).
NOT_COMPLAINTS = frozenset({"not-spam", "auth-failure", "dmarc"})
MAX_STATUS_CHARS = 64_000  # of a delivery-status part that are read

# What a report may say happened (RFC 3464 §2.3.3); any other word there means that it failed.
_NOT_REFUSED = frozenset({"delayed", "delivered", "relayed", "expanded"})
_STATUS_TYPES = frozenset({"message/delivery-status", "message/global-delivery-status"})
_ONLY_DELAYED = any_of(
    r"""
    warning (?:message )?only|will be retried|still being retried|has been delayed|delivery.{0,20}delayed
    not yet been delivered|has been postponed|advisory-only|will (?:continue|keep) (?:to try|trying)
    \(delay(?:ed)?\)|noch nicht zugestellt|wird weiter versucht|zustellung verz.{1,2}gert
    n'a pas encore .{0,20}(?:remis|livr)|todav.a no se ha|ancora .{0,20}non .{0,20}consegn|ainda n.o foi
    nog niet .{0,20}bezorgd|jeszcze nie .{0,20}dostarcz|доставка .{0,20}(?:задерж|отлож)|配信が遅|再送を
    延迟送达|稍后重试
    """
)
_AFTER_DATA = any_of(
    r"""
    end of data|in reply to data|>>> ?data\s{1,80}<<<|smtp command\s{1,80}data\b|after (?:pipelined )?data
    for data command|after I sent the message
    """
)
_ADDRESS = re.compile(r"<?[^\s<>@]+@[^\s<>@]+>?")
_SMTP_LINE = re.compile(r"(?<![\d.])[45]\d\d(?:[ -]|: )\S")
# "554 <bob@lead.test>... Host unknown", as sendmail ends what it tells of one recipient.
_VERDICT_LINE = re.compile(r"^[45]\d\d (?:[45]\.\d{1,3}\.\d{1,3} )?<([^<>\s]{1,320})>\.{3} .{1,500}$", re.MULTILINE)
_BLANK_LINES = re.compile(r"\n(?:[ \t]*\n)+")
_OF_RECIPIENT = ("original-recipient", "final-recipient", "x-actual-recipient", "x-failed-recipient")
_GROUP_STARTS = frozenset({"original-recipient", "final-recipient", "action"})
# Microsoft's junk mail reports follow no RFC: the message is enclosed, and a field of its own says who complained.
_JUNK_REPORT, _JUNKED_BY = "complaint about message from", "x-hmxmroriginalrecipient"
# RFC 5965's own words (appendix B), which others write above the message without the part that goes with them.
_ABUSE_REPORT = re.compile(r"\W{0,20}this is an? (?:e-?mail |spam )?(?:abuse|spam|complaint) report", re.IGNORECASE)
_TYPE = re.compile(r"\A\s*[A-Za-z][\w.-]{0,40}\s*;\s*")  # "smtp; 550 no such user", "X-Notes; …"
# A token as an address carries it behind a plus (VERP), or as the left half of our Message-ID in running text.
_PLUS_TOKEN = re.compile(r"\+([a-z2-7]{26})@", re.IGNORECASE)
_SPOKEN_ID = re.compile(r"message-?id\W{1,10}([a-z2-7]{26})@", re.IGNORECASE)
_MAY_CARRY_TOKEN = ("to", "delivered-to", "x-original-to", "envelope-to", "return-path", "from", "sender", "errors-to")


class Recipient(msgspec.Struct, frozen=True, kw_only=True):
    """One recipient of a report; `action` is RFC 3464's word, class "none" where nothing was refused (delayed…)."""

    address: str
    action: str
    status: str = ""
    code: str = ""
    reason: str = ""
    bounce_class: BounceClass = "none"
    diagnostic: str = ""


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """A delivery report, or a complaint where `feedback_type` says what kind (RFC 5965 §3.1)."""

    recipients: tuple[Recipient, ...]
    message_ids: tuple[str, ...]  # of the message it is about, as far as the report shows them
    tokens: tuple[str, ...]  # ours: the mark in its header, behind the plus of an address, in the words of the report
    feedback_type: str = ""


def read_report(message: Message) -> Report | None:
    """The report in the message; None where it is none, which an ordinary reply must always be."""
    notification = read_notification(message)
    if notification:
        return _from_notification(message, notification)
    complaint = _complaint(message)
    if complaint:
        return complaint
    is_told = is_notice(message)
    groups = _groups(message, is_told=is_told)
    if not (groups or is_told):
        return None
    returned, notice = returned_headers(message), notice_of(message)
    named = [(address, group) for group in groups if (address := _address_of(group))]
    if named:
        recipients = _from_status(named, notice)
    elif groups:
        recipients = _from_status([(people(message, notice, returned)[0], groups[-1])], notice)
    else:
        recipients = _from_notice(people(message, notice, returned), notice, message.headers.first("subject"))
    return _report(message, returned, recipients, notice)


def _report(message: Message, returned: list[Headers], recipients: list[Recipient], notice: str) -> Report:
    of_returned = [headers.first("message-id") for headers in returned]
    # The references of a report may be those of its message: emails that it answers, and is not about.
    own = [message.headers.first("in-reply-to") or message.headers.first("references")]
    ids = [each for value in of_returned for each in message_ids(value)]
    ids = ids or [each for value in own for each in message_ids(value)]
    return Report(
        recipients=tuple(recipients),
        message_ids=tuple(dict.fromkeys(ids)),
        tokens=_tokens(message, returned, notice),
    )


def _tokens(message: Message, returned: list[Headers], notice: str) -> tuple[str, ...]:
    marks = [value.strip() for headers in returned for value in headers.every(MARK_FIELD)]
    shown = [headers.first(name) for headers in (message.headers, *returned) for name in _MAY_CARRY_TOKEN]
    behind_plus = [each.lower() for each in _PLUS_TOKEN.findall(" ".join(shown))]
    spoken = [each.lower() for each in _SPOKEN_ID.findall(notice)]
    return tuple(dict.fromkeys(token for token in [*marks, *behind_plus, *spoken] if token))


def _complaint(message: Message) -> Report | None:
    part = next((each for each in message.parts if each.content_type == "message/feedback-report"), None)
    if part is None and message.params.get("report-type", "").lower() == "feedback-report":
        part = next((each for each in message.parts[:MAX_TEXTS] if b"feedback-type:" in each.body.lower()), None)
    is_called_so = message.headers.first("subject").lower().startswith(_JUNK_REPORT)
    if part is None and not is_called_so and not (gives_back(message) and _ABUSE_REPORT.match(notice_of(message))):
        return None
    returned = returned_headers(message)
    if part is not None:
        fields = parse_headers(decoded(part).lstrip(b"\r\n"))
        listed = fields.every("original-rcpt-to") or fields.every("removal-recipient")
        kind = fields.first("feedback-type").lower() or "abuse"
    elif returned and (_JUNKED_BY in returned[0] or not is_called_so):
        listed, kind = returned[0].every(_JUNKED_BY), "abuse"
    else:
        return None
    named = addresses(" ".join(listed) or " ".join(headers.first("to") for headers in returned), MAX_RECIPIENTS)
    recipients = [Recipient(address=each, action="complained") for each in named]
    return msgspec.structs.replace(_report(message, returned, recipients, ""), feedback_type=kind)


def _from_notification(message: Message, told: Notification) -> Report | None:
    shown = Headers(tuple((field.name.lower(), field.value) for field in told.mail.headers))
    recipients = [
        _judge(each.email_address.lower(), each.action, _untyped(each.diagnostic_code), "", each.status)
        for each in told.told()[:MAX_RECIPIENTS]
    ]
    if not recipients:
        return None
    return msgspec.structs.replace(_report(message, [shown], recipients, ""), feedback_type=told.feedback_type)


def _groups(message: Message, *, is_told: bool) -> list[Headers]:
    """The fields of each recipient (RFC 3464 §2.3): of the part made for them, or of a text that they are written into.

    What somebody forwards is not his own report, though it has such a part.
    """
    if is_by_hand(message.headers) and not is_report(message):
        return []
    told = [part for part in message.parts[:MAX_TEXTS] if part.content_type in _STATUS_TYPES]
    text = "\n\n".join(text_of(part)[:MAX_STATUS_CHARS] for part in told)
    if not text and is_told:
        text = next(
            (each for each in map(read_text, message.parts[:MAX_TEXTS]) if "final-recipient:" in each.lower()), ""
        )
    blocks = _BLANK_LINES.split(text[:MAX_STATUS_CHARS].strip("\n"))
    groups = [group for block in blocks for group in _split_group(parse_headers(block.encode()))]
    return [each for each in groups if any(name in each for name in _OF_RECIPIENT) or "action" in each]


def _split_group(fields: Headers) -> list[Headers]:
    """A block's fields by recipient: some systems leave out the empty line between two."""
    groups: list[list[tuple[str, str]]] = [[]]
    for name, value in fields.fields:
        if name in _GROUP_STARTS and any(name == known for known, _ in groups[-1]):
            groups.append([])
        groups[-1].append((name, value))
    return [Headers(tuple(group)) for group in groups]


def _address_of(group: Headers) -> str:
    return next(filter(None, (_typed(group.first(name)) for name in _OF_RECIPIENT)), "")


def _from_status(named: list[tuple[str, Headers]], notice: str) -> list[Recipient]:
    """One recipient for each address; where a report speaks of one again, what it says last holds."""
    last = dict(list(dict(named).items())[:MAX_RECIPIENTS])
    words = _spoken_of(dict.fromkeys(last), notice)
    return [_from_fields(address, group, words[address]) for address, group in last.items()]


def _from_fields(address: str, group: Headers, notice: str) -> Recipient:
    action = group.first("action").split(" ")[0].lower() or "failed"
    status, _, comment = group.first("status").partition(" ")
    # A status field's comment is part of what the server says: "5.2.1 (mailbox disabled)".
    words = _untyped(group.first("diagnostic-code")) or comment or _smtp_words(notice, status)
    return _judge(address, action, words, notice or words, status)


def _untyped(diagnostic: str) -> str:
    return _TYPE.sub("", diagnostic, count=1).strip() or diagnostic


def _typed(value: str) -> str:
    found = addresses(value.partition(";")[2], 1) or addresses(value, 1)
    return found[0] if found else ""


def _judge(address: str, action: str, words: str, notice: str, status: str = "") -> Recipient:
    refusal = classify(words, status=status, after_data=bool(_AFTER_DATA.search(notice)))
    refused = action not in _NOT_REFUSED
    return Recipient(
        address=address,
        action="failed" if refused else action,
        status=refusal.status,
        code=refusal.code,
        reason=refusal.reason if refused or action == "delayed" else action,
        bounce_class=refusal.bounce_class if refused else "none",
        diagnostic=words[:500],
    )


def _from_notice(named: list[str], notice: str, subject: str) -> list[Recipient]:
    """The recipients that a notice in plain words speaks of."""
    action = "delayed" if _ONLY_DELAYED.search(notice) or _ONLY_DELAYED.search(subject) else "failed"
    words = _spoken_of(dict.fromkeys(named), notice)
    found = [_judge(each, action, _smtp_words(said), said) for each, said in words.items()]
    # What is said once for all of them stands above the first.
    shared = _judge("", action, _smtp_words(notice), notice)
    return [
        msgspec.structs.replace(shared, address=each.address) if each.reason == "unknown" else each for each in found
    ]


def _spoken_of(named: dict[str, None], notice: str) -> dict[str, str]:
    """What the notice says of each: of one all of it, of more what stands between his address and the next one's.

    In a transcript of the session it stands above the line that says what became of him.
    """
    if len(named) == 1:
        return dict.fromkeys(named, notice)
    lower = notice.lower()
    places = sorted((max(lower.find(each), 0), each) for each in named)
    ends = [at for at, _ in places[1:]] + [len(notice)]
    said = {each: notice[at:end] for (at, each), end in zip(places, ends, strict=True)}
    told: dict[str, str] = {}
    start = 0
    for verdict in _VERDICT_LINE.finditer(notice):
        told[verdict[1].lower()] = notice[max(start, notice.rfind("\n\n", 0, verdict.start())) : verdict.end()]
        start = verdict.end()
    return said | {each: words for each, words in told.items() if each in said}


def _smtp_words(notice: str, status: str = "") -> str:
    """The notice from its first SMTP reply on, or all of it: what stands before is the mail system's own politeness.

    Without such a reply its words tell less than a status that says something.
    """
    found = _SMTP_LINE.search(notice)
    if found:
        return notice[found.start() :]
    return notice if is_vague(status) else ""


def decisive(report: Report, lead_email: str | None) -> Recipient:
    """The recipient that decides about an email to one person: the person's own row, else the mildest of all rows.

    A list or a forwarding behind the address makes more rows; only when every one is dead, the address is.
    """
    own = next((each for each in report.recipients if lead_email and each.address == lead_email.lower()), None)
    mildness: tuple[BounceClass, ...] = ("none", "soft", "blocked", "hard")
    return own or min(report.recipients, key=lambda each: mildness.index(each.bounce_class))


def without_addresses(text: str) -> str:
    """The text with each address masked: an event holds none (design.md §3)."""
    return " ".join(_ADDRESS.sub("<address>", text).split())
