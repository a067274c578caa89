"""Who runs a recipient's mail, as far as sending from the like helps: google, microsoft, or somebody else. Pure."""

from collections.abc import Sequence
from typing import Literal

from libs.planning.limits.domains import FREEMAIL

Provider = Literal["google", "microsoft", "other"]
# Where a mail exchanger belongs to: the providers' own pages name these for Workspace and for Exchange Online.
_GOOGLE = ("google.com", "googlemail.com")
_MICROSOFT = ("protection.outlook.com", "outlook.com", "hotmail.com", "mx.microsoft")
_GOOGLE_MAIL = frozenset({"gmail.com", "googlemail.com"})
_MICROSOFT_MAIL = frozenset({"outlook", "hotmail", "live", "msn"})  # outlook.com, outlook.fr, live.nl, …


def known_provider(domain: str) -> Provider | None:
    """The provider of mail for everybody, which nobody has to ask for; None for any other domain."""
    if domain not in FREEMAIL:
        return None
    if domain in _GOOGLE_MAIL:
        return "google"
    return "microsoft" if domain.partition(".")[0] in _MICROSOFT_MAIL else "other"


def provider_of(exchangers: Sequence[str]) -> Provider:
    """The provider behind a domain's mail exchangers, the most preferred first (RFC 5321 §5.1): that one decides."""
    first = exchangers[0].lower().rstrip(".") if exchangers else ""
    if _is_under(first, _GOOGLE):
        return "google"
    return "microsoft" if _is_under(first, _MICROSOFT) else "other"


def _is_under(host: str, domains: Sequence[str]) -> bool:
    return any(host == domain or host.endswith(f".{domain}") for domain in domains)
