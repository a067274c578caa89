"""OAuth mailboxes over SMTP (XOAUTH2), and reports asked of servers that give them; against a scripted server."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
import structlog
from structlog.testing import LogCapture

from deploy.local.ca import Certificates, certificates
from libs.schema.events.lead import LeadHeld
from libs.schema.ids import campaign_send_id
from libs.schema.runtime.clock import new_id
from libs.schema.runtime.db import Connection
from libs.schema.secrets import seal_secret
from services.sender.rules.verdict import Answer, NoAnswer
from services.sender.smtp import Courier, Timeouts
from tests.contract.test_smtp import ACCOUNT, LOOPBACK, MESSAGE, yes
from tests.scripted_smtp import Script, scripted_smtp
from tests.sender_world import World, sender_world
from tests.support import SECRET_KEY

MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
TOKEN = "ya29.the-access-token"
OAUTH = msgspec.structs.replace(ACCOUNT, password=None, access_token=TOKEN)
WITH_XOAUTH2 = ("STARTTLS", "AUTH PLAIN LOGIN XOAUTH2", "DSN")


@pytest.fixture(scope="module")
def pem(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return certificates(tmp_path_factory.mktemp("ca"))


@pytest.fixture
async def courier(pem: Certificates) -> AsyncIterator[Courier]:
    courier = Courier(pem.client_context(), allow=LOOPBACK, timeouts=Timeouts(connect=5, command=5, data=5, dot=0.5))
    yield courier
    await courier.close()


@pytest.fixture
async def world(database: str, owner: Connection, pem: Certificates) -> AsyncIterator[World]:
    async with sender_world(database, owner, pem) as world:
        world.script.extensions = WITH_XOAUTH2
        yield world


async def give_token(world: World, *, expires_in: timedelta) -> None:
    """An OAuth mailbox, as the API leaves it; a token's life is real time."""
    inbox = world.inboxes[0]
    sealed = seal_secret(SECRET_KEY, TOKEN, row_id=inbox.id, column="oauth_access_token")
    await world.owner.execute(
        "UPDATE inboxes SET provider = 'google', smtp_password = NULL, oauth_access_token = $2, oauth_expires_at = $3"
        " WHERE id = $1",
        inbox.id,
        sealed,
        datetime.now(UTC) + expires_in,
    )


async def test_a_token_logs_in_instead_of_a_password(pem: Certificates, courier: Courier) -> None:
    async with scripted_smtp(pem.server_context(), Script(extensions=WITH_XOAUTH2)) as script:
        outcome = await courier.deliver(msgspec.structs.replace(OAUTH, port=script.port), MESSAGE, yes)
    assert outcome == Answer(phase="dot", code=250, text="2.0.0 Ok: queued as 4F6B2C0042")
    assert script.logins == [f"user=ann@acme.test auth=Bearer {TOKEN}"]


async def test_a_refused_token_is_tried_once_and_its_challenge_gets_an_empty_line(
    pem: Certificates, courier: Courier
) -> None:
    script = Script(extensions=WITH_XOAUTH2, says={"auth": "535 5.7.8 Username and Password not accepted"})
    async with scripted_smtp(pem.server_context(), script):
        outcome = await courier.deliver(msgspec.structs.replace(OAUTH, port=script.port), MESSAGE, yes)
    assert outcome == Answer(phase="auth", code=535, text="5.7.8 Username and Password not accepted")
    assert len(script.logins) == 1
    assert script.commands[-1] == ""


async def test_a_server_without_xoauth2_gets_no_token(pem: Certificates, courier: Courier) -> None:
    async with scripted_smtp(pem.server_context()) as script:
        outcome = await courier.deliver(msgspec.structs.replace(OAUTH, port=script.port), MESSAGE, yes)
    assert outcome == NoAnswer(phase="auth", reason="extension_missing")
    assert script.logins == []


def test_an_account_never_shows_its_token() -> None:
    assert TOKEN not in repr(OAUTH)


async def test_an_oauth_inbox_sends_with_its_token(world: World) -> None:
    await give_token(world, expires_in=HOUR)
    await world.leads("bob")
    await world.campaign()
    await world.go_on(10 * MINUTE)
    assert len(world.script.accepted) == 1
    assert world.script.logins == [f"user=inbox0@acme.test auth=Bearer {TOKEN}"]


async def test_an_expired_token_is_not_tried_and_says_so(world: World) -> None:
    await give_token(world, expires_in=HOUR)
    await world.leads("bob")
    await world.campaign()
    await world.plan()
    await give_token(world, expires_in=-MINUTE)
    await world.go_on(4 * HOUR, step=20 * MINUTE)
    assert world.script.connections == 0
    held = [event for event in await world.events("lead.held") if isinstance(event, LeadHeld)]
    assert [(event.gate, event.value) for event in held] == [("inbox", "token_expired")]
    await give_token(world, expires_in=HOUR)
    await world.go_on(2 * HOUR, step=10 * MINUTE)
    assert len(world.script.accepted) == 1


async def test_an_oauth_inbox_that_has_no_token_yet_sends_nothing_without_login(world: World) -> None:
    await world.leads("bob")
    await world.campaign()
    await world.plan()
    await world.owner.execute("UPDATE inboxes SET provider = 'microsoft', smtp_password = NULL")
    await world.go_on(10 * MINUTE)
    assert world.script.connections == 0


async def test_a_refused_token_opens_the_breaker_and_at_last_asks_a_person(world: World) -> None:
    said = LogCapture()  # a logger of its own: the process's may be set up by a test before
    plain = structlog.make_filtering_bound_logger(0)
    world.deps = replace(world.deps, log=structlog.wrap_logger(None, processors=[said], wrapper_class=plain))
    await give_token(world, expires_in=HOUR)
    world.script.says["auth"] = "535 5.7.8 bad token"
    await world.leads("bob")
    await world.campaign()
    await world.go_on(HOUR, step=MINUTE)
    assert len(world.script.logins) == 3
    assert await world.column("SELECT status FROM inboxes") == ["error"]
    written = str(said.entries)
    journal = b"".join(await world.column("SELECT body FROM event_log"))
    assert "email.settled" in written
    assert TOKEN not in written
    assert TOKEN.encode() not in journal


async def test_failures_are_asked_for_and_successes_are_not(pem: Certificates, courier: Courier) -> None:
    email_id = campaign_send_id(new_id(), new_id(), b"k" * 32)
    async with scripted_smtp(pem.server_context(), Script(extensions=WITH_XOAUTH2)) as script:
        to = msgspec.structs.replace(ACCOUNT, port=script.port)
        assert isinstance(await courier.deliver(to, MESSAGE, yes, envelope_id=email_id), Answer)
    assert f"MAIL FROM:<ann@acme.test> RET=HDRS ENVID={email_id}" in script.commands
    assert "RCPT TO:<bob@lead.test> NOTIFY=FAILURE" in script.commands
    assert "SUCCESS" not in "".join(script.commands)


async def test_a_server_that_gives_no_reports_is_not_asked(pem: Certificates, courier: Courier) -> None:
    async with scripted_smtp(pem.server_context()) as script:
        await courier.deliver(msgspec.structs.replace(ACCOUNT, port=script.port), MESSAGE, yes, envelope_id=new_id())
    assert "MAIL FROM:<ann@acme.test>" in script.commands
    assert "RCPT TO:<bob@lead.test>" in script.commands
