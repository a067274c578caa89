"""A data directory: one launcher at a time, and secrets that are made once.

Secrets must never be readable by another user nor be printed.
"""

import contextlib
import fcntl
import os
import secrets
from collections.abc import Generator, Iterable
from pathlib import Path

import msgspec


class ServerError(Exception):
    """A server could not be started: in use by another launcher, or its own log says why."""


@contextlib.contextmanager
def locked_directory(directory: Path) -> Generator[tuple[Path, contextlib.ExitStack]]:
    """The directory, absolute, made if missing; locked until the block ends or who took over the stack closes it."""
    directory = directory.resolve()
    directory.mkdir(parents=True, exist_ok=True)
    directory.chmod(0o700)
    with contextlib.ExitStack() as held:
        lock = held.enter_context((directory / "lock").open("wb"))
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ServerError(f"{directory} is in use by another launcher") from None
        yield directory, held


def kept_secret(path: Path) -> str:
    """The secret in `path` (256 bits, URL-safe); made with mode 600 at the first call, the same one ever after."""
    if path.exists():
        return path.read_text().strip()
    secret = secrets.token_urlsafe(32)
    write_private(path, secret.encode() + b"\n")
    return secret


def kept_secrets(path: Path, names: Iterable[str]) -> dict[str, str]:
    """One secret for each name, kept as JSON in `path` with mode 600; a later call with more names adds the missing."""
    kept = msgspec.json.decode(path.read_bytes(), type=dict[str, str]) if path.exists() else {}
    missing = {name: secrets.token_urlsafe(32) for name in names if name not in kept}
    if missing:
        write_private(path, msgspec.json.encode(kept | missing))
    return kept | missing


def write_private(path: Path, content: bytes) -> None:
    """Writes the whole file or nothing, mode 600 from its first byte on; replaces an older one."""
    draft = path.with_name(path.name + ".new")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
