"""One person, one address: an e-mail address in the one form in which it is stored and compared (reliability.md B6-B9).

Never decides whether mail to it will arrive.
"""

import re
import unicodedata

import idna

from services.api.rules.text import Refused, line

MAX_LOCAL_BYTES = 64  # RFC 5321 §4.5.3.1.1
MAX_DOMAIN_CHARS = 253  # RFC 1035 §2.3.4, without the root's dot
MAX_ADDRESS_CHARS = 254  # RFC 5321 §4.5.3.1.3 allows a path of 256 with its brackets
# RFC 5322 §3.2.3 dot-atom, with RFC 6531's letters beyond ASCII; the quoted form is legal, and a typing error in lists.
_LOCAL = re.compile(r"[\w!#$%&'*+/=?^`{|}~-]+(\.[\w!#$%&'*+/=?^`{|}~-]+)*", re.UNICODE)
_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?")
_SPACES = re.compile(r"\s")


def address(value: str) -> str:
    """The address trimmed, in lower case, its domain in ASCII (UTS 46): what `leads.email` holds.

    Raises:
        Refused: naming the rule that it breaks.

    """
    folded = unicodedata.normalize("NFKC", value).strip()  # a full-width @ is an @
    if folded.count("@") != 1:
        raise Refused("address_at", f"an address has exactly one @, this has {folded.count('@')}", "write name@domain")
    if _SPACES.search(folded):
        raise Refused("address_space", "an address has no spaces or line breaks", "remove them")
    if "<" in folded or ">" in folded:
        raise Refused("address_brackets", "only the bare address is wanted, without < and >", "write name@domain")
    local, _, name = folded.partition("@")
    whole = f"{_local(local)}@{domain(name)}"
    if len(whole) > MAX_ADDRESS_CHARS:
        raise Refused("address_long", f"an address has at most {MAX_ADDRESS_CHARS} characters", "check the address")
    return whole


def _local(value: str) -> str:
    if not value:
        raise Refused("address_local", "nothing stands before the @", "write name@domain")
    if len(value.encode()) > MAX_LOCAL_BYTES:
        raise Refused("address_local_long", f"the part before the @ has at most {MAX_LOCAL_BYTES} bytes", "check it")
    if not _LOCAL.fullmatch(value):
        raise Refused("address_local", "the part before the @ is not valid", "check quotes, commas and dots")
    return value.lower()


def domain(value: str) -> str:
    """A mail domain in lower-case ASCII (UTS 46, IDNA 2008), without a trailing dot; it has at least two labels.

    Raises:
        Refused: naming the rule that it breaks.

    """
    folded = unicodedata.normalize("NFKC", value).strip()
    try:
        ascii_name = idna.encode(folded.removesuffix("."), uts46=True, std3_rules=True).decode("ascii")
    except idna.IDNAError as error:
        raise Refused("domain", f"not a valid domain name: {error}", "check the domain") from error
    labels = ascii_name.split(".")
    if len(labels) < 2:
        raise Refused("domain", "a mail domain has at least two parts, like example.com", "check the domain")
    if len(ascii_name) > MAX_DOMAIN_CHARS:
        raise Refused("domain", f"a domain has at most {MAX_DOMAIN_CHARS} characters", "check the domain")
    if not all(_LABEL.fullmatch(label) for label in labels) or labels[-1].isdigit():
        raise Refused("domain", "not a valid domain name", "check the domain")
    return ascii_name


def selector(value: str) -> str:
    """The name of a DKIM key in the DNS, in lower case (RFC 6376 §3.1).

    Raises:
        Refused: it is no DNS label, or several with dots between.

    """
    name = value.strip().lower()
    if not all(_LABEL.fullmatch(label) for label in name.split(".")):
        raise Refused("selector", "a selector is made of letters, digits and hyphens", "write for example s1")
    return name


def host(value: str) -> str:
    """A mail server's name or IP address; whether it may be reached is the network guard's question.

    Raises:
        Refused: it is neither.

    """
    name = value.strip().removesuffix(".").lower()
    if not re.fullmatch(r"[a-z0-9:]([a-z0-9.:_-]*[a-z0-9])?", name) or len(name) > MAX_DOMAIN_CHARS:
        raise Refused("host", "not a host name or IP address", "write the bare name, like smtp.example.com")
    return name


def web_address(value: str) -> str:
    """A web address as people write it, with or without a scheme; the empty string stays empty.

    Raises:
        Refused: it holds spaces or control characters, or leads to something else than the web (reliability.md B23).

    """
    url = line(value)
    if _SPACES.search(url):
        raise Refused("url", "a web address has no spaces", "check the address")
    scheme, colon, _ = url.partition(":")
    is_host_with_port = "." in scheme
    if colon and not is_host_with_port and scheme.lower() not in {"http", "https"}:
        raise Refused("url", f"web addresses of the kind {scheme!r} are not allowed", "use http or https")
    return url
