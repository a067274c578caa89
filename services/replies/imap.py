"""One mailbox over IMAP (RFC 3501), read only. Our words in and out.

Never changes the mailbox: folders are opened by EXAMINE, messages read by BODY.PEEK, no flag is set. What a server says
is data to be checked: a session that saw nonsense is over.
"""

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime
from typing import get_args

import msgspec

from libs.schema.runtime.network import IMAP_PORTS, resolve_public
from services.replies.imap_guard import MAX_TALK_BYTES, Account, Client, Network, quoted
from services.replies.imap_refusal import ImapError, LoginRefusedError, RefusedError
from services.replies.rules.folders import Folder, Role, choose

__all__ = [
    "Account",
    "Fetched",
    "Found",
    "ImapError",
    "LoginRefusedError",
    "Network",
    "RefusedError",
    "Role",
    "Session",
    "connect",
]

MAX_UIDS = 100  # one command names no more: its answer is parsed by recursion, line by line
MAX_MESSAGE_BYTES = 1_048_576  # of one message that are fetched; the rest is attachments
MAX_HEADER_BYTES = 65_536  # of a copy in Sent, of which only the header is wanted
MAX_FETCH_BYTES = 4 * MAX_MESSAGE_BYTES  # one command asks for no more
LOOK_EVERY = 10  # a folder that seems unchanged is opened all the same: some servers' STATUS is stale or wrong

_UIDVALIDITY = re.compile(rb"\[UIDVALIDITY (\d{1,10})\]", re.IGNORECASE)
_ITEM = re.compile(rb"\d+ FETCH \(", re.IGNORECASE)
_UID = re.compile(rb"[( ]UID (\d{1,10})", re.IGNORECASE)
_SIZE = re.compile(rb"[( ]RFC822\.SIZE (\d{1,19})", re.IGNORECASE)
_DATE = re.compile(rb'INTERNALDATE "([^"]{20,30})"', re.IGNORECASE)
_STATUS = re.compile(rb"\((.*)\)\s*\Z")
_QUOTED_BODY = re.compile(rb'BODY\[[^\]]*\](?:<\d+>)? "((?:[^"\\]|\\.)*)"', re.IGNORECASE | re.DOTALL)
_LISTED = re.compile(
    rb'\((?P<flags>[^)]*)\) (?:"(?P<mark>\\?.)"|NIL) (?:"(?P<quoted>(?:[^"\\]|\\.)*)"|(?P<atom>\S+))\Z'
)
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_PARENTS = frozenset({"inbox", "[gmail]", "[google mail]"})  # folders lie beneath them, too


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """A message in the open folder; no date where the server sends none that can be read."""

    uid: int
    size: int
    internal_date: datetime | None


class Fetched(msgspec.Struct, frozen=True, kw_only=True):
    """A message's bytes; truncated where it is longer than what was asked for."""

    found: Found
    raw: bytes
    truncated: bool


class Session:
    """A mailbox after login. After an ImapError, except RefusedError, the session must be thrown away."""

    def __init__(self, client: Client, folders: Mapping[Role, str]) -> None:
        self._client = client
        self.folders = folders
        self._open: tuple[Role, int] | None = None
        self._kept = 0  # how often it was used again without being opened anew
        self._may_rest = client.has("IDLE")
        self._asked: dict[Role, bytes] = {}
        self._read: dict[Role, bytes] = {}
        self._glances: Counter[Role] = Counter()
        self._facts = "(UIDVALIDITY UIDNEXT MESSAGES" + (" HIGHESTMODSEQ)" if client.has("CONDSTORE") else ")")

    async def is_unchanged(self, role: Role) -> bool:
        """Whether the folder looks as it did before it was last read; costs one command and opens nothing.

        The open folder is always to be searched, and so is each one every LOOK_EVERY times, and where a server answers
        otherwise than it should.
        """
        if self._open is not None and self._open[0] == role:
            return False
        name = quoted(self.folders[role])
        try:
            lines = await self._client.run(lambda library: library.status(name, self._facts))
        except RefusedError:
            return False
        words = [match[1].upper() for line in lines[:-1] if (match := _STATUS.search(line))]
        self._asked[role] = status = words[-1] if words else b""
        self._glances[role] += 1
        is_whole = b"UIDVALIDITY" in status and b"UIDNEXT" in status
        return is_whole and self._read.get(role) == status and self._glances[role] % LOOK_EVERY != 0

    def was_read(self, role: Role) -> None:
        """Tells that all of the folder that `is_unchanged` last looked at has been read and stored."""
        self._read[role] = self._asked.get(role, b"")

    async def open(self, role: Role) -> int:
        """Opens the folder to read it and returns its UIDVALIDITY; new mail is seen by the next search."""
        if self._open and self._open[0] == role and self._kept < LOOK_EVERY:
            self._kept += 1
            await self._client.run(lambda library: library.noop())  # after IDLE too: Dovecot ends it without a look
            return self._open[1]
        self._open, self._kept = None, 0
        lines = await self._client.run(lambda library: library.examine(quoted(self.folders[role])))
        # aioimaplib knows only SELECT as the way into the selected state.
        self._client.guard.state = "SELECTED"
        found = next((match for line in lines if (match := _UIDVALIDITY.search(line))), None)
        if found is None:
            raise ImapError("the server names no UIDVALIDITY for a folder")
        self._open = (role, int(found[1]))
        return self._open[1]

    def rest(self, on_news: Callable[[], None]) -> None:
        """Until `wake` the server may call when a message comes to INBOX, where it can and INBOX is open.

        Nothing depends on it: it is a hint to look sooner, and the look finds what there is.
        """
        if self._may_rest and self._open is not None and self._open[0] == "INBOX":
            self._client.rest(on_news)

    @property
    def is_resting(self) -> bool:
        """Whether the server may call."""
        return self._client.is_resting

    async def wake(self) -> None:
        """To be called before anything else after `rest`; a second call does nothing."""
        self._may_rest = await self._client.wake() and self._may_rest

    async def search_after(self, uid: int) -> list[int]:
        """The UIDs above `uid`, ascending. Servers answer n:* with the last message even where it is below n."""
        return [each for each in await self._search(f"UID {uid + 1}:*") if each > uid]

    async def search_since(self, day: date) -> list[int]:
        """The UIDs of what arrived on that day or later by the server's own clock, ascending."""
        return await self._search(f"SINCE {day.day}-{_MONTHS[day.month - 1]}-{day.year}")

    async def newest(self) -> int:
        """The highest UID in the folder, 0 where it is empty."""
        return max(await self._search("UID *"), default=0)

    async def describe(self, uids: Sequence[int]) -> list[Found]:
        """Size and arrival of at most MAX_UIDS messages, ascending; those that are gone by now are left out."""
        uids = uids[:MAX_UIDS]
        items = await self._fetch(uids, "(UID RFC822.SIZE INTERNALDATE)", MAX_TALK_BYTES)
        found = [_found(meta) for meta, _ in items]
        wanted = set(uids)
        return sorted((each for each in found if each and each.uid in wanted), key=lambda each: each.uid)

    async def fetch_few(self, uids: Sequence[int], *, headers_only: bool = False) -> list[Fetched]:
        """At most `few` messages whatever their size, in one command; those that are gone by now are left out."""
        part, limit = _asked(headers_only=headers_only)
        asked = f"(UID RFC822.SIZE INTERNALDATE BODY.PEEK[{part}]<0.{limit}>)"
        items = await self._fetch(uids, asked, len(uids) * limit + MAX_TALK_BYTES)
        fetched = {found.uid: (found, body) for meta, body in items if body is not None and (found := _found(meta))}
        return [
            Fetched(found=found, raw=body, truncated=found.size > len(body))
            for found, body in (fetched[uid] for uid in uids if uid in fetched)
        ]

    async def fetch(self, found: Sequence[Found], *, headers_only: bool = False) -> list[Fetched]:
        """The bytes of these messages, which must be `affordable`; those that are gone by now are left out."""
        part, limit = _asked(headers_only=headers_only)
        room = sum(min(each.size, limit) for each in found) + MAX_TALK_BYTES
        items = await self._fetch([each.uid for each in found], f"(UID BODY.PEEK[{part}]<0.{limit}>)", room)
        bodies = {int(uid[1]): body for meta, body in items if body is not None and (uid := _UID.search(meta))}
        return [
            Fetched(found=each, raw=bodies[each.uid], truncated=each.size > len(bodies[each.uid]))
            for each in found
            if each.uid in bodies
        ]

    @property
    def is_lost(self) -> bool:
        """Whether the connection is known to be gone."""
        return self._client.guard.failure is not None

    def drop(self) -> None:
        """Hangs up without a word, for instance in the midst of a command."""
        self._client.drop()

    async def close(self) -> None:
        """Says goodbye where the server still listens; never raises, a second call does nothing."""
        await self._client.leave()

    async def _search(self, criteria: str) -> list[int]:
        lines = await self._client.run(lambda library: library.uid_search(criteria, charset=None))
        # The last line is the tagged answer's text.
        return sorted({int(word) for line in lines[:-1] for word in line.split() if word.isdigit()})

    async def _fetch(self, uids: Sequence[int], items: str, room: int) -> list[tuple[bytes, bytes | None]]:
        if not uids:
            return []
        return _items(await self._client.fetch_by_uid(",".join(map(str, uids)), items, room))


def few(*, headers_only: bool = False) -> int:
    """How many messages one command may ask for without knowing their sizes."""
    return min(MAX_FETCH_BYTES // _asked(headers_only=headers_only)[1], MAX_UIDS)


def affordable(found: Sequence[Found], *, headers_only: bool = False) -> Sequence[Found]:
    """The first messages, as many as one command may ask for, but at least one."""
    _, limit = _asked(headers_only=headers_only)
    total = 0
    for count, each in enumerate(found[:MAX_UIDS]):
        total += min(each.size, limit)
        if count and total > MAX_FETCH_BYTES:
            return found[:count]
    return found[:MAX_UIDS]


async def connect(account: Account, network: Network) -> Session:
    """A session of the account, logged in, with the folders that matter found.

    Raises:
        LoginRefusedError: the server refuses the user or the password.
        ImapError: anything else that keeps us out.
        ForbiddenAddressError: the host's address is not on the public internet.

    """
    try:
        address = await resolve_public(account.host, account.port, allow=network.allow, ports=IMAP_PORTS)
    except OSError as error:
        raise ImapError(f"the host name cannot be looked up ({type(error).__name__})") from error
    client = Client(account, address, network)
    try:
        await client.run(lambda library: library.wait_hello_from_server(), answers=False)
        await client.log_in(account)
        return Session(client, await _find_folders(client))
    except BaseException:
        client.drop()
        raise


def _asked(*, headers_only: bool) -> tuple[str, int]:
    """Which part of a message is asked for, and how many bytes of it."""
    return ("HEADER", MAX_HEADER_BYTES) if headers_only else ("", MAX_MESSAGE_BYTES)


async def _find_folders(client: Client) -> dict[Role, str]:
    """The names of the folders that matter: in one command where the server knows their uses (RFC 6154)."""
    special: list[Folder] = []
    if client.has("SPECIAL-USE"):
        try:
            lines = await client.run(lambda library: library.list('(SPECIAL-USE) ""', '"*" RETURN (SPECIAL-USE)'))
        except RefusedError:  # RFC 6154 §2 does not oblige it to know extended LIST
            lines = []
        special = _listed(lines)
        if len(found := choose(special)) == len(get_args(Role)):
            return found
    listed = _listed(await client.run(lambda library: library.list('""', '"%"')))
    for parent in list(listed):
        if parent.mark and parent.name.lower() in _PARENTS:
            pattern = quoted(f"{parent.name}{parent.mark}%")
            listed += _listed(await client.run(lambda library, pattern=pattern: library.list('""', pattern)))
    return choose([*special, *listed])


def _listed(lines: Sequence[bytes]) -> list[Folder]:
    """The folders in LIST's answer; a name that is no text is left alone."""
    found: list[Folder] = []
    for line in lines:
        match = _LISTED.match(line)
        if match is None:
            continue
        try:
            name = (match["atom"] or re.sub(rb"\\(.)", rb"\1", match["quoted"])).decode()
        except UnicodeDecodeError:
            continue
        mark = (match["mark"] or b"").decode("ascii", "replace")[-1:]
        flags = frozenset(match["flags"].decode("ascii", "replace").lower().split())
        found.append(Folder(name=name, mark=mark, flags=flags))
    return found


def _items(lines: Sequence[bytes]) -> list[tuple[bytes, bytes | None]]:
    """Each message's answer without its body, and the body: the UID stands before it or after it."""
    items: list[tuple[bytes, bytes | None]] = []
    for line in lines[:-1]:  # the last one is the tagged answer's text
        if isinstance(line, bytearray):
            if items:
                items[-1] = (items[-1][0], bytes(line))
        elif _ITEM.match(line):
            body = _QUOTED_BODY.search(line)
            meta = line[: body.start()] + line[body.end() :] if body else line
            items.append((meta, re.sub(rb"\\(.)", rb"\1", body[1]) if body else None))
        elif items:
            items[-1] = (items[-1][0] + line, items[-1][1])
    return items


def _found(meta: bytes) -> Found | None:
    uid, size, arrived = _UID.search(meta), _SIZE.search(meta), _DATE.search(meta)
    if uid is None or size is None:
        return None
    return Found(uid=int(uid[1]), size=int(size[1]), internal_date=_instant(arrived[1]) if arrived else None)


def _instant(text: bytes) -> datetime | None:
    try:
        return datetime.strptime(text.decode("ascii").strip(), "%d-%b-%Y %H:%M:%S %z")
    except ValueError:  # UnicodeDecodeError too; the message itself is well even so
        return None
