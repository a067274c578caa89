"""An SMTP server that says what a test wrote for it and keeps what it accepted; never on a public address."""

import asyncio
import base64
import ssl
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

# What to say instead of the usual: an answer, or something to do to the connection.
DROP = "drop"  # close without a word
HANG = "hang"  # say nothing until the client gives up
Line = str
USUAL: dict[str, Line] = {
    "greeting": "220 scripted.test ESMTP",
    "starttls": "220 go ahead",
    "auth": "235 2.7.0 welcome",
    "mail": "250 2.1.0 ok",
    "rcpt": "250 2.1.5 ok",
    "data": "354 go on",
    "dot": "250 2.0.0 Ok: queued as 4F6B2C0042",
    "rset": "250 2.0.0 ok",
    "noop": "250 2.0.0 ok",
    "quit": "221 2.0.0 bye",
}


@dataclass
class Script:
    """The answers of one server and what it has seen; `says` is asked first, by phase and recipient."""

    says: dict[str, Line] = field(default_factory=dict[str, Line])
    extensions: tuple[str, ...] = ("STARTTLS", "AUTH PLAIN LOGIN", "8BITMIME", "SMTPUTF8")
    by_recipient: Callable[[str, str], Line | None] = lambda _phase, _recipient: None
    before: dict[str, Callable[[], None]] = field(default_factory=dict[str, Callable[[], None]])
    accepted: list[bytes] = field(default_factory=list[bytes])
    dropped_bodies: list[bytes] = field(default_factory=list[bytes])
    commands: list[str] = field(default_factory=list[str])
    connections: int = 0
    logins: list[str] = field(default_factory=list[str])
    port: int = 0


@asynccontextmanager
async def scripted_smtp(tls: ssl.SSLContext, script: Script | None = None) -> AsyncGenerator[Script]:
    """A server on a free port of 127.0.0.1 until the block ends."""
    script = script or Script()
    tasks: set[asyncio.Task[None]] = set()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(_Conversation(script, tls, reader, writer).run())
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    script.port = server.sockets[0].getsockname()[1]
    try:
        yield script
    finally:
        server.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await server.wait_closed()


class _DroppedError(Exception):
    pass


class _Conversation:
    def __init__(
        self, script: Script, tls: ssl.SSLContext, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.script = script
        self.tls = tls
        self.reader = reader
        self.writer = writer
        self.recipient = ""
        self.encrypted = False

    async def run(self) -> None:
        self.script.connections += 1
        try:
            await self.say("greeting")
            while (line := await self.reader.readline()).endswith(b"\n"):
                command = line.decode().strip()
                self.script.commands.append(command)
                if not await self.obey(command):
                    break
        except (_DroppedError, ConnectionError, ssl.SSLError):
            pass
        finally:
            self.writer.transport.abort()

    async def say(self, phase: str) -> str:
        if phase in self.script.before:
            self.script.before[phase]()
        usual = USUAL[phase]
        line = self.script.by_recipient(phase, self.recipient) or self.script.says.get(phase, usual)
        if line == DROP:
            raise _DroppedError
        if line == HANG:
            await asyncio.Event().wait()
        self.writer.write(line.encode() + b"\r\n")
        await self.writer.drain()
        return line

    async def obey(self, command: str) -> bool:
        verb, _, rest = command.partition(" ")
        match verb.upper():
            case "EHLO":
                names = [e for e in self.script.extensions if not (self.encrypted and e == "STARTTLS")]
                lines = ["scripted.test", *names]
                text = "".join(f"250-{line}\r\n" for line in lines[:-1]) + f"250 {lines[-1]}\r\n"
                self.writer.write(text.encode())
            case "STARTTLS":
                if (await self.say("starttls")).startswith("220"):
                    await self.writer.start_tls(self.tls)
                    self.encrypted = True
            case "AUTH":
                login = base64.b64decode(rest.rpartition(" ")[2]).decode()
                self.script.logins.append(login.replace("\0", " ").replace("\1", " ").strip())
                if rest.startswith("XOAUTH2") and self.script.says.get("auth", "").startswith("5"):
                    self.writer.write(b"334 " + base64.b64encode(b'{"status":"401"}') + b"\r\n")
                    self.script.commands.append((await self.reader.readline()).decode().strip())
                await self.say("auth")
            case "RCPT":
                self.recipient = rest.partition("<")[2].partition(">")[0]
                await self.say("rcpt")
            case "DATA":
                if (await self.say("data")).startswith("354"):
                    await self.body()
            case "QUIT":
                await self.say("quit")
                return False
            case other:
                await self.say(other.lower())
        return True

    async def body(self) -> None:
        body = b""
        if self.script.says.get("body") == DROP:
            await self.reader.readline()
            raise _DroppedError
        while (line := await self.reader.readline()) != b".\r\n":
            if not line:
                self.script.dropped_bodies.append(body)
                raise _DroppedError
            body += line.removeprefix(b".") if line.startswith(b".") else line
        answer = self.script.by_recipient("dot", self.recipient) or self.script.says.get("dot", USUAL["dot"])
        if answer.startswith("2") or answer in (DROP, HANG):  # accepted, whether or not the client learns of it
            self.script.accepted.append(body)
        await self.say("dot")
