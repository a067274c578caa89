"""What a refusal means: the peer's words and codes as one of our reasons, and its class (field.md 4.5, RFC 3463).

Words override codes, because servers choose codes carelessly; never calls an address dead without saying why.
"""

import re
from typing import Literal

import msgspec

from services.replies.rules.wording import any_of

BounceClass = Literal["hard", "soft", "blocked", "none"]

# hard: the address is dead. blocked: the sender or the message is refused. soft: it may work later.
CLASS_OF: dict[str, BounceClass] = {
    "user_unknown": "hard",
    "host_unknown": "hard",
    "moved": "hard",
    "no_mail_host": "hard",
    "sender_rejected": "blocked",
    "authentication": "blocked",
    "relay_denied": "blocked",
    "reputation": "blocked",
    "spam": "blocked",
    "policy": "blocked",
    "content": "blocked",
    "filtered": "blocked",
    "too_big": "blocked",
    "rate_limited": "soft",
    "greylisted": "soft",
    "mailbox_full": "soft",
    "mailbox_disabled": "soft",
    "expired": "soft",
    "network": "soft",
    "system": "soft",
    "unknown": "soft",
}

# Read from the top: the first family whose words occur decides. What names the sender comes before what names the
# recipient ("domain of sender address … does not exist"), exact words before vague ones ("mailbox unavailable").
_FAMILIES = (
    (
        "sender_rejected",
        r"""
        sender address rejected|domain of sender|sender domain|envelope sender|sender verif|invalid sender
        sender denied|bad sender|mail from domain.{0,40}(?:invalid|exist|resolve)|from:? domain is invalid
        valid from:|unresolvable sender|sender (?:is )?(?:not|un)
        """,
    ),
    (
        "authentication",
        r"""
        dmarc|\bspf\b|\bdkim\b(?!-signature)|authentication (?:checks?|required|credential)|unauthenticated
        not authenticated|authrequired|requires? authentication|authenticated senders|sender id
        """,
    ),
    (
        "relay_denied",
        r"""
        relay(?:ing)?(?: access)? (?:is )?(?:denied|prohibited|not permitted|not allowed)
        (?:unable|not configured|not permitted|not allowed) to relay|(?:don't|do not|cannot|won't|no) relay|relaying
        not a(?:n open)? relay|email address is not verified
        (?:is )?not (?:one of )?(?:my|our) (?:local )?(?:domains?|hosts?)|not in my rcpthosts
        isn't in my.{0,40}rcpthosts
        """,
    ),
    (
        "mailbox_full",
        r"""
        quota|mailbox (?:is |was |size )?(?:full|exceed|limit)|mailbox.{0,40}\bfull\b|full mailbox
        mailfolder is full|out of storage|insufficient (?:disk|system|mailbox)? ?(?:storage|space)
        not enough (?:disk |storage )?space|storage (?:limit|exceed)|maximum.{0,30}storage|too much mail
        size of user's mailbox|inbox (?:is )?full|disk full|mailbox has exceeded
        """,
    ),
    (
        "reputation",
        r"""
        \bptr\b|reverse dns|\brdns\b
        """,
    ),
    (
        "no_mail_host",
        r"""
        no mx (?:record|host)|does not accept (?:e-?)?mail|null ?mx|no smtp service|indicated no smtp|nullmx
        domain does not receive
        """,
    ),
    (
        "host_unknown",
        r"""
        host (?:or domain name )?(?:is )?(?:unknown|not found)|unknown (?:mail )?(?:host|domain)
        no such (?:host|domain)|invalid domain|domain (?:name )?(?:does not exist|not found|is invalid|not exist)
        nxdomain|unrouteable (?:mail )?(?:domain|address)|illegal host|name or service not known
        bad destination (?:system|host)|non-existent (?:hosts?|domain)|all relevant mx records
        name server: host not found|couldn't find any host|no mail server|host lookup did not complete
        recipient domain.{0,20}exist
        """,
    ),
    (
        "moved",
        r"""
        not our (?:user|customer)|no longer (?:on server|with|at|here|works|valid|in use|available|employed|a )
        has moved|user (?:has )?left|recipient (?:has )?moved|address (?:has )?changed
        account (?:has been )?(?:closed|terminated|deleted|removed)
        """,
    ),
    (
        "user_unknown",
        r"""
        user (?:is |was )?unknown|unknown (?:user|recipient|local|address|account|e?mail)
        no such (?:user|recipient|mailbox|address|person|e?mail|local|account|id)|no mailbox
        not a (?:valid |known )?(?:user|mailbox|recipient|local)
        (?:user|recipient|mailbox|account|address|alias|addressee).{0,60}not (?:exist|found|recogni[sz]ed|known|listed)
        (?:user|recipient|mailbox|account|address|alias|addressee).{0,60}(?:doesn't exist|is invalid|non-?existent)
        (?:user|recipient|mailbox|account|address|alias|addressee).{0,60}(?:cannot|couldn't) be found
        (?:doesn't|does not|do not|don't) have an? .{0,80}(?:account|mailbox|user)
        invalid (?:recipient|mailbox|user|address|local|final)|recipnotfound|recipientnotfound|nosuchuser
        bad (?:recipient|address|mailbox)|recipient (?:name )?(?:is )?not|unknown or illegal|no valid recipients
        can't find (?:user|account)|unknown in|access denied.{0,40}5\.4\.1|5\.4\.1.{0,80}access denied
        unable to (?:validate|verify) recipient|no account|undeliverable address
        adresse.{0,40}destinataire.{0,20}invalide|recipient address.{0,20}unknown|existiert nicht|unbekannt
        n'existe pas|no existe
        """,
    ),
    (
        "expired",
        r"""
        message expired|expired|in the queue too long|retry time|retry timeout|delivery time|too long
        not delivered within|timed? ?out|timeout|failed \d+ attempts|no response|not responding
        did(?:n't| not) respond|retried for|delayed|has not yet been delivered|still being retried|aborted after
        did not accept our requests to connect|unable to connect
        """,
    ),
    (
        "too_big",
        r"""
        too (?:big|large)|size (?:exceed|limit)|exceeds?.{0,40}(?:size|length)|message (?:size|length)
        maximum (?:message|size)|message file too
        """,
    ),
    (
        "greylisted",
        r"""
        gr[ea]y-?list|try again (?:in|after) \d|please retry
        """,
    ),
    (
        "rate_limited",
        r"""
        too many|rate limit|limit exceeded|throttl|excessive|unusual(?:ly)?.{0,20}rate|connection limit|concurren
        connection rate|too fast|receiving mail at a rate|sending limit
        temporarily deferred due to unexpected volume|exceeded.{0,30}(?:hour|limit|rate)
        """,
    ),
    (
        "reputation",
        r"""
        black-? ?list|block-? ?list|\brbls?\b|dnsbl|spamhaus|spamcop|\bsbl\b|\bxbl\b|barracuda|reputation|blocked
        \bbanned\b|open (?:relay|proxy)|client host rejected|ip address.{0,40}(?:reject|refus|block|list)|invalid ip
        access from|no access from|dynamic ip|use the smtp server of your isp|blocked using|proofpoint
        not accepted from
        """,
    ),
    (
        "spam",
        r"""
        spam|junk|unsolicited|bulk mail|phish
        """,
    ),
    (
        "content",
        r"""
        virus|malware|content|duplicate header|8-?bit|improper|attachment|mime|media error|malformed|not rfc
        rfc ?\d{3,4}|multiple addresses|multiple.{0,20}from|header|line too long|hop count|mail loop|loop detected
        too many hops|bare (?:lf|cr)|virusdetected
        """,
    ),
    (
        "policy",
        r"""
        policy|policies|not allowed|not permitted|prohibited|denied|restricted|not authori[sz]ed|permission
        refused by|message rejected|mail rejected|administrative|e?mail reject|rejet|security|encryption
        does not support tls|requires? tls|must issue a starttls|cannot accept|not accept(?:ed)?|only accepts
        """,
    ),
    (
        "mailbox_disabled",
        r"""
        disabled|suspend|inactive|frozen|deactivated|locked|discontinued|dormant|not active|temporarily unavailable
        on hold
        """,
    ),
    (
        "network",
        r"""
        no route|network|connection (?:refused|reset|lost|closed|dropped)|lost connection|connect to|unreachable
        dns (?:query|error|fail)|routing|socket error|gateway|host is down
        """,
    ),
    (
        "system",
        r"""
        system (?:error|failure|problem|resource)|internal|local error|i/o error
        resources? (?:temporarily )?unavailable|temporary (?:failure|local)|service (?:un|not )available|mailer
        \bpipe\b|command (?:died|failed|not)|protocol error|config|transaction failed|try again later
        """,
    ),
    (
        "user_unknown",
        r"""
        mailbox (?:is )?(?:un|not )available|recipient address rejected
        (?:recipient|rcpt|address).{0,20}(?:reject|refus)|unknown
        """,
    ),
)
_PATTERNS = tuple((reason, any_of(wordings)) for reason, wordings in _FAMILIES)

_STATUS = re.compile(r"(?<![\d.])([245])\.(\d{1,3})\.(\d{1,3})(?![\d.]*\d)")
_CODE = re.compile(r"(?<![\d.:\[/-])([245]\d\d)(?=[ \-:#]|$)")
_BY_STATUS: dict[str, str] = {
    "1.1": "user_unknown",
    "1.2": "host_unknown",
    "1.3": "user_unknown",
    "1.6": "moved",
    "1.7": "sender_rejected",
    "1.8": "sender_rejected",
    "1.10": "user_unknown",
    "2.1": "user_unknown",
    "2.2": "mailbox_full",
    "2.3": "too_big",
    "3.4": "too_big",
    "4.4": "host_unknown",
    "4.5": "rate_limited",
    "4.6": "content",
    "4.7": "expired",
}
_BY_SUBJECT: dict[str, str] = {"3": "system", "4": "network", "5": "system", "6": "content", "7": "policy"}
_BY_CODE = {
    "421": "network",
    "450": "unknown",
    "451": "system",
    "452": "mailbox_full",
    "551": "moved",
    "552": "mailbox_full",
}
MAX_WORDS = 4000  # of a diagnosis that are read; longer ones repeat themselves


class Refusal(msgspec.Struct, frozen=True, kw_only=True):
    """One recipient's refusal: RFC 3463 status and SMTP code ("" where none), our reason, its class."""

    status: str
    code: str
    reason: str
    bounce_class: BounceClass


def classify(words: str, *, status: str = "", after_data: bool = False) -> Refusal:
    """What the words and codes mean; a status inside the words is preferred to a vague one in the field (x.0.0).

    `after_data`: said in answer to the message and not to its recipient.
    """
    text = " ".join(words[:MAX_WORDS].lower().split())
    status = _better_status(text, status)
    code = next(iter(_CODE.findall(text)), "")
    reason = _by_words(text, status) or _by_codes(status, code)
    if reason == "user_unknown" and after_data and ".1." not in status:
        # The recipient had been accepted before: mobile carriers answer so when a filter does not want the message.
        reason = "filtered"
    return Refusal(status=status, code=code, reason=reason, bounce_class=CLASS_OF[reason])


def status_in(text: str) -> str:
    """The first enhanced status code in a text that says more than x.0.0, else the first of any, else ""."""
    found = [".".join(groups) for groups in _STATUS.findall(text[:MAX_WORDS])]
    return next((each for each in found if not each.endswith(".0.0")), found[0] if found else "")


def _better_status(text: str, status: str) -> str:
    inside = status_in(text)
    return inside if inside and (not inside.endswith(".0.0") or not status) else status


def _by_words(text: str, status: str) -> str | None:
    found = next((reason for reason, words in _PATTERNS if words.search(text)), None)
    if found == "mailbox_disabled" and status in {"5.2.1", "5.1.1"}:  # field.md 4.5: these are dead mailboxes
        return "user_unknown"
    if found == "host_unknown" and status.startswith("4."):  # the name server did not answer, or not yet
        return "network"
    return found


def _by_codes(status: str, code: str) -> str:
    kind, _, detail = status.partition(".")
    if detail in _BY_STATUS and (kind == "5" or _BY_STATUS[detail] not in {"user_unknown", "host_unknown", "moved"}):
        return _BY_STATUS[detail]
    return _BY_SUBJECT.get(detail.partition(".")[0]) or _BY_CODE.get(code, "unknown")
