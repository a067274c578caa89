"""The messages that people and mail servers send back, as bytes; pure, and must never answer an automatic message.

Forms as in RFC 5322 §3.6.4 (threading), RFC 3834 (automatic replies), RFC 3464 (delivery status).
"""

from datetime import datetime, timedelta
from email.message import EmailMessage, Message
from email.parser import BytesParser
from email.policy import SMTP, compat32
from email.utils import format_datetime, formataddr, parseaddr

from deploy.local.sandbox.recipients import MACHINES, REPORTS, Behaviour, seed_of

MX = "mx.sandbox.test"
REPLIES = {
    Behaviour.INTERESTED: (
        "Hi,\n\nthanks for reaching out. This sounds interesting, could you tell me more?\n\nBest,\n{name}",
        "Yes, I'm interested. Can we have a call next Tuesday?\n\n{name}",
        "Hello,\n\nsounds great, please send me more information and your pricing.\n\nKind regards\n{name}",
        "Good timing - we are looking at exactly this. I'd love to learn more.\n\nCheers, {name}",
    ),
    Behaviour.MEETING: (
        "Hi,\n\nhappy to talk. How about Thursday at 10:30?\n\nBest,\n{name}",
        "Sure, let's meet on Tuesday at 2 pm, my office or yours.\n\n{name}",
        "Hello,\n\ncould we have a quick call tomorrow at 9:15? I am at my desk until noon.\n\nRegards\n{name}",
        "Wednesday at 4 pm works for a short demo. Please send an invite.\n\nCheers, {name}",
    ),
    Behaviour.QUESTION: (
        "Hi,\n\nwhat does it cost for a team of ten?\n\n{name}",
        "Does it work with Postgres, or only with your own database?\n\nRegards,\n{name}",
        "Hello,\n\nwhere did you get my address?\n\n{name}",
    ),
    Behaviour.NOT_INTERESTED: (
        "Hi,\n\nthank you, but we are not interested.\n\n{name}",
        "No thanks, we already have a solution for this.\n\nRegards,\n{name}",
        "Thanks for the note. I'm not interested at this time.\n\n{name}",
    ),
    Behaviour.UNSUBSCRIBE: (
        "Please remove me from your list.\n\n{name}",
        "Please remove me and do not contact me again.",
        "Unsubscribe me please. I never asked for this.\n\n{name}",
    ),
}
OUT_OF_OFFICE = (
    "Hello,\n\nI am out of the office until {date} with no access to e-mail. I will answer when I am back.\n\n{name}",
    "Thank you for your message. I am currently on vacation and will return on {date}.\n\nBest regards\n{name}",
    "Hi, I'm on annual leave and back on {date}. For urgent matters please call the front desk.\n\n{name}",
)
MACHINE_THANKS = (
    "Thank you for your message. This is an automated response: we have received your e-mail.\n\n{name}'s team",
    "Hello,\n\nyour request has been received and will be answered within two working days.\n\nThe front desk",
)
# What a report says of a message that may come again later: the status, and the last server's words.
SOFT_REPORTS = (
    ("5.2.2", "552 5.2.2 The recipient's mailbox is full"),
    ("4.4.7", "451 4.4.7 Delivery time expired, the recipient's server did not answer"),
)
HARD_REPORT = ("5.1.1", "550 5.1.1 The email account that you tried to reach does not exist")
DATE_FORMS = ("%A, %d %B %Y", "%B %d, %Y", "%Y-%m-%d")
LONGEST_ABSENCE_DAYS = 10


def headers_of(raw: bytes) -> Message:
    """The message's headers, parsed; its body is left alone."""
    # the standard parser reads every line of a body, even when told to leave it
    return BytesParser(policy=compat32).parsebytes(raw.partition(b"\r\n\r\n")[0])


def thread_of(raw: bytes) -> str:
    """The Message-ID that the message's thread began with: the first of References, else its own."""
    headers = headers_of(raw)
    return (_text(headers, "References") or _text(headers, "Message-ID") or "").split(" ")[0].strip()


def is_automatic(raw: bytes) -> bool:
    """Whether nobody may answer it automatically (RFC 3834 §2)."""
    return _text(headers_of(raw), "Auto-Submitted").lower() not in ("", "no")


def compose(behaviour: Behaviour, raw: bytes, *, sender: str, recipient: str, now: datetime) -> tuple[str, bytes]:
    """To whom, and what, `recipient` or their mail server sends back for `raw`, sent by the envelope's `sender`.

    `now` is business time and becomes the Date. The same arguments give the same bytes.
    """
    if behaviour in REPORTS:
        return sender, _delivery_status(behaviour, raw, sender=sender, recipient=recipient, now=now)
    original = BytesParser(policy=SMTP).parsebytes(raw)
    # an automatic answer goes to the envelope's sender (RFC 3834 §4), a person's to Reply-To or From
    by_hand = parseaddr(str(original["Reply-To"] or original["From"] or sender))[1] or sender
    target = sender if behaviour in MACHINES else by_hand
    reply = _begun(original, recipient=recipient, target=target, now=now)
    if behaviour in MACHINES:
        _say_automatically(reply, behaviour, original, seed_of(recipient, thread_of(raw)), now)
    else:
        _say(reply, behaviour, original, seed_of(recipient, thread_of(raw)))
    return target, reply.as_bytes()


def _say_automatically(
    reply: EmailMessage, behaviour: Behaviour, original: EmailMessage, seed: int, now: datetime
) -> None:
    subject, name = str(original["Subject"] or ""), _name_of(parseaddr(str(reply["From"]))[1])
    reply["Auto-Submitted"] = "auto-replied"
    if behaviour is Behaviour.AUTO_REPLY:
        reply["Subject"] = f"We have received your message: {subject}"
        reply.set_content(MACHINE_THANKS[seed % len(MACHINE_THANKS)].format(name=name))
        return
    reply["Subject"] = ("Automatic reply: ", "Out of Office: ")[seed % 2] + subject
    reply["X-Auto-Response-Suppress"] = "All"
    back = now + timedelta(days=3 + seed % (LONGEST_ABSENCE_DAYS - 2))
    form = DATE_FORMS[seed // 7 % len(DATE_FORMS)]
    reply.set_content(OUT_OF_OFFICE[seed % len(OUT_OF_OFFICE)].format(name=name, date=back.strftime(form)))


def _say(reply: EmailMessage, behaviour: Behaviour, original: EmailMessage, seed: int) -> None:
    subject, name = str(original["Subject"] or ""), _name_of(parseaddr(str(reply["From"]))[1])
    reply["Subject"] = subject if subject.lower().startswith("re:") else f"Re: {subject}"
    wordings = REPLIES[behaviour]
    said = wordings[seed % len(wordings)].format(name=name)
    reply.set_content(f"{said}\n\n{_quoted(original, outlook=seed // 11 % 3 == 0)}")


def _begun(original: EmailMessage, *, recipient: str, target: str, now: datetime) -> EmailMessage:
    message_id = str(original["Message-ID"] or "").strip()
    references = " ".join([*str(original["References"] or "").split(), message_id]).strip()
    reply = EmailMessage(policy=SMTP)
    reply["From"] = formataddr((_name_of(recipient), recipient))
    reply["To"] = target
    reply["Date"] = format_datetime(now)
    reply["Message-ID"] = _made_id(recipient, message_id, str(now))
    if message_id:
        reply["In-Reply-To"] = message_id
        reply["References"] = references
    return reply


def _quoted(original: EmailMessage, *, outlook: bool) -> str:
    part = original.get_body(preferencelist=("plain",))
    text = str(part.get_content()) if part else ""
    if outlook:
        head = (
            f"From: {original['From']}\nSent: {original['Date']}\nTo: {original['To']}\nSubject: {original['Subject']}"
        )
        return f"-----Original Message-----\n{head}\n\n{text}"
    lines = "\n".join(f"> {line}".rstrip() for line in text.splitlines())
    return f"On {original['Date']}, {original['From']} wrote:\n\n{lines}"


def _delivery_status(behaviour: Behaviour, raw: bytes, *, sender: str, recipient: str, now: datetime) -> bytes:
    """A failure with the returned headers; written out, as the fields and their order are the point."""
    soft = SOFT_REPORTS[seed_of(recipient) % len(SOFT_REPORTS)]
    status, diagnostic = HARD_REPORT if behaviour is Behaviour.DSN else soft
    boundary = f"=_{seed_of(recipient, str(now)):016x}"
    head = raw.partition(b"\r\n\r\n")[0].decode("utf-8", "replace")
    lines = [
        f"From: Mail Delivery Subsystem <mailer-daemon@{MX}>",
        f"To: {sender}",
        "Subject: Undelivered Mail Returned to Sender",
        f"Date: {format_datetime(now)}",
        f"Message-ID: {_made_id(recipient, 'dsn', str(now))}",
        "Auto-Submitted: auto-replied",
        "MIME-Version: 1.0",
        f'Content-Type: multipart/report; report-type=delivery-status; boundary="{boundary}"',
        "",
        f"--{boundary}",
        "Content-Type: text/plain; charset=utf-8",
        "",
        f"This is the mail system at host {MX}.",
        "",
        "Your message could not be delivered to one or more recipients:",
        "",
        f"<{recipient}>: host {MX} said: {diagnostic}",
        "",
        f"--{boundary}",
        "Content-Type: message/delivery-status",
        "",
        f"Reporting-MTA: dns; {MX}",
        f"Arrival-Date: {format_datetime(now)}",
        "",
        f"Original-Recipient: rfc822;{recipient}",
        f"Final-Recipient: rfc822;{recipient}",
        "Action: failed",
        f"Status: {status}",
        f"Remote-MTA: dns; {MX}",
        f"Diagnostic-Code: smtp; {diagnostic}",
        "",
        f"--{boundary}",
        "Content-Type: text/rfc822-headers; charset=utf-8",
        "",
        head,
        "",
        f"--{boundary}--",
        "",
    ]
    return "\r\n".join(lines).encode()


def _made_id(*words: str) -> str:
    return f"<{seed_of(*words):016x}.{seed_of('id', *words):016x}@{MX}>"


def _name_of(address: str) -> str:
    """A name from the local part after the behaviour's word: interested.mary7@x is Mary."""
    words = [word for word in address.partition("@")[0].replace("+", ".").split(".") if word.rstrip("0123456789")]
    return words[-1].rstrip("0123456789").title() if words else "Sam"


def _text(headers: Message, name: str) -> str:
    return " ".join(str(headers.get(name, "")).split())
