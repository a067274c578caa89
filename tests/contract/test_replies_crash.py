"""A crash is harmless: a mailbox read, sorted and assigned with one between any two steps leaves the same rows."""

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from inspect import iscoroutinefunction
from pathlib import Path
from typing import Any

import pytest

from deploy.local.sandbox.world import MailWorld
from libs.schema.commands import AssignMessage
from libs.schema.runtime.db import Connection
from libs.schema.runtime.jobs import enqueue
from services.replies import imap
from services.replies.deps import Deps
from services.replies.jobs.commands import carry_out_commands
from services.replies.jobs.poll import poll_inbox
from services.replies.jobs.sort import sort_inbound
from services.replies.queries.mailboxes import DueInbox
from tests.contract.replies_world import (
    Office,
    Sent,
    delivery_report,
    due,
    make_office,
    replies,
    reply,
    rows,
    send_five,
)
from tests.support import EPOCH

ADDRESS = "ann@acme.test"
EMPTY = ";".join(  # faster than TRUNCATE
    f"DELETE FROM {table}"  # noqa: S608 - our own words
    for table in ("job_queue", "inbound_raw", "imap_cursor", "replies", "event_log", "lead_stop", "suppression_list")
)
STATEMENTS = frozenset(("execute", "fetch", "fetchrow", "fetchval"))


class CrashError(BaseException):
    """The process dies here; nothing in it may catch that."""


class Fuse:
    """Burns down with every step; the process dies at the step that it was set for."""

    def __init__(self, steps: int) -> None:
        self.left = steps

    def step(self) -> None:
        self.left -= 1
        if self.left == 0:
            raise CrashError

    def before(self, action: Any) -> Any:
        """The action, which is a step."""

        async def stepped(*args: Any, **kwargs: Any) -> Any:
            self.step()
            return await action(*args, **kwargs)

        return stepped


class FusedSession:
    """A session in which each command is a step."""

    def __init__(self, session: imap.Session, fuse: Fuse) -> None:
        self._session, self._fuse = session, fuse

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._session, name)
        return self._fuse.before(value) if iscoroutinefunction(value) else value


class FusedPool:
    """A pool in which each statement and each commit is a step."""

    def __init__(self, pool: Any, fuse: Fuse) -> None:
        self._pool, self._fuse = pool, fuse

    @asynccontextmanager
    async def acquire(self, **options: Any) -> AsyncGenerator[Any]:
        async with self._pool.acquire(**options) as connection:
            yield FusedConnection(connection, self._fuse)


class FusedConnection:
    def __init__(self, connection: Any, fuse: Fuse) -> None:
        self._connection, self._fuse = connection, fuse

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._connection, name)
        return self._fuse.before(value) if name in STATEMENTS else value

    @asynccontextmanager
    async def transaction(self) -> AsyncGenerator[None]:
        async with self._connection.transaction():
            yield
            self._fuse.step()  # before the commit
        self._fuse.step()  # after it


def fused(deps: Deps, fuse: Fuse) -> Deps:
    """The same service, which dies when the fuse is burnt down."""
    enter = deps.sessions.enter

    class Sessions:
        def __getattr__(self, name: str) -> Any:
            return getattr(deps.sessions, name)

        async def enter(self, inbox: DueInbox, account_of: Callable[[], imap.Account]) -> Any:
            session = await enter(inbox, account_of)
            return FusedSession(session, fuse) if session else None

    changes: Any = {"pool": FusedPool(deps.pool, fuse), "sessions": Sessions()}
    return replace(deps, **changes)


async def ask_once(owner: Connection, office: Office, sent: Sent) -> None:
    """A person assigns the message that is nobody's answer, as soon as it is listed."""
    raw_id = await owner.fetchval("SELECT id FROM inbound_raw WHERE outcome = 'unmatched'")
    if raw_id and not await owner.fetchval("SELECT count(*) FROM job_queue"):
        await enqueue(owner, office.team.id, AssignMessage(raw_id=raw_id, lead_id=sent.lead.id), EPOCH)


async def run_until_done_or_dead(deps: Deps, inbox: Any, ask: Any) -> bool:
    """One life of the process; whether it came to its end."""
    try:
        await poll_inbox(deps, inbox)
        while await sort_inbound(deps):
            pass
        await ask()
        while await carry_out_commands(deps):
            pass
    except CrashError:
        return False
    return True


async def test_crashes_between_any_two_steps_leave_the_same_rows(
    database: str, owner: Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(imap, "MAX_UIDS", 2)  # several batches, so that there are steps between them
    async with MailWorld(tmp_path / "mail") as world:
        office = await make_office(owner, imap_port=world.imap_port)
        sent = await send_five(owner, office)
        world.put(ADDRESS, reply("unsubscribe", to=sent[1], sender=sent[1].lead.email))
        world.put(ADDRESS, delivery_report(sent[2]))
        world.put(ADDRESS, reply("Stop it!", sender="eve@elsewhere.test", message_id="<1@elsewhere.test>"))
        world.put(ADDRESS, f"Message-ID: {sent[4].message_id}\r\n\r\n".encode(), folder="Sent")
        async with replies(database, world) as deps:
            (inbox,) = await due(deps)

            async def ask() -> None:
                await ask_once(owner, office, sent[0])

            await run_until_done_or_dead(deps, inbox, ask)
            wanted = await rows(owner)
            assert {outcome for *_, outcome in wanted["raw"]} == {"reply", "bounce", "sent_copy"}
            step, survived = 0, False
            while not survived:
                step += 1
                await owner.execute(EMPTY)
                survived = await run_until_done_or_dead(fused(deps, Fuse(step)), inbox, ask)
                assert await run_until_done_or_dead(deps, inbox, ask)
                assert await rows(owner) == wanted, f"dead at step {step}"
            assert step > 90  # every one of them was died at, and there are not suddenly few
