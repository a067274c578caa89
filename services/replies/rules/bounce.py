"""Delivery reports and complaints: is it one, about whom, which message, and what does it say (RFC 3464, RFC 5965).

Judges shapes and wording families; never decides whether a report is about a message of ours, which the ledger knows.
"""

import re

import msgspec

from services.replies.rules.notification import Notification, read_notification
from services.replies.rules.parse import (
    Headers,
    Message,
    Part,
    addresses,
    decoded,
    mailbox,
    message_ids,
    parse_headers,
    text_of,
)
from services.replies.rules.refusal import BounceClass, classify
from services.replies.rules.wording import any_of

MAX_RECIPIENTS = 20  # of one report that are read; ours have one
MARK_FIELD = "x-coldstream-ref"  # our token (libs/schema/ids.py), for relays that rewrite the Message-ID

_RETURNED = frozenset(
    {"message/rfc822", "text/rfc822-headers", "message/rfc822-headers", "message/global", "message/global-headers"}
)
_DAEMON = any_of(
    r"""
    mailer-?daemon|^(?:mail)?postmaster@|mail[. ]deliver|delivery (?:sub)?system|mail delivery|mmsc ndr
    """
)
_SUBJECT = any_of(
    r"""
    undeliver|deliver(?:y|ing) (?:status|fail|notif|report|delay|problem|error)
    fail(?:ed|ure)? (?:notice|deliver)|returned mail|mail.{0,20}fail|mail system error|delayed mail
    could not (?:be )?(?:deliver|send)|error sending|not delivered|non remis|unzustellbar|zustell|entregad
    mail status|message status|mail error|warning: could not|nicht zugestellt|не доставл|недоставл|メールエラー|配信
    return(?:ed)? to sender
    """
)
_WORDS = any_of(
    r"""
    (?:was|were|be|been|is)(?: not|n't)? (?:able to be )?deliver|could(?: not|n't) (?:be )?deliver
    unable to deliver|deliver(?:y|ing) .{0,60}fail|not deliver|undeliver|permanent(?:ly)? (?:fatal )?error
    returned errors|did not reach|trouble delivering|user unknown|unknown user|mailbox (?:is )?full
    delivery fail|rejected|送信できません|配信できません
    """
)
# The line from which on a plain notice quotes the message that came back.
_BELOW = any_of(
    r"""
    (?m:^[-=_* >]{0,40}(?:below this line|(?:this|enclosed|here) is a copy|copy of|original message|unsent message).*$)
    (?m:^[-=_* >]{0,40}(?:returned message|message header|header of|included is|your message (?:is|was) included).*$)
    (?m:^[-=_* >]{0,40}(?:undelivered message|forwarded message|message follows?|the failed message).*$)
    (?m:^[-=_* >]{0,40}the original message(?! was).*$)
    (?m:^[-=_* >]{0,40}(?:text of|remainder of|original mail|mail header|transmitted message|start of returned).*$)
    (?m:^received:\s?from .*$)|(?m:^return-path: ?<.*$)
    """
)
_NOT_RECIPIENTS = re.compile(
    r"^.*(?:mail from|envelope-from|envelope sender|^\s*from:|^from ).*$", re.IGNORECASE | re.MULTILINE
)
# An address where a notice begins to speak of it: at the head of a line, behind a bracket, a bullet or a reply code.
_LINE_HEAD = re.compile(
    r"""^[\s"'<(*>]{0,20}(?:[45]\d\d[ <]{1,2})?([^\s<>"'()\[\],;:@]{1,320}@[^\s<>"'()\[\],;:@]{1,255})""", re.MULTILINE
)
_ONLY_DELAYED = any_of(
    r"""
    warning (?:message )?only|will be retried|still being retried|has been delayed|delivery.{0,20}delayed
    not yet been delivered
    """
)
_AFTER_DATA = any_of(
    r"""
    end of data|in reply to data|>>> ?data\s{1,80}<<<|smtp command\s{1,80}data\b|after data|for data command
    """
)
_NO_REPLY = re.compile(r"\bno-?reply@", re.IGNORECASE)
_ADDRESS = re.compile(r"<?[^\s<>@]+@[^\s<>@]+>?")
_SMTP_LINE = re.compile(r"(?<![\d.])[45]\d\d(?:[ -]|: )\S")


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
    tokens: tuple[str, ...]  # our own mark in its header
    feedback_type: str = ""


def read_report(message: Message) -> Report | None:
    """The report in the message; None where it is none, which an ordinary reply must always be."""
    notification = read_notification(message)
    if notification:
        return _from_notification(message, notification)
    returned = _returned_headers(message)
    complaint = _complaint(message, returned)
    if complaint:
        return complaint
    recipients = _from_status(message)
    if not recipients and _looks_like_notice(message):
        recipients = _from_notice(message, returned)
    if not recipients:
        return None
    return _report(message, returned, recipients[:MAX_RECIPIENTS])


def _report(message: Message, returned: list[Headers], recipients: list[Recipient], feedback_type: str = "") -> Report:
    own = [message.headers.first("in-reply-to"), message.headers.first("references")]
    ids = [*(headers.first("message-id") for headers in returned), *own]
    tokens = [value.strip() for headers in returned for value in headers.every(MARK_FIELD)]
    return Report(
        recipients=tuple(recipients),
        message_ids=tuple(dict.fromkeys(each for value in ids for each in message_ids(value))),
        tokens=tuple(dict.fromkeys(token for token in tokens if token)),
        feedback_type=feedback_type,
    )


def _returned_headers(message: Message) -> list[Headers]:
    """The header of the message that came back: enclosed as a part, or quoted below a notice."""
    enclosed = [
        parse_headers(decoded(part).lstrip(b"\r\n")) for part in message.parts if part.content_type in _RETURNED
    ]
    if enclosed:
        return enclosed
    quoted = [_split_notice(text_of(part))[1] for part in message.parts if part.content_type == "text/plain"]
    return [_quoted_headers(text) for text in quoted if text]


def _quoted_headers(text: str) -> Headers:
    """The fields of a quoted message; marker lines and blank ones between them are skipped."""
    lines = [line for line in text[:20_000].split("\n") if line.strip()]
    return parse_headers("\n".join(lines).encode())


def _complaint(message: Message, returned: list[Headers]) -> Report | None:
    part = _first(message, "message/feedback-report")
    if part is not None:
        fields = parse_headers(decoded(part).lstrip(b"\r\n"))
        listed = fields.every("original-rcpt-to") or fields.every("removal-recipient")
        kind = fields.first("feedback-type").lower() or "abuse"
    elif returned and mailbox(message.headers.first("from")).address == "staff@hotmail.com":
        # Microsoft's junk mail reports: no RFC 5965, the complained-about message is enclosed.
        listed, kind = returned[0].every("x-hmxmroriginalrecipient"), "abuse"
    else:
        return None
    people = addresses(" ".join(listed) or " ".join(headers.first("to") for headers in returned), MAX_RECIPIENTS)
    return _report(message, returned, [Recipient(address=each, action="complained") for each in people], kind)


def _from_notification(message: Message, told: Notification) -> Report | None:
    shown = Headers(tuple((field.name.lower(), field.value) for field in told.mail.headers))
    recipients = [
        _judge(each.email_address.lower(), each.action, each.diagnostic_code.partition(";")[2], "", each.status)
        for each in told.told()[:MAX_RECIPIENTS]
    ]
    kind = told.complaint.complaint_feedback_type if told.notification_type == "Complaint" else ""
    return _report(message, [shown], recipients, kind) if recipients else None


def _first(message: Message, *content_types: str) -> Part | None:
    return next((part for part in message.parts if part.content_type in content_types), None)


def _from_status(message: Message) -> list[Recipient]:
    """The recipients of a message/delivery-status part (RFC 3464 §2.3), or of the same fields written into a text."""
    part = _first(message, "message/delivery-status", "message/global-delivery-status")
    text = text_of(part) if part else ""
    is_report = message.params.get("report-type", "").lower() == "delivery-status"
    if not text and (is_report or _looks_like_notice(message)):
        text = next((each for each in map(text_of, message.parts) if "final-recipient:" in each.lower()), "")
    groups = [parse_headers(block.encode()) for block in re.split(r"\n[ \t]*\n", text.strip("\n"))]
    groups = [group for group in groups if "final-recipient" in group or "original-recipient" in group]
    notice = _notice_of(message) if len(groups) == 1 else ""
    return [_from_fields(group, notice) for group in groups]


def _from_fields(group: Headers, notice: str) -> Recipient:
    address = _typed(group.first("original-recipient")) or _typed(group.first("final-recipient"))
    action = group.first("action").split(" ")[0].lower() or "failed"
    status = group.first("status").partition(" ")[0]
    diagnostic = group.first("diagnostic-code").partition(";")[2].strip() or group.first("diagnostic-code")
    # A status field's comment is part of what the server says: "5.2.1 (mailbox disabled)".
    words = diagnostic or group.first("status").partition(" ")[2] or _smtp_words(notice)
    return _judge(address, action, words, notice or words, status)


def _typed(value: str) -> str:
    found = addresses(value.partition(";")[2], 1) or addresses(value, 1)
    return found[0] if found else ""


def _judge(address: str, action: str, words: str, notice: str, status: str = "") -> Recipient:
    refusal = classify(words, status=status, after_data=bool(_AFTER_DATA.search(notice)))
    refused = action in {"failed", "failure"}
    return Recipient(
        address=address,
        action="failed" if refused else action,
        status=refusal.status,
        code=refusal.code,
        reason=refusal.reason if refused or action == "delayed" else action,
        bounce_class=refusal.bounce_class if refused else "none",
        diagnostic=words[:500],
    )


def _looks_like_notice(message: Message) -> bool:
    """Whether a mail system wrote it about a failed delivery: it says that it is one, and speaks of a failure."""
    headers = message.headers
    sender = headers.first("from")
    if "x-failed-recipients" in headers or message.params.get("report-type", "").lower() == "delivery-status":
        return True
    null_path = headers.first("return-path").strip().upper() in {"<>", "<MAILER-DAEMON>"}
    by_daemon = sender.strip() == "<>" or any(_DAEMON.search(each) for each in (sender, mailbox(sender).address))
    # Some systems call themselves nothing, but give the message back.
    gives_back = any(part.content_type in _RETURNED for part in message.parts)
    by_machine = by_daemon or (gives_back and (null_path or bool(_NO_REPLY.search(sender))))
    if not (by_machine or null_path):
        return False
    subject, notice = bool(_SUBJECT.search(headers.first("subject"))), bool(_WORDS.search(_notice_of(message)[:5000]))
    return subject or notice if by_machine else subject and notice


def _notice_of(message: Message) -> str:
    """What the mail system itself wrote: the first text, down to the message that it returns."""
    part = next((each for each in message.parts if each.content_type.startswith("text/plain")), None)
    return _split_notice(text_of(part))[0] if part else ""


def _split_notice(text: str) -> tuple[str, str]:
    below = _BELOW.search(text, 1)
    return (text[: below.start()], text[below.start() :]) if below else (text, "")


def _from_notice(message: Message, returned: list[Headers]) -> list[Recipient]:
    """The recipients that a notice in plain words speaks of."""
    notice = _notice_of(message)
    action = "delayed" if _ONLY_DELAYED.search(notice) else "failed"
    people = _people(message, notice, returned)
    if len(people) == 1:
        return [_judge(people[0], action, _smtp_words(notice), notice)]
    places = sorted((max(notice.lower().find(each), 0), each) for each in people)
    ends = [at for at, _ in places[1:]] + [len(notice)]
    blocks = [(each, notice[at:end]) for (at, each), end in zip(places, ends, strict=True)]
    return [_judge(each, action, _smtp_words(block), block) for each, block in blocks]


def _people(message: Message, notice: str, returned: list[Headers]) -> list[str]:
    failed = addresses(message.headers.first("x-failed-recipients"), MAX_RECIPIENTS)
    if failed:
        return failed
    ours = " ".join(
        [message.headers.first(name) for name in ("to", "x-original-to", "delivered-to", "from", "envelope-to")]
        + [headers.first("from") for headers in returned]
    )
    own = set(addresses(ours))
    named = [each for each in addresses(_NOT_RECIPIENTS.sub("", notice)) if each not in own]
    to = [each for headers in returned for each in addresses(headers.first("to")) if each not in own]
    heads = set(addresses(" ".join(_LINE_HEAD.findall(notice)), MAX_RECIPIENTS))
    named = [each for each in named if each in heads or each in to] or named
    return (named or to or [""])[:MAX_RECIPIENTS]


def _smtp_words(notice: str) -> str:
    """The notice from its first SMTP reply on, or all of it: what stands before is the mail system's own politeness."""
    found = _SMTP_LINE.search(notice)
    return notice[found.start() :] if found else notice


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
