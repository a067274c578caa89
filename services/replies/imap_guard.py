"""aioimaplib behind a guard: a command that takes too long, brings too much or loses its connection fails at once.

Never lets the library wait, buffer or recurse without a bound (reliability.md §0.8); after any failure the connection
is gone and the client must be thrown away. Its types are not declared; what it answers is checked by imap.py.
"""
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false
# aioimaplib has no types: the three rules above would flag every line that touches it.

import asyncio
import logging
import re
import ssl
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Literal

import aioimaplib  # pyright: ignore[reportMissingTypeStubs] - there are none
import msgspec
from aioimaplib.aioimaplib import IMAP4ClientProtocol  # pyright: ignore[reportMissingTypeStubs] - there are none

COMMAND_TIMEOUT_S = 45.0  # outside of aioimaplib's own (reliability.md §6)
LOGOUT_TIMEOUT_S = 2.0
MAX_TALK_BYTES = 1_048_576  # one answer besides messages: a SEARCH that finds 100,000
MAX_LINES = 2_000  # one answer besides messages; aioimaplib looks at each line again for every new one
PIECE_BYTES = 8_192  # aioimaplib goes one call deeper for each line of what it gets at once, with a copy of the rest

_UNSAFE = re.compile(r"[\x00\r\n]")
_ADDRESS = re.compile(r"[^\s<>@]+@[^\s<>@]+")

# It logs what servers send: never below warnings (reliability.md S12).
logging.getLogger("aioimaplib").setLevel(logging.WARNING)


class ImapError(Exception):
    """The session is over; the text says why and holds no credential."""


class LoginRefusedError(ImapError):
    """The server does not accept the user or the password: trying again soon would only lock the account."""


class Account(msgspec.Struct, frozen=True, kw_only=True):
    """Where a mailbox is and how to enter it."""

    host: str
    port: int
    tls: Literal["implicit", "none"]
    username: str
    password: str

    def __repr__(self) -> str:
        return f"Account({self.host}:{self.port})"


class Network(msgspec.Struct, frozen=True, kw_only=True):
    """Whom we may connect to and whom we believe."""

    context: ssl.SSLContext
    allow: tuple[str, ...] = ()


class Guard(IMAP4ClientProtocol):
    """The library's protocol with a bound on what one answer may bring, and a failure that is noticed at once."""

    def __init__(self) -> None:
        super().__init__(asyncio.get_running_loop())
        self.failure: str | None = None
        self._room = MAX_TALK_BYTES
        self._scope: asyncio.Timeout | None = None

    def watch(self, scope: asyncio.Timeout | None, room: int = 0) -> None:
        """From now on the scope expires when the connection fails or sends more than `room` bytes; None ends that."""
        self._scope, self._room = scope, room

    def fail(self, reason: str) -> None:
        """Ends the connection for a reason; the first one is kept."""
        self.failure = self.failure or reason
        if isinstance(self.transport, asyncio.WriteTransport):
            self.transport.abort()
        for task in self.tasks:
            task.cancel()
        if self._scope is not None and not self._scope.expired():
            self._scope.reschedule(0)
        self._scope = None

    def data_received(self, d: bytes) -> None:
        """Passes on what the answer has room for."""
        if self.failure:
            return
        self._room -= len(d)
        if self._scope is not None and self._room < 0:
            self.fail("the server sends more than was asked for")
            return
        for start in range(0, len(d), PIECE_BYTES):
            self._take(d[start : start + PIECE_BYTES])
            if self.failure:
                return

    def _take(self, piece: bytes) -> None:
        try:
            super().data_received(piece)
        except Exception as error:  # noqa: BLE001 - it raises what the server's bytes make it raise, RecursionError too
            self.fail(f"the server's answer cannot be read ({type(error).__name__})")
            return
        pending = [*self.pending_async_commands.values(), self.pending_sync_command]
        if any(each is not None and len(each.response.lines) > MAX_LINES for each in pending):
            self.fail("the server's answer has too many lines")

    def connection_lost(self, exc: Exception | None) -> None:
        """The library would let the command wait for its timeout."""
        self.fail(f"the connection is lost ({type(exc).__name__})" if exc else "the server closed the connection")

    async def welcome(self, command: bytes) -> None:  # pyright: ignore[reportIncompatibleVariableOverride] - decorated there
        """The library runs this as a task of its own, where an error would be seen by nobody."""
        try:
            await super().welcome(command)
        except Exception as error:  # noqa: BLE001 - as in data_received
            self.fail(f"the server does not greet as it should ({type(error).__name__})")


class Client(aioimaplib.IMAP4):
    """The library's client on a guarded connection to an address that has been checked."""

    def __init__(self, account: Account, address: str, network: Network) -> None:
        self.guard = Guard()
        self._tls = network.context if account.tls == "implicit" else None
        self._server_name = account.host if account.tls == "implicit" else None
        # Its own timeout lies beyond ours, so that there is one place where time runs out.
        super().__init__(address, account.port, timeout=2 * COMMAND_TIMEOUT_S)

    def create_client(self, host: str, port: int, *_: object) -> None:  # pyright: ignore[reportIncompatibleMethodOverride] - the rest is ours
        """Called by the library's __init__: our protocol, and TLS to the name while connecting to the address."""
        self.protocol = self.guard
        loop = asyncio.get_running_loop()
        connecting = loop.create_connection(
            lambda: self.guard, host, port, ssl=self._tls, server_hostname=self._server_name
        )
        self._client_task = loop.create_task(connecting)

    async def log_in(self, account: Account) -> None:
        """Enters the mailbox.

        Raises:
            LoginRefusedError: the answer is NO, or the credentials cannot be sent.

        """
        if _UNSAFE.search(account.username + account.password):
            raise LoginRefusedError("user name or password holds a line break or a NUL")
        # The library quotes the password and not the user.
        await self.run(
            lambda library: library.login(quoted(account.username), account.password), refusal=LoginRefusedError
        )

    async def run(
        self,
        command: "Callable[[Client], Awaitable[Any]]",
        room: int = MAX_TALK_BYTES,
        *,
        refusal: type[ImapError] = ImapError,
        answers: bool = True,
    ) -> list[bytes]:
        """The lines of the command's answer, which may bring `room` bytes; literals are bytearrays among them.

        Raises:
            ImapError: no answer in time, too large a one, none that can be read; `refusal` where it is NO or BAD.

        """
        if self.guard.failure:
            raise ImapError(self.guard.failure)
        try:
            async with asyncio.timeout(COMMAND_TIMEOUT_S) as scope:
                self.guard.watch(scope, room)
                response = await command(self)
        except TimeoutError:
            raise ImapError(self.guard.failure or f"no answer within {COMMAND_TIMEOUT_S:.0f} s") from None
        except (aioimaplib.AioImapException, ValueError) as error:
            raise ImapError(f"the server's answer cannot be used ({type(error).__name__})") from error
        except OSError as error:
            raise ImapError(f"no connection ({error.strerror or type(error).__name__})") from error
        finally:
            self.guard.watch(None)
        if not answers:
            return []
        lines: list[bytes] = list(response.lines)
        if response.result != "OK":
            raise refusal(_refusal_text(lines))
        return lines

    async def leave(self) -> None:
        """Logs out where that is possible, then hangs up."""
        if not self.guard.failure:
            try:
                async with asyncio.timeout(LOGOUT_TIMEOUT_S) as scope:
                    self.guard.watch(scope, MAX_TALK_BYTES)
                    await self.logout()
            except (TimeoutError, aioimaplib.AioImapException):
                pass  # it has gone already, which is what was wanted
            finally:
                self.guard.watch(None)
        self.drop()

    def drop(self) -> None:
        """Hangs up and ends what still runs for this connection."""
        self._client_task.cancel()
        self.guard.fail("the session is closed")


def quoted(text: str) -> str:
    """The text as a quoted string (RFC 3501 §4.3)."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _refusal_text(lines: Sequence[bytes]) -> str:
    last = bytes(lines[-1])[:200].decode("ascii", "replace") if lines else ""
    return f"the server refuses: {_ADDRESS.sub('<address>', last)}"
