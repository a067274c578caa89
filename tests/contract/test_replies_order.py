"""In whatever order messages are sorted, the same people are stopped, the same replies stored, the same events told."""

from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, datetime, time, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from libs.schema.runtime.db import Connection
from services.replies.deps import Deps
from services.replies.jobs.sort import sort_inbound
from tests.contract.replies_world import (
    Office,
    complaint,
    delivery_report,
    make_office,
    replies,
    reply,
    send,
    store,
)
from tests.support import make_inbox

# Messages arrive within one day, whenever the test runs.
NOON = datetime.combine(datetime.now(UTC).date(), time(12), UTC)
ALIAS = "b.smith@private.test"
AUTOMATIC = {"Auto-Submitted": "auto-replied", "Subject": "Automatic reply: Hello Bob"}
EMPTY = ";".join(
    f"DELETE FROM {table}"  # noqa: S608 - our own words
    for table in ("inbound_raw", "replies", "event_log", "lead_stop", "suppression_list")
)
MESSAGES = 16


class Mail(msgspec.Struct, frozen=True, kw_only=True):
    """A message on its way: to which mailbox and folder, and when."""

    raw: bytes
    office: Office
    folder: str = "INBOX"


@pytest.fixture
async def deps(database: str) -> AsyncIterator[Deps]:
    async with replies(database) as deps:
        yield deps


@pytest.fixture
async def mails(owner: Connection) -> list[Mail]:
    """All that can come back for three leads: what contradicts, what repeats, what refers to one another."""
    office = await make_office(owner)
    second = msgspec.structs.replace(office, inbox=await make_inbox(owner, office.team, email="sue@acme.test"))
    at = NOON - timedelta(hours=1)
    bob, carol, dan = [
        await send(owner, office, to=f"{name}@{name}.test", at=at, state=state)
        for name, state in (("bob", "accepted"), ("carol", "accepted"), ("dan", "unknown"))
    ]
    refusal = reply("No thanks", to=bob, sender=bob.lead.email, message_id="<refusal@bob.test>")
    alias = reply("Who are you?", to=bob, sender=ALIAS, message_id="<first@private.test>")
    follows = {"In-Reply-To": "<first@private.test>", "Subject": "Something else"}
    opt_out = reply("unsubscribe", to=carol, sender=carol.lead.email, message_id="<out@carol.test>")
    away = "I am out of the office until further notice."
    left = "Dan no longer works for our company."
    arrived = delivery_report(dan, status="2.1.5", action="delivered", id="dsn-4")
    copy = f"Message-ID: <0100@provider.test>\r\nX-Coldstream-Ref: {dan.token}\r\n\r\n".encode()
    in_order = [
        refusal,
        alias,
        reply("And what do you want?", sender=ALIAS, headers=follows, message_id="<second@private.test>"),
        reply(away, to=bob, sender=bob.lead.email, headers=AUTOMATIC, message_id="<away@bob.test>"),
        reply(away, to=bob, sender=bob.lead.email, headers=AUTOMATIC, message_id="<again@bob.test>"),
        delivery_report(bob, id="dsn-1"),
        delivery_report(bob, id="dsn-2"),
        complaint(carol),
        opt_out,
        delivery_report(carol, status="4.2.2", diagnostic="smtp; 452 4.2.2 Mailbox full", id="dsn-3"),
        reply(left, to=dan, sender=dan.lead.email, headers=AUTOMATIC, message_id="<left@dan.test>"),
        arrived,
        reply("Please unsubscribe me", sender="stranger@nowhere.test", message_id="<out@nowhere.test>"),
    ]
    found = [Mail(raw=raw, office=office) for raw in in_order]
    found += [Mail(raw=refusal, office=second), Mail(raw=opt_out, office=office, folder="Junk")]
    found += [Mail(raw=copy, office=office, folder="Sent")]
    assert len(found) == MESSAGES
    return found


async def after(owner: Connection, deps: Deps, mails: list[Mail]) -> dict[str, Counter[tuple[Any, ...]]]:
    """What the messages leave behind, without ids and times of the run."""
    await owner.execute(EMPTY)
    for mail in mails:
        await store(deps.pool, mail.office, mail.raw, folder=mail.folder, at=NOON)
        await sort_inbound(deps)
    while await sort_inbound(deps):
        pass
    statements = {
        "outcomes": "SELECT outcome FROM inbound_raw",
        "replies": "SELECT lead_id, intent::text, left_company, is_alias, thread_id, email_id FROM replies",
        "events": "SELECT type, body -> 'data' ->> 'email_id', body -> 'data' ->> 'lead_id' FROM event_log",
        "stops": "SELECT lead_key, reason FROM lead_stop",
        "suppressed": "SELECT email FROM suppression_list",
    }
    return {name: Counter(tuple(row) for row in await owner.fetch(sql)) for name, sql in statements.items()}


@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(order=st.permutations(range(MESSAGES)))
async def test_any_order_of_arrival_leaves_the_same_rows(
    owner: Connection, deps: Deps, mails: list[Mail], order: list[int]
) -> None:
    wanted = await after(owner, deps, mails)
    assert await after(owner, deps, [mails[at] for at in order]) == wanted


async def test_what_all_of_it_leaves_behind_is_what_each_should(
    owner: Connection, deps: Deps, mails: list[Mail]
) -> None:
    left = await after(owner, deps, mails)
    assert {name for (name,) in left["suppressed"]} == {"bob@bob.test", "carol@carol.test", "stranger@nowhere.test"}
    reasons = Counter(reason for _, reason in left["stops"].elements())
    assert reasons == {"replied": 6, "hard_bounce": 1, "complaint": 1, "unsubscribe": 1, "left_company": 1}
    types = Counter(kind for kind, *_ in left["events"].elements())
    assert types == {
        "reply.received": 6,
        "lead.unsubscribed": 1,
        "bounce.hard": 1,
        "bounce.soft": 1,
        "email.complained": 1,
        "email.confirmed": 2,
    }
