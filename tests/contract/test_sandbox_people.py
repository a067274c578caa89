"""Each behaviour of the sandbox's people and of their mail servers, as a real client meets it."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import aiosmtplib
import pytest

from deploy.local.sandbox.log import duplicates
from deploy.local.sandbox.smtp import Habits
from deploy.local.sandbox.world import MailWorld
from tests.contract.sandbox_mail import DAY, INBOX, answers, message, refusal, send, submission, texts
from tests.support import eventually

TARPIT_S = 0.1


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[MailWorld]:
    async with MailWorld(tmp_path / "mail", habits=Habits(tarpit_s=TARPIT_S)) as world:
        yield world


@pytest.mark.parametrize(
    "word", ["interested", "meeting", "question", "not-interested", "unsubscribe", "interested-ja", "unsubscribe-de"]
)
async def test_people_answer_in_their_own_time(world: MailWorld, word: str) -> None:
    recipient = f"{word}.mary@lead.test"
    await send(world, recipient)
    due = world.state().next_due
    assert due is not None
    assert world.clock.now() < due <= world.clock.now() + DAY
    assert await texts(world) == []
    (reply,) = await answers(world)
    assert reply["In-Reply-To"] == f"<1.{recipient}>"
    assert reply["Return-Path"] == f"<{recipient}>"
    assert reply["Date"].datetime >= due.replace(microsecond=0)
    assert world.state().last_delivery is not None


@pytest.mark.parametrize(
    ("recipient", "writer"),
    [("colleague.mary@lead.test", "mary.robin@lead.test"), ("alias.mary@lead.test", "mary@home.test")],
)
async def test_an_answer_may_come_from_another_address(world: MailWorld, recipient: str, writer: str) -> None:
    await send(world, recipient)
    (reply,) = await answers(world)
    assert reply["Return-Path"] == f"<{writer}>"
    assert writer in reply["From"]


async def test_a_person_answers_a_thread_once(world: MailWorld) -> None:
    await send(world, "interested@lead.test")
    await answers(world, 1)
    await send(world, "interested@lead.test", 2, References="<1.interested@lead.test>")
    await answers(world, 1)
    await send(world, "interested@lead.test", 3)
    await answers(world, 2)


async def test_nobody_answers_a_machine(world: MailWorld) -> None:
    await send(world, "ooo@lead.test", Auto_Submitted="auto-replied")
    assert world.state().next_due is None


@pytest.mark.parametrize("word", ["ooo", "autoreply", "leftcompany"])
async def test_a_machine_answers_a_thread_once_and_from_nobody(world: MailWorld, word: str) -> None:
    await send(world, f"{word}.kim@lead.test")
    (reply,) = await answers(world)
    assert reply["Auto-Submitted"] == "auto-replied"
    assert reply["Return-Path"] == "<>"
    await send(world, f"{word}.kim@lead.test", 2, References=f"<1.{word}.kim@lead.test>")
    await answers(world, 1)


@pytest.mark.parametrize(
    ("word", "answer"),
    [
        ("hardbounce", "550 5.1.1 The email account that you tried to reach does not exist"),
        ("policy", "550 5.7.1 Message blocked by our policy"),
    ],
)
async def test_an_address_is_refused_in_the_dialogue(world: MailWorld, word: str, answer: str) -> None:
    assert await refusal(world, f"{word}.joe@lead.test") == answer
    (outcome,) = world.outcomes()
    assert (outcome.code, outcome.accepted, outcome.message_id) == (550, False, None)
    assert await texts(world, "Sent") == []


@pytest.mark.parametrize("word", ["dsn", "softdsn", "forged"])
async def test_a_late_bounce_comes_to_the_envelope_sender_for_every_message(world: MailWorld, word: str) -> None:
    await send(world, f"{word}.joe@lead.test")
    (report,) = await answers(world)
    assert report.get_content_type() == "multipart/report"
    assert report["Return-Path"] == "<>"
    await send(world, f"{word}.joe@lead.test", 2, References=f"<1.{word}.joe@lead.test>")
    await answers(world, 2)


async def test_a_greylisted_sender_has_to_come_back_after_five_minutes(world: MailWorld) -> None:
    for wait in (timedelta(0), timedelta(minutes=4)):
        world.advance(wait)
        answer = await refusal(world, "greylist.amy@lead.test")
        assert answer == "451 4.7.1 Greylisted, please try again in five minutes"
    world.advance(timedelta(minutes=1))
    await send(world, "greylist.amy@lead.test")
    await send(world, "greylist.amy@lead.test", 2)
    assert [outcome.code for outcome in world.outcomes()] == [451, 451, 250, 250]


async def test_a_full_mailbox_is_full_for_now_and_half_an_hour_later_for_good(world: MailWorld) -> None:
    full = "The recipient's mailbox is full"
    assert await refusal(world, "mailboxfull.amy@lead.test") == f"452 4.2.2 {full}, please try again later"
    world.advance(timedelta(minutes=30))
    assert await refusal(world, "mailboxfull.amy@lead.test") == f"552 5.2.2 {full}"
    assert [(outcome.code, outcome.accepted) for outcome in world.outcomes()] == [(452, False), (552, False)]


async def test_a_closed_server_says_421_and_hangs_up_until_ten_minutes_have_passed(world: MailWorld) -> None:
    async with submission(world) as client:
        await client.mail(INBOX)
        with pytest.raises(aiosmtplib.SMTPRecipientRefused) as refused:
            await client.rcpt("421.amy@lead.test")
        assert (refused.value.code, refused.value.message) == (
            421,
            "4.3.2 Service not available, closing transmission channel",
        )
        await eventually(lambda: not client.is_connected)
    world.advance(timedelta(minutes=10))
    await send(world, "421.amy@lead.test")
    assert [(outcome.code, outcome.accepted) for outcome in world.outcomes()] == [(421, False), (250, True)]


async def test_a_policy_may_block_the_message_when_it_has_been_read(world: MailWorld) -> None:
    with pytest.raises(aiosmtplib.SMTPDataError) as refused:
        await send(world, "policydot.amy@lead.test")
    assert (refused.value.code, refused.value.message) == (550, "5.7.1 Message blocked by our policy")
    (outcome,) = world.outcomes()
    assert (outcome.code, outcome.accepted, outcome.message_id) == (550, False, "<1.policydot.amy@lead.test>")
    assert await texts(world, "Sent") == await texts(world, address="policydot.amy@lead.test") == []


async def test_a_tarpit_answers_the_recipient_and_the_dot_late(world: MailWorld) -> None:
    async with submission(world) as client:
        await client.mail(INBOX)
        asked = time.monotonic()
        assert (await client.rcpt("tarpit.amy@lead.test")).code == 250
        assert time.monotonic() - asked >= TARPIT_S
        asked = time.monotonic()
        assert (await client.data(message("tarpit.amy@lead.test").as_bytes())).code == 250
        assert time.monotonic() - asked >= TARPIT_S
    assert len(await texts(world, "Sent")) == len(await texts(world, address="tarpit.amy@lead.test")) == 1


async def test_a_tarpit_at_the_dot_stores_nothing_and_hangs_up_without_an_answer(world: MailWorld) -> None:
    asked = time.monotonic()
    with pytest.raises(aiosmtplib.SMTPServerDisconnected):
        await send(world, "tarpitdot.amy@lead.test")
    assert time.monotonic() - asked >= TARPIT_S
    (outcome,) = world.outcomes()
    assert (outcome.code, outcome.accepted, outcome.message_id) == ("dropped", False, "<1.tarpitdot.amy@lead.test>")
    assert await texts(world, "Sent") == await texts(world, address="tarpitdot.amy@lead.test") == []


async def test_a_dropped_message_is_accepted_all_the_same(world: MailWorld) -> None:
    with pytest.raises(aiosmtplib.SMTPServerDisconnected):
        await send(world, "drop.dan@lead.test")
    (outcome,) = world.outcomes()
    assert (outcome.code, outcome.accepted) == ("dropped", True)
    assert len(await texts(world, "Sent")) == len(await texts(world, address="drop.dan@lead.test")) == 1
    with contextlib.suppress(aiosmtplib.SMTPServerDisconnected):
        await send(world, "drop.dan@lead.test")
    assert duplicates(world.outcomes()) == {"<1.drop.dan@lead.test>": 1}


async def test_one_click_posts_to_the_list_unsubscribe_link_until_it_is_heard(world: MailWorld) -> None:
    heard: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        heard.append(head.partition(b"\r\n")[0] + b" " + await reader.readexactly(26))
        status = b"500 Internal Server Error" if len(heard) == 1 else b"200 OK"
        writer.write(b"HTTP/1.1 " + status + b"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as platform:
        link = f"<http://127.0.0.1:{platform.sockets[0].getsockname()[1]}/u/token>"
        one_click = "List-Unsubscribe=One-Click"
        await send(world, "oneclick.eve@lead.test", List_Unsubscribe=link, List_Unsubscribe_Post=one_click)
        world.advance(DAY)
        await eventually(lambda: len(heard) == 1 and world.state().quiet)
        world.advance(timedelta(minutes=10))
        await eventually(lambda: world.state().planned == 0)
    assert heard == [b"POST /u/token HTTP/1.1 List-Unsubscribe=One-Click"] * 2


async def test_one_click_never_leaves_this_machine(world: MailWorld) -> None:
    link, one_click = "<https://192.0.2.1/u/token>", "List-Unsubscribe=One-Click"
    await send(world, "oneclick.eve@lead.test", List_Unsubscribe=link, List_Unsubscribe_Post=one_click)
    world.advance(DAY)
    await eventually(lambda: world.state().planned == 0)
