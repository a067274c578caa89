"""One child process kept alive: started anew whenever it dies, after a pause that grows.

Must never outlive its launcher where the system can see to that (Linux), and never swallow what a child says: it is in
its log.
"""

import asyncio
import contextlib
import ctypes
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

PAUSES_S = (0.1, 0.5, 2.0, 5.0)  # before the 1st, 2nd, ... restart in a row
STEADY_S = 20.0  # a child that has lived this long begins again at the shortest pause
DRAIN_TIMEOUT_S = 55.0  # the services' own drain timeout is 45 s
POLL_S = 0.05
PROBE_TIMEOUT_S = 2.0
PR_SET_PDEATHSIG = 1  # Linux prctl(2)


class ProcessError(Exception):
    """A child did not become ready; the text ends with the end of its log."""


@dataclass(kw_only=True)
class Supervised:
    """A child and the task that keeps it alive."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    log: Path
    is_ready: Callable[[], Awaitable[bool]]
    ready_timeout_s: float = 90.0  # six interpreters start at once on two cores
    restarts: int = 0
    _process: asyncio.subprocess.Process | None = None
    _keeper: asyncio.Task[None] | None = None
    _stopping: asyncio.Event = field(default_factory=asyncio.Event)

    async def start(self) -> None:
        """Starts the child and goes on starting it until `stop`; a second call does nothing."""
        if self._keeper is None:
            self._process = await self._spawn()
            self._keeper = asyncio.create_task(self._keep(self._process), name=f"keep-{self.name}")

    @property
    def pid(self) -> int | None:
        """The process id of the child that runs now; None between two of them."""
        running = self._process is not None and self._process.returncode is None
        return self._process.pid if running and self._process is not None else None

    async def wait_ready(self) -> None:
        """Returns when the child answers that it is ready.

        Raises:
            ProcessError: it did not within `ready_timeout_s`.

        """
        deadline = time.monotonic() + self.ready_timeout_s
        while not await self.is_ready():
            if time.monotonic() > deadline:
                raise ProcessError(f"{self.name} did not become ready; its log {self.log} ends:\n{tail(self.log)}")
            await asyncio.sleep(POLL_S)

    def kill(self) -> bool:
        """SIGKILL, as a crash; True when there was a child to kill. The keeper starts the next one."""
        pid = self.pid
        if pid is not None:
            os.kill(pid, signal.SIGKILL)
        return pid is not None

    async def stop(self) -> int | None:
        """SIGTERM, then SIGKILL after the drain timeout; returns the exit code, None when no child ran."""
        self._stopping.set()
        process, keeper = self._process, self._keeper
        if process is None or keeper is None:
            return None
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):  # it died between the two lines
                process.terminate()
            try:
                async with asyncio.timeout(DRAIN_TIMEOUT_S):
                    await process.wait()
            except TimeoutError:
                process.kill()
        await keeper
        return process.returncode

    async def _keep(self, process: asyncio.subprocess.Process) -> None:
        in_a_row = 0
        while True:
            started = time.monotonic()
            await process.wait()
            if self._stopping.is_set():
                return
            in_a_row = 0 if time.monotonic() - started > STEADY_S else in_a_row
            pause_s = PAUSES_S[min(in_a_row, len(PAUSES_S) - 1)]
            in_a_row += 1
            self.restarts += 1
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause_s):
                    await self._stopping.wait()
                return
            process = self._process = await self._spawn()
            if self._stopping.is_set():  # asked to stop while this one was being started
                process.terminate()

    async def _spawn(self) -> asyncio.subprocess.Process:
        """Starts the child in its own session (a terminal's Ctrl-C is for the launcher), told if we die."""
        libc = _linux_libc()

        def before_exec() -> None:
            if libc is not None:
                libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)

        with self.log.open("ab") as output:
            return await asyncio.create_subprocess_exec(
                *self.command,
                env=dict(self.environment),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                preexec_fn=before_exec,  # one system call, looked up before the fork: safe beside threads
            )


async def answers_ready(port: int) -> bool:
    """Whether the ops server on this port of 127.0.0.1 answers `/readyz` with 200."""
    try:
        async with asyncio.timeout(PROBE_TIMEOUT_S):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                writer.write(b"GET /readyz HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
                status = await reader.readline()
            finally:
                writer.close()
    except (OSError, TimeoutError):
        return False
    return status.split()[1:2] == [b"200"]


async def listens(port: int) -> bool:
    """Whether anybody takes connections on this port of 127.0.0.1."""
    try:
        async with asyncio.timeout(PROBE_TIMEOUT_S):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
    except (OSError, TimeoutError):
        return False
    writer.close()
    return True


def tail(log: Path, lines: int = 20) -> str:
    """The last lines of a log, or nothing when there is none."""
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:]) if log.exists() else ""


def _linux_libc() -> ctypes.CDLL | None:
    return ctypes.CDLL(None) if sys.platform == "linux" else None
