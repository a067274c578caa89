"""The guard before every outgoing connection to a host that a user named: SMTP, IMAP, webhooks, and at saving them.

Never answers with an address of our own house, however it is spelled. Connect to the address that is returned, with
the name for TLS: a second look-up could be answered otherwise (DNS rebinding).
"""

import asyncio
import ipaddress
import socket
import ssl
from collections.abc import Collection, Sequence
from functools import cache
from ipaddress import IPv4Address, IPv6Address, ip_network
from typing import Final

MAIL_PORTS: Final = {"SMTP": frozenset({25, 465, 587, 2525}), "IMAP": frozenset({143, 993})}
SMTP_PORTS: Final = MAIL_PORTS["SMTP"]
IMAP_PORTS: Final = MAIL_PORTS["IMAP"]

LOOK_UP_TIMEOUT_S = 10.0
_MAX_NAME = 253  # RFC 1035 §2.3.4, without the last dot
_ADDRESS_BITS: Final = (1 << 32) - 1
# Python's is_global answers "yes" for these: the 6to4 relays (RFC 7526), multicast is asked apart.
_NOT_PUBLIC_V4: Final = (ip_network("192.88.99.0/24"),)
# Global unicast (RFC 4291 §2.4) is 2000::/3; of it these are none: Teredo and other protocol assignments, examples,
# and 6to4, which carries an IPv4 address that a relay would connect to. Teredo and 6to4 are dead: nobody's mail is
# there.
_PUBLIC_V6: Final = ip_network("2000::/3")
_NOT_PUBLIC_V6: Final = tuple(
    ip_network(network) for network in ("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20")
)
_NAT64: Final = ip_network("64:ff9b::/96")  # RFC 6052: the last 32 bits are the IPv4 address that is meant


class ForbiddenAddressError(Exception):
    """The host or port may not be connected to; the text can be shown to the user who named it."""


async def resolve_public(host: str, port: int, *, allow: Sequence[str] = (), ports: Collection[int] | None) -> str:
    """The one address to connect to: the first of the name's, after every one of them has passed.

    `allow` are networks that are open besides (`dangerous_allow_networks`), on any port; `ports` None means any port.

    Raises:
        ForbiddenAddressError: the name means an address that is not public, or the port is none of `ports`.
        OSError: the name cannot be looked up now (socket.gaierror, TimeoutError).

    """
    networks = [ip_network(network) for network in allow]
    addresses = await _addresses(host, port)
    opened = [any(address in network for network in networks) for address in addresses]
    for address, is_open in zip(addresses, opened, strict=True):
        if not is_open and not is_public(address):
            raise ForbiddenAddressError(f"{host} has the address {address}, which is not on the public internet")
    if ports is not None and port not in ports and not all(opened):
        raise ForbiddenAddressError(f"port {port} is not allowed here; allowed: {', '.join(map(str, sorted(ports)))}")
    return str(addresses[0])


def is_public(address: IPv4Address | IPv6Address) -> bool:
    """Whether it is somebody's on the public internet; IPv4 inside IPv6 (mapped, NAT64) is judged as IPv4."""
    if isinstance(address, IPv6Address):
        inner = address.ipv4_mapped or (IPv4Address(int(address) & _ADDRESS_BITS) if address in _NAT64 else None)
        if inner is None:
            return (
                address.is_global
                and address in _PUBLIC_V6
                and not any(address in network for network in _NOT_PUBLIC_V6)
            )
        address = inner
    return address.is_global and not address.is_multicast and not any(address in network for network in _NOT_PUBLIC_V4)


async def _addresses(host: str, port: int) -> list[IPv4Address | IPv6Address]:
    try:
        name = host.rstrip(".").encode("idna").decode("ascii") if not host.isascii() else host.rstrip(".")
    except UnicodeError:
        raise ForbiddenAddressError(f"{host!r} is not a host name") from None
    if not name or len(name) > _MAX_NAME or not name.isprintable() or " " in name:
        raise ForbiddenAddressError(f"{host!r} is not a host name")
    try:
        return [_address(name)]
    except ValueError:  # a name, or an address in one of its odd spellings
        async with asyncio.timeout(LOOK_UP_TIMEOUT_S):
            found = await asyncio.get_running_loop().getaddrinfo(name, port, type=socket.SOCK_STREAM)
    return [_address(str(sockaddr[0])) for *_, sockaddr in found]


def _address(text: str) -> IPv4Address | IPv6Address:
    # A zone (fe80::1%eth0) is no part of what is judged, and link-local addresses are refused anyway.
    return ipaddress.ip_address(text.partition("%")[0])


@cache  # reading the system's certificates takes 60 ms
def tls_context(extra_ca_file: str | None) -> ssl.SSLContext:
    """A client's context: certificates and names verified, TLS 1.2 at least; `extra_ca_file` (PEM) is trusted besides.

    One for all who trust the same: nobody changes it.

    Raises:
        OSError, ssl.SSLError: the file cannot be read or holds no certificate.

    """
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if extra_ca_file is not None:
        context.load_verify_locations(cafile=extra_ca_file)
    return context
