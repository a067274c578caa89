"""Copies in Sent folders are counted against the ledger: each once, whoever rewrote its id, and nobody else's mail."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from deploy.local.sandbox.world import MailWorld
from deploy.local.sent import MailAccess, compare_sent
from deploy.local.verdict import Disagreement, SentFolders
from libs.schema.runtime.clock import new_id
from libs.schema.runtime.db import Connection
from tests.contract.replies_world import LOOPBACK, Office, Sent, make_office, send
from tests.support import SECRET_KEY, make_inbox

ADDRESS = "ann@acme.test"


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[MailWorld]:
    async with MailWorld(tmp_path / "mail") as world:
        yield world


@pytest.fixture
async def office(owner: Connection, world: MailWorld) -> Office:
    return await make_office(owner, imap_port=world.imap_port)


def file(world: MailWorld, sent: Sent, *, message_id: str | None = None, marked: bool = True) -> None:
    mark = f"X-Coldstream-Ref: {sent.token}\r\n" if marked else ""
    copy = f"Message-ID: {message_id or sent.message_id}\r\n{mark}Subject: Hello\r\n\r\nA word with you?"
    world.put(ADDRESS, copy.encode(), folder="Sent")


async def compare(
    owner: Connection, world: MailWorld, key: bytes = SECRET_KEY
) -> tuple[SentFolders, list[Disagreement]]:
    access = MailAccess(secret_key=key, dangerous_allow_networks=LOOPBACK, extra_ca_file=str(world.ca_file))
    return await compare_sent(owner, access)


async def test_each_send_has_its_copy_or_is_unconfirmed(owner: Connection, world: MailWorld, office: Office) -> None:
    accepted = [await send(owner, office, to=f"lead{number}@lead.test") for number in range(3)]
    unknown = await send(owner, office, to="drop@lead.test", state="unknown")
    await send(owner, office, to="tarpitdot@lead.test", state="unknown")
    for each in (*accepted[:2], unknown):
        file(world, each)
    report, found = await compare(owner, world)
    assert found == []
    assert report == SentFolders(
        mailboxes=1, unread=[], ledger=5, accepted=3, found=3, not_found=1, duplicates=0, unledgered=0
    )


async def test_a_second_copy_is_a_duplicate(owner: Connection, world: MailWorld, office: Office) -> None:
    twice, once = [await send(owner, office, to=f"lead{number}@lead.test") for number in range(2)]
    for each in (twice, twice, once):
        file(world, each)
    report, found = await compare(owner, world)
    assert (report.found, report.duplicates) == (2, 1)
    assert [(each.id, each.text) for each in found] == [(str(twice.id), "2 copies of it lie in Sent")]


async def test_a_copy_under_the_providers_own_id_is_known_by_that_id_or_by_our_mark(
    owner: Connection, world: MailWorld, office: Office
) -> None:
    learned = await send(owner, office, to="a@lead.test", provider_message_id="<learned@provider.test>")
    marked = await send(owner, office, to="b@lead.test")
    file(world, learned, message_id="<learned@provider.test>", marked=False)
    file(world, marked, message_id="<rewritten@provider.test>")
    report, found = await compare(owner, world)
    assert (report.found, report.not_found, found) == (2, 0, [])


async def test_a_persons_own_mail_is_left_alone_and_ours_without_a_row_is_named(
    owner: Connection, world: MailWorld, office: Office
) -> None:
    forgotten = await send(owner, office)
    file(world, forgotten)
    world.put(ADDRESS, b"Message-ID: <own@acme.test>\r\nSubject: Lunch?\r\n\r\nToday?", folder="Sent")
    await send(owner, office, to="other@lead.test")  # without it the mailbox has sent nothing and is not read
    await owner.execute("DELETE FROM send_ledger WHERE send_id = $1", forgotten.id)
    report, found = await compare(owner, world)
    assert (report.found, report.unledgered) == (0, 1)
    assert [(each.id, each.text) for each in found] == [(forgotten.token, "only Sent has it")]


@pytest.mark.parametrize("state", ["queued", "rejected", "stopped"])
async def test_a_copy_of_what_the_ledger_says_never_left_is_named(
    owner: Connection, world: MailWorld, office: Office, state: str
) -> None:
    await send(owner, office, to="other@lead.test")
    denied = await send(owner, office, state=state, committed_at=None)
    file(world, denied)
    _, found = await compare(owner, world)
    assert [(each.id, each.text) for each in found] == [
        (str(denied.id), f"the ledger has it as {state}, Sent has a copy")
    ]


async def test_inboxes_of_one_login_are_one_mailbox(owner: Connection, world: MailWorld, office: Office) -> None:
    file(world, await send(owner, office, to="a@lead.test"))
    alias = await make_inbox(
        owner, office.team, email="sales@acme.test", imap_port=world.imap_port, smtp_username=ADDRESS.upper()
    )
    file(world, await send(owner, office, to="b@lead.test", inbox_id=alias.id))
    report, found = await compare(owner, world)
    assert (report.mailboxes, report.ledger, report.found, report.duplicates, found) == (1, 2, 2, 0, [])


async def test_mailboxes_that_cannot_be_read_are_named_with_the_reason(
    owner: Connection, world: MailWorld, office: Office
) -> None:
    file(world, await send(owner, office, to="a@lead.test"))
    await make_inbox(owner, office.team, email="idle@acme.test")
    silent = await make_inbox(owner, office.team, email="silent@acme.test", imap_port=1)
    await send(owner, office, to="b@lead.test", inbox_id=silent.id)
    await send(owner, office, to="c@lead.test", inbox_id=new_id())
    report, found = await compare(owner, world)
    assert (report.mailboxes, report.accepted, report.found, found) == (1, 1, 1, [])
    gone, no_password = report.unread
    assert (gone.sends, gone.reason) == (1, "its inbox has been deleted")
    assert (no_password.mailbox, no_password.sends) == ("silent@acme.test", 1)
    assert no_password.reason == "the mailbox has no password"


async def test_a_password_that_cannot_be_opened_or_a_server_that_is_away_is_a_reason(
    owner: Connection, world: MailWorld, office: Office
) -> None:
    await send(owner, office)
    (sealed,) = (await compare(owner, world, bytes(32)))[0].unread
    assert "another key" in sealed.reason
    await owner.execute("UPDATE inboxes SET imap_port = 1 WHERE id = $1", office.inbox.id)
    (away,) = (await compare(owner, world))[0].unread
    assert (away.mailbox, away.reason.partition(" (")[0]) == (ADDRESS, "no connection")


async def test_a_long_folder_is_read_to_its_end(owner: Connection, world: MailWorld, office: Office) -> None:
    sent = await send(owner, office)
    for number in range(250):
        world.put(ADDRESS, f"Message-ID: <{number}@acme.test>\r\n\r\nown".encode(), folder="Sent")
    file(world, sent)
    file(world, sent)
    report, _ = await compare(owner, world)
    assert (report.found, report.duplicates) == (1, 1)
