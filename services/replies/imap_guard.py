"""aioimaplib behind a guard: a command that takes too long, brings too much or loses its connection fails at once.

Never lets the library wait, buffer or recurse without a bound (reliability.md §0.8); after any failure the connection
is gone and the client must be thrown away. Its types are not declared; what it answers is checked by imap.py.
"""
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false
# aioimaplib has no types: the three rules above would flag every line that touches it.

import asyncio
import logging
import re
import socket
import ssl
from asyncio.sslproto import SSLProtocol
from base64 import b64encode
from collections.abc import Awaitable, Callable
from typing import Any, Final, Literal

import aioimaplib  # pyright: ignore[reportMissingTypeStubs] - there are none
import msgspec
from aioimaplib.aioimaplib import (  # pyright: ignore[reportMissingTypeStubs] - there are none
    Command,
    FetchCommand,
    IdleCommand,
    IMAP4ClientProtocol,
)

from services.replies.imap_refusal import ImapError, LoginRefusedError, RefusedError, judged, refusal_text

COMMAND_TIMEOUT_S = 45.0  # outside of aioimaplib's own (reliability.md §6)
WAKE_TIMEOUT_S = 15.0  # a server that slept with us has nothing to do but to say so
LOGOUT_TIMEOUT_S = 2.0
# A peer that went without a word is noticed by the kernel within a minute, and costs no task (F44, half-open).
KEEP_ALIVE: Final = {"TCP_KEEPIDLE": 30, "TCP_KEEPINTVL": 10, "TCP_KEEPCNT": 3}
MAX_TALK_BYTES = 1_048_576  # one answer besides messages: a SEARCH that finds 100,000
MAX_LINES = 2_000  # one answer besides messages; aioimaplib looks at each line again for every new one
PIECE_BYTES = 8_192  # aioimaplib goes one call deeper for each line of what it gets at once, with a copy of the rest

_UNSAFE = re.compile(r"[\x00\r\n]")
_CAPABILITY = re.compile(rb"(?:\[|\A)CAPABILITY ([^\]]*)", re.IGNORECASE)
# What asyncio sets aside for each TLS connection: its own 256 KB are much for hundreds that mostly sleep, and more than
# one record (RFC 8446 §5.1) is never read at once.
SSLProtocol.max_size = 16_384
# It logs what servers send: never below warnings (reliability.md S12).
logging.getLogger("aioimaplib").setLevel(logging.WARNING)


class Account(msgspec.Struct, frozen=True, kw_only=True):
    """Where a mailbox is and how to enter it: by an OAuth access token where there is one, else by the password."""

    host: str
    port: int
    tls: Literal["implicit", "none"]
    username: str
    password: str | None = None
    access_token: str | None = None

    def __repr__(self) -> str:
        return f"Account({self.host}:{self.port})"


class Network(msgspec.Struct, frozen=True, kw_only=True):
    """Whom we may connect to and whom we believe."""

    context: ssl.SSLContext
    allow: tuple[str, ...] = ()


class Fetch(FetchCommand):
    """FETCH by UID, which counts each line's parentheses once: the library does so again with every line that comes."""

    def __init__(self, tag: str, numbers: str, items: str) -> None:
        super().__init__(tag, numbers, items, prefix="UID")
        self._open = 0

    def append_to_resp(self, line: Any, result: str = "Pending") -> None:
        """Takes a line (bytes) or a literal (a bytearray), whose parentheses are the message's own."""
        super().append_to_resp(line, result)
        if isinstance(line, bytes):
            fresh = 0 if self.FETCH_MESSAGE_DATA_RE.match(line) else self._open
            self._open = fresh + line.count(b"(") - line.count(b")")

    def wait_data(self) -> bool:
        """Whether the answer about the last message is not whole yet."""
        return self._open != 0


class Hints(IdleCommand):
    """IDLE (RFC 2177) without a task, a queue or a timer: it calls when a message came, and keeps nothing."""

    def __init__(self, tag: str, on_news: Callable[[], None]) -> None:
        super().__init__(tag, asyncio.Queue())
        self.began = asyncio.Event()  # or the server has refused
        self._on_news = on_news

    def append_to_resp(self, line: bytes, result: str = "Pending") -> None:
        """Takes the tagged answer; of what comes before it only the news counts."""
        if result != "Pending":
            super().append_to_resp(line, result)
            self.began.set()
        elif line.upper().endswith(b" EXISTS"):
            self._on_news()


class Guard(IMAP4ClientProtocol):
    """The library's protocol with a bound on what one answer may bring, and a failure that is noticed at once."""

    def __init__(self) -> None:
        super().__init__(asyncio.get_running_loop())
        self.failure: str | None = None
        self.responses: list[bytes] = []  # of AUTHENTICATE, in the order in which the server asks for them
        self.on_lost: Callable[[], None] | None = None
        self._room = MAX_TALK_BYTES
        self._scope: asyncio.Timeout | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Asks the kernel to look whether the other side is still there."""
        super().connection_made(transport)
        line = transport.get_extra_info("socket")
        line.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in KEEP_ALIVE.items():
            if hasattr(socket, name):  # not on every system
                line.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)

    def watch(self, scope: asyncio.Timeout | None, room: int = MAX_TALK_BYTES) -> None:
        """From now on the scope expires when the connection fails or sends more than `room` bytes; None ends that.

        Without a scope the bound holds all the same: servers talk between commands, too.
        """
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
        if self.on_lost is not None:
            self.on_lost()
            self.on_lost = None

    def data_received(self, d: bytes) -> None:
        """Passes on what the answer has room for."""
        if self.failure:
            return
        self._room -= len(d)
        if self._room < 0:
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

    def _continuation(self, line: bytes) -> None:
        """Gives what is asked for; the library would answer a challenge with nothing at all and wait."""
        pending = self.pending_sync_command
        if isinstance(pending, Hints):
            pending.began.set()
        elif (
            pending is not None
            and pending.name == "AUTHENTICATE"
            and isinstance(self.transport, asyncio.WriteTransport)
        ):
            # Past our words the challenge tells of an error, and an empty line lets the server say NO.
            self.transport.write((self.responses.pop(0) if self.responses else b"") + b"\r\n")
        else:
            super()._continuation(line)

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
        self._hints: Hints | None = None
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
            ImapError: anything else that keeps us out, a server that refuses everybody for now among it.

        """
        if _UNSAFE.search(account.username + (account.password or "") + (account.access_token or "")):
            raise LoginRefusedError("user name or password holds a line break or a NUL")
        if account.access_token is not None and not self.has("AUTH=XOAUTH2"):
            raise ImapError("the server takes no OAuth token (XOAUTH2)")
        try:
            if account.access_token is not None:
                lines = await self._authenticate(account.username, account.access_token)
            else:
                # The library quotes the password and not the user.
                lines = await self.run(lambda library: library.login(quoted(account.username), account.password or ""))
        except RefusedError as error:
            raise judged(str(error), by_token=account.access_token is not None) from error
        # Many can do more for whom they know, and not all say so unasked.
        told = [match[1].decode("ascii", "replace").split() for line in lines if (match := _CAPABILITY.search(line))]
        if told:
            self.guard.capabilities = set(told[-1])
        else:
            await self.run(lambda library: library.guard.capability(), answers=False)

    async def _authenticate(self, username: str, token: str) -> list[bytes]:
        """SASL's XOAUTH2: the words go with the command where the server takes them (RFC 4959), else when it asks."""
        words = b64encode(f"user={username}\x01auth=Bearer {token}\x01\x01".encode())
        at_once = self.has("SASL-IR")
        self.guard.responses = [] if at_once else [words]
        args = ["XOAUTH2", words.decode("ascii")] if at_once else ["XOAUTH2"]
        command = Command("AUTHENTICATE", self.guard.new_tag(), *args)
        lines = await self.run(lambda library: library.guard.execute(command))
        self.guard.state = "AUTH"
        return lines

    def has(self, capability: str) -> bool:
        """Whether the server has said that it can do this."""
        return capability in {each.upper() for each in self.guard.capabilities}

    async def run(
        self,
        command: "Callable[[Client], Awaitable[Any]]",
        room: int = MAX_TALK_BYTES,
        *,
        within_s: float | None = None,
        answers: bool = True,
    ) -> list[bytes]:
        """The lines of the command's answer, which may bring `room` bytes; literals are bytearrays among them.

        Raises:
            RefusedError: the answer is NO or BAD.
            ImapError: no answer in time, too large a one, none that can be read.

        """
        if self.guard.failure:
            raise ImapError(self.guard.failure)
        within_s = COMMAND_TIMEOUT_S if within_s is None else within_s
        try:
            async with asyncio.timeout(within_s) as scope:
                self.guard.watch(scope, room)
                response = await command(self)
        except TimeoutError:
            self.guard.fail(f"no answer within {within_s:.0f} s")
            raise ImapError(self.guard.failure or "") from None
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
            raise RefusedError(refusal_text(response.result, lines))
        return lines

    async def fetch_by_uid(self, numbers: str, items: str, room: int) -> list[bytes]:
        """The lines of FETCH's answer. Raises as `run` does."""
        command = Fetch(self.guard.new_tag(), numbers, items)
        return await self.run(lambda library: library.guard.execute(command), room)

    def rest(self, on_news: Callable[[], None]) -> None:
        """Lets the server call (RFC 2177): once at least after a message came, or the connection went; costs no task.

        To be called in an open folder, at a server that has IDLE; only `wake` may follow.
        """
        self.guard.on_lost = on_news
        self._hints = Hints(self.guard.new_tag(), on_news)
        self.guard.pending_sync_command = self._hints
        self.guard.send(str(self._hints))

    @property
    def is_resting(self) -> bool:
        """Whether the server has been asked to call, and not to stop yet."""
        return self._hints is not None

    async def wake(self, within_s: float = WAKE_TIMEOUT_S) -> bool:
        """Ends the rest, if there is one; returns whether the server may be asked to again, because it did rest.

        Raises:
            ImapError: the connection went meanwhile, or the server has fallen asleep itself.

        """
        hints, self._hints, self.guard.on_lost = self._hints, None, None
        if hints is None:
            return True

        async def done(library: "Client") -> Any:
            await hints.began.wait()
            if library.has_pending_idle():
                library.idle_done()
            await hints.wait()
            return hints.response

        try:
            await self.run(done, within_s=within_s)
        except RefusedError:
            return False
        return True

    async def leave(self) -> None:
        """Logs out where that is possible, then hangs up."""
        if not self.guard.failure:
            try:
                await self.wake(LOGOUT_TIMEOUT_S)
                await self.run(lambda library: library.logout(), within_s=LOGOUT_TIMEOUT_S, answers=False)
            except ImapError:
                pass  # it has gone already, which is what was wanted
        self.drop()

    def drop(self) -> None:
        """Hangs up and ends what still runs for this connection."""
        self.guard.on_lost = None
        self._client_task.cancel()
        self.guard.fail("the session is closed")


def quoted(text: str) -> str:
    """The text as a quoted string (RFC 3501 §4.3)."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
