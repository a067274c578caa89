"""The SMTP server: submission with STARTTLS and AUTH, and each recipient's answer; must store before it says 250."""

import asyncio
import logging
import ssl
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Literal, NoReturn, cast
from uuid import UUID, uuid4

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from deploy.local.sandbox.answers import headers_of
from deploy.local.sandbox.courier import Clock, Courier
from deploy.local.sandbox.listen import HOST
from deploy.local.sandbox.log import Outcome, SmtpLog
from deploy.local.sandbox.recipients import BLOCKED, Behaviour, behaviour_of, refusal_of
from deploy.local.sandbox.reports import MX
from deploy.local.sandbox.store import Store

WRONG_PASSWORD = "wrong"  # noqa: S105 - the one password that no mailbox has
MAX_MESSAGE_BYTES = 25 * 2**20
# aiosmtpd sets it itself at every login and then warns of it
logging.getLogger("mail.log").addFilter(lambda record: "Session.login_data is deprecated" not in record.getMessage())


@dataclass(frozen=True, kw_only=True)
class Habits:
    """How a world's server treats mail: with a copy in Sent or none, and how long a tarpit takes (real time)."""

    keeps_sent: bool = True
    tarpit_s: float = 5.0


class Submission:
    """What aiosmtpd asks at each step of a conversation."""

    def __init__(self, store: Store, clock: Clock, courier: Courier, log: SmtpLog, habits: Habits) -> None:
        self._store = store
        self._clock = clock
        self._courier = courier
        self._log = log
        self._habits = habits

    async def handle_RCPT(  # noqa: N802 - aiosmtpd's name
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        """The answer to one RCPT TO; refusals are logged here, as no message will follow."""
        _ = session, options
        behaviour, now = behaviour_of(address), self._clock.now()
        first_try = self._store.first_try(envelope.mail_from or "", address, now)
        refusal = refusal_of(behaviour, now - first_try)
        if refusal is not None:
            self._note(envelope, [address], code=int(refusal[:3]), accepted=False)
            if refusal.startswith("421"):  # RFC 5321 §3.8: whoever says so closes the channel
                await server.push(refusal)
                await _hang_up(server)
            return refusal
        if behaviour is Behaviour.TARPIT:
            await asyncio.sleep(self._habits.tarpit_s)
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 Recipient OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802 - the same
        """The answer to the final dot; nothing is awaited from storing to answering, so nothing comes between."""
        behaviours = {behaviour_of(recipient) for recipient in envelope.rcpt_tos}
        if Behaviour.POLICY_AT_DOT in behaviours:
            self._note(envelope, envelope.rcpt_tos, code=int(BLOCKED[:3]), accepted=False)
            return BLOCKED
        if not behaviours.isdisjoint({Behaviour.TARPIT, Behaviour.TARPIT_AT_DOT}):
            await asyncio.sleep(self._habits.tarpit_s)
        if Behaviour.TARPIT_AT_DOT in behaviours:
            self._note(envelope, envelope.rcpt_tos, code="dropped", accepted=False)
            return await _hang_up(server)
        self._keep(envelope, cast("LoginPassword", session.auth_data).login.decode())  # authenticate() let it in
        drops = Behaviour.DROP in behaviours
        transaction = self._note(envelope, envelope.rcpt_tos, code="dropped" if drops else 250, accepted=True)
        return await _hang_up(server) if drops else f"250 2.0.0 OK queued as {transaction}"

    def _keep(self, envelope: Envelope, login: str) -> None:
        """The message to its readers, and a copy into the Sent folder of the mailbox that logged in."""
        raw, sender = envelope.original_content or b"", envelope.mail_from or ""
        with self._store.transaction():
            if self._habits.keeps_sent:
                self._store.file(login, "Sent", raw, self._clock.now(), frozenset({"\\Seen"}))
            for recipient in envelope.rcpt_tos:
                self._courier.accept(raw, sender=sender, recipient=recipient)

    def _note(
        self, envelope: Envelope, recipients: Sequence[str], *, code: int | Literal["dropped"], accepted: bool
    ) -> UUID:
        """Writes the log; returns the name of what it wrote."""
        transaction, now = uuid4(), self._clock.now()
        message_id = str(headers_of(envelope.original_content or b"").get("Message-ID", "")).strip() or None
        for recipient in recipients:
            self._log.write(
                Outcome(
                    time=now,
                    transaction=transaction,
                    inbox=envelope.mail_from or "",
                    recipient=recipient,
                    message_id=message_id,
                    code=code,
                    accepted=accepted,
                )
            )
        return transaction


async def _hang_up(server: SMTP) -> NoReturn:
    """Closes the connection once what was said is out."""
    if isinstance(server.transport, asyncio.Transport):
        server.transport.close()
    await asyncio.Event().wait()
    raise AssertionError("the lost connection cancels this task")


def authenticate(server: SMTP, session: Session, envelope: Envelope, mechanism: str, auth_data: object) -> AuthResult:
    """Lets any address in with any password but an empty one and `wrong`; handled=False makes aiosmtpd send the 535."""
    _ = server, session, envelope, mechanism
    granted = isinstance(auth_data, LoginPassword) and is_right(auth_data.login.decode(), auth_data.password.decode())
    return AuthResult(success=granted, handled=False, auth_data=auth_data)


def is_right(address: str, password: str) -> bool:
    """Whether this login is let in, by SMTP as by IMAP."""
    return "@" in address and password not in ("", WRONG_PASSWORD)


class _Conversation(SMTP):
    """aiosmtpd's, known to its server while it is open."""

    def __init__(self, submission: Submission, tls: ssl.SSLContext, open_ones: "set[_Conversation]") -> None:
        super().__init__(
            submission,
            hostname=MX,
            ident="Coldstream sandbox",
            tls_context=tls,
            require_starttls=True,
            auth_required=True,
            authenticator=authenticate,
            data_size_limit=MAX_MESSAGE_BYTES,
            enable_SMTPUTF8=True,
            loop=asyncio.get_running_loop(),
        )
        self._open_ones = open_ones

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._open_ones.add(self)

    def connection_lost(self, error: Exception | None) -> None:
        self._open_ones.discard(self)
        super().connection_lost(error)


async def listen_smtp(stack: AsyncExitStack, submission: Submission, tls: ssl.SSLContext, port: int) -> None:
    """Serves submission on 127.0.0.1 until the stack ends, and ends open conversations with it."""
    open_ones = set[_Conversation]()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: _Conversation(submission, tls, open_ones), HOST, port)

    async def close() -> None:
        server.close()
        for conversation in list(open_ones):
            if conversation.transport is not None:
                conversation.transport.close()
        await asyncio.sleep(0)  # lets the closed ones go

    stack.push_async_callback(close)
