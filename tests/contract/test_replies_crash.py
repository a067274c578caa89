"""The property that makes a crash harmless: a mailbox read with crashes between any two steps leaves the same rows."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from deploy.local.sandbox.world import MailWorld
from libs.schema.runtime.db import Connection
from services.replies import imap
from services.replies.deps import Deps
from services.replies.jobs.poll import poll_inbox
from services.replies.jobs.sort import sort_inbound
from tests.contract.replies_world import delivery_report, due, make_office, replies, reply, rows, send_five

ADDRESS = "ann@acme.test"


class CrashError(Exception):
    """The process dies here."""


class Fuse:
    """Burns down with every step; the process dies at the step that it was set for."""

    def __init__(self, steps: int) -> None:
        self.left = steps

    def step(self) -> None:
        self.left -= 1
        if self.left == 0:
            raise CrashError


class FusedSession:
    """A session in which each command is a step."""

    def __init__(self, session: imap.Session, fuse: Fuse) -> None:
        self._session, self._fuse = session, fuse

    def __getattr__(self, name: str) -> Any:
        value: Any = getattr(self._session, name)
        if name == "folders":
            return value

        async def command(*args: Any, **kwargs: Any) -> Any:
            self._fuse.step()
            return await value(*args, **kwargs)

        return command


class FusedPool:
    """A pool in which each begin and each commit is a step."""

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
        return getattr(self._connection, name)

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

        async def enter(self, inbox_id: UUID, account: imap.Account) -> Any:
            session = await enter(inbox_id, account)
            return FusedSession(session, fuse) if session else None

    changes: Any = {"pool": FusedPool(deps.pool, fuse), "sessions": Sessions()}
    return replace(deps, **changes)


async def run_until_done_or_dead(deps: Deps, inbox: Any) -> bool:
    """One life of the process; whether it came to its end."""
    try:
        await poll_inbox(deps, inbox)
        while await sort_inbound(deps):
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
        world.put(ADDRESS, b"Subject: nobody\r\n\r\n")
        world.put(ADDRESS, f"Message-ID: {sent[4].message_id}\r\n\r\n".encode(), folder="Sent")
        async with replies(database, world) as deps:
            (inbox,) = await due(deps)
            await run_until_done_or_dead(deps, inbox)
            wanted = await rows(owner)
            assert len(wanted["raw"]) == 4
            step, survived = 0, False
            while not survived:
                step += 1
                for table in ("inbound_raw", "imap_cursor", "replies", "event_log", "lead_stop", "suppression_list"):
                    await owner.execute(f"DELETE FROM {table}")  # noqa: S608 - faster than TRUNCATE; our own words
                survived = await run_until_done_or_dead(fused(deps, Fuse(step)), inbox)
                assert await run_until_done_or_dead(deps, inbox)
                assert await rows(owner) == wanted, f"dead at step {step}"
            assert step > 30
