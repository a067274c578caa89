"""The IMAP4rev1 server (RFC 3501), as far as a mail platform uses it; must never change a UID or a message's bytes.

Our own, since pymap's in-memory boxes are gone at a restart and know one user, its Maildir boxes take 282 ms to select
and search 300 messages and turn CRLF into LF, and neither has special-use folders. It has no COPY, MOVE, EXPUNGE,
CREATE, ENVELOPE or BODYSTRUCTURE: nothing here deletes or moves mail yet.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from typing import TypeAlias

from deploy.local.sandbox.courier import Clock
from deploy.local.sandbox.imap_syntax import (
    Candidate,
    Largest,
    SyntaxProblem,
    Token,
    header_fields,
    internal_date,
    literal_size,
    number_set,
    parse_date_time,
    quoted,
    search,
    tokens,
)
from deploy.local.sandbox.smtp import MAX_MESSAGE_BYTES, is_right
from deploy.local.sandbox.store import FOLDERS, Box, Store, Stored

CAPABILITIES = "IMAP4rev1 LITERAL+ SPECIAL-USE UIDPLUS IDLE"
IDLE_LIMIT_S = 30 * 60  # RFC 2177
_SPECIAL_USE = {"Sent": " \\Sent", "Junk": " \\Junk"}
_SYSTEM_FLAGS = "\\Answered \\Flagged \\Deleted \\Seen \\Draft"
_BODY = re.compile(r"BODY(\.PEEK)?\[(.*)\](?:<(\d+)\.(\d+)>)?", re.IGNORECASE | re.DOTALL)
_FIELDS = re.compile(r"HEADER\.FIELDS(\.NOT)? \((.*)\)", re.IGNORECASE | re.DOTALL)


Command: TypeAlias = "Callable[[list[Token]], Awaitable[str | None]]"


class Refusal(Exception):  # noqa: N818 - an answer, not a failure
    """Becomes a tagged NO."""


@dataclass
class Selected:
    """The open folder as the client knows it: the message with number n is uids[n - 1]."""

    box: Box
    read_only: bool
    news: asyncio.Event = field(default_factory=asyncio.Event)
    uids: list[int] = field(default_factory=list[int])


class Session:
    """One client's connection."""

    def __init__(self, store: Store, clock: Clock, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._store = store
        self._clock = clock
        self._reader = reader
        self._writer = writer
        self._user: str | None = None
        self._selected: Selected | None = None
        self._ended = False

    async def run(self) -> None:
        """Answers commands until LOGOUT or the connection's end."""
        self._say(f"* OK [CAPABILITY {CAPABILITIES}] Coldstream sandbox ready")
        try:
            while not self._ended:
                tag, _, text = (await self._read_command()).partition(b" ")
                self._say(f"{tag.decode('ascii', 'replace')} {await self._answer(text)}")
                await self._writer.drain()
        finally:
            self._leave()

    async def _read_command(self) -> bytes:
        text = await self._reader.readuntil(b"\r\n")
        line = text
        while (size := literal_size(line)) is not None:
            if size > MAX_MESSAGE_BYTES:
                raise ConnectionAbortedError("a literal larger than any message")
            if not line.endswith(b"+}\r\n"):
                self._say("+ go on")
                await self._writer.drain()
            line = await self._reader.readexactly(size)
            text += line
            line = await self._reader.readuntil(b"\r\n")
            text += line
        return text.removesuffix(b"\r\n")

    async def _answer(self, text: bytes) -> str:
        """Does what the command says and returns the tagged answer without its tag."""
        word, _, rest = text.partition(b" ")
        name = word.decode("ascii", "replace").upper()
        by_uid = name == "UID"
        if by_uid:
            word, _, rest = rest.partition(b" ")
            name = "UID " + word.decode("ascii", "replace").upper()
        command = self._commands().get(name)
        if command is None:
            return f"BAD unknown command, or not in this state: {name}"
        try:
            said = await command(tokens(rest))
        except SyntaxProblem as problem:
            return f"BAD {problem}"
        except Refusal as refusal:
            return f"NO {refusal}"
        self._tell_news()
        return f"OK {said or name.title() + ' done'}"

    def _commands(self) -> dict[str, Command]:
        commands: dict[str, Command] = {"CAPABILITY": self._capability, "NOOP": self._noop, "LOGOUT": self._logout}
        if self._user is None:
            return commands | {"LOGIN": self._login}
        commands |= {"LIST": self._list, "LSUB": self._list, "STATUS": self._status, "APPEND": self._append}
        commands |= {"SELECT": partial(self._select, read_only=False), "EXAMINE": partial(self._select, read_only=True)}
        commands["IDLE"] = self._idle
        if self._selected is not None:
            for prefix, by_uid in (("", False), ("UID ", True)):
                commands[prefix + "SEARCH"] = partial(self._search, by_uid=by_uid)
                commands[prefix + "FETCH"] = partial(self._fetch, by_uid=by_uid)
                commands[prefix + "STORE"] = partial(self._store_flags, by_uid=by_uid)
            commands |= {"CHECK": self._noop, "CLOSE": self._close, "UNSELECT": self._close}
        return commands

    async def _capability(self, _: list[Token]) -> None:
        self._say(f"* CAPABILITY {CAPABILITIES}")

    async def _noop(self, _: list[Token]) -> None:
        """Does nothing; news is told after every command."""

    async def _logout(self, _: list[Token]) -> None:
        self._say("* BYE see you")
        self._ended = True

    async def _login(self, args: list[Token]) -> str:
        address, password = _texts(args, 2)
        if not is_right(address, password):
            raise Refusal("[AUTHENTICATIONFAILED] Invalid credentials")
        self._user = address
        return f"[CAPABILITY {CAPABILITIES}] logged in"

    async def _list(self, args: list[Token]) -> None:
        # LIST [(selection)] reference pattern [RETURN (options)]
        special_only = bool(args) and args[0] == [b"SPECIAL-USE"]
        plain = [token.decode("utf-8", "replace") for token in args if isinstance(token, bytes)]
        if len(plain) < 2:
            raise SyntaxProblem("LIST takes a reference and a pattern")
        if not plain[1]:
            self._say('* LIST (\\Noselect) "/" ""')
            return
        pattern = re.escape(plain[0] + plain[1]).replace("\\*", ".*").replace("%", "[^/]*")
        for folder in FOLDERS:
            use = _SPECIAL_USE.get(folder, "")
            if re.fullmatch(pattern, folder, re.IGNORECASE) and (use or not special_only):
                self._say(f'* LIST (\\HasNoChildren{use}) "/" {quoted(folder)}')

    async def _select(self, args: list[Token], *, read_only: bool) -> str:
        self._leave()
        box = self._box(*_texts(args, 1))
        selected = Selected(box, read_only)
        stored = self._store.messages(box.id)
        selected.uids = [message.uid for message in stored]
        self._selected = selected
        self._store.watch(box.id, selected.news)
        self._say(f"* FLAGS ({_SYSTEM_FLAGS})")
        self._say(f"* OK [PERMANENTFLAGS ({_SYSTEM_FLAGS} \\*)] flags are kept")
        self._say(f"* {len(stored)} EXISTS")
        self._say("* 0 RECENT")
        unseen = next((n for n, message in enumerate(stored, 1) if "\\Seen" not in message.flags), None)
        if unseen is not None:
            self._say(f"* OK [UNSEEN {unseen}] first unseen")
        self._say(f"* OK [UIDVALIDITY {box.uid_validity}] UIDs are kept")
        self._say(f"* OK [UIDNEXT {box.uid_next}] next UID")
        return "[READ-ONLY] examined" if read_only else "[READ-WRITE] selected"

    async def _status(self, args: list[Token]) -> None:
        if len(args) != 2 or not isinstance(args[1], list):
            raise SyntaxProblem("STATUS takes a folder and a list of items")
        box = self._box(*_texts(args[:1], 1))
        stored = self._store.messages(box.id)
        known = {
            "MESSAGES": len(stored),
            "RECENT": 0,
            "UIDNEXT": box.uid_next,
            "UIDVALIDITY": box.uid_validity,
            "UNSEEN": sum("\\Seen" not in message.flags for message in stored),
        }
        items = [item.upper() for item in _texts(args[1], len(args[1]))]
        if unknown := [item for item in items if item not in known]:
            raise SyntaxProblem(f"unknown item {unknown[0]}")
        self._say(f"* STATUS {quoted(box.folder)} ({' '.join(f'{item} {known[item]}' for item in items)})")

    async def _append(self, args: list[Token]) -> str:
        # APPEND folder [(flags)] [date-time] message
        if len(args) < 2 or isinstance(args[0], list) or isinstance(args[-1], list):
            raise SyntaxProblem("APPEND takes a folder and a message")
        box, raw = self._box(*_texts(args[:1], 1)), args[-1]
        flags, arrived = frozenset[str](), self._clock.now()
        for option in args[1:-1]:
            if isinstance(option, list):
                flags = frozenset(_texts(option, len(option)))
            else:
                arrived = parse_date_time(option)
        uid = self._store.file(self._user or "", box.folder, raw, arrived, flags)
        return f"[APPENDUID {box.uid_validity} {uid}] appended"

    async def _idle(self, _: list[Token]) -> str:
        self._say("+ idling")
        await self._writer.drain()
        done = asyncio.ensure_future(self._reader.readuntil(b"\r\n"))
        try:
            async with asyncio.timeout(IDLE_LIMIT_S):
                while not done.done():
                    await self._await_news_or(done)
                    self._tell_news()
                    await self._writer.drain()
            if (await done).strip().upper() != b"DONE":
                raise SyntaxProblem("IDLE ends with DONE")
        finally:
            done.cancel()
        return "idled"

    async def _await_news_or(self, done: "asyncio.Future[bytes]") -> None:
        if self._selected is None:
            await asyncio.wait([done])
            return
        news = asyncio.ensure_future(self._selected.news.wait())
        await asyncio.wait([done, news], return_when=asyncio.FIRST_COMPLETED)
        news.cancel()

    async def _search(self, args: list[Token], *, by_uid: bool) -> None:
        selected = self._open()
        self._tell_news()
        matches = search(args, Largest(selected.uids[-1] if selected.uids else 0, len(selected.uids)))
        found: list[str] = []
        for number, stored in enumerate(self._store.messages(selected.box.id), 1):
            candidate = Candidate(
                number=number, stored=stored, raw=partial(self._store.raw, selected.box.id, stored.uid)
            )
            if matches(candidate):
                found.append(str(stored.uid if by_uid else number))
        self._say(" ".join(["* SEARCH", *found]))

    async def _fetch(self, args: list[Token], *, by_uid: bool) -> None:
        selected = self._open()
        if len(args) != 2 or isinstance(args[0], list):
            raise SyntaxProblem("FETCH takes a set and items")
        wanted = args[1] if isinstance(args[1], list) else [args[1]]
        items = [item.decode("ascii", "replace") for item in wanted if isinstance(item, bytes)]
        if [item.upper() for item in items] == ["FAST"]:
            items = ["FLAGS", "INTERNALDATE", "RFC822.SIZE"]
        if by_uid and "UID" not in map(str.upper, items):
            items.insert(0, "UID")
        for number, stored in self._chosen(args[0], by_uid=by_uid):
            parts = [self._item(selected, stored, item) for item in items]
            self._writer.write(f"* {number} FETCH (".encode() + b" ".join(parts) + b")\r\n")
            await self._writer.drain()

    def _item(self, selected: Selected, stored: Stored, item: str) -> bytes:
        simple = {
            "UID": lambda: f"UID {stored.uid}",
            "FLAGS": lambda: f"FLAGS ({' '.join(sorted(stored.flags))})",
            "INTERNALDATE": lambda: f"INTERNALDATE {internal_date(stored.arrived)}",
            "RFC822.SIZE": lambda: f"RFC822.SIZE {stored.size}",
        }.get(item.upper())
        if simple is not None:
            return simple().encode()
        body = _BODY.fullmatch({"RFC822": "BODY[]", "RFC822.HEADER": "BODY.PEEK[HEADER]"}.get(item.upper(), item))
        if body is None:
            raise SyntaxProblem(f"unknown item {item}")
        peek, part, start, count = body.groups()
        if peek is None and not selected.read_only:
            self._store.set_flags(selected.box.id, stored.uid, stored.flags | {"\\Seen"})
        content = _part(self._store.raw(selected.box.id, stored.uid), part)
        label = item.upper() if body.string != item else f"BODY[{part}]"
        if start is not None:
            content = content[int(start) : int(start) + int(count)]
            label += f"<{start}>"
        return f"{label} {{{len(content)}}}\r\n".encode() + content

    async def _store_flags(self, args: list[Token], *, by_uid: bool) -> None:
        selected = self._open()
        if selected.read_only:
            raise Refusal("[READ-ONLY] the folder is examined")
        if len(args) < 3 or isinstance(args[0], list) or isinstance(args[1], list):
            raise SyntaxProblem("STORE takes a set, what to do, and flags")
        given = args[2] if isinstance(args[2], list) else args[2:]
        action, _, silent = args[1].decode("ascii", "replace").upper().partition(".")
        flags = frozenset(_texts(given, len(given)))
        for number, stored in self._chosen(args[0], by_uid=by_uid):
            if action not in ("FLAGS", "+FLAGS", "-FLAGS"):
                raise SyntaxProblem(f"unknown action {action}")
            now = {"FLAGS": flags, "+FLAGS": stored.flags | flags, "-FLAGS": stored.flags - flags}[action]
            self._store.set_flags(selected.box.id, stored.uid, now)
            if not silent:
                uid = f"UID {stored.uid} " if by_uid else ""
                self._say(f"* {number} FETCH ({uid}FLAGS ({' '.join(sorted(now))}))")

    async def _close(self, _: list[Token]) -> None:
        self._leave()

    def _chosen(self, numbers: bytes, *, by_uid: bool) -> list[tuple[int, Stored]]:
        selected = self._open()
        last = selected.uids[-1] if selected.uids else 0
        chosen = number_set(numbers, last if by_uid else len(selected.uids))
        stored = self._store.messages(selected.box.id)[: len(selected.uids)]
        return [(n, message) for n, message in enumerate(stored, 1) if chosen(message.uid if by_uid else n)]

    def _box(self, folder: str) -> Box:
        box = self._store.box(self._user or "", folder)
        if box is None:
            raise Refusal(f"[NONEXISTENT] no folder {folder}")
        return box

    def _open(self) -> Selected:
        if self._selected is None:
            raise SyntaxProblem("no folder is selected")
        return self._selected

    def _tell_news(self) -> None:
        """Says how many messages there are when there are more than the client knows of (RFC 3501 §7.3.1)."""
        selected = self._selected
        if selected is not None and selected.news.is_set():
            selected.news.clear()
            selected.uids = [message.uid for message in self._store.messages(selected.box.id)]
            self._say(f"* {len(selected.uids)} EXISTS")

    def _leave(self) -> None:
        if self._selected is not None:
            self._store.unwatch(self._selected.box.id, self._selected.news)
            self._selected = None

    def _say(self, line: str) -> None:
        self._writer.write(line.encode() + b"\r\n")


def _part(raw: bytes, part: str) -> bytes:
    head, _, text = raw.partition(b"\r\n\r\n")
    if part == "":
        return raw
    if part.upper() == "HEADER":
        return head + b"\r\n\r\n"
    if part.upper() == "TEXT":
        return text
    if fields := _FIELDS.fullmatch(part):
        names = {name.strip('"').lower().encode() for name in fields[2].split()}
        return header_fields(raw, names, wanted=fields[1] is None)
    raise SyntaxProblem(f"unknown section {part}")


def _texts(args: list[Token], count: int) -> list[str]:
    texts = [arg.decode("utf-8", "replace") for arg in args if isinstance(arg, bytes)]
    if len(texts) != count or len(args) != count:
        raise SyntaxProblem(f"takes {count} words")
    return texts
