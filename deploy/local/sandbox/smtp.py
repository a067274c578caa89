"""The SMTP server: submission with STARTTLS and AUTH, and each recipient's answer; must store before it says 250."""

import asyncio
import logging
import ssl
from contextlib import AsyncExitStack
from typing import cast
from uuid import uuid4

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from deploy.local.sandbox.answers import MX, headers_of
from deploy.local.sandbox.courier import Clock, Courier
from deploy.local.sandbox.listen import HOST
from deploy.local.sandbox.log import Outcome, SmtpLog
from deploy.local.sandbox.recipients import GREYLIST_FOR, Behaviour, behaviour_of
from deploy.local.sandbox.store import Store

WRONG_PASSWORD = "wrong"  # noqa: S105 - the one password that no mailbox has
MAX_MESSAGE_BYTES = 25 * 2**20
NO_SUCH_USER = "550 5.1.1 The email account that you tried to reach does not exist"
# aiosmtpd sets it itself at every login and then warns of it
logging.getLogger("mail.log").addFilter(lambda record: "Session.login_data is deprecated" not in record.getMessage())
GREYLISTED = "451 4.7.1 Greylisted, please try again in five minutes"


class Submission:
    """What aiosmtpd asks at each step of a conversation."""

    def __init__(self, store: Store, clock: Clock, courier: Courier, log: SmtpLog, *, keeps_sent: bool) -> None:
        self._store = store
        self._clock = clock
        self._courier = courier
        self._log = log
        self._keeps_sent = keeps_sent

    async def handle_RCPT(  # noqa: N802 - aiosmtpd's name
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        """The answer to one RCPT TO; refusals are logged here, as no message will follow."""
        _ = server, session, options
        behaviour = behaviour_of(address)
        if behaviour is Behaviour.HARD_BOUNCE:
            return self._refuse(envelope, address, NO_SUCH_USER)
        if behaviour is Behaviour.GREYLIST:
            now = self._clock.now()
            if now < self._store.first_try(envelope.mail_from or "", address, now) + GREYLIST_FOR:
                return self._refuse(envelope, address, GREYLISTED)
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 Recipient OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802 - the same
        """The answer to the final dot; nothing is awaited until all is stored and logged, so nothing comes between."""
        raw, sender = envelope.original_content or b"", envelope.mail_from or ""
        login = cast("LoginPassword", session.auth_data).login.decode()  # authenticate() let it in
        with self._store.transaction():
            if self._keeps_sent:
                self._store.file(login, "Sent", raw, self._clock.now(), frozenset({"\\Seen"}))
            for recipient in envelope.rcpt_tos:
                self._courier.accept(raw, sender=sender, recipient=recipient)
        drops = any(behaviour_of(recipient) is Behaviour.DROP for recipient in envelope.rcpt_tos)
        message_id = str(headers_of(raw).get("Message-ID", "")).strip() or None
        transaction, now = uuid4(), self._clock.now()
        for recipient in envelope.rcpt_tos:
            self._log.write(
                Outcome(
                    time=now,
                    transaction=transaction,
                    inbox=sender,
                    recipient=recipient,
                    message_id=message_id,
                    code="dropped" if drops else 250,
                    accepted=True,
                )
            )
        if drops and isinstance(server.transport, asyncio.Transport):
            server.transport.abort()
            await asyncio.Event().wait()  # the lost connection cancels us
        return f"250 2.0.0 OK queued as {transaction}"

    def _refuse(self, envelope: Envelope, recipient: str, answer: str) -> str:
        self._log.write(
            Outcome(
                time=self._clock.now(),
                transaction=uuid4(),
                inbox=envelope.mail_from or "",
                recipient=recipient,
                message_id=None,
                code=int(answer[:3]),
                accepted=False,
            )
        )
        return answer


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
