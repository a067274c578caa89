"""Polling: every message of a watched mailbox is stored once and gets one outcome, whatever dies or changes."""

import asyncio
import base64
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import pytest

from deploy.local.sandbox.world import MailWorld
from libs.schema.runtime.clock import FixedClock, new_id
from libs.schema.runtime.db import Connection, close_pool
from libs.schema.runtime.settings import load
from libs.schema.secrets import seal_secret
from services.replies import app
from services.replies.deps import Deps
from services.replies.jobs import poll as poll_job
from services.replies.jobs.poll import account_of, poll, poll_inbox
from services.replies.jobs.sort import sort_inbound
from services.replies.polls import POLLS_OF_A_HOST
from services.replies.queries.mailboxes import DueInbox
from tests.contract.bad_imap import HANG_UP, BadServer
from tests.contract.replies_world import (
    Office,
    Sent,
    delivery_report,
    due,
    make_office,
    replies,
    reply,
    rows,
    send,
    send_five,
)
from tests.support import PEPPER, SECRET_KEY, eventually, insert, role_url

ADDRESS = "ann@acme.test"


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[MailWorld]:
    async with MailWorld(tmp_path / "mail") as world:
        yield world


def fill(world: MailWorld, sent: list[Sent]) -> None:
    """One mailbox with everything: replies, an opt-out, a report, a copy in Sent, one in Junk, noise."""
    world.put(ADDRESS, reply("Sounds good, tell me more.", to=sent[0], sender=sent[0].lead.email))
    world.put(ADDRESS, reply("unsubscribe", to=sent[1], sender=sent[1].lead.email, message_id="<r2@lead.test>"))
    world.put(ADDRESS, delivery_report(sent[2]))
    world.put(ADDRESS, b"Subject: nobody\r\n\r\n")
    world.put(ADDRESS, reply("hello", sender="stranger@else.test", message_id="<r3@else.test>"))
    world.put(ADDRESS, reply("No thanks.", to=sent[3], sender=sent[3].lead.email, message_id="<r4@x>"), folder="Junk")
    world.put(ADDRESS, f"Message-ID: {sent[4].message_id}\r\nSubject: x\r\n\r\nbody".encode(), folder="Sent")


async def finish(deps: Deps) -> None:
    while await sort_inbound(deps):
        pass


async def test_what_comes_in_is_stored_sorted_and_marked_as_asked(
    database: str, owner: Connection, world: MailWorld
) -> None:
    office = await make_office(owner, imap_port=world.imap_port)
    fill(world, await send_five(owner, office))
    async with replies(database, world) as deps:
        assert await poll(deps)
        await finish(deps)
        found = await rows(owner)
        assert [row[3] for row in found["raw"]] == [
            "reply",
            "reply",
            "bounce",
            "ignored",
            "unmatched",
            "reply",
            "sent_copy",
        ]
        assert {row[0] for row in found["events"]} == {
            "reply.received",
            "lead.unsubscribed",
            "bounce.hard",
            "email.confirmed",
        }
        assert await owner.fetchval("SELECT last_reply_checked_at FROM inboxes") == deps.clock.now()
        # again: nothing new, nothing twice
        assert await poll(deps)
        assert not await sort_inbound(deps)
        assert await rows(owner) == found


async def test_new_numbering_of_a_folder_brings_no_message_twice_and_loses_none(
    database: str, owner: Connection
) -> None:
    def message(number: int) -> bytes:
        return f"From: x{number}@lead.test\r\nMessage-ID: <{number}@x>\r\n\r\nhello".encode()

    async with BadServer({uid: message(uid) for uid in range(1, 251)}).running() as server:
        await make_office(owner, imap_port=server.port)
        await owner.execute("UPDATE inboxes SET imap_tls = 'none'")
        async with replies(database) as deps:
            assert await poll(deps)
            assert await owner.fetchval("SELECT count(*) FROM inbound_raw") == 250
            server.uidvalidity += 1
            server.messages = {uid + 1000: message(uid) for uid in range(1, 261)}
            await deps.sessions.close()
            async with replies(database) as after:
                assert await poll(after)
        assert await owner.fetchval("SELECT count(*) FROM inbound_raw") == 260
        assert await owner.fetchval("SELECT last_uid FROM imap_cursor WHERE folder = 'INBOX'") == 1260


async def test_a_mailbox_full_of_old_mail_is_not_read_from_its_beginning(
    database: str, owner: Connection, world: MailWorld
) -> None:
    await make_office(owner, imap_port=world.imap_port)
    long_ago = datetime.now(UTC) - timedelta(days=400)
    for number in range(3):
        world.put(ADDRESS, f"Subject: {number}\r\n\r\n".encode(), arrived=long_ago)
    async with replies(database, world) as deps:
        assert await poll(deps)
        assert await owner.fetchval("SELECT count(*) FROM inbound_raw") == 0
        world.put(ADDRESS, b"Subject: new\r\n\r\n", arrived=long_ago)
        assert await poll(deps)
        assert await owner.fetchval("SELECT array_agg(uid) FROM inbound_raw") == [4]


async def test_a_drop_in_the_middle_of_a_fetch_loses_nothing(
    database: str, owner: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.replies.sessions.FIRST_PAUSE_S", 0.0)
    messages = {uid: f"Message-ID: <{uid}@x>\r\n\r\nhello".encode() for uid in range(1, 6)}
    async with BadServer(messages).running() as server:
        await make_office(owner, imap_port=server.port)
        await owner.execute("UPDATE inboxes SET imap_tls = 'none'")
        drops = 2

        def dropping(command: str) -> bytes | None:
            nonlocal drops
            drops -= "BODY" in command
            return HANG_UP if "BODY" in command and drops >= 0 else server.sane(command)

        server.script["UID FETCH"] = dropping
        async with replies(database) as deps:
            assert not await poll(deps)
            assert not await poll(deps)
            assert await poll(deps)
        assert server.logins == 3
        assert await owner.fetchval("SELECT count(*) FROM inbound_raw") == 5


async def test_a_message_that_the_server_withholds_is_stored_without_its_bytes(
    database: str, owner: Connection
) -> None:
    async with BadServer({1: b"a", 2: b"b", 3: b"c"}).running() as server:
        await make_office(owner, imap_port=server.port)
        await owner.execute("UPDATE inboxes SET imap_tls = 'none'")
        server.script["UID FETCH 1,2,3"] = (
            b"* 1 FETCH (UID 1 RFC822.SIZE 1 BODY[]<0> {1}\r\na)\r\n* 2 FETCH (UID 2 BODY[]<0> NIL)\r\n{tag} OK\r\n"
        )
        server.script["UID FETCH 2,3 (UID RFC822"] = (
            b'* 2 FETCH (UID 2 RFC822.SIZE 1 INTERNALDATE "02-Mar-2026 08:00:00 +0000")\r\n{tag} OK done\r\n'
        )
        async with replies(database) as deps:
            assert await poll(deps)
            await finish(deps)
        found = await owner.fetch("SELECT uid, raw, outcome FROM inbound_raw ORDER BY uid")
        assert [tuple(row) for row in found] == [(1, b"a", "ignored"), (2, b"", "unreadable")]


async def test_one_session_is_kept_between_polls(database: str, owner: Connection) -> None:
    async with BadServer({1: b"a"}).running() as server:
        await make_office(owner, imap_port=server.port)
        await owner.execute("UPDATE inboxes SET imap_tls = 'none'")
        async with replies(database) as deps:
            for _ in range(5):
                assert await poll(deps)
        assert server.logins == 1
        assert server.commands[-1] == "LOGOUT"


async def test_a_poll_that_is_cut_short_leaves_no_half_read_session(database: str, owner: Connection) -> None:
    async with BadServer({1: b"a"}).running() as server:
        await make_office(owner, imap_port=server.port)
        await owner.execute("UPDATE inboxes SET imap_tls = 'none'")
        server.script["UID FETCH 1"] = b""  # silence
        async with replies(database) as deps:
            asked = asyncio.create_task(poll(deps))
            await eventually(lambda: any("BODY" in command for command in server.commands))
            await deps.polls.close()  # what the end of the process does
            with pytest.raises(asyncio.CancelledError):
                await asked
            server.script.clear()
            assert await poll(deps)
        assert await owner.fetchval("SELECT count(*) FROM inbound_raw") == 1


async def test_the_service_is_built_from_its_settings_and_does_its_work(
    database: str, owner: Connection, world: MailWorld
) -> None:
    office = await make_office(owner, imap_port=world.imap_port)
    sent = await send(owner, office)
    world.put(ADDRESS, reply("Interested!", to=sent))
    settings = load(
        app.SETTINGS,
        {
            "COLDSTREAM_DATABASE_URL": role_url(database, "replies"),
            "COLDSTREAM_NATS_URL": "nats://nowhere.test",
            "COLDSTREAM_SECRET_KEY": base64.b64encode(SECRET_KEY).decode(),
            "COLDSTREAM_PEPPER": base64.b64encode(PEPPER).decode(),
            "COLDSTREAM_DANGEROUS_ALLOW_NETWORKS": "127.0.0.0/8",
            "COLDSTREAM_EXTRA_CA_FILE": str(world.ca_file),
        },
    )
    service = await app.build(settings)
    assert service.close is not None
    try:
        assert [await loop.tick() for loop in service.loops if loop.name in ("poll", "sort_inbound")] == [True, True]
    finally:
        await service.close()
        await close_pool(service.runtime.pool)
    assert await owner.fetchval("SELECT outcome FROM inbound_raw") == "reply"


async def test_a_refused_login_is_left_alone_and_holds_nobody_up(
    database: str, owner: Connection, world: MailWorld
) -> None:
    office = await make_office(owner, imap_port=world.imap_port)
    async with BadServer().running() as server:
        server.script["LOGIN"] = b"{tag} NO [AUTHENTICATIONFAILED] for ann@acme.test\r\n"
        broken = await _another_inbox(owner, office, port=server.port)
        world.put(ADDRESS, b"Subject: hi\r\n\r\n")
        async with replies(database, world) as deps:
            assert await poll(deps)
            assert list(deps.sessions.pausing()) == [broken]
            for _ in range(3):
                await poll(deps)
            assert sum(command.startswith("LOGIN") for command in server.commands) == 1
    assert await owner.fetchval("SELECT count(*) FROM inbound_raw") == 1
    assert await owner.fetchval("SELECT last_reply_checked_at FROM inboxes WHERE id = $1", broken) is None


async def test_a_host_that_hangs_holds_up_nobody_elses_mailbox(
    database: str, owner: Connection, world: MailWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(poll_job, "PATIENCE_S", 0.2)
    office = await make_office(owner, imap_port=world.imap_port)
    async with BadServer().running() as server:
        server.greeting = b""  # it takes the connection and says nothing
        for number in range(POLLS_OF_A_HOST + 1):
            await _another_inbox(owner, office, port=server.port, email=f"zoe{number}@acme.test")
        await owner.execute("UPDATE inboxes SET imap_host = 'localhost' WHERE imap_port = $1", server.port)
        async with replies(database, world) as deps:
            while not await poll(deps):  # theirs are due first: they have never been asked
                pass
            world.put(ADDRESS, b"Subject: hi\r\n\r\n")
            assert await poll(deps)
            assert len(deps.polls.begun()) == POLLS_OF_A_HOST + 1
    assert await owner.fetchval("SELECT count(*) FROM inbound_raw") == 1
    assert server.logins == 0


async def test_no_login_comes_sooner_than_the_gap_after_the_last_one(database: str, owner: Connection) -> None:
    async with BadServer({1: b"a"}).running() as server:
        await make_office(owner, imap_port=server.port)
        await owner.execute("UPDATE inboxes SET imap_tls = 'none'")
        async with replies(database, login_gap_s=60) as deps:
            assert await poll(deps)
            (inbox,) = await due(deps)
            await deps.sessions.fail(inbox.id, refused=False)
            assert not await poll_inbox(deps, inbox)
        assert server.logins == 1


async def test_two_processes_share_the_mailboxes_and_never_one_of_them(
    database: str, owner: Connection, world: MailWorld
) -> None:
    await make_office(owner, imap_port=world.imap_port)
    world.put(ADDRESS, b"Subject: hi\r\n\r\n")
    async with replies(database, world) as second:
        async with replies(database, world) as first:
            assert await poll(first)
            assert not await poll(second)
            assert (len(first.sessions), len(second.sessions)) == (1, 0)
        (inbox,) = await due(second)

        async def taken_over() -> bool:
            return await poll_inbox(second, inbox)

        assert await eventually(taken_over)


async def test_a_mailbox_is_asked_again_after_its_interval_of_business_time(
    database: str, owner: Connection, world: MailWorld
) -> None:
    await make_office(owner, imap_port=world.imap_port)
    clock = FixedClock(datetime.now(UTC))
    async with replies(database, world, clock=clock) as deps:
        patient = replace(deps, poll_interval=timedelta(seconds=60))
        assert await poll(patient)
        clock.move(timedelta(seconds=59))
        assert not await poll(patient)
        clock.move(timedelta(seconds=1))
        assert await poll(patient)


async def test_a_mailbox_with_more_mail_than_one_poll_takes_comes_again_at_once(
    database: str, owner: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.replies.jobs.poll.MAX_NEW_PER_POLL", 100)
    messages = {uid: f"Message-ID: <{uid}@x>\r\n\r\n".encode() for uid in range(1, 151)}
    async with BadServer(messages).running() as server:
        await make_office(owner, imap_port=server.port)
        await owner.execute("UPDATE inboxes SET imap_tls = 'none'")
        counts: list[int] = []
        async with replies(database) as deps:
            for _ in range(2):
                assert await poll(deps)
                counts.append(await owner.fetchval("SELECT count(*) FROM inbound_raw"))
                counts.append(await owner.fetchval("SELECT count(last_reply_checked_at) FROM inboxes"))
    assert counts == [100, 0, 150, 1]


@pytest.mark.parametrize(
    ("given", "field"),
    [
        (("oauth_access_token", "imap_password", "smtp_password"), "access_token"),
        (("imap_password", "smtp_password"), "password"),
        (("smtp_password",), "password"),
    ],
)
def test_a_mailbox_is_entered_by_its_token_else_by_its_own_password_else_by_that_of_smtp(
    given: tuple[str, ...], field: str
) -> None:
    inbox_id = new_id()
    sealed = {name: seal_secret(SECRET_KEY, name, row_id=inbox_id, column=name) for name in given}
    inbox = DueInbox(
        id=inbox_id,
        team_id=new_id(),
        host="imap.acme.test",
        port=993,
        tls="implicit",
        username=ADDRESS,
        created_at=datetime.now(UTC),
        oauth_access_token=sealed.get("oauth_access_token"),
        imap_password=sealed.get("imap_password"),
        smtp_password=sealed.get("smtp_password"),
    )
    account = account_of(SECRET_KEY, inbox)
    assert getattr(account, field) == given[0]
    assert [account.access_token, account.password].count(None) == 1
    assert given[0] not in repr(account)


async def _another_inbox(owner: Connection, office: Office, *, port: int, email: str = "zoe@acme.test") -> UUID:
    inbox_id = new_id()
    values = {
        "id": inbox_id,
        "team_id": office.team.id,
        "email": email,
        "provider": "smtp",
        "imap_host": "127.0.0.1",
        "imap_port": port,
        "imap_tls": "none",
        "imap_password": seal_secret(SECRET_KEY, "whatever", row_id=inbox_id, column="imap_password"),
    }
    await insert(owner, "inboxes", values)
    return inbox_id
