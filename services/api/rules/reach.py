"""Could a recipient's browser reach this address? Judges by the name alone; never looks it up."""

from collections.abc import Sequence
from ipaddress import ip_address, ip_network
from urllib.parse import urlsplit

# Names that never leave a machine or a house (RFC 6761, RFC 8375).
_AT_HOME = ("localhost", "local", "internal", "home.arpa", "invalid", "test")


def can_be_reached(url: str, allowed_networks: Sequence[str]) -> bool:
    """Whether the URL's host is public, or of a network that a sandbox has opened."""
    host = (urlsplit(url).hostname or "").rstrip(".").lower()
    try:
        address = ip_address("127.0.0.1" if host == "localhost" else host)
    except ValueError:
        return "." in host and not any(host == name or host.endswith(f".{name}") for name in _AT_HOME)
    return address.is_global or any(address in ip_network(network) for network in allowed_networks)
