"""The mail world as one async context: its servers, the courier and their files; must never listen off loopback."""

import asyncio
import contextlib
from collections.abc import Mapping
from contextlib import AsyncExitStack
from datetime import datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec

from deploy.local.ca import certificates
from deploy.local.kept import locked_directory
from deploy.local.ports import kept_ports
from deploy.local.sandbox.control import State, answer_to, state_of
from deploy.local.sandbox.courier import Clock, Courier
from deploy.local.sandbox.imap import Session
from deploy.local.sandbox.listen import listen
from deploy.local.sandbox.log import Outcome, SmtpLog, read_log
from deploy.local.sandbox.smtp import Habits, Submission, listen_smtp
from deploy.local.sandbox.store import Store

A_DAY = timedelta(days=1)
EVERYDAY = Habits()
PORTS = ("smtp", "imap", "control")


class MailWorld:
    """`async with MailWorld(directory) as world:` runs it; what it holds is kept in the directory for the next one.

    `ports` names those of smtp, imap and control that are not to be chosen; all are kept for the next start.
    `longest_delay` bounds how long people take to answer (business time; zero: at once). By its everyday
    habits it files submitted mail in the sender's Sent folder, as Gmail does.
    Raises ServerError when another one runs on the directory, PortTakenError when a port is not free.
    """

    def __init__(
        self,
        directory: Path,
        *,
        ports: Mapping[str, int] | None = None,
        longest_delay: timedelta = A_DAY,
        habits: Habits = EVERYDAY,
    ) -> None:
        self._directory = directory
        self._wanted_ports = ports or {}
        self._longest_delay = longest_delay
        self._habits = habits
        self._open = AsyncExitStack()

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            directory, _ = stack.enter_context(locked_directory(self._directory))
            self._store = Store(directory / "mail.sqlite")
            stack.callback(self._store.close)
            self._log = SmtpLog(directory)
            stack.callback(self._log.close)
            self.certificates = certificates(directory)
            self.clock = Clock(self._store)
            self.courier = Courier(self._store, self.clock, longest_delay=self._longest_delay)
            self._ports = kept_ports(directory / "ports.json", PORTS, **self._wanted_ports)
            await self._listen(stack)
            self.task = asyncio.create_task(self.courier.run(), name="courier")
            stack.push_async_callback(_end, self.task)
            self._open = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._open.aclose()

    @property
    def smtp_port(self) -> int:
        """STARTTLS, then AUTH PLAIN or LOGIN."""
        return self._ports["smtp"]

    @property
    def imap_port(self) -> int:
        """Implicit TLS."""
        return self._ports["imap"]

    @property
    def control_port(self) -> int:
        """See control.py."""
        return self._ports["control"]

    @property
    def ca_file(self) -> Path:
        """PEM of the CA that clients have to trust."""
        return self.certificates.ca_file

    @property
    def log_file(self) -> Path:
        """The SMTP log, for log.read_log()."""
        return self._log.path

    def outcomes(self) -> list[Outcome]:
        """The whole SMTP log."""
        return read_log(self._log.path)

    def state(self) -> State:
        """What the control endpoint would answer."""
        return state_of(self._store, self.clock, self.courier)

    def advance(self, by: timedelta) -> None:
        """Moves business time on; what falls due is given by the courier's task, see `state().quiet`."""
        self.clock.set_offset(self.clock.offset + by)
        self.courier.wake()

    def put(self, address: str, raw: bytes, *, folder: str = "INBOX", arrived: datetime | None = None) -> int:
        """Files a message of the caller's making with that address (now, unless told otherwise); returns its UID."""
        return self._store.file(address, folder, raw, arrived or self.clock.now())

    async def _listen(self, stack: AsyncExitStack) -> None:
        tls = self.certificates.server_context()
        submission = Submission(self._store, self.clock, self.courier, self._log, self._habits)
        await listen_smtp(stack, submission, tls, self.smtp_port)
        await listen(stack, self._imap, self.imap_port, tls)
        await listen(stack, self._control, self.control_port)

    async def _imap(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await Session(self._store, self.clock, reader, writer).run()

    async def _control(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            answer = answer_to(line, self._store, self.clock, self.courier)
            writer.write(msgspec.json.encode(answer) + b"\n")
            await writer.drain()


async def _end(task: "asyncio.Task[None]") -> None:
    """Ends the courier; what made it fail before is raised here."""
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
