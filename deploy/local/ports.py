"""The ports of a data directory: must never change, since mailboxes and links made before a restart lead to them."""

import secrets
import socket
from collections.abc import Sequence
from pathlib import Path

import msgspec

from deploy.local.kept import write_private

LOOPBACK = "127.0.0.1"
# Below the range from which systems take the ports of outgoing connections: a kept port must be free at the next start.
CHOICE = range(20_000, 32_000)
ATTEMPTS = 100


class PortTakenError(Exception):
    """A port that this directory uses belongs to another program now."""


def kept_ports(path: Path, names: Sequence[str], **wanted: int) -> dict[str, int]:
    """A port for each name: the wanted one (0 = none), else the one kept in `path`, else a free one; all are kept.

    Raises:
        PortTakenError: one of them is in use.

    """
    kept = msgspec.json.decode(path.read_bytes(), type=dict[str, int]) if path.exists() else {}
    ports = {name: wanted.get(name) or kept.get(name) or free_port() for name in names}
    for name, port in ports.items():
        if not _is_free(port):
            raise PortTakenError(f"port {port} ({name}) is taken by another program")
    write_private(path, msgspec.json.encode(kept | ports))
    return ports


def free_port() -> int:
    """A port of 127.0.0.1 that was free a moment ago.

    Raises:
        PortTakenError: a hundred tries found none.

    """
    for _ in range(ATTEMPTS):
        port = secrets.choice(CHOICE)
        if _is_free(port):
            return port
    raise PortTakenError(f"no free port between {CHOICE.start} and {CHOICE.stop}")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # what just closed may linger in TIME_WAIT
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True
