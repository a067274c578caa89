"""The messages that people and mail servers send back, as bytes; pure, and must never answer an automatic message.

Forms as in RFC 5322 §3.6.4 (threading) and RFC 3834 (automatic replies).
"""

from datetime import datetime, timedelta
from email.message import EmailMessage, Message
from email.parser import BytesParser
from email.policy import SMTP, compat32
from email.utils import format_datetime, formataddr, parseaddr

from deploy.local.sandbox.recipients import NOTES, REPORTS, Behaviour, language_of, seed_of
from deploy.local.sandbox.reports import compose_report, made_id
from deploy.local.sandbox.wordings import LEFT_COMPANY, MACHINE_THANKS, OUT_OF_OFFICE, wordings_of

COLLEAGUE = "robin"
HOME = "home.test"  # where an alias is
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
        return sender, compose_report(behaviour, raw, sender=sender, recipient=recipient, now=now)
    original = BytesParser(policy=SMTP).parsebytes(raw)
    # an automatic answer goes to the envelope's sender (RFC 3834 §4), a person's to Reply-To or From
    by_hand = parseaddr(str(original["Reply-To"] or original["From"] or sender))[1] or sender
    target = sender if behaviour in NOTES else by_hand
    reply = _begun(original, writer=_writer(behaviour, recipient), target=target, now=now)
    if behaviour in NOTES:
        _say_automatically(reply, behaviour, original, seed_of(recipient, thread_of(raw)), now)
    else:
        _say(reply, behaviour, original, seed_of(recipient, thread_of(raw)), recipient)
    if behaviour is Behaviour.COLLEAGUE:  # has the message in a mailbox that knows nothing of its thread
        del reply["In-Reply-To"], reply["References"]
    return target, reply.as_bytes()


def _writer(behaviour: Behaviour, recipient: str) -> str:
    """Who answers for the recipient: mostly they themselves; none of these addresses has a behaviour of its own."""
    local, _, domain = recipient.rpartition("@")
    own = local.partition(".")[2] or "sam"
    if behaviour is Behaviour.COLLEAGUE:
        return f"{own}.{COLLEAGUE}@{domain}"
    return f"{own}@{HOME}" if behaviour is Behaviour.ALIAS else recipient


def _say_automatically(
    reply: EmailMessage, behaviour: Behaviour, original: EmailMessage, seed: int, now: datetime
) -> None:
    subject, name = str(original["Subject"] or ""), _name_of(parseaddr(str(reply["From"]))[1])
    reply["Auto-Submitted"] = "auto-replied"
    if behaviour is Behaviour.AUTO_REPLY:
        reply["Subject"] = f"We have received your message: {subject}"
        reply.set_content(MACHINE_THANKS[seed % len(MACHINE_THANKS)].format(name=name))
        return
    if behaviour is Behaviour.LEFT_COMPANY:
        reply["Subject"] = f"Automatic reply: {subject}"
        reply.set_content(LEFT_COMPANY[seed % len(LEFT_COMPANY)].format(name=name))
        return
    reply["Subject"] = ("Automatic reply: ", "Out of Office: ")[seed % 2] + subject
    reply["X-Auto-Response-Suppress"] = "All"
    back = now + timedelta(days=3 + seed % (LONGEST_ABSENCE_DAYS - 2))
    form = DATE_FORMS[seed // 7 % len(DATE_FORMS)]
    reply.set_content(OUT_OF_OFFICE[seed % len(OUT_OF_OFFICE)].format(name=name, date=back.strftime(form)))


def _say(reply: EmailMessage, behaviour: Behaviour, original: EmailMessage, seed: int, recipient: str) -> None:
    subject = str(original["Subject"] or "")
    reply["Subject"] = subject if subject.lower().startswith("re:") else f"Re: {subject}"
    wordings = wordings_of(behaviour, language_of(recipient))
    said = wordings[seed % len(wordings)].format(name=_name_of(recipient))
    reply.set_content(f"{said}\n\n{_quoted(original, outlook=seed // 11 % 3 == 0)}")


def _begun(original: EmailMessage, *, writer: str, target: str, now: datetime) -> EmailMessage:
    message_id = str(original["Message-ID"] or "").strip()
    references = " ".join([*str(original["References"] or "").split(), message_id]).strip()
    reply = EmailMessage(policy=SMTP)
    reply["From"] = formataddr((_name_of(writer), writer))
    reply["To"] = target
    reply["Date"] = format_datetime(now)
    reply["Message-ID"] = made_id(writer, message_id, str(now))
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


def _name_of(address: str) -> str:
    """A name from the local part after the behaviour's word: interested.mary7@x is Mary."""
    words = [word for word in address.partition("@")[0].replace("+", ".").split(".") if word.rstrip("0123456789")]
    return words[-1].rstrip("0123456789").title() if words else "Sam"


def _text(headers: Message, name: str) -> str:
    return " ".join(str(headers.get(name, "")).split())
