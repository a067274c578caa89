"""The name servers: which hosts take a domain's mail, what its texts say. Never asked while a request waits."""

from collections.abc import Sequence
from contextlib import suppress
from ipaddress import ip_address
from urllib.parse import urlsplit

import dns.asyncresolver
import dns.exception
import dns.name
import dns.nameserver
import dns.rdata
import dns.resolver
from dns.rdatatype import AAAA, A, RdataType
from dns.rdatatype import MX as MX_RECORD
from dns.rdatatype import TXT as TXT_RECORD
from dns.rdtypes.ANY.MX import MX
from dns.rdtypes.ANY.TXT import TXT

DNS_PORT = 53
LIFETIME_S = 5.0  # of one question, with its repetitions
TRY_S = 2.0
# Nobody's on the internet (RFC 6761 §6): a sandbox's recipients do not bother the machine's name servers.
_RESERVED = frozenset({"test", "example", "invalid", "localhost"})
_IMPOSSIBLE = (dns.name.NameTooLong, dns.name.LabelTooLong, dns.name.EmptyLabel)  # nothing can stand there
TAB, SPACE, DELETE = 0x09, 0x20, 0x7F


class Resolver:
    """Asks these name servers ("address" or "address:port"), or the system's where none are named.

    Raises:
        ValueError: one of them is no address.

    """

    def __init__(self, servers: Sequence[str] = ()) -> None:
        self._resolver = dns.asyncresolver.Resolver(configure=False)
        self._is_public = not servers
        if servers:
            self._resolver.nameservers = [_server(each) for each in servers]
        else:
            # A machine without name servers: every question then ends as one that nobody answers.
            with suppress(dns.resolver.NoResolverConfiguration):
                self._resolver = dns.asyncresolver.Resolver()
        self._resolver.timeout = TRY_S
        self._resolver.lifetime = LIFETIME_S

    def asks_about(self, domain: str) -> bool:
        """Whether anybody could know of the domain: what is reserved is asked of named servers only."""
        return not (self._is_public and domain.rpartition(".")[2] in _RESERVED)

    async def mail_exchangers(self, domain: str) -> list[str] | None:
        """The domain's mail exchangers, the most preferred first (RFC 5321 §5.1); None when nobody can say now.

        A domain that does not exist, or names none, has none: that is an answer.
        """
        answer = await self._ask(domain, MX_RECORD)
        if answer is None:
            return None
        found = sorted((each.preference, str(each.exchange)) for each in answer if isinstance(each, MX))
        return [host.rstrip(".").lower() for _, host in found]

    async def texts(self, name: str) -> list[str] | None:
        """The name's texts, in ASCII with everything else escaped, in a steady order; None when nobody can say now."""
        answer = await self._ask(name, TXT_RECORD)
        if answer is None:
            return None
        return sorted(_read(b"".join(each.strings)) for each in answer if isinstance(each, TXT))

    async def addresses(self, name: str) -> list[str] | None:
        """The name's IPv4 addresses, or else its IPv6 ones; None when nobody can say now."""
        answer = await self._ask(name, A)
        if answer == []:
            answer = await self._ask(name, AAAA)
        return None if answer is None else [str(each) for each in answer]

    async def _ask(self, name: str, kind: RdataType) -> list[dns.rdata.Rdata] | None:
        if not self.asks_about(name):
            return []
        try:
            return list(await self._resolver.resolve(f"{name}.", kind, search=False))
        except (dns.resolver.NXDOMAIN, dns.resolver.NoAnswer, *_IMPOSSIBLE):
            return []
        except (dns.exception.DNSException, OSError):
            return None


def _read(raw: bytes) -> str:
    """A stranger's bytes as text that any column and any terminal can hold."""
    return "".join(chr(byte) if byte == TAB or SPACE <= byte < DELETE else f"\\x{byte:02x}" for byte in raw)


def _server(text: str) -> dns.nameserver.Nameserver:
    is_bare_ipv6 = text.count(":") > 1 and not text.startswith("[")
    parts = urlsplit(f"//[{text}]" if is_bare_ipv6 else f"//{text}")
    address = ip_address(parts.hostname or "")
    return dns.nameserver.Do53Nameserver(str(address), parts.port or DNS_PORT)
