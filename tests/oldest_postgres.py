"""The oldest PostgreSQL that Coldstream runs on, as a second leg for the data model's tests; must never be needed.

Taken from TEST_POSTGRES_15_URL (a superuser's URL), else started from Debian's binaries where they are installed.
"""

import os
import pwd
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

URL_VARIABLE = "TEST_POSTGRES_15_URL"
BINARIES = Path("/usr/lib/postgresql/15/bin")
START_TIMEOUT_S = 30.0


def is_there() -> bool:
    """Whether this machine has one."""
    return URL_VARIABLE in os.environ or (BINARIES / "postgres").exists()


@contextmanager
def running() -> Generator[str]:
    """A superuser's URL to it for the length of the block."""
    if url := os.environ.get(URL_VARIABLE):
        yield url
        return
    with tempfile.TemporaryDirectory(prefix="coldstream-pg15-") as name:
        user = _unprivileged(Path(name))
        data, port = Path(name) / "data", _free_port()
        log = (Path(name) / "log").open("wb")
        initdb = [BINARIES / "initdb", "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "-N"]
        subprocess.run(initdb, check=True, user=user, cwd=name, stdout=log, stderr=log)  # noqa: S603 - our own arguments
        settings = {"listen_addresses": "127.0.0.1", "port": port, "unix_socket_directories": "", "fsync": "off"}
        options = [word for key, value in settings.items() for word in ("-c", f"{key}={value}")]
        command = [BINARIES / "postgres", "-D", data, *options]
        server = subprocess.Popen(command, user=user, cwd=name, stdout=log, stderr=log)  # noqa: S603 - our own arguments
        try:
            _await_ready(server, data / "postmaster.pid")
            yield f"postgresql://postgres@127.0.0.1:{port}/postgres"
        finally:
            server.send_signal(signal.SIGINT)  # fast shutdown
            server.wait()
            log.close()


def _unprivileged(directory: Path) -> int | None:
    """PostgreSQL refuses to run as root; Debian's package made an account for it."""
    if os.geteuid() != 0:
        return None
    account = pwd.getpwnam("postgres")
    os.chown(directory, account.pw_uid, account.pw_gid)
    return account.pw_uid


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _await_ready(server: subprocess.Popen[bytes], pid_file: Path) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while not (pid_file.exists() and pid_file.read_text().rstrip().endswith("ready")):
        if server.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError("PostgreSQL 15 did not start")
        time.sleep(0.01)
