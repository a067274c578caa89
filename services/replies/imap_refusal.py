"""How a mailbox session ends or a server says no, and what of it a person can mend. Pure; holds no credential."""

import re
from collections.abc import Sequence

_ADDRESS = re.compile(r"[^\s<>@]+@[^\s<>@]+")
_CODE = re.compile(r"\[([A-Z]+)")
# RFC 5530, and what the large ones say: it is the server's own trouble, or there are too many of us just now.
_PASSING = re.compile(
    r"\[(?:UNAVAILABLE|SERVERBUG|INUSE|LIMIT|THROTTLED|OVERQUOTA)\b|too many|rate limit|try again|temporar",
    re.IGNORECASE,
)
# What a person can do about a refused login, by its response code (RFC 5530 §3).
_MENDS: dict[str, str] = {
    "AUTHENTICATIONFAILED": "the user name or the password is wrong",
    "EXPIRED": "the password has expired",
    "AUTHORIZATIONFAILED": "this user may not open this mailbox",
    "PRIVACYREQUIRED": "the server wants an encrypted connection",
    "CONTACTADMIN": "the server wants its administrator to be asked",
    "WEBALERT": "the provider wants somebody to log in at its website first",
}
_OTHERWISE = "the server refuses the login"
_NO_GRANT = "the provider does not accept the token: it wants a new consent, or has IMAP switched off for this mailbox"


class ImapError(Exception):
    """The session is over; the text says why and holds no credential."""


class RefusedError(ImapError):
    """The server said NO or BAD to one command; the session goes on."""


class LoginRefusedError(ImapError):
    """The server does not accept the user or the password: trying again soon would only lock the account.

    `mend` says in plain words, without a name or an address, what keeps us out.
    """

    def __init__(self, text: str, mend: str = _OTHERWISE) -> None:
        super().__init__(text)
        self.mend = mend


def judged(text: str, *, by_token: bool) -> ImapError:
    """What a refused login means: BAD, and some kinds of NO, say nothing about the credentials."""
    if text.startswith("BAD") or _PASSING.search(text):
        return ImapError(f"the server lets nobody in just now: {text}")
    code = _CODE.search(text)
    mend = _NO_GRANT if by_token else _MENDS.get(code[1] if code else "", _OTHERWISE)
    return LoginRefusedError(f"the server refuses: {text}", mend)


def refusal_text(result: str, lines: Sequence[bytes]) -> str:
    """The answer's result and text, without addresses, as far as it may be shown."""
    last = bytes(lines[-1])[:200].decode("ascii", "replace") if lines else ""
    return f"{result} {_ADDRESS.sub('<address>', last)}"
