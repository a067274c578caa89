"""What mail servers report: failures (RFC 3464) and complaints (RFC 5965), true ones and forged ones; pure.

Written out line by line, as the fields and their order are the point.
"""

import base64
from datetime import datetime
from email.utils import format_datetime

from deploy.local.sandbox.recipients import Behaviour, seed_of

MX = "mx.sandbox.test"
# What a report says of a message that may come again later: the status, and the last server's words.
SOFT_REPORTS = (
    ("5.2.2", "552 5.2.2 The recipient's mailbox is full"),
    ("4.4.7", "451 4.4.7 Delivery time expired, the recipient's server did not answer"),
)
HARD_REPORT = ("5.1.1", "550 5.1.1 The email account that you tried to reach does not exist")
TOKEN_CHARS = 26  # of our own Message-IDs and marks (libs/schema/ids.py), which nobody can guess


def compose_report(behaviour: Behaviour, raw: bytes, *, sender: str, recipient: str, now: datetime) -> bytes:
    """What comes back to the envelope's `sender` for `raw`; the same arguments give the same bytes.

    A forger knows whom we wrote to, and guesses the rest: he says by turns that it bounced and that it annoyed.
    """
    head = raw.partition(b"\r\n\r\n")[0].decode("utf-8", "replace")
    if behaviour is not Behaviour.FORGED:
        soft = SOFT_REPORTS[seed_of(recipient) % len(SOFT_REPORTS)]
        what = HARD_REPORT if behaviour is Behaviour.DSN else soft
        return _delivery_status(what, head, sender=sender, recipient=recipient, now=now)
    seed = seed_of(head)
    head = _guessed(seed, sender=sender, recipient=recipient, now=now)
    if seed % 2:
        return _complaint(head, sender=sender, recipient=recipient, now=now)
    return _delivery_status(HARD_REPORT, head, sender=sender, recipient=recipient, now=now)


def made_id(*words: str) -> str:
    """A Message-ID of this world's server, the same for the same words."""
    return f"<{seed_of(*words):016x}.{seed_of('id', *words):016x}@{MX}>"


def _guessed(seed: int, *, sender: str, recipient: str, now: datetime) -> str:
    """Headers such as ours might have been."""
    digits = seed_of("guess", str(seed)).to_bytes(8) * 3
    token = base64.b32encode(digits).decode("ascii").lower()[:TOKEN_CHARS]
    lines = (
        f"From: {sender}",
        f"To: {recipient}",
        "Subject: A question",
        f"Date: {format_datetime(now)}",
        f"Message-ID: <{token}@{sender.rpartition('@')[2]}>",
        f"X-Coldstream-Ref: {token}",
    )
    return "\r\n".join(lines)


def _delivery_status(what: tuple[str, str], head: str, *, sender: str, recipient: str, now: datetime) -> bytes:
    """A failure with the returned headers."""
    status, diagnostic = what
    boundary = f"=_{seed_of(recipient, str(now)):016x}"
    lines = [
        f"From: Mail Delivery Subsystem <mailer-daemon@{MX}>",
        f"To: {sender}",
        "Subject: Undelivered Mail Returned to Sender",
        f"Date: {format_datetime(now)}",
        f"Message-ID: {made_id(recipient, 'dsn', str(now))}",
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


def _complaint(head: str, *, sender: str, recipient: str, now: datetime) -> bytes:
    """An abuse report about a message with these headers."""
    boundary = f"=_{seed_of(recipient, str(now)):016x}"
    lines = [
        f"From: Feedback Loop <fbl@{MX}>",
        f"To: {sender}",
        "Subject: Email Feedback Report",
        f"Date: {format_datetime(now)}",
        f"Message-ID: {made_id(recipient, 'arf', str(now))}",
        "MIME-Version: 1.0",
        f'Content-Type: multipart/report; report-type=feedback-report; boundary="{boundary}"',
        "",
        f"--{boundary}",
        "Content-Type: text/plain; charset=utf-8",
        "",
        "This is an email abuse report for a message that a reader has marked as spam.",
        "",
        f"--{boundary}",
        "Content-Type: message/feedback-report",
        "",
        "Feedback-Type: abuse",
        "User-Agent: Sandbox-FBL/1.0",
        "Version: 1",
        f"Original-Rcpt-To: {recipient}",
        "",
        f"--{boundary}",
        "Content-Type: message/rfc822",
        "",
        head,
        "",
        "Hello,",
        "",
        "may I ask you something?",
        "",
        f"--{boundary}--",
        "",
    ]
    return "\r\n".join(lines).encode()
