"""How a mailbox is entered, which folders are asked, what a quick look costs, and what a server says unasked."""

import asyncio
import base64
from collections.abc import AsyncIterator
from typing import Any

import pytest

from libs.schema.runtime.network import tls_context
from services.replies import imap, imap_guard
from services.replies.imap import Account, ImapError, LoginRefusedError, Network, RefusedError, Session
from tests.contract.bad_imap import HANG_UP, BadServer
from tests.contract.replies_world import LOOPBACK
from tests.support import eventually

ADDRESS = "ann@acme.test"
FULL = "IMAP4rev1 SASL-IR AUTH=XOAUTH2 AUTH=PLAIN IDLE CONDSTORE SPECIAL-USE"
JUNK_AND_SENT = b'* LIST () "/" INBOX\r\n* LIST () "/" Junk\r\n* LIST () "/" Sent\r\n{tag} OK done\r\n'


@pytest.fixture
async def bad() -> AsyncIterator[BadServer]:
    async with BadServer({1: b"Subject: one\r\n\r\nfirst"}).running() as bad:
        yield bad


async def enter(bad: BadServer, **credentials: Any) -> Session:
    credentials = credentials or {"password": "sandbox"}
    account = Account(host="127.0.0.1", port=bad.port, tls="none", username=ADDRESS, **credentials)
    return await imap.connect(account, Network(context=tls_context(None), allow=LOOPBACK))


@pytest.mark.parametrize("at_once", [True, False], ids=["with the command", "when the server asks"])
async def test_a_token_logs_in_instead_of_a_password(bad: BadServer, at_once: bool) -> None:  # noqa: FBT001 - a case
    bad.capabilities = FULL if at_once else FULL.replace("SASL-IR ", "")
    if not at_once:
        bad.script["AUTHENTICATE XOAUTH2"] = b"+ \r\n{line}{tag} OK welcome\r\n"
    session = await enter(bad, access_token="good-token")
    await session.close()
    assert not bad.said("LOGIN")
    (command,) = bad.said("AUTHENTICATE")
    words = command.split(" ")[2] if at_once else bad.lines[0]
    assert base64.b64decode(words).decode() == f"user={ADDRESS}\x01auth=Bearer good-token\x01\x01"


async def test_a_refused_token_is_tried_once_and_its_challenge_gets_an_empty_line(bad: BadServer) -> None:
    bad.capabilities = FULL
    with pytest.raises(LoginRefusedError) as refusal:
        await enter(bad, access_token="old-token")
    assert (bad.logins, bad.lines) == (1, [""])
    assert refusal.value.mend.startswith("the provider does not accept the token")
    assert ADDRESS not in str(refusal.value)
    assert "old-token" not in str(refusal.value)


async def test_a_server_without_xoauth2_gets_no_token_and_has_refused_nobody(bad: BadServer) -> None:
    with pytest.raises(ImapError, match="XOAUTH2") as error:
        await enter(bad, access_token="good-token")
    assert not isinstance(error.value, LoginRefusedError)
    assert not bad.said("AUTHENTICATE")


@pytest.mark.parametrize(
    "answer",
    [
        b"NO [UNAVAILABLE] backend is down",
        b"NO [ALERT] Too many simultaneous connections. (Failure)",
        b"NO [LIMIT] LOGIN Rate limit hit",
        b"BAD User is authenticated but not connected.",
    ],
)
async def test_a_server_in_trouble_has_refused_nobody(bad: BadServer, answer: bytes) -> None:
    bad.script["LOGIN"] = b"{tag} " + answer + b"\r\n"
    with pytest.raises(ImapError) as error:
        await enter(bad)
    assert not isinstance(error.value, LoginRefusedError)


async def test_what_a_server_can_do_after_the_login_counts(bad: BadServer) -> None:
    bad.script["LOGIN"] = b"{tag} OK [CAPABILITY IMAP4rev1 IDLE] welcome\r\n"
    session = await enter(bad)
    assert len(bad.said("CAPABILITY")) == 1
    await session.open("INBOX")
    session.rest(print)
    await eventually(lambda: bad.said("IDLE"))
    await session.close()


async def test_special_uses_are_asked_for_where_the_server_knows_them_and_take_one_command(bad: BadServer) -> None:
    bad.capabilities = FULL
    bad.script["LIST (SPECIAL-USE)"] = (
        b'* LIST (\\Junk) "/" "[Gmail]/Spam"\r\n* LIST (\\Sent) "/" "[Gmail]/Gesendet"\r\n{tag} OK done\r\n'
    )
    session = await enter(bad)
    assert session.folders == {"INBOX": "INBOX", "Junk": "[Gmail]/Spam", "Sent": "[Gmail]/Gesendet"}
    assert bad.said("LIST") == ['LIST (SPECIAL-USE) "" "*" RETURN (SPECIAL-USE)']
    await session.close()


@pytest.mark.parametrize("answer", [b"{tag} BAD what is that\r\n", b"{tag} OK none\r\n"])
async def test_names_help_where_special_uses_are_announced_and_not_told(bad: BadServer, answer: bytes) -> None:
    bad.capabilities = FULL
    bad.script["LIST (SPECIAL-USE)"] = answer
    bad.script["LIST"] = b'* LIST () "/" "Gesendete Elemente"\r\n* LIST () "/" "J\xff"\r\n{tag} OK done\r\n'
    session = await enter(bad)
    assert session.folders == {"INBOX": "INBOX", "Sent": "Gesendete Elemente"}
    await session.close()


async def test_a_folder_that_has_not_changed_is_not_opened_but_now_and_then(bad: BadServer) -> None:
    bad.capabilities = FULL
    bad.script["LIST"] = JUNK_AND_SENT
    session = await enter(bad)
    seen: list[bool] = []
    for _ in range(imap.LOOK_EVERY + 1):
        seen.append(await session.is_unchanged("Junk"))
        session.was_read("Junk")
    assert seen == [False, *[True] * (imap.LOOK_EVERY - 2), False, True]
    assert set(bad.said("STATUS")) == {'STATUS "Junk" (UIDVALIDITY UIDNEXT MESSAGES HIGHESTMODSEQ)'}
    bad.messages[2] = b"news"
    assert not await session.is_unchanged("Junk")
    await session.close()


async def test_the_quick_look_asks_for_no_mod_sequence_where_the_server_has_none(bad: BadServer) -> None:
    bad.script["LIST"] = JUNK_AND_SENT
    session = await enter(bad)
    await session.is_unchanged("Sent")
    assert bad.said("STATUS") == ['STATUS "Sent" (UIDVALIDITY UIDNEXT MESSAGES)']
    await session.close()


@pytest.mark.parametrize(
    "answer", [b"{tag} NO what\r\n", b"{tag} OK\r\n", b"* STATUS Sent (MESSAGES 1)\r\n{tag} OK\r\n"]
)
async def test_a_server_without_a_sensible_status_is_looked_at_each_time(bad: BadServer, answer: bytes) -> None:
    bad.script["LIST"] = JUNK_AND_SENT
    bad.script["STATUS"] = answer
    session = await enter(bad)
    for _ in range(3):
        assert not await session.is_unchanged("Sent")
        assert await session.open("Sent") == 7
        session.was_read("Sent")
        await session.open("INBOX")
    await session.close()


async def test_the_open_folder_is_opened_anew_now_and_then(bad: BadServer) -> None:
    session = await enter(bad)
    for _ in range(2 * imap.LOOK_EVERY + 2):
        await session.open("INBOX")
    assert len(bad.said("EXAMINE")) == 2
    await session.close()


async def test_a_refused_command_leaves_the_session_as_it_was(bad: BadServer) -> None:
    session = await enter(bad)
    await session.open("INBOX")
    bad.script["UID SEARCH"] = b"{tag} NO not now\r\n"
    with pytest.raises(RefusedError):
        await session.search_after(0)
    del bad.script["UID SEARCH"]
    assert await session.search_after(0) == [1]
    await session.close()


async def test_a_server_that_rests_calls_when_a_message_comes_and_wakes_for_the_next_command(bad: BadServer) -> None:
    bad.capabilities = FULL
    session, calls = await enter(bad), asyncio.Queue[None]()
    await session.open("INBOX")
    session.rest(lambda: calls.put_nowait(None))
    await eventually(lambda: bad.said("IDLE"))
    bad.push(b"* OK still here\r\n* 1 FETCH (FLAGS (\\Seen))\r\n* 1 EXPUNGE\r\n")
    bad.messages[2] = b"news"
    bad.push(b"* 2 EXISTS\r\n")
    await asyncio.wait_for(calls.get(), 5)
    await session.wake()
    assert bad.lines == ["DONE"]
    assert await session.open("INBOX") == 7
    assert await session.search_after(1) == [2]
    assert calls.empty()
    await session.close()


async def test_a_mailbox_that_rests_costs_no_task(bad: BadServer) -> None:
    bad.capabilities = FULL
    session = await enter(bad)
    await session.open("INBOX")
    before = asyncio.all_tasks()
    session.rest(print)
    await eventually(lambda: bad.said("IDLE"))
    assert asyncio.all_tasks() <= before
    await session.close()


async def test_a_connection_that_is_lost_while_it_rests_calls_at_once(bad: BadServer) -> None:
    bad.capabilities = FULL
    session, calls = await enter(bad), asyncio.Queue[None]()
    await session.open("INBOX")
    session.rest(lambda: calls.put_nowait(None))
    await eventually(lambda: bad.said("IDLE"))
    bad.cut()
    await asyncio.wait_for(calls.get(), 5)
    assert session.is_lost
    with pytest.raises(ImapError):
        await session.wake()
    await session.close()


async def test_a_half_open_connection_is_left_in_time(bad: BadServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(imap_guard.Client.wake, "__defaults__", (0.3,))
    bad.capabilities = FULL
    bad.script["IDLE"] = b"+ idling\r\n{line}"
    session = await enter(bad)
    await session.open("INBOX")
    session.rest(print)
    with pytest.raises(ImapError, match="no answer"):
        await session.wake()
    assert session.is_lost


@pytest.mark.parametrize("answer", [b"{tag} BAD IDLE is for others\r\n", b"{tag} NO not here\r\n"])
async def test_a_server_that_will_not_rest_is_asked_once(bad: BadServer, answer: bytes) -> None:
    bad.capabilities = FULL
    bad.script["IDLE"] = answer
    session = await enter(bad)
    await session.open("INBOX")
    for _ in range(3):
        session.rest(print)
        await session.wake()
        assert await session.search_after(0) == [1]
    assert len(bad.said("IDLE")) == 1
    assert bad.lines == []
    await session.close()


async def test_a_server_without_idle_is_not_asked_to_rest(bad: BadServer) -> None:
    session = await enter(bad)
    await session.open("INBOX")
    session.rest(print)
    assert not session.is_resting
    await session.wake()
    await session.close()
    assert not bad.said("IDLE")


@pytest.mark.parametrize("rests", [True, False])
async def test_a_flood_between_two_commands_ends_the_session_and_is_not_buffered(
    bad: BadServer,
    rests: bool,  # noqa: FBT001 - a case
) -> None:
    bad.capabilities = FULL
    session = await enter(bad)
    await session.open("INBOX")
    if rests:
        session.rest(print)
        await eventually(lambda: bad.said("IDLE"))
    bad.push(b"* " + b"x" * 3 * imap_guard.MAX_TALK_BYTES)
    await eventually(lambda: session.is_lost)
    await session.close()


async def test_a_server_that_asks_on_and_on_for_credentials_is_left(
    bad: BadServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(imap_guard, "COMMAND_TIMEOUT_S", 0.5)
    bad.capabilities = FULL
    bad.script["AUTHENTICATE"] = b"+ \r\n{line}" * 50
    with pytest.raises(ImapError, match="no answer"):
        await enter(bad, access_token="good-token")
    assert set(bad.lines) == {""}


async def test_a_connection_lost_in_the_challenge_is_noticed_at_once(bad: BadServer) -> None:
    bad.capabilities = FULL
    bad.script["AUTHENTICATE"] = HANG_UP
    with pytest.raises(ImapError):
        await enter(bad, access_token="good-token")
