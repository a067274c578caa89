"""Asking the mailboxes: what is new is stored, raw, with the cursor behind it. Never looks at what a message says."""

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from uuid import UUID

import msgspec

from libs.schema.events.inbox import InboxConnected, InboxDisconnected
from libs.schema.runtime.db import ACQUIRE_TIMEOUT_S, Tx, transaction
from libs.schema.runtime.network import ForbiddenAddressError
from libs.schema.runtime.outbox import record
from libs.schema.secrets import SecretError, open_secret
from services.replies import imap
from services.replies.deps import Deps
from services.replies.jobs.fetch import fetch
from services.replies.queries import mailboxes
from services.replies.queries.mailboxes import Cursor, DueInbox, NewRaw, Pace, Place
from services.replies.rules.parse import parse_headers

DUE_AT_ONCE = 100  # mailboxes of one tick
PATIENCE_S = 2.0  # of one tick
# Of one folder; the rest waits for the next poll, so that no mailbox holds the others up.
MAX_NEW_PER_POLL = 1000
MAX_BYTES_PER_POLL = 64 * 1_048_576
# Before the first and after a lost cursor: INTERNALDATE is a day's matter (RFC 3501 §6.4.4).
LOOK_BACK = timedelta(days=3)
# Refused logins after which nobody believes any more that it was the server's bad hour.
REFUSALS = 3
# Any failures in a row after which that is told; with their pauses they take about five minutes (field.md 2, row 12).
FAILURES = 7
# INBOX last, so that it is open, and may call, until the next poll.
_ROLES: tuple[imap.Role, ...] = ("Junk", "Sent", "INBOX")


async def poll(deps: Deps) -> bool:
    """Asks the mailboxes that are due; returns whether one of them was read.

    Those that take longer than PATIENCE_S go on by themselves while the next ticks ask others. A second process takes
    others: each mailbox is locked by whoever speaks for it.
    """
    pace = Pace(fastest=deps.poll_interval.total_seconds(), slowest=deps.poll_slowest.total_seconds())
    called, resting = deps.sessions.called(), deps.sessions.pausing() | deps.polls.begun()
    async with transaction(deps.pool) as tx:
        due = await mailboxes.due_inboxes(tx, deps.clock.now(), pace, called, resting, DUE_AT_ONCE)
    for inbox in due:
        deps.polls.begin(inbox, partial(_poll_unless_stopping, deps, inbox))
    return await deps.polls.wait(PATIENCE_S)


async def _poll_unless_stopping(deps: Deps, inbox: DueInbox) -> bool:
    return not deps.stopping.is_set() and await poll_inbox(deps, inbox)


async def poll_inbox(deps: Deps, inbox: DueInbox) -> bool:
    """Stores what is new in the mailbox; returns whether it could be read.

    A second call finds only what came since. A failure ends the session and is told in one log line.
    """
    asked_at = deps.clock.now()
    try:
        session = await deps.sessions.enter(inbox, partial(account_of, deps.settings.secret_key, inbox))
        if session is None:
            return False
        # Where another process has read on since, some messages come again, and are known.
        cursors = {cursor.folder: cursor for cursor in inbox.cursors}
        roles: list[imap.Role] = [role for role in _ROLES if role in session.folders]
        complete = [await _poll_folder(deps, session, inbox, role, cursors.get(role)) for role in roles]
    except (imap.ImapError, ForbiddenAddressError, SecretError) as error:
        await _fail(deps, inbox, error)
        return False
    except BaseException:  # the database is away, or the process ends: whatever the server answers now is nobody's
        deps.sessions.forget(inbox.id)
        raise
    await deps.sessions.leave(inbox.id)
    if inbox.was_shut:
        await _welcome(deps, inbox)
    if all(complete):
        async with deps.pool.acquire(timeout=ACQUIRE_TIMEOUT_S) as connection:
            await mailboxes.mark_checked(connection, inbox.id, asked_at)
    return True


def account_of(secret_key: bytes, inbox: DueInbox) -> imap.Account:
    """Where the mailbox is and how to enter it: by its access token where it has one.

    Raises:
        SecretError: it has neither token nor password, or one that was sealed with another key.

    """
    account = imap.Account(host=inbox.host, port=inbox.port, tls=inbox.tls, username=inbox.username)
    for column in ("oauth_access_token", "imap_password", "smtp_password"):
        sealed = getattr(inbox, column)
        if sealed is not None:
            plain = open_secret(secret_key, sealed, row_id=inbox.id, column=column)
            field = "access_token" if column == "oauth_access_token" else "password"
            return msgspec.structs.replace(account, **{field: plain})
    raise SecretError("the mailbox has no password")


async def _fail(deps: Deps, inbox: DueInbox, error: Exception) -> None:
    """Ends the session; after REFUSALS refused logins, or FAILURES of any kind, the platform is told of it."""
    refused = isinstance(error, imap.LoginRefusedError)
    pause_s = await deps.sessions.fail(inbox.id, refused=refused)
    deps.log.warning(
        "inbox.unreachable", inbox_id=str(inbox.id), reason=str(error), refused=refused, pause_s=round(pause_s)
    )
    if isinstance(error, imap.LoginRefusedError) and deps.sessions.refusals(inbox.id) >= REFUSALS:
        async with transaction(deps.pool) as tx:
            if await mailboxes.mark_refused(tx, inbox.id, inbox.way):
                await _tell_shut(deps, tx, inbox, error.mend)
        await deps.sessions.despair(inbox.id)
    elif not refused and deps.sessions.failures(inbox.id) % FAILURES == 0:
        async with transaction(deps.pool) as tx:
            if await mailboxes.mark_unreachable(tx, inbox.id, inbox.way, deps.clock.now()):
                await _tell_shut(deps, tx, inbox, str(error))


async def _tell_shut(deps: Deps, tx: Tx, inbox: DueInbox, why: str) -> None:
    event = InboxDisconnected(inbox_id=inbox.id, reason=f"replies cannot be read: {why}")
    await record(tx, inbox.team_id, event, by="replies", at=deps.clock.now())


async def _welcome(deps: Deps, inbox: DueInbox) -> None:
    """A mailbox that was shut to us has been read: nobody has to mend anything more."""
    async with transaction(deps.pool) as tx:
        provider = await mailboxes.mark_open(tx, inbox.id)
        if provider is not None:
            event = InboxConnected(inbox_id=inbox.id, provider=provider)
            await record(tx, inbox.team_id, event, by="replies", at=deps.clock.now())


async def _poll_folder(
    deps: Deps, session: imap.Session, inbox: DueInbox, role: imap.Role, cursor: Cursor | None
) -> bool:
    """Stores the folder's new messages, oldest first; returns whether that was all of them."""
    if await session.is_unchanged(role) and cursor is not None:
        return True
    place = Place(team_id=inbox.team_id, inbox_id=inbox.id, folder=role, uidvalidity=await session.open(role))
    known = cursor is not None and cursor.uidvalidity == place.uidvalidity
    if cursor and known:
        uids, newest = await session.search_after(cursor.last_uid), cursor.last_uid
    else:
        # Seen for the first time, or numbered anew: what lies further back is known, or not for us.
        since = cursor.last_internal_date if cursor and cursor.last_internal_date else inbox.created_at
        newest = await session.newest()
        uids = await session.search_since((min(since, deps.clock.now()) - LOOK_BACK).date())
    room, reached = MAX_BYTES_PER_POLL, newest if known else -1
    for at in range(0, len(uids), imap.MAX_UIDS):
        if at >= MAX_NEW_PER_POLL or room <= 0:
            return False
        async for fetched, upto in fetch(deps, session, place, uids[at : at + imap.MAX_UIDS]):
            room -= sum(len(each.raw) for each in fetched)
            reached = await _store(deps, place, fetched, (reached, upto))
    await _store(deps, place, [], (reached, max([newest, *uids[-1:]])))
    session.was_read(role)
    return True


async def _store(deps: Deps, place: Place, fetched: Sequence[imap.Fetched], cursor: tuple[int, int | None]) -> int:
    """The messages, and the cursor (from, to) behind them, in one statement; None: it stays. Returns where it is."""
    reached, upto = cursor
    if not fetched and (upto is None or upto <= reached):
        return reached
    now = deps.clock.now()
    rows = [_row(deps.new_id(), place, each, now) for each in fetched]
    async with deps.pool.acquire(timeout=ACQUIRE_TIMEOUT_S) as connection:
        await mailboxes.store(connection, place, rows, upto, now)
    return reached if upto is None else max(reached, upto)


def _row(id_: UUID, place: Place, fetched: imap.Fetched, now: datetime) -> NewRaw:
    return NewRaw(
        id=id_,
        uid=fetched.found.uid,
        dedupe=hashlib.sha256(_identity(place, fetched)).digest(),
        internal_date=(fetched.found.internal_date or now).astimezone(UTC),
        size_bytes=fetched.found.size,
        raw=fetched.raw,
        truncated=fetched.truncated,
    )


def _identity(place: Place, fetched: imap.Fetched) -> bytes:
    """What tells the message from any other, also when the folder is numbered anew."""
    headers = parse_headers(fetched.raw)
    if "message-id" in headers:
        named = "|".join(headers.first(name) for name in ("message-id", "date", "from"))
        return f"{named}|{fetched.found.size}".encode()
    return fetched.raw or f"{place.uidvalidity}|{fetched.found.uid}".encode()
