"""One mailbox over IMAP (RFC 3501), read only. Our words in and out.

Never changes the mailbox: folders are opened by EXAMINE, messages read by BODY.PEEK, no flag is set. What a server says
is data to be checked: a session that saw nonsense is over.
"""

import re
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import Literal

import msgspec

from libs.schema.runtime.network import IMAP_PORTS, resolve_public
from services.replies.imap_guard import MAX_TALK_BYTES, Account, Client, ImapError, LoginRefusedError, Network, quoted

__all__ = ["Account", "Fetched", "Found", "ImapError", "LoginRefusedError", "Network", "Role", "Session", "connect"]

Role = Literal["INBOX", "Junk", "Sent"]

MAX_UIDS = 100  # one command names no more: its answer is parsed by recursion, line by line
MAX_MESSAGE_BYTES = 1_048_576  # of one message that are fetched; the rest is attachments
MAX_HEADER_BYTES = 65_536  # of a copy in Sent, of which only the header is wanted
MAX_FETCH_BYTES = 4 * MAX_MESSAGE_BYTES  # one command asks for no more

_UIDVALIDITY = re.compile(rb"\[UIDVALIDITY (\d{1,10})\]", re.IGNORECASE)
_ITEM = re.compile(rb"\d+ FETCH \(", re.IGNORECASE)
_UID = re.compile(rb"[( ]UID (\d{1,10})", re.IGNORECASE)
_SIZE = re.compile(rb"[( ]RFC822\.SIZE (\d{1,19})", re.IGNORECASE)
_DATE = re.compile(rb'INTERNALDATE "([^"]{20,30})"', re.IGNORECASE)
_QUOTED_BODY = re.compile(rb'BODY\[[^\]]*\](?:<\d+>)? "((?:[^"\\]|\\.)*)"', re.IGNORECASE | re.DOTALL)
_LISTED = re.compile(
    rb'\((?P<flags>[^)]*)\) (?:"(?P<mark>\\?.)"|NIL) (?:"(?P<quoted>(?:[^"\\]|\\.)*)"|(?P<atom>\S+))\Z'
)
# Servers without special-use flags (RFC 6154) are asked by these names.
_NAMES: dict[Role, frozenset[str]] = {
    "INBOX": frozenset({"inbox"}),
    "Junk": frozenset({"junk", "spam", "junk e-mail", "junk email", "bulk mail", "junk-e-mail"}),
    "Sent": frozenset({"sent", "sent items", "sent mail", "sent messages", "gesendet", "gesendete objekte"}),
}
_FLAGS: dict[Role, bytes] = {"Junk": b"\\junk", "Sent": b"\\sent"}
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
    """A mailbox after login. Every method raises ImapError, after which the session must be thrown away."""

    def __init__(self, client: Client, folders: Mapping[Role, str]) -> None:
        self._client = client
        self.folders = folders
        self._open: tuple[Role, int] | None = None

    async def open(self, role: Role) -> int:
        """Opens the folder to read it and returns its UIDVALIDITY; new mail is seen by the next search."""
        if self._open and self._open[0] == role:
            await self._client.run(lambda library: library.noop())
            return self._open[1]
        self._open = None
        lines = await self._client.run(lambda library: library.examine(quoted(self.folders[role])))
        # aioimaplib knows only SELECT as the way into the selected state.
        self._client.guard.state = "SELECTED"
        found = next((match for line in lines if (match := _UIDVALIDITY.search(line))), None)
        if found is None:
            raise ImapError("the server names no UIDVALIDITY for a folder")
        self._open = (role, int(found[1]))
        return self._open[1]

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
        numbers = ",".join(map(str, uids))
        return _items(await self._client.run(lambda library: library.uid("FETCH", numbers, items), room))


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
    """The names of the folders that matter, by special-use flag, else by name."""
    listed = _listed(await client.run(lambda library: library.list('""', '"%"')))
    for name, mark, _ in list(listed):
        if mark and name.lower() in _PARENTS:
            pattern = quoted(f"{name}{mark}%")
            listed += _listed(await client.run(lambda library, pattern=pattern: library.list('""', pattern)))
    folders: dict[Role, str] = {"INBOX": "INBOX"}
    roles: tuple[Role, ...] = ("Junk", "Sent")
    for role in roles:
        flagged = [name for name, _, flags in listed if _FLAGS[role] in flags.lower().split()]
        named = [name for name, mark, _ in listed if _last_word(name, mark).lower() in _NAMES[role]]
        if flagged or named:
            folders[role] = (flagged or named)[0]
    return folders


def _last_word(name: str, mark: str) -> str:
    return name.rpartition(mark)[2] if mark else name


def _listed(lines: Sequence[bytes]) -> list[tuple[str, str, bytes]]:
    """Name, hierarchy mark and flags of the folders in LIST's answer; names that are not plain ASCII are left alone."""
    found: list[tuple[str, str, bytes]] = []
    for line in lines:
        match = _LISTED.match(line)
        if match and line.isascii():
            name = match["atom"] or re.sub(rb"\\(.)", rb"\1", match["quoted"])
            found.append((name.decode("ascii"), (match["mark"] or b"").decode("ascii")[-1:], match["flags"]))
    return found


def _items(lines: Sequence[bytes]) -> list[tuple[bytes, bytes | None]]:
    """Each message's answer without its literal, and the literal: the UID stands before it or after it."""
    items: list[tuple[bytes, bytes | None]] = []
    for line in lines[:-1]:  # the last one is the tagged answer's text
        if isinstance(line, bytearray):
            if items:
                items[-1] = (items[-1][0], bytes(line))
        elif _ITEM.match(line):
            quoted = _QUOTED_BODY.search(line)
            items.append((line, re.sub(rb"\\(.)", rb"\1", quoted[1]) if quoted else None))
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
