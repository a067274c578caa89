"""Amazon SES tells bounces, complaints and deliveries as JSON, which SNS mails (its "Notification contents" page).

Never guesses: what does not decode as such a notification is none.
"""

from typing import Literal

import msgspec

from services.replies.rules.parse import Message, mailbox, text_of

SENDER_DOMAIN = "sns.amazonaws.com"
_NONE = (msgspec.DecodeError, RecursionError)  # the latter for brackets in brackets without end


class Told(msgspec.Struct, frozen=True, rename="camel"):
    """One recipient; the words are those of RFC 3464."""

    email_address: str
    action: str = "failed"
    status: str = ""
    diagnostic_code: str = ""


class _Recipients(msgspec.Struct, frozen=True, rename="camel"):
    bounced_recipients: tuple[Told, ...] = ()
    complained_recipients: tuple[Told, ...] = ()
    complaint_feedback_type: str = "abuse"
    recipients: tuple[str, ...] = ()


class _Field(msgspec.Struct, frozen=True):
    name: str
    value: str


class _Mail(msgspec.Struct, frozen=True):
    headers: tuple[_Field, ...] = ()


class Notification(msgspec.Struct, frozen=True, rename="camel"):
    """What happened to one message, whose header is shown where the sender asked for that."""

    notification_type: Literal["Bounce", "Complaint", "Delivery"]
    mail: _Mail = _Mail()
    bounce: _Recipients = _Recipients()
    complaint: _Recipients = _Recipients()
    delivery: _Recipients = _Recipients()

    def told(self) -> tuple[Told, ...]:
        """Every recipient that it speaks of, delivered ones among them."""
        delivered = tuple(Told(email_address=each, action="delivered") for each in self.delivery.recipients)
        return (*self.bounce.bounced_recipients, *self.complaint.complained_recipients, *delivered)


class _Wrapped(msgspec.Struct, frozen=True, rename="pascal"):
    message: str


def read_notification(message: Message) -> Notification | None:
    """The notification in the message, bare or in SNS's envelope; None where it is none."""
    if not mailbox(message.headers.first("from")).address.endswith(SENDER_DOMAIN) or not message.parts:
        return None
    # Mail systems break its one long line with an exclamation mark; below it SNS adds a footer.
    text = text_of(message.parts[0]).replace("!\n ", "").partition("\n--\n")[0]
    try:
        return msgspec.json.decode(text, type=Notification)
    except _NONE:  # then it may be in the envelope
        pass
    try:
        return msgspec.json.decode(msgspec.json.decode(text, type=_Wrapped).message, type=Notification)
    except _NONE:
        return None
