"""One delivery over SMTP, step by step; the point of no return lies between the body and the final dot (RFC 5321).

Never sends credentials in the clear, never writes the final dot without a commit that is younger than five seconds, and
never retries: what an end means is decided by rules/verdict.py.
"""

import asyncio
import re
import socket
import ssl
from collections.abc import Awaitable, Callable, Collection, Generator, Sequence
from contextlib import contextmanager
from typing import Literal, cast
from uuid import UUID

import msgspec
from aiosmtplib import SMTP
from aiosmtplib.errors import (
    SMTPException,
    SMTPResponseException,
    SMTPServerDisconnected,
    SMTPTimeoutError,
)
from aiosmtplib.protocol import SMTPProtocol

from libs.schema.runtime.network import SMTP_PORTS, ForbiddenAddressError, resolve_public
from services.sender.rules.message import Message
from services.sender.rules.verdict import Answer, NoAnswer, Outcome, Phase, Withheld

MAX_MAILS = 20  # per connection; many providers close it after so many
# Below servers' own limits and the smallest gap of two mails at a human pace: only bursts share a connection.
IDLE_S = 30.0
_LINE_START_DOT = re.compile(rb"(?m)^\.")
_OK = frozenset((250,))
_TAKEN = frozenset((250, 251))  # 251: will be forwarded
_START_MAIL_INPUT = frozenset((354,))
_ONE_REPLY = re.compile(rb"(?:\d{3}-[^\n]*\n)*\d{3}(?: [^\n]*|\r?)\n")  # RFC 5321 §4.2

Commit = Callable[[], Awaitable[bool]]


class Account(msgspec.Struct, frozen=True, kw_only=True):
    """How an inbox's server is reached; `helo` is the name we greet it with (the inbox's own domain)."""

    inbox_id: UUID
    host: str
    port: int
    tls: Literal["starttls", "implicit", "none"]
    username: str | None
    password: str | None
    helo: str
    access_token: str | None = None  # OAuth; where there is one, no password is used

    def __repr__(self) -> str:
        return f"Account({self.inbox_id})"


class Timeouts(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds; RFC 5321 §4.5.3.2 and what Postfix waits (reliability.md §6)."""

    connect: float = 30.0
    command: float = 300.0
    data: float = 120.0
    dot: float = 600.0
    commit_to_dot: float = 5.0
    bytes_per_second: float = 1024.0


class _EndedError(Exception):
    def __init__(self, outcome: Answer | NoAnswer) -> None:
        super().__init__(outcome)
        self.outcome = outcome


class _InjectedError(SMTPException):
    """Words that no server would say there."""


class _Session:
    """One connection that has been greeted, encrypted and logged in."""

    def __init__(self, client: SMTP, protocol: SMTPProtocol) -> None:
        self.client = client
        self.protocol = protocol
        self.mails = 0
        self.used_at = asyncio.get_running_loop().time()


class Courier:
    """Delivers mail and keeps at most one connection per inbox for the next one."""

    def __init__(self, tls: ssl.SSLContext, *, allow: Sequence[str] = (), timeouts: Timeouts | None = None) -> None:
        self._tls = tls
        self._allow = allow
        self._timeouts = timeouts or Timeouts()
        self._idle: dict[UUID, _Session] = {}

    async def deliver(
        self, account: Account, message: Message, commit: Commit, *, envelope_id: UUID | None = None
    ) -> Outcome:
        """How the conversation ended. `commit` is awaited once, after the body: only its True lets the final dot go.

        A server that knows RFC 3461 is asked to report failures, and no successes, under `envelope_id`.

        Raises whatever `commit` raises, after closing the connection without the dot.
        """
        try:
            session = await self._session(account)
        except _EndedError as end:
            return end.outcome
        outcome: Outcome = Withheld(reason="refused")
        try:
            with _phase("body"):
                await self._offer(session, message, envelope_id)
            outcome = await self._pass_the_point(session, commit)
        except _EndedError as end:
            outcome = end.outcome
        finally:
            # After an answer the connection is in order, or RSET puts it so; after anything else nobody knows.
            self._put_back(account, session, keep=isinstance(outcome, Answer))
        return outcome

    async def close_idle(self) -> None:
        """Says goodbye on connections that nobody used for a while; call it now and then."""
        now = asyncio.get_running_loop().time()
        stale = [inbox_id for inbox_id, session in self._idle.items() if now - session.used_at > IDLE_S]
        await asyncio.gather(*(_say_goodbye(self._idle.pop(inbox_id)) for inbox_id in stale))

    async def close(self) -> None:
        """Says goodbye on all connections; deliveries under way are not touched."""
        sessions = [self._idle.pop(inbox_id) for inbox_id in list(self._idle)]
        await asyncio.gather(*(_say_goodbye(session) for session in sessions))

    async def _session(self, account: Account) -> _Session:
        kept = self._idle.pop(account.inbox_id, None)
        if kept is not None:
            try:
                await kept.client.rset(timeout=self._timeouts.connect)
            except (SMTPException, OSError):
                kept.client.close()  # it died while idle, which says nothing about the server
            else:
                return kept
        return await self._open(account)

    async def _open(self, account: Account) -> _Session:
        with _phase("connect"):
            client = await self._connect(account)
        try:
            if account.tls == "starttls":
                with _phase("starttls"):
                    await _start_tls(client, self._timeouts.command)
            with _phase("connect"):
                await client.ehlo(timeout=self._timeouts.command)
            if account.tls != "none" and account.username is not None:  # no secret ever leaves in the clear
                with _phase("auth"):
                    await _log_in(client, account, self._timeouts.command)
            with _phase("connect"):
                return _Session(client, _protocol_of(client))
        except BaseException:
            client.close()
            raise

    async def _connect(self, account: Account) -> SMTP:
        """To the very address that the guard has passed, under the host's name for TLS."""
        address = await resolve_public(account.host, account.port, allow=self._allow, ports=SMTP_PORTS)
        sock = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM)
        client = SMTP(
            hostname=account.host,
            sock=sock,
            use_tls=account.tls == "implicit",
            start_tls=False,
            tls_context=self._tls,
            local_hostname=account.helo,
            timeout=self._timeouts.connect,
        )
        try:
            sock.setblocking(False)
            async with asyncio.timeout(self._timeouts.connect):
                await asyncio.get_running_loop().sock_connect(sock, (address, account.port))
            await client.connect()
        except BaseException:
            client.close()
            sock.close()
            raise
        return client

    async def _offer(self, session: _Session, message: Message, envelope_id: UUID | None) -> None:
        """Everything up to the last line of the body, and not the dot."""
        client, timeouts = session.client, self._timeouts
        utf8 = message.smtputf8
        reports = envelope_id is not None and client.supports_extension("dsn")
        with _phase("mail"):
            if utf8 and not client.supports_extension("smtputf8"):
                raise SMTPResponseException(550, "5.6.7 needs SMTPUTF8")  # RFC 6531 §3.5
            options = [
                *(["SMTPUTF8", "BODY=8BITMIME"] if utf8 else []),
                *(["RET=HDRS", f"ENVID={envelope_id}"] if reports else []),
            ]
            await _command(client, timeouts.command, _OK, f"MAIL FROM:<{message.sender}>", *options)
        with _phase("rcpt"):
            options = ["NOTIFY=FAILURE"] if reports else []
            await _command(client, timeouts.command, _TAKEN, f"RCPT TO:<{message.recipient}>", *options)
        with _phase("data"):
            await _command(client, timeouts.data, _START_MAIL_INPUT, "DATA")
        body = _LINE_START_DOT.sub(b"..", message.content)
        session.protocol.write(body)
        async with asyncio.timeout(timeouts.connect + len(body) / timeouts.bytes_per_second):
            await _written(session.protocol)

    async def _pass_the_point(self, session: _Session, commit: Commit) -> Outcome:
        loop = asyncio.get_running_loop()
        started = loop.time()
        if not await commit():
            return Withheld(reason="refused")
        if loop.time() - started > self._timeouts.commit_to_dot:
            return Withheld(reason="too_late")
        if not session.protocol.is_connected:
            # Nothing is awaited between this look and the write of the dot, so the dot has certainly not left.
            return NoAnswer(phase="body", reason="disconnected")
        with _phase("dot"):
            answer = await session.protocol.execute_command(b".", timeout=self._timeouts.dot)
        return Answer(phase="dot", code=answer.code, text=_readable(answer.message))

    def _put_back(self, account: Account, session: _Session, *, keep: bool) -> None:
        session.mails += 1
        session.used_at = asyncio.get_running_loop().time()
        other = self._idle.get(account.inbox_id)
        if keep and session.mails < MAX_MAILS and session.client.is_connected and other is None:
            self._idle[account.inbox_id] = session
        else:
            session.client.close()


@contextmanager
def _phase(phase: Phase) -> Generator[None]:
    """What goes wrong inside becomes an outcome of this phase; an outcome of an inner phase passes through."""
    try:
        yield
    except SMTPResponseException as error:
        if error.code < 0:
            raise _EndedError(NoAnswer(phase=phase, reason="garbled")) from None
        raise _EndedError(Answer(phase=phase, code=error.code, text=_readable(error.message))) from None
    except (SMTPException, ssl.SSLError, OSError, TimeoutError, ForbiddenAddressError, UnicodeError) as error:
        raise _EndedError(NoAnswer(phase=phase, reason=_word(error))) from None


# The first kind that fits names the reason; what an operator can act on stands before what is merely broken.
_REASONS: tuple[tuple[type[Exception], str], ...] = (
    (ForbiddenAddressError, "forbidden_address"),
    (_InjectedError, "injected"),
    (ssl.SSLCertVerificationError, "tls_certificate"),
    (ssl.SSLError, "tls"),
    (SMTPTimeoutError, "timeout"),
    (TimeoutError, "timeout"),
    (socket.gaierror, "host_not_found"),
    (ConnectionRefusedError, "refused"),
    (SMTPServerDisconnected, "disconnected"),
    (ConnectionError, "disconnected"),
    (UnicodeError, "not_ascii"),
)


def _word(error: Exception) -> str:
    cause = error.__cause__
    if isinstance(cause, ssl.SSLError):  # aiosmtplib wraps a refused certificate
        error = cause
    if isinstance(error, SMTPException) and "not supported" in str(error):
        return "extension_missing"
    return next((word for kind, word in _REASONS if isinstance(error, kind)), "unreachable")


async def _start_tls(client: SMTP, timeout_s: float) -> None:
    """Encrypts, and hangs up on who says more in the clear than the answer: that is somebody between us and the server.

    aiosmtplib throws such bytes away, so nothing is misread; but then nobody would learn of it (reliability.md F14).
    """
    await client.ehlo(timeout=timeout_s)
    protocol, heard = _connected(client), bytearray()
    pass_on = protocol.data_received

    def listen(data: bytes) -> None:
        heard.extend(data)
        pass_on(data)

    protocol.data_received = listen
    try:
        await client.starttls(timeout=timeout_s)
    finally:
        protocol.data_received = pass_on
    if not _ONE_REPLY.fullmatch(heard):
        raise _InjectedError("something was said between the answer to STARTTLS and TLS")


async def _log_in(client: SMTP, account: Account, timeout_s: float) -> None:
    """One method, one try: a client that goes on to the next method after a wrong password locks accounts."""
    username, password = account.username or "", account.password or ""
    methods = client.supported_auth_methods
    if account.access_token is not None:
        if "xoauth2" not in client.server_auth_methods:
            raise SMTPException("XOAUTH2 is not supported")
        await client.auth_xoauth2(username, account.access_token, timeout=timeout_s)
    elif "plain" in methods or not methods:
        await client.auth_plain(username, password, timeout=timeout_s)
    elif "login" in methods:
        await client.auth_login(username, password, timeout=timeout_s)
    else:
        await client.auth_crammd5(username, password, timeout=timeout_s)


async def _command(client: SMTP, timeout_s: float, expected: Collection[int], *words: str) -> None:
    """Says it, and wants one of the codes.

    The client's own mail() and rcpt() parse addresses that rules/message.py has built, which costs more than the rest.
    """
    answer = await client.execute_command(" ".join(words).encode(), timeout=timeout_s)
    if answer.code not in expected:
        raise SMTPResponseException(answer.code, answer.message)


def _connected(client: SMTP) -> SMTPProtocol:
    if client.protocol is None or client.transport is None:
        raise SMTPServerDisconnected("closed while logging in")
    return client.protocol


def _protocol_of(client: SMTP) -> SMTPProtocol:
    """The protocol of a connected client, made to wait for every byte when it drains."""
    protocol = _connected(client)
    # One byte, not none: asyncio's TLS transport pauses for good when the mark is 0 and its buffer empty.
    cast("asyncio.WriteTransport", client.transport).set_write_buffer_limits(high=1, low=0)
    return protocol


async def _written(protocol: SMTPProtocol) -> None:
    # aiosmtplib made this for StreamWriter.drain() and offers no public name for it.
    await protocol._drain_helper()  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]


async def _say_goodbye(session: _Session) -> None:
    try:
        await session.client.quit(timeout=1)
    except (SMTPException, OSError):
        session.client.close()


def _readable(text: str) -> str:
    """A server's text as PostgreSQL and JSON can hold it."""
    whole = text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    return "".join(character if character.isprintable() else " " for character in whole)
