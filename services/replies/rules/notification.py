"""Amazon SES tells bounces, complaints and deliveries as JSON, which SNS mails (its "Notification contents" page).

Never guesses: what does not decode as such a notification is none.
"""

from typing import Literal

import msgspec

from services.replies.rules.parse import Message, mailbox, text_of

SENDER_DOMAIN = "sns.amazonaws.com"
_NONE = (msgspec.DecodeError, RecursionError)  # the latter for brackets in brackets without end
# "DeliveryDelay" is told by event publishing alone, which also calls the field otherwise.
_Told = Literal["Bounce", "Complaint", "Delivery", "DeliveryDelay"]


class Told(msgspec.Struct, frozen=True, rename="camel"):
    """One recipient; the words are those of RFC 3464."""

    email_address: str
    action: str = "failed"
    status: str = ""
    diagnostic_code: str = ""


class _Recipients(msgspec.Struct, frozen=True, rename="camel"):
    bounced_recipients: tuple[Told, ...] = ()
    complained_recipients: tuple[Told, ...] = ()
    delayed_recipients: tuple[Told, ...] = ()
    complaint_feedback_type: str | None = None
    recipients: tuple[str, ...] = ()


class _Field(msgspec.Struct, frozen=True):
    name: str
    value: str


class _Mail(msgspec.Struct, frozen=True):
    headers: tuple[_Field, ...] = ()


class Notification(msgspec.Struct, frozen=True, rename="camel"):
    """What happened to one message, whose header is shown where the sender asked for that."""

    notification_type: _Told | None = None
    event_type: _Told | None = None
    mail: _Mail = _Mail()
    bounce: _Recipients = _Recipients()
    complaint: _Recipients = _Recipients()
    delivery: _Recipients = _Recipients()
    delivery_delay: _Recipients = _Recipients()

    @property
    def feedback_type(self) -> str:
        """What kind of complaint it is (RFC 5965 §3.1), "" where it is none."""
        is_complaint = "Complaint" in {self.notification_type, self.event_type}
        return (self.complaint.complaint_feedback_type or "abuse") if is_complaint else ""

    def told(self) -> tuple[Told, ...]:
        """Every recipient that it speaks of, delivered ones among them."""
        delivered = (Told(email_address=each, action="delivered") for each in self.delivery.recipients)
        delayed = (msgspec.structs.replace(each, action="delayed") for each in self.delivery_delay.delayed_recipients)
        return (*self.bounce.bounced_recipients, *self.complaint.complained_recipients, *delivered, *delayed)


class _Wrapped(msgspec.Struct, frozen=True, rename="pascal"):
    message: str


def read_notification(message: Message) -> Notification | None:
    """The notification in the message, bare or in SNS's envelope; None where it is none."""
    if not mailbox(message.headers.first("from")).address.endswith(SENDER_DOMAIN) or not message.parts:
        return None
    # Mail systems break its one long line with an exclamation mark; below it SNS adds a footer.
    text = text_of(message.parts[0]).replace("!\n ", "").partition("\n--\n")[0]
    try:
        found = msgspec.json.decode(text, type=Notification)
        if found.notification_type or found.event_type:
            return found
        found = msgspec.json.decode(msgspec.json.decode(text, type=_Wrapped).message, type=Notification)
    except _NONE:
        return None
    return found if found.notification_type or found.event_type else None
