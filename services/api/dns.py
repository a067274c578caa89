"""The name servers: which hosts take a domain's mail. Never asked while a request waits."""

from collections.abc import Sequence
from contextlib import suppress
from ipaddress import ip_address
from urllib.parse import urlsplit

import dns.asyncresolver
import dns.exception
import dns.nameserver
import dns.rdatatype
import dns.resolver
from dns.rdtypes.ANY.MX import MX

DNS_PORT = 53
LIFETIME_S = 5.0  # of one question, with its repetitions
TRY_S = 2.0
# Nobody's on the internet (RFC 6761 §6): a sandbox's recipients do not bother the machine's name servers.
_RESERVED = frozenset({"test", "example", "invalid", "localhost"})


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

    async def mail_exchangers(self, domain: str) -> list[str] | None:
        """The domain's mail exchangers, the most preferred first (RFC 5321 §5.1); None when nobody can say now.

        A domain that does not exist, or names none, has none: that is an answer.
        """
        if self._is_public and domain.rpartition(".")[2] in _RESERVED:
            return []
        try:
            answer = await self._resolver.resolve(f"{domain}.", dns.rdatatype.MX, search=False)
        except (dns.resolver.NXDOMAIN, dns.resolver.NoAnswer):
            return []
        except (dns.exception.DNSException, OSError):
            return None
        found = sorted((each.preference, str(each.exchange)) for each in answer if isinstance(each, MX))
        return [host.rstrip(".").lower() for _, host in found]


def _server(text: str) -> dns.nameserver.Nameserver:
    is_bare_ipv6 = text.count(":") > 1 and not text.startswith("[")
    parts = urlsplit(f"//[{text}]" if is_bare_ipv6 else f"//{text}")
    address = ip_address(parts.hostname or "")
    return dns.nameserver.Do53Nameserver(str(address), parts.port or DNS_PORT)
