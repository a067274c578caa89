"""A whole message read once: its kind, who wrote it, what it says. Never knows what we sent: that is the ledger's."""

import re
from datetime import date
from email.utils import parsedate_to_datetime
from typing import Literal

import msgspec

from libs.schema.events.reply import Intent
from services.replies.rules.auto_reply import AutoReply, read_auto_reply
from services.replies.rules.bounce import MARK_FIELD, Recipient, Report, read_report
from services.replies.rules.intent import Reading, read_intent
from services.replies.rules.parse import Headers, Mailbox, Message, mailbox, message_ids, parse
from services.replies.rules.refusal import BounceClass
from services.replies.rules.text import body_of, new_text

MAX_OPT_OUT_WORDS = 30  # mail programs write a line of their own under the subject
_OPT_OUT = re.compile(r"unsubscribe(?:[ :=_-]{1,3}\S*\d\S{0,200})?", re.IGNORECASE)  # with a token where one was given
_ANSWERS = re.compile(r"(?:re|aw|sv|vs|antw|odp|ynt|rif|res|r)(?:\[\d+\])? ?[:\uff1a]", re.IGNORECASE)
_TO_MANY = frozenset(("bulk", "list", "junk"))
Kind = Literal["bounce", "complaint", "auto_reply", "reply", "other"]


class Inbound(msgspec.Struct, frozen=True, kw_only=True):
    """A received message, understood as far as it can be without knowing what we sent."""

    kind: Kind
    sender: Mailbox
    message_id: str | None
    in_reply_to: tuple[str, ...]
    references: tuple[str, ...]
    subject: str
    headers: Headers
    body: str = ""
    text: str = ""  # of the body, what its writer wrote, as far as that is seen without ours
    report: Report | None = None
    auto: AutoReply | None = None


class InspectedRecipient(msgspec.Struct, frozen=True, kw_only=True):
    """One recipient of a report, in the words of `coldstream inspect`."""

    address: str
    status: str
    code: str
    bounce_class: BounceClass = msgspec.field(name="class")
    hard: bool
    reason: str


class Inspection(msgspec.Struct, frozen=True, kw_only=True):
    """What would be made of a message; encodes to the object that `coldstream inspect --json` prints."""

    kind: Kind
    recipients: tuple[InspectedRecipient, ...] = ()
    intent: Intent | None = None
    confidence: float | None = None
    return_date: date | None = None
    matched_message_id: str | None = None
    left_company: bool = False


def read(raw: bytes, received_on: date | None) -> Inbound:
    """What the bytes say, for any bytes. `received_on` (UTC) dates an absence note's "until 5 March"."""
    return _read(parse(raw), received_on)


def _read(message: Message, received_on: date | None) -> Inbound:
    headers = message.headers
    report = read_report(message)
    body = "" if report else body_of(message)
    sender = mailbox(headers.first("from"))
    opts_out = _asks_by_subject(headers, body)
    text = new_text(body, writer=sender.name)
    auto = None if report or opts_out else read_auto_reply(message, text, received_on)
    ids = message_ids(headers.first("message-id"))
    answers = message_ids(headers.first("in-reply-to")), message_ids(headers.first("references"))
    return Inbound(
        kind=_kind(report, auto, sender, headers, is_answer=opts_out or any(answers)),
        sender=sender,
        message_id=ids[0] if ids else None,
        in_reply_to=tuple(answers[0]),
        references=tuple(answers[1]),
        subject=headers.first("subject"),
        headers=headers,
        body=body,
        text=text,
        report=report,
        auto=auto,
    )


def own_words(inbound: Inbound, ours: str = "") -> str:
    """What its writer wrote, without quotes and signature; `ours` is the text of the email that it answers."""
    return new_text(inbound.body, ours, inbound.sender.name) if ours else inbound.text


def classify(inbound: Inbound, ours: str = "") -> Reading:
    """The intent of a reply or an automatic answer; `ours` is the text of the email that it answers."""
    if inbound.auto:
        return Reading(intent=inbound.auto.intent, confidence=inbound.auto.confidence)
    if _asks_by_subject(inbound.headers, inbound.body):
        return Reading(intent="unsubscribe", confidence=0.97)
    return read_intent(own_words(inbound, ours))


def inspect(raw: bytes) -> Inspection:
    """What would be made of the message, without a database: ids are shown, not looked up."""
    message = parse(raw)
    inbound = _read(message, _sent_on(message.headers))
    about = inbound.report.message_ids if inbound.report else (*inbound.in_reply_to, *reversed(inbound.references))
    matched = about[0] if about else None
    if inbound.report:
        recipients = tuple(_inspected(each) for each in inbound.report.recipients)
        intent = "bounce" if inbound.kind == "bounce" else None
        return Inspection(kind=inbound.kind, recipients=recipients, intent=intent, matched_message_id=matched)
    if inbound.kind == "other":
        return Inspection(kind="other", matched_message_id=matched)
    reading = classify(inbound)
    return Inspection(
        kind=inbound.kind,
        intent=reading.intent,
        confidence=reading.confidence,
        return_date=inbound.auto.return_date if inbound.auto else None,
        matched_message_id=matched,
        left_company=inbound.auto is not None and inbound.auto.left_company,
    )


def _kind(report: Report | None, auto: AutoReply | None, sender: Mailbox, headers: Headers, *, is_answer: bool) -> Kind:
    if report:
        return "complaint" if report.feedback_type else "bounce"
    if auto:
        return "auto_reply"
    if not sender.address or MARK_FIELD in headers:  # nobody wrote it, or we did
        return "other"
    # What goes to many answers nobody.
    is_mailing = "list-unsubscribe" in headers or "list-id" in headers
    is_bulk = headers.first("precedence") in _TO_MANY and not _ANSWERS.match(headers.first("subject"))
    return "other" if (is_mailing or is_bulk) and not is_answer else "reply"


def _asks_by_subject(headers: Headers, body: str) -> bool:
    """Whether it is a mail program's opt-out (RFC 2369 §3.2, `List-Unsubscribe: <mailto:…>`): the subject says it."""
    return bool(_OPT_OUT.fullmatch(headers.first("subject").strip())) and len(body.split()) <= MAX_OPT_OUT_WORDS


def _sent_on(headers: Headers) -> date | None:
    """The day of the Date field, None where it names none."""
    try:
        return parsedate_to_datetime(headers.first("date")[:100]).date()
    except (ValueError, TypeError, OverflowError):
        return None


def _inspected(recipient: Recipient) -> InspectedRecipient:
    return InspectedRecipient(
        address=recipient.address,
        status=recipient.status,
        code=recipient.code,
        bounce_class=recipient.bounce_class,
        hard=recipient.bounce_class == "hard",
        reason=recipient.reason,
    )
