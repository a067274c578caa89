"""The SMTP adapter keeps its word to a real client library and a server that misbehaves on purpose."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from uuid import UUID

import msgspec
import pytest

from deploy.local.ca import Certificates, certificates
from services.sender.rules.message import Message
from services.sender.rules.verdict import Answer, NoAnswer, Outcome, Withheld
from services.sender.smtp import MAX_MAILS, Account, Courier, Timeouts
from tests.scripted_smtp import DROP, HANG, Script, scripted_smtp
from tests.support import eventually

ACCOUNT = Account(
    inbox_id=UUID(int=1),
    host="localhost",
    port=1,
    tls="starttls",
    username="ann@acme.test",
    password="s3cret",
    helo="acme.test",
)
MESSAGE = Message(
    sender="ann@acme.test",
    recipient="bob@lead.test",
    content=b"Subject: Hi\r\n\r\nHello\r\n.dotted\r\n..twice\r\n",
    smtputf8=False,
)
LOOPBACK = ("127.0.0.0/8", "::1/128")


async def yes() -> bool:
    return True


async def no() -> bool:
    return False


@pytest.fixture(scope="module")
def pem(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return certificates(tmp_path_factory.mktemp("ca"))


@pytest.fixture
async def courier(pem: Certificates) -> AsyncIterator[Courier]:
    courier = Courier(pem.client_context(), allow=LOOPBACK, timeouts=Timeouts(connect=5, command=5, data=5, dot=0.5))
    yield courier
    await courier.close()


Deliver = Callable[..., Awaitable[tuple[Outcome, Script]]]


@pytest.fixture
def deliver(pem: Certificates, courier: Courier) -> Deliver:
    async def run(
        script: Script, *, commit: Callable[[], Awaitable[bool]] = yes, message: Message = MESSAGE, **account: object
    ) -> tuple[Outcome, Script]:
        async with scripted_smtp(pem.server_context(), script):
            to = msgspec.structs.replace(ACCOUNT, **{"port": script.port, **account})
            return await courier.deliver(to, message, commit), script

    return run


async def test_a_mail_goes_out_encrypted_logged_in_and_unchanged(deliver: Deliver) -> None:
    outcome, script = await deliver(Script())
    assert outcome == Answer(phase="dot", code=250, text="2.0.0 Ok: queued as 4F6B2C0042")
    assert script.accepted == [MESSAGE.content]
    assert script.logins == ["ann@acme.test s3cret"]
    verbs = [command.split(" ")[0] for command in script.commands]
    assert verbs == ["EHLO", "STARTTLS", "EHLO", "AUTH", "MAIL", "RCPT", "DATA"]


@pytest.mark.parametrize(
    ("phase", "line"),
    [
        ("mail", "550 5.7.1 no"),
        ("rcpt", "550 5.1.1 no such user"),
        ("data", "451 later"),
        ("dot", "452 full"),
        ("dot", "250 ok"),
        ("dot", "251 ok"),
    ],
)
async def test_an_answer_is_told_with_its_phase(deliver: Deliver, phase: str, line: str) -> None:
    outcome, _ = await deliver(Script(says={phase: line}))
    assert outcome == Answer(phase=phase, code=int(line[:3]), text=line[4:])  # pyright: ignore[reportArgumentType] - from the table above


@pytest.mark.parametrize("phase", ["starttls", "auth", "mail", "rcpt", "data", "dot"])
async def test_a_lost_connection_is_told_with_its_phase(deliver: Deliver, phase: str) -> None:
    outcome, script = await deliver(Script(says={phase: DROP}))
    assert outcome == NoAnswer(phase=phase, reason="disconnected")  # pyright: ignore[reportArgumentType] - the same
    assert len(script.accepted) == (1 if phase == "dot" else 0)


async def test_silence_after_the_dot_ends_with_a_timeout(deliver: Deliver) -> None:
    outcome, script = await deliver(Script(says={"dot": HANG}))
    assert outcome == NoAnswer(phase="dot", reason="timeout")
    assert len(script.accepted) == 1


async def test_garbage_after_the_dot_is_no_answer(deliver: Deliver) -> None:
    outcome, _ = await deliver(Script(says={"dot": "what?"}))
    assert outcome == NoAnswer(phase="dot", reason="garbled")


async def test_without_a_commit_the_dot_never_leaves(deliver: Deliver) -> None:
    outcome, script = await deliver(Script(), commit=no)
    assert outcome == Withheld(reason="refused")
    assert script.accepted == []


async def test_the_commit_comes_when_the_whole_body_has_left_and_before_the_dot(deliver: Deliver) -> None:
    script = Script()
    seen: list[list[str]] = []

    async def commit() -> bool:
        seen.append([*script.commands])
        assert script.accepted == []
        return True

    await deliver(script, commit=commit)
    assert seen[0][-1] == "DATA"
    assert len(seen) == 1


async def test_a_failed_commit_hangs_up_without_the_dot(deliver: Deliver) -> None:
    script = Script()

    async def commit() -> bool:
        raise RuntimeError("the database is away")

    with pytest.raises(RuntimeError, match="away"):
        await deliver(script, commit=commit)
    assert script.accepted == []


async def test_a_commit_that_is_too_old_lets_no_dot_go(pem: Certificates) -> None:
    courier = Courier(pem.client_context(), allow=LOOPBACK, timeouts=Timeouts(commit_to_dot=0.0))

    async def slow() -> bool:
        await asyncio.sleep(0.01)  # the thing under test is time itself
        return True

    async with scripted_smtp(pem.server_context()) as script:
        outcome = await courier.deliver(msgspec.structs.replace(ACCOUNT, port=script.port), MESSAGE, slow)
    assert outcome == Withheld(reason="too_late")
    assert script.accepted == []


async def test_a_server_that_hangs_up_while_t2_commits_has_not_got_the_mail(deliver: Deliver) -> None:
    script = Script(says={"body": DROP})

    async def commit() -> bool:
        await eventually(lambda: script.connections and not script.accepted)
        return True

    outcome, _ = await deliver(script, commit=commit)
    assert isinstance(outcome, NoAnswer)
    assert outcome.phase in ("body", "dot")
    assert script.accepted == []


async def test_without_starttls_no_credentials_leave(deliver: Deliver) -> None:
    outcome, script = await deliver(Script(extensions=("AUTH PLAIN",)))
    assert outcome == NoAnswer(phase="starttls", reason="extension_missing")
    assert script.logins == []


async def test_a_refused_starttls_ends_before_the_login(deliver: Deliver) -> None:
    outcome, script = await deliver(Script(says={"starttls": "454 not now"}))
    assert outcome == Answer(phase="starttls", code=454, text="not now")
    assert script.logins == []


async def test_a_wrong_password_is_tried_once(deliver: Deliver) -> None:
    outcome, script = await deliver(Script(says={"auth": "535 5.7.8 bad credentials"}))
    assert outcome == Answer(phase="auth", code=535, text="5.7.8 bad credentials")
    assert len(script.logins) == 1


async def test_a_certificate_of_nobody_we_know_is_refused(pem: Certificates) -> None:
    courier = Courier(ssl.create_default_context(), allow=LOOPBACK)
    async with scripted_smtp(pem.server_context()) as script:
        outcome = await courier.deliver(msgspec.structs.replace(ACCOUNT, port=script.port), MESSAGE, yes)
    assert outcome == NoAnswer(phase="starttls", reason="tls_certificate")
    assert script.logins == []


async def test_a_private_address_is_not_even_connected_to(pem: Certificates) -> None:
    courier = Courier(pem.client_context())
    async with scripted_smtp(pem.server_context()) as script:
        outcome = await courier.deliver(msgspec.structs.replace(ACCOUNT, port=script.port), MESSAGE, yes)
    assert outcome == NoAnswer(phase="connect", reason="forbidden_address")
    assert script.connections == 0


async def test_nobody_listening_is_told_as_refused(courier: Courier) -> None:
    outcome = await courier.deliver(msgspec.structs.replace(ACCOUNT, port=1), MESSAGE, yes)
    assert outcome == NoAnswer(phase="connect", reason="refused")


async def test_one_connection_serves_an_inbox_again_and_is_given_up_after_twenty_mails(
    pem: Certificates, courier: Courier
) -> None:
    async with scripted_smtp(pem.server_context()) as script:
        account = msgspec.structs.replace(ACCOUNT, port=script.port)
        for _ in range(MAX_MAILS + 1):
            assert isinstance(await courier.deliver(account, MESSAGE, yes), Answer)
    assert len(script.accepted) == MAX_MAILS + 1
    assert script.connections == 2


async def test_a_refused_recipient_leaves_the_connection_in_order(pem: Certificates, courier: Courier) -> None:
    script = Script(by_recipient=lambda phase, to: "550 no" if (phase, to) == ("rcpt", "bob@lead.test") else None)
    async with scripted_smtp(pem.server_context(), script):
        account = msgspec.structs.replace(ACCOUNT, port=script.port)
        await courier.deliver(account, MESSAGE, yes)
        await courier.deliver(account, msgspec.structs.replace(MESSAGE, recipient="eve@lead.test"), yes)
    assert script.connections == 1
    assert len(script.accepted) == 1


async def test_a_connection_that_died_while_idle_costs_nothing(pem: Certificates, courier: Courier) -> None:
    script = Script()
    async with scripted_smtp(pem.server_context(), script):
        account = msgspec.structs.replace(ACCOUNT, port=script.port)
        await courier.deliver(account, MESSAGE, yes)
        script.says["rset"] = DROP
        outcome = await courier.deliver(account, MESSAGE, yes)
    assert isinstance(outcome, Answer)
    assert script.connections == 2


async def test_an_address_in_unicode_needs_a_server_that_takes_it(deliver: Deliver) -> None:
    message = msgspec.structs.replace(MESSAGE, recipient="jürgen@lead.test", smtputf8=True)
    outcome, script = await deliver(Script(extensions=("STARTTLS", "AUTH PLAIN")), message=message)
    assert outcome == Answer(phase="mail", code=550, text="5.6.7 needs SMTPUTF8")
    outcome, script = await deliver(Script(), message=message)
    assert outcome == Answer(phase="dot", code=250, text="2.0.0 Ok: queued as 4F6B2C0042")
    assert "MAIL FROM:<ann@acme.test> SMTPUTF8 BODY=8BITMIME" in script.commands


def test_an_account_never_shows_its_password() -> None:
    assert "s3cret" not in repr(ACCOUNT)
