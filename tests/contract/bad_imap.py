"""An IMAP server that follows its script to the letter, also where the script is hostile."""

import asyncio
import base64
import re
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, suppress

HANG_UP = None  # an answer: the connection ends here


class BadServer:
    """Answers as a small, sane mailbox does, except for the commands that `script` names.

    The script maps a command's beginning to the bytes of its whole answer, "{tag}" in them replaced; to HANG_UP; or to
    a function of the command that gives either. At "{line}" the answer waits for a line of the client's.
    """

    def __init__(self, messages: dict[int, bytes] | None = None) -> None:
        self.messages = messages or {}
        self.uidvalidity = 7
        self.script: dict[str, bytes | Callable[[str], bytes | None] | None] = {}
        self.greeting = b"* OK ready\r\n"
        self.capabilities = "IMAP4rev1"
        self.token = "good-token"  # what XOAUTH2 lets in
        self.commands: list[str] = []
        self.lines: list[str] = []  # what came in the midst of a command
        self._writers: set[asyncio.StreamWriter] = set()
        self.port = 0
        self.logins = 0

    @asynccontextmanager
    async def running(self) -> AsyncGenerator["BadServer"]:
        """Listens on a free port of 127.0.0.1, in plain text."""
        tasks: set[asyncio.Task[None]] = set()

        async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            assert task is not None
            tasks.add(task)
            with suppress(ConnectionError, asyncio.CancelledError):
                await self._converse(reader, writer)
            writer.close()
            tasks.discard(task)

        server = await asyncio.start_server(converse, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def push(self, untagged: bytes) -> None:
        """Says this on every connection, unasked."""
        for writer in self._writers:
            writer.write(untagged)

    def cut(self) -> None:
        """Hangs up on everybody."""
        for writer in self._writers:
            writer.close()

    def said(self, begin: str) -> list[str]:
        """The commands so far that begin like this."""
        return [command for command in self.commands if command.startswith(begin)]

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            await self._answer_all(reader, writer)
        finally:
            self._writers.discard(writer)

    async def _answer_all(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(self.greeting)
        while line := await reader.readline():
            tag, _, command = line.decode().strip().partition(" ")
            self.commands.append(command)
            answer = self._answer(command)
            if answer is None:  # HANG_UP
                return
            first, *rest = answer.replace(b"{tag}", tag.encode()).split(b"{line}")
            writer.write(first)
            for part in rest:
                await writer.drain()
                self.lines.append((await reader.readline()).decode().strip())
                writer.write(part)
            await writer.drain()
            if command == "LOGOUT":
                return

    def _answer(self, command: str) -> bytes | None:
        for begin, scripted in self.script.items():
            if command.startswith(begin):
                return scripted(command) if callable(scripted) else scripted
        return self.sane(command)

    def sane(self, command: str) -> bytes:
        """What a good server says."""
        lines: list[bytes] = []
        if command == "CAPABILITY":
            lines = [b"* CAPABILITY " + self.capabilities.encode()]
        elif command.startswith("LOGIN"):
            self.logins += 1
        elif command.startswith("AUTHENTICATE XOAUTH2"):
            return self._authenticated(command)
        elif command == "IDLE":
            return b"+ idling\r\n{line}{tag} OK done\r\n"
        elif command.startswith("STATUS"):
            known = f"UIDVALIDITY {self.uidvalidity} UIDNEXT {max(self.messages, default=0) + 1}"
            lines = [f"* STATUS {command.split(' ')[1]} ({known} MESSAGES {len(self.messages)})".encode()]
        elif command.startswith("EXAMINE"):
            lines = [b"* %d EXISTS" % len(self.messages), b"* OK [UIDVALIDITY %d] ok" % self.uidvalidity]
        elif command.startswith("UID SEARCH"):
            lines = [b" ".join([b"* SEARCH", *(b"%d" % uid for uid in self._searched(command))])]
        elif command.startswith("UID FETCH"):
            lines = [self._fetched(uid, command) for uid in self._numbers(command.split(" ")[2])]
        return b"".join(line + b"\r\n" for line in [*lines, b"{tag} OK done"])

    def _authenticated(self, command: str) -> bytes:
        """As Google and Microsoft do: an error is told as a challenge, and NO comes after the client's empty line."""
        self.logins += 1
        if f"auth=Bearer {self.token}\x01\x01" in base64.b64decode(command.split(" ")[2]).decode():
            return b"{tag} OK welcome\r\n"
        challenge = base64.b64encode(b'{"status":"400","schemes":"Bearer"}')
        return b"+ " + challenge + b"\r\n{line}{tag} NO [AUTHENTICATIONFAILED] for ann@acme.test\r\n"

    def _searched(self, command: str) -> list[int]:
        if found := re.search(r"UID (\d+):\*", command):
            above = [uid for uid in sorted(self.messages) if uid >= int(found[1])]
            return above or sorted(self.messages)[-1:]  # what RFC 3501 §6.4.8 makes servers say
        return sorted(self.messages)[-1:] if command.endswith("UID *") else sorted(self.messages)

    def _numbers(self, listed: str) -> list[int]:
        return [int(each) for each in listed.split(",") if int(each) in self.messages]

    def _fetched(self, uid: int, command: str) -> bytes:
        raw = self.messages[uid]
        known = b'RFC822.SIZE %d INTERNALDATE "02-Mar-2026 08:00:00 +0000"' % len(raw) if "SIZE" in command else b""
        body = b"BODY[]<0> {%d}\r\n%b" % (len(raw), raw) if "BODY" in command else b""
        return b"* %d FETCH (UID %d %b %b)" % (uid, uid, known, body)
