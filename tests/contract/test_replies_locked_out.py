"""A mailbox whose replies cannot be read sends nothing, says why, and goes on by itself as soon as it lets us in."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from deploy.local.ca import Certificates, certificates
from libs.schema.events import open_envelope, open_event
from libs.schema.events.inbox import InboxConnected, InboxDisconnected
from libs.schema.events.lead import LeadHeld
from libs.schema.runtime.db import Connection, transaction
from libs.schema.runtime.outbox import record
from libs.schema.secrets import seal_secret
from services.replies.deps import Deps
from services.replies.jobs.poll import FAILURES, poll
from services.sender.app import HEARS
from tests.contract.bad_imap import BadServer
from tests.contract.replies_world import PASSWORD, make_office, replies
from tests.sender_world import World, sender_world
from tests.support import SECRET_KEY

HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)
REFUSED = b"{tag} NO [AUTHENTICATIONFAILED] not you, ann@acme.test\r\n"
WHY = "replies cannot be read: the user name or the password is wrong"


@pytest.fixture(scope="module")
def pem(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return certificates(tmp_path_factory.mktemp("ca"))


@pytest.fixture(autouse=True)
def _no_pause(monkeypatch: pytest.MonkeyPatch) -> None:  # pyright: ignore[reportUnusedFunction] - a fixture
    monkeypatch.setattr("services.replies.sessions.REFUSED_PAUSE_S", 0.0)
    monkeypatch.setattr("services.replies.sessions.FIRST_PAUSE_S", 0.0)


@dataclass
class Platform:
    """Sender and replies on one mailbox; events pass from the log to the sender when the test says so."""

    sender: World
    replies: Deps
    imap: BadServer
    heard: int = 0

    async def tell(self) -> list[str]:
        """Lets the sender hear what was recorded about the inbox since; returns the types."""
        rows = await self.sender.column("SELECT body FROM event_log WHERE type LIKE 'inbox.%' ORDER BY position")
        news = [open_envelope(body) for body in rows[self.heard :]]
        self.heard = len(rows)
        for envelope in news:
            event = open_event(envelope)
            async with transaction(self.sender.deps.pool) as tx:
                await HEARS[type(event)](self.sender.deps, tx, envelope, event)
        return [envelope.type for envelope in news]

    async def status(self) -> tuple[Any, ...]:
        return tuple(await self.sender.owner.fetchrow("SELECT status, status_reason FROM inboxes") or ())

    async def refuse(self, polls: int = 3) -> None:
        self.imap.script["LOGIN"] = REFUSED
        for _ in range(polls):
            assert not await poll(self.replies)

    async def change(self, **columns: Any) -> None:
        for name, value in columns.items():
            await self.sender.owner.execute(f"UPDATE inboxes SET {name} = $1", value)  # noqa: S608 - a test's own name


@pytest.fixture
async def platform(database: str, owner: Connection, pem: Certificates) -> AsyncIterator[Platform]:
    async with sender_world(database, owner, pem) as world, BadServer().running() as imap:
        sealed = seal_secret(SECRET_KEY, PASSWORD, row_id=world.inboxes[0].id, column="imap_password")
        await owner.execute(
            "UPDATE inboxes SET imap_port = $1, imap_tls = 'none', imap_password = $2", imap.port, sealed
        )
        async with replies(database, clock=world.clock) as deps:
            yield Platform(sender=world, replies=deps, imap=imap)


async def test_a_mailbox_that_locks_replies_out_sends_nothing_and_says_why(platform: Platform) -> None:
    world = platform.sender
    await world.leads("bob", "eve")
    await world.campaign()
    await platform.refuse()
    assert await platform.tell() == ["inbox.disconnected"]
    (event,) = await world.events("inbox.disconnected")
    assert isinstance(event, InboxDisconnected)
    assert event.reason == WHY
    assert await platform.status() == ("error", WHY)
    await world.go_on(3 * HOUR, step=10 * MINUTE)
    assert world.recipients() == []
    held = [event for event in await world.events("lead.held") if isinstance(event, LeadHeld)]
    assert {(event.gate, event.value) for event in held} == {("inbox", "replies_unread")}


async def test_two_refusals_in_a_row_are_no_reason_to_stop(platform: Platform) -> None:
    await platform.refuse(2)
    platform.imap.script.clear()
    assert await poll(platform.replies)
    await platform.replies.sessions.fail(platform.sender.inboxes[0].id, refused=False)
    await platform.refuse(2)
    assert await platform.tell() == []
    assert await platform.status() == ("active", None)


async def test_it_is_told_once_and_the_mailbox_is_left_alone(platform: Platform) -> None:
    await platform.refuse()
    for _ in range(3):
        assert not await poll(platform.replies)
    assert len(platform.imap.said("LOGIN")) == 3
    assert await platform.tell() == ["inbox.disconnected"]
    async with replies(platform.sender.database, clock=platform.sender.clock) as another:
        assert not await poll(another)
    assert len(platform.imap.said("LOGIN")) == 3


@pytest.mark.parametrize("column", ["imap_username", "imap_password", "imap_port"])
async def test_whatever_is_changed_of_the_way_in_it_is_tried_at_once_and_all_goes_on(
    platform: Platform, column: str
) -> None:
    world = platform.sender
    await world.leads("bob")
    await world.campaign()
    await platform.refuse()
    await platform.tell()
    platform.imap.script.clear()
    if column == "imap_port":
        async with BadServer().running() as elsewhere:
            await platform.change(imap_port=elsewhere.port)
            assert await poll(platform.replies)
    else:
        sealed = seal_secret(SECRET_KEY, "new", row_id=world.inboxes[0].id, column="imap_password")
        await platform.change(**{column: sealed if column == "imap_password" else "somebody"})
        assert await poll(platform.replies)
    assert await platform.tell() == ["inbox.connected"]
    assert await platform.status() == ("active", None)
    assert await world.column("SELECT imap_refused FROM inboxes") == [None]
    await world.go_on(HOUR, step=10 * MINUTE)
    assert world.recipients() == ["bob@lead.test"]


async def test_new_credentials_that_are_wrong_too_are_told_of_again(platform: Platform) -> None:
    world = platform.sender
    await platform.refuse()
    await platform.tell()
    sealed = seal_secret(SECRET_KEY, "wrong", row_id=world.inboxes[0].id, column="imap_password")
    await platform.change(imap_password=sealed)
    await _renewed_by_api(platform)
    assert await platform.status() == ("active", None)
    await platform.refuse()
    assert await platform.tell() == ["inbox.disconnected"]
    assert await platform.status() == ("error", WHY)


async def test_renewed_credentials_that_work_need_no_second_word(platform: Platform) -> None:
    world = platform.sender
    await platform.refuse()
    await platform.tell()
    sealed = seal_secret(SECRET_KEY, "right", row_id=world.inboxes[0].id, column="imap_password")
    await platform.change(imap_password=sealed)
    await _renewed_by_api(platform)
    platform.imap.script.clear()
    assert await poll(platform.replies)
    assert await platform.tell() == []


async def test_a_mailbox_that_somebody_sets_going_again_is_tried_again(platform: Platform) -> None:
    await platform.refuse()
    await platform.tell()
    await platform.change(status="active")
    platform.imap.script.clear()
    async with replies(platform.sender.database, clock=platform.sender.clock) as after_a_restart:
        assert await poll(after_a_restart)
    assert await platform.sender.column("SELECT imap_refused FROM inboxes") == [None]


@pytest.mark.parametrize("status", ["paused", "banned"])
async def test_what_a_person_has_set_stays_as_it_is(platform: Platform, status: str) -> None:
    await platform.change(status=status)
    await platform.refuse()
    await platform.tell()
    assert (await platform.status())[0] == status
    assert not await poll(platform.replies)
    assert len(platform.imap.said("LOGIN")) == 3


async def test_a_word_that_comes_late_stops_no_mailbox_that_can_be_read_again(platform: Platform) -> None:
    await platform.refuse()
    await platform.change(imap_username="somebody")
    platform.imap.script.clear()
    assert await poll(platform.replies)
    assert await platform.tell() == ["inbox.disconnected"]
    assert await platform.status() == ("active", None)


async def test_who_waits_for_a_new_consent_goes_on_waiting(platform: Platform) -> None:
    await platform.change(status="error", reauth_required=True)
    await _renewed_by_api(platform)
    assert (await platform.status())[0] == "error"


async def test_a_token_past_its_life_is_no_refusal_and_its_mailbox_waits(database: str, owner: Connection) -> None:
    async with BadServer().running() as imap:
        imap.capabilities = "IMAP4rev1 SASL-IR AUTH=XOAUTH2"
        office = await make_office(owner, imap_port=imap.port, provider="google")
        token = seal_secret(SECRET_KEY, imap.token, row_id=office.inbox.id, column="oauth_access_token")
        give = (
            "UPDATE inboxes SET imap_tls = 'none', smtp_password = NULL, oauth_access_token = $1, oauth_expires_at = $2"
        )
        async with replies(database) as deps:
            await owner.execute(give, None, None)
            assert not await poll(deps)  # the API has a refresh token and no access token yet
            await owner.execute(give, token, datetime.now(UTC) - MINUTE)
            assert not await poll(deps)
            assert (imap.commands, deps.sessions.pausing()) == ([], {})
            await owner.execute(give, token, datetime.now(UTC) + HOUR)
            assert await poll(deps)
            await owner.execute(give, token, datetime.now(UTC) - MINUTE)
            assert not await poll(deps)
        assert imap.logins == 1


async def test_a_token_that_is_refused_again_and_again_is_told_of_once_also_when_it_is_renewed(
    platform: Platform,
) -> None:
    imap, inbox_id = platform.imap, platform.sender.inboxes[0].id
    imap.capabilities, imap.token = "IMAP4rev1 SASL-IR AUTH=XOAUTH2", "another"
    for number in range(3):
        token = seal_secret(SECRET_KEY, f"token {number}", row_id=inbox_id, column="oauth_access_token")
        await platform.change(oauth_access_token=token)
        for _ in range(4):
            assert not await poll(platform.replies)
        assert await platform.tell() == (["inbox.disconnected"] if number == 0 else [])
    assert len(imap.said("AUTHENTICATE")) == 9
    token = seal_secret(SECRET_KEY, "another", row_id=inbox_id, column="oauth_access_token")
    await platform.change(oauth_access_token=token)
    assert await poll(platform.replies)
    assert await platform.tell() == ["inbox.connected"]
    assert await platform.status() == ("active", None)


async def test_a_server_that_cannot_be_reached_stops_its_mailbox_until_it_is_read_again(platform: Platform) -> None:
    world = platform.sender
    await world.leads("bob")
    await world.campaign()
    port = platform.imap.port
    await platform.change(imap_port=await _nobodys_port())
    for _ in range(FAILURES - 1):
        assert not await poll(platform.replies)
    assert await platform.tell() == []
    assert not await poll(platform.replies)
    assert await platform.tell() == ["inbox.disconnected"]
    status, why = await platform.status()
    assert (status, why.startswith("replies cannot be read: no connection (")) == ("error", True)
    await world.go_on(3 * HOUR, step=10 * MINUTE)
    assert world.recipients() == []
    held = [event for event in await world.events("lead.held") if isinstance(event, LeadHeld)]
    assert {(event.gate, event.value) for event in held} == {("inbox", "replies_unread")}
    for _ in range(2 * FAILURES):
        assert not await poll(platform.replies)
    assert await platform.tell() == []  # it is asked on, and told of once
    await platform.change(imap_port=port)
    assert await poll(platform.replies)
    assert await platform.tell() == ["inbox.connected"]
    assert await platform.status() == ("active", None)
    await world.go_on(HOUR, step=10 * MINUTE)
    assert world.recipients() == ["bob@lead.test"]


async def test_a_mailbox_that_lets_us_in_and_cannot_be_read_is_shut_too(platform: Platform) -> None:
    platform.imap.script["EXAMINE"] = b"{tag} NO [SERVERBUG] the index is broken\r\n"
    for told in (["inbox.disconnected"], []):
        for _ in range(FAILURES):
            assert not await poll(platform.replies)
        assert await platform.tell() == told
    assert (await platform.status())[0] == "error"
    platform.imap.script.clear()
    assert await poll(platform.replies)
    assert await platform.tell() == ["inbox.connected"]


async def _nobodys_port() -> int:
    """A port that was free just now."""
    async with BadServer().running() as server:
        return server.port


async def _renewed_by_api(platform: Platform) -> None:
    """What the API tells when somebody gives new credentials."""
    async with transaction(platform.sender.deps.pool) as tx:
        event = InboxConnected(inbox_id=platform.sender.inboxes[0].id, provider="smtp")
        await record(tx, platform.sender.team.id, event, by="api", at=platform.sender.clock.now())
    await platform.tell()
