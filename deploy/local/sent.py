"""What the mailboxes' own Sent folders say of the ledger: copies are counted. Must never change a mailbox.

A provider files a copy of each mail that it has accepted (reliability.md §2.1), so two copies of one send are two
mails. A folder is read before its part of the ledger, which knows a send before its dot: what is in the folder and not
in the ledger is not merely early.
"""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Annotated, NamedTuple
from uuid import UUID

import msgspec

from deploy.local.verdict import Disagreement, SentFolders, Unread
from libs.schema.runtime.db import Connection, fetch_all
from libs.schema.runtime.network import ForbiddenAddressError, tls_context
from libs.schema.runtime.settings import Key
from libs.schema.secrets import SecretError
from services.replies import imap
from services.replies.jobs.poll import account_of
from services.replies.queries.mailboxes import DueInbox
from services.replies.rules.bounce import MARK_FIELD
from services.replies.rules.parse import message_ids, parse_headers

AT_ONCE = 8
MAX_COPIES = 100_000  # of one folder that are read
MAILBOX_TIMEOUT_S = 1800.0
LOOK_BACK = timedelta(days=2)  # a folder's days are its server's own (RFC 3501 §6.4.4)
BETWEEN = "ledger and Sent folder"
# States in which a send may have a copy: the last two are on their way there.
MAY_HAVE_COPY = frozenset({"accepted", "unknown", "in_data", "claimed"})

READ_MAILBOXES = """
SELECT i.id, i.team_id, coalesce(i.imap_host, '') AS host, coalesce(i.imap_port, 993) AS port, i.imap_tls AS tls,
    coalesce(i.imap_username, i.smtp_username, i.email) AS username, i.imap_password, i.smtp_password,
    i.oauth_access_token, i.created_at, i.email, l.sends, l.first_at
FROM (SELECT inbox_id, count(*) AS sends, min(committed_at) AS first_at
    FROM send_ledger
    WHERE committed_at IS NOT NULL
    GROUP BY inbox_id) AS l
JOIN inboxes AS i ON i.id = l.inbox_id
ORDER BY i.deleted_at IS NOT NULL, i.id
"""
READ_GONE = """
SELECT l.inbox_id::text AS mailbox, count(*) AS sends, 'its inbox has been deleted' AS reason
FROM send_ledger AS l
WHERE l.committed_at IS NOT NULL
    AND NOT EXISTS (SELECT FROM inboxes AS i WHERE i.id = l.inbox_id)
GROUP BY l.inbox_id
ORDER BY l.inbox_id
"""
READ_ACCEPTED = """
SELECT send_id
FROM send_ledger
WHERE inbox_id = ANY($1::uuid[])
    AND committed_at IS NOT NULL
    AND state = 'accepted'
"""
READ_SENDS = """
SELECT send_id, state, message_id, provider_message_id
FROM send_ledger
WHERE inbox_id = ANY($1::uuid[])
    AND committed_at IS NOT NULL
"""
# A send under another login's inbox, or one that the ledger says has never left.
READ_MARKED = """
SELECT send_id, state, message_id, provider_message_id
FROM send_ledger
WHERE split_part(message_id, '@', 1) = ANY($1::text[])
"""


class MailAccess(msgspec.Struct, frozen=True, kw_only=True):
    """What it takes to enter the mailboxes: the settings of `replies` that are about them."""

    secret_key: Annotated[Key, msgspec.Meta(description="the services' own; or say --no-sent")]
    dangerous_allow_networks: tuple[str, ...] = ()
    extra_ca_file: str | None = None

    def __repr__(self) -> str:
        return "MailAccess(…)"

    def network(self) -> imap.Network:
        """Whom to connect to, and whom to believe."""
        return imap.Network(context=tls_context(self.extra_ca_file), allow=self.dangerous_allow_networks)


class Mailbox(DueInbox, frozen=True, kw_only=True):
    """An inbox that has sent something, and since when."""

    email: str
    sends: int
    first_at: datetime


class Send(msgspec.Struct, frozen=True, kw_only=True):
    """What the ledger knows of one send."""

    send_id: UUID
    state: str
    message_id: str
    provider_message_id: str | None

    @property
    def mark(self) -> str:
        """The token in X-Coldstream-Ref, for providers that rewrite the Message-ID."""
        return self.message_id.removeprefix("<").partition("@")[0]


class Copy(NamedTuple):
    """A message in a Sent folder, as far as it says whose it is."""

    message_id: str
    mark: str


@dataclass(kw_only=True)
class _Tally:
    """What has been seen so far."""

    mailboxes: int = 0
    unread: list[Unread] = field(default_factory=list[Unread])
    ledger: int = 0
    accepted: set[UUID] = field(default_factory=set[UUID])
    copies: Counter[UUID] = field(default_factory=Counter[UUID])
    unledgered: int = 0
    found: list[Disagreement] = field(default_factory=list[Disagreement])

    def report(self) -> SentFolders:
        return SentFolders(
            mailboxes=self.mailboxes,
            unread=self.unread,
            ledger=self.ledger,
            accepted=len(self.accepted),
            found=len(self.copies),
            not_found=len(self.accepted - self.copies.keys()),
            duplicates=self.copies.total() - len(self.copies),
            unledgered=self.unledgered,
        )


async def compare_sent(connection: Connection, access: MailAccess) -> tuple[SentFolders, list[Disagreement]]:
    """Reads the Sent folder of every mailbox that has sent something; what cannot be read is named in the report.

    Raises:
        OSError, ssl.SSLError: `extra_ca_file` cannot be used.

    """
    network, tally = access.network(), _Tally()
    tally.unread += await fetch_all(connection, Unread, READ_GONE)
    logins = _by_login(await fetch_all(connection, Mailbox, READ_MAILBOXES))
    for start in range(0, len(logins), AT_ONCE):
        chunk = logins[start : start + AT_ONCE]
        accepted = [{row["send_id"] for row in await connection.fetch(READ_ACCEPTED, _ids(each))} for each in chunk]
        folders = await asyncio.gather(*(_read(each, access.secret_key, network) for each in chunk))
        for login, before, folder in zip(chunk, accepted, folders, strict=True):
            if isinstance(folder, Unread):
                tally.unread.append(folder)
            else:
                tally.mailboxes += 1
                tally.accepted |= before
                await _match(connection, tally, login, folder)
    doubled = [(send_id, count) for send_id, count in tally.copies.items() if count > 1]
    tally.found += [_differ(send_id, f"{count} copies of it lie in Sent") for send_id, count in sorted(doubled)]
    return tally.report(), tally.found


def _by_login(mailboxes: Sequence[Mailbox]) -> list[list[Mailbox]]:
    """Inboxes that are one mailbox (aliases, one connected anew) stand together, so that nothing is counted twice."""
    logins: defaultdict[tuple[str, int, str], list[Mailbox]] = defaultdict(list)
    for each in mailboxes:
        logins[each.host.lower(), each.port, each.username.lower()].append(each)
    return list(logins.values())


def _ids(login: Sequence[Mailbox]) -> list[UUID]:
    return [each.id for each in login]


async def _read(login: Sequence[Mailbox], secret_key: bytes, network: imap.Network) -> list[Copy] | Unread:
    """Every copy since the first send; the newest inbox of the login knows the password."""
    mailbox, since = login[0], min(each.first_at for each in login)
    try:
        account = account_of(secret_key, mailbox)
        async with asyncio.timeout(MAILBOX_TIMEOUT_S):
            return await _read_folder(account, network, since - LOOK_BACK)
    except (imap.ImapError, ForbiddenAddressError, SecretError) as error:
        reason = str(error)
    except TimeoutError:
        reason = f"not read within {MAILBOX_TIMEOUT_S:.0f} s"
    return Unread(mailbox=mailbox.email, sends=sum(each.sends for each in login), reason=reason)


async def _read_folder(account: imap.Account, network: imap.Network, since: datetime) -> list[Copy]:
    session = await imap.connect(account, network)
    try:
        if "Sent" not in session.folders:
            raise imap.ImapError("there is no Sent folder")
        await session.open("Sent")
        uids = await session.search_since(since.date())
        if len(uids) > MAX_COPIES:
            raise imap.ImapError(f"more than {MAX_COPIES} messages")
        copies: list[Copy] = []
        for at in range(0, len(uids), imap.MAX_UIDS):
            copies += await _read_batch(session, uids[at : at + imap.MAX_UIDS])
        return copies
    finally:
        await session.close()


async def _read_batch(session: imap.Session, uids: Sequence[int]) -> list[Copy]:
    copies: list[Copy] = []
    found = await session.describe(uids)
    while found:
        batch = imap.affordable(found, headers_only=True)
        found = found[len(batch) :]
        for fetched in await session.fetch(batch, headers_only=True):
            headers = parse_headers(fetched.raw)
            ids = message_ids(headers.first("message-id"))
            copies.append(Copy(ids[0] if ids else "", headers.first(MARK_FIELD).strip()))
    return copies


async def _match(connection: Connection, tally: _Tally, login: Sequence[Mailbox], copies: Sequence[Copy]) -> None:
    """Counts the folder's copies for their sends; a person's own mail is in the folder too and is left alone."""
    sends = await fetch_all(connection, Send, READ_SENDS, _ids(login))
    tally.ledger += len(sends)
    known = _index(sends)
    strange = [copy.mark for copy in copies if copy.mark and _send_of(known, copy) is None]
    if strange:
        known |= _index(await fetch_all(connection, Send, READ_MARKED, [f"<{mark}" for mark in strange]))
    for copy in copies:
        send = _send_of(known, copy)
        if send is not None:
            tally.copies[send.send_id] += 1
            if send.state not in MAY_HAVE_COPY:
                tally.found.append(_differ(send.send_id, f"the ledger has it as {send.state}, Sent has a copy"))
        elif copy.mark:
            tally.unledgered += 1
            tally.found.append(_differ(copy.mark, "only Sent has it"))


def _index(sends: Sequence[Send]) -> dict[str, Send]:
    """The sends by all that a copy may name: our id, the provider's, our mark."""
    named = {each.mark: each for each in sends} | {each.message_id: each for each in sends}
    return named | {each.provider_message_id: each for each in sends if each.provider_message_id}


def _send_of(known: dict[str, Send], copy: Copy) -> Send | None:
    return known.get(copy.message_id) or known.get(copy.mark)


def _differ(id_: UUID | str, text: str) -> Disagreement:
    return Disagreement(between=BETWEEN, id=str(id_), text=text)
