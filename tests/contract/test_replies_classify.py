"""What a reply means, told again: by a person, whose word stands, or by a plugged-in model, which is asked once."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec
import pytest

from libs.schema.commands import ClassifyReply
from libs.schema.events.base import open_envelope, open_event
from libs.schema.events.lead import LeadUnsubscribed
from libs.schema.events.reply import Intent, ReplyClassified
from libs.schema.runtime.clock import FixedClock, new_id
from libs.schema.runtime.db import Connection
from libs.schema.runtime.jobs import enqueue
from libs.schema.runtime.network import tls_context
from libs.schema.runtime.outgoing import Way
from services.replies.deps import Deps
from services.replies.jobs.classify import ask_model
from services.replies.jobs.commands import carry_out_commands
from services.replies.jobs.sort import sort_inbound
from services.replies.model import MAX_ANSWER_BYTES, IntentModel
from services.replies.rules.intent import read_intent
from tests.command import coldstream
from tests.contract.replies_world import LOOPBACK, Office, Sent, make_office, replies, reply, send, store
from tests.labelled.letters import Case
from tests.support import make_team

MAYBE = "Let me see what the others say about ann@lead.test."
OPT_OUT = "Please remove me from your list."
AWAY = {"Auto-Submitted": "auto-replied", "Subject": "Out of office"}


@pytest.fixture
async def office(owner: Connection) -> Office:
    return await make_office(owner)


@pytest.fixture
async def deps(database: str) -> AsyncIterator[Deps]:
    async with replies(database, clock=FixedClock(datetime.now(UTC))) as deps:
        yield deps


async def answered(deps: Deps, office: Office, sent: Sent, text: str, **headers: str) -> UUID:
    """A reply that the rules have read."""
    raw = reply(text, headers={"In-Reply-To": sent.message_id, **headers}, message_id=f"<{new_id()}@lead.test>")
    await store(deps.pool, office, raw)
    assert await sort_inbound(deps)
    return await deps.pool.fetchval("SELECT id FROM replies ORDER BY id DESC LIMIT 1")


async def say(owner: Connection, deps: Deps, team_id: UUID, reply_id: UUID, intent: Intent) -> tuple[str, Any, str]:
    """Status, result and error of the command that says what the reply means."""
    job_id = await enqueue(owner, team_id, ClassifyReply(reply_id=reply_id, intent=intent), deps.clock.now())
    assert await carry_out_commands(deps)
    row = await owner.fetchrow("SELECT status::text, result, last_error FROM job_queue WHERE id = $1", job_id)
    assert row is not None
    return row["status"], row["result"], row["last_error"] or ""


async def told(owner: Connection, kind: type[Any] = ReplyClassified) -> list[Any]:
    rows = await owner.fetch("SELECT body FROM event_log ORDER BY position")
    events = (open_event(open_envelope(row["body"])) for row in rows)
    return [event for event in events if isinstance(event, kind)]


async def reading(owner: Connection, reply_id: UUID) -> tuple[Any, ...]:
    row = await owner.fetchrow(
        "SELECT intent::text, intent_model, intent_manual_override, needs_review FROM replies WHERE id = $1", reply_id
    )
    assert row is not None
    return tuple(row)


async def stops(owner: Connection) -> set[tuple[bytes, str]]:
    return {(row["lead_key"], row["reason"]) for row in await owner.fetch("SELECT lead_key, reason FROM lead_stop")}


async def test_a_persons_word_stands_and_is_told_once(owner: Connection, deps: Deps, office: Office) -> None:
    sent = await send(owner, office)
    reply_id = await answered(deps, office, sent, MAYBE)
    for _ in range(2):
        status, result, _ = await say(owner, deps, office.team.id, reply_id, "interested")
        assert (status, result["intent"]) == ("completed", "interested")
    assert await reading(owner, reply_id) == ("interested", "manual", True, False)
    (event,) = await told(owner)
    assert (event.previous, event.intent, event.by_person, event.confidence) == ("neutral", "interested", True, 1.0)
    assert (event.email_id, event.lead_id) == (sent.id, sent.lead.id)


async def test_a_person_may_change_their_mind(owner: Connection, deps: Deps, office: Office) -> None:
    reply_id = await answered(deps, office, await send(owner, office), MAYBE)
    await say(owner, deps, office.team.id, reply_id, "interested")
    await say(owner, deps, office.team.id, reply_id, "question")
    assert [(each.previous, each.intent) for each in await told(owner)] == [
        ("neutral", "interested"),
        ("interested", "question"),
    ]


async def test_an_opt_out_that_a_person_sees_is_carried_out_now(owner: Connection, deps: Deps, office: Office) -> None:
    sent = await send(owner, office)
    reply_id = await answered(deps, office, sent, MAYBE)
    await say(owner, deps, office.team.id, reply_id, "unsubscribe")
    assert (sent.lead.key, "unsubscribe") in await stops(owner)
    (event,) = await told(owner, LeadUnsubscribed)
    assert (event.lead_id, event.method, event.email_id) == (sent.lead.id, "reply", sent.id)
    assert (
        await owner.fetchval("SELECT reason FROM suppression_list WHERE email = $1", sent.lead.email) == "unsubscribe"
    )


async def test_an_opt_out_taken_back_leaves_the_suppression_to_people(
    owner: Connection, deps: Deps, office: Office
) -> None:
    reply_id = await answered(deps, office, await send(owner, office), OPT_OUT)
    await say(owner, deps, office.team.id, reply_id, "interested")
    assert await owner.fetchval("SELECT count(*) FROM suppression_list") == 1


async def test_what_looked_like_a_machine_stops_once_a_person_says_that_it_is_none(
    owner: Connection, deps: Deps, office: Office
) -> None:
    sent = await send(owner, office)
    reply_id = await answered(deps, office, sent, "I am out of the office. Call me on Monday.", **AWAY)
    assert await stops(owner) == set()
    await say(owner, deps, office.team.id, reply_id, "meeting_request")
    assert (sent.lead.key, "replied") in await stops(owner)


async def test_a_reply_of_another_team_is_none(owner: Connection, deps: Deps, office: Office) -> None:
    reply_id = await answered(deps, office, await send(owner, office), MAYBE)
    stranger = await make_team(owner, slug="stranger")
    status, result, error = await say(owner, deps, stranger.id, reply_id, "interested")
    assert (status, result) == ("failed", None)
    assert "no such reply" in error
    assert await told(owner) == []


class Oracle:
    """A model on loopback that says what a test told it to, and remembers what it was asked."""

    def __init__(self) -> None:
        self.answer: bytes | None = b'{"intent": "interested", "confidence": 0.9}'
        self.status = 200
        self.asked: list[dict[str, Any]] = []
        self.port = 0

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("ascii").lower()
        length = int(head.partition("content-length: ")[2].partition("\r")[0])
        self.asked.append(msgspec.json.decode(await reader.readexactly(length)))
        if self.answer is None:
            await reader.read()  # says nothing until the other side has had enough
        else:
            writer.write(
                f"HTTP/1.1 {self.status} x\r\ncontent-length: {len(self.answer)}\r\n\r\n".encode() + self.answer
            )
            await writer.drain()
        writer.close()


@pytest.fixture
async def oracle() -> AsyncIterator[Oracle]:
    oracle = Oracle()
    server = await asyncio.start_server(oracle.talk, "127.0.0.1", 0)
    oracle.port = server.sockets[0].getsockname()[1]
    yield oracle
    server.close()
    await server.wait_closed()


def plugged_in(deps: Deps, oracle: Oracle, *, allow: tuple[str, ...] = LOOPBACK, timeout_s: float = 5.0) -> Deps:
    way = Way(tls=tls_context(None), allow=allow, timeout_s=timeout_s, max_bytes=MAX_ANSWER_BYTES)
    return replace(deps, model=IntentModel(f"http://127.0.0.1:{oracle.port}/", "oracle-1", token="sesame", way=way))


async def test_a_model_is_asked_once_and_its_better_reading_is_told(
    owner: Connection, deps: Deps, office: Office, oracle: Oracle
) -> None:
    reply_id = await answered(deps, office, await send(owner, office), MAYBE)
    deps = plugged_in(deps, oracle)
    assert await ask_model(deps)
    assert not await ask_model(deps)
    (question,) = oracle.asked
    assert question["text"].startswith("Let me see what the others say about <address>")
    assert "unsubscribe" in question["intents"]
    assert await reading(owner, reply_id) == ("interested", "oracle-1", False, False)
    (event,) = await told(owner)
    assert (event.previous, event.intent, event.by_person, event.model) == ("neutral", "interested", False, "oracle-1")


@pytest.mark.parametrize(
    "case",
    [
        (OPT_OUT, b'{"intent": "interested", "confidence": 1.0}'),
        (MAYBE, b'{"intent": "interested", "confidence": 0.5}'),
        ("No thanks, we are not interested.", b'{"intent": "interested", "confidence": 0.8}'),
    ],
)
async def test_an_opt_out_or_a_surer_reading_of_the_rules_stays(
    owner: Connection, deps: Deps, office: Office, oracle: Oracle, case: tuple[str, bytes]
) -> None:
    text, oracle.answer = case
    reply_id = await answered(deps, office, await send(owner, office), text)
    before = await reading(owner, reply_id)
    assert await ask_model(plugged_in(deps, oracle))
    assert (await reading(owner, reply_id), await told(owner)) == (before, [])


async def test_a_person_is_not_overruled_and_an_absence_is_not_asked_about(
    owner: Connection, deps: Deps, office: Office, oracle: Oracle
) -> None:
    sent = await send(owner, office)
    reply_id = await answered(deps, office, sent, MAYBE)
    await say(owner, deps, office.team.id, reply_id, "question")
    await answered(deps, office, sent, "I will be back on Monday.", **AWAY)
    assert not await ask_model(plugged_in(deps, oracle))
    assert oracle.asked == []


@pytest.mark.parametrize(
    "case",
    [
        (500, b"{}"),
        (200, b'{"intent": "delighted", "confidence": 1}'),
        (200, b'{"intent": "interested", "confidence": 7}'),
        (200, b"not JSON"),
        (200, b"\xff\xfe"),
        (200, b'{"intent": "interested", "confidence": 0.9}' + b" " * MAX_ANSWER_BYTES),
        (302, b""),
        (200, None),
    ],
)
async def test_a_model_that_fails_changes_nothing_and_is_left_alone_for_a_while(
    owner: Connection, deps: Deps, office: Office, oracle: Oracle, case: tuple[int, bytes | None]
) -> None:
    reply_id = await answered(deps, office, await send(owner, office), MAYBE)
    before = await reading(owner, reply_id)
    oracle.status, oracle.answer = case
    deps = plugged_in(deps, oracle, timeout_s=1.0 if oracle.answer is None else 5.0)
    for _ in range(5):
        assert not await ask_model(deps)
    assert len(oracle.asked) == 3
    assert await reading(owner, reply_id) == before
    oracle.status, oracle.answer = 200, b'{"intent": "interested", "confidence": 0.9}'
    assert isinstance(deps.clock, FixedClock)
    deps = replace(plugged_in(deps, oracle), clock=FixedClock(deps.clock.now() + timedelta(minutes=1)))
    assert await ask_model(deps)
    assert (await reading(owner, reply_id))[0] == "interested"


async def test_a_model_in_a_house_that_is_not_opened_is_not_reached(
    owner: Connection, deps: Deps, office: Office, oracle: Oracle
) -> None:
    await answered(deps, office, await send(owner, office), MAYBE)
    assert not await ask_model(plugged_in(deps, oracle, allow=()))
    assert oracle.asked == []


async def test_what_people_have_read_again_becomes_cases_and_without_words_if_not_asked_for(
    owner: Connection, deps: Deps, office: Office, database: str
) -> None:
    sent = await send(owner, office)
    for intent in ("interested", "question"):
        reply_id = await answered(deps, office, sent, f"{MAYBE} Well?\n\n> A word with you, Bob?")
        await say(owner, deps, office.team.id, reply_id, intent)
    await answered(deps, office, sent, "Nobody has read me again.")
    done = await coldstream("labelled", "--database-url", database)
    lines = [msgspec.json.decode(line) for line in done.out.splitlines()]
    assert (done.code, [each["intent"] for each in lines]) == (0, ["interested", "question"])
    today = read_intent(f"{MAYBE} Well?")
    found = {"found": today.intent, "confidence": today.confidence}
    assert lines[1] == {"reply_id": str(reply_id), "intent": "question"} | found
    assert "today's rules agree with 1" in done.err
    told = await coldstream("labelled", "--with-text", "--database-url", database)
    cases = [msgspec.json.decode(line, type=Case) for line in told.out.splitlines()]
    assert cases[0] == Case(intent="interested", text=f"{MAYBE} Well?")
