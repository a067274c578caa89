"""Dovecot's IMAP server, unpacked from its packages: one process a connection, ended with it.

Dovecot's own login process needs paths that only an installed package has, so the greeting and the login are said here;
from then on Dovecot itself speaks. Listens on a free port of 127.0.0.1 only.
"""

import asyncio
import base64
import grp
import os
import pwd
import re
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

PASSWORD, TOKEN = "sandbox", "good-token"
NOBODY = 65534  # Debian's nobody and nogroup: Dovecot opens no mailbox as root
_BEFORE = b"IMAP4rev1 SASL-IR AUTH=PLAIN AUTH=XOAUTH2 LITERAL+ ID"
_LOGIN = re.compile(rb'LOGIN "([^"]*)" "([^"]*)"')
_PREAUTH = re.compile(rb"\* PREAUTH (\[CAPABILITY [^\]]*\])")
# Each mailbox is a Maildir of its user's; folders by their special uses and in German, or in French and without uses.
_CONF = """
default_login_user = {user}
default_internal_user = {user}
default_internal_group = {group}
mail_uid = {uid}
mail_gid = {gid}
first_valid_uid = 1
first_valid_gid = 1
protocols = imap
base_dir = {run}
state_dir = {run}
libexec_dir = {root}/usr/lib/dovecot
mail_plugin_dir = {root}/usr/lib/dovecot/modules
log_path = {run}/log
ssl = no
mail_location = maildir:{mail}/%u
namespace inbox {{
  inbox = yes
  separator = /
{folders}}}
"""
GERMAN = {"Spamverdacht": " special_use = \\Junk", "Ausgang": " special_use = \\Sent", "Gesendet": ""}
FRENCH = {"Courrier indésirable": "", "Éléments envoyés": ""}


class Dovecot:
    """A server with Maildirs beneath a directory; `said` are the command lines of all clients so far."""

    def __init__(self, root: Path, directory: Path, folders: dict[str, str]) -> None:
        self.port = 0
        self.said: list[str] = []
        self._root = root
        self._run = directory / "run"
        self.mail = directory / "mail"
        self._conf = self._run / "dovecot.conf"
        self._folders = folders
        self._serial = 0

    @asynccontextmanager
    async def running(self) -> AsyncGenerator["Dovecot"]:
        """Listens; at the end every process that it started is gone."""
        self._configure()
        tasks: set[asyncio.Task[None]] = set()

        def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.create_task(self._converse(reader, writer))
            tasks.add(task)
            task.add_done_callback(tasks.discard)

        server = await asyncio.start_server(connected, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def deliver(self, user: str, raw: bytes, *, folder: str = "", arrived: float | None = None) -> Path:
        """A message in the Maildir as a delivery agent leaves it; returns its file."""
        self._serial += 1
        box = self.mail / user / (f".{folder}" if folder else "")
        for each in (self.mail / user, box, box / "tmp", box / "new", box / "cur"):
            self._make(each)
        fresh = box / "tmp" / f"{1_700_000_000 + self._serial}.M{self._serial}P1.host"
        fresh.write_bytes(raw)
        if arrived is not None:
            os.utime(fresh, (arrived, arrived))
        if os.getuid() == 0:
            os.chown(fresh, NOBODY, NOBODY)
        return fresh.rename(box / "new" / fresh.name)

    def files(self, user: str, folder: str = "") -> list[Path]:
        """The files of all messages of a folder."""
        box = self.mail / user / (f".{folder}" if folder else "")
        return [*(box / "new").iterdir(), *(box / "cur").iterdir()]

    def number_anew(self, user: str, folder: str = "") -> None:
        """What a restore from a copy does: the folder's messages get other UIDs under another UIDVALIDITY."""
        box = self.mail / user / (f".{folder}" if folder else "")
        for each in (*box.glob("dovecot*"), *(self.mail / user).glob("dovecot-uidvalidity*")):
            each.unlink(missing_ok=True)

    def _make(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        if os.getuid() == 0:
            os.chown(directory, NOBODY, NOBODY)

    def _configure(self) -> None:
        for each in (self._run, self.mail):
            self._make(each)
        uid, gid = (NOBODY, NOBODY) if os.getuid() == 0 else (os.getuid(), os.getgid())
        folders = "".join(
            f'  mailbox "{name}" {{\n    auto = create\n   {use}\n  }}\n' for name, use in self._folders.items()
        )
        self._conf.write_text(
            _CONF.format(
                user=pwd.getpwuid(uid).pw_name,
                group=grp.getgrgid(gid).gr_name,
                uid=uid,
                gid=gid,
                run=self._run,
                root=self._root,
                mail=self.mail,
                folders=folders,
            ),
            "utf-8",
        )

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with suppress(ConnectionError, asyncio.IncompleteReadError):
                writer.write(b"* OK ready\r\n")
                tag, user = await self._log_in(reader, writer)
                if user:
                    await self._speak(tag, user, reader, writer)
        finally:
            writer.close()

    async def _log_in(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> tuple[bytes, str]:
        while line := (await reader.readline()).strip():
            tag, _, command = line.partition(b" ")
            if found := _LOGIN.match(command):
                user, is_right = found[1].decode(), found[2] == PASSWORD.encode()
            elif command.startswith(b"AUTHENTICATE XOAUTH2 "):
                words = base64.b64decode(command.rpartition(b" ")[2]).decode().split("\x01")
                user, is_right = words[0].removeprefix("user="), words[1] == f"auth=Bearer {TOKEN}"
            else:
                writer.write(b"* CAPABILITY " + _BEFORE + b"\r\n" + tag + b" OK done\r\n")
                continue
            if is_right:
                return tag, user
            writer.write(tag + b" NO [AUTHENTICATIONFAILED] no\r\n")
        return b"", ""

    async def _speak(self, tag: bytes, user: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        libraries = [
            self._root / "usr/lib/dovecot",
            *self._root.glob("usr/lib/*-linux-gnu"),
            *self._root.glob("lib/*-linux-gnu"),
        ]
        process = await asyncio.create_subprocess_exec(
            *(self._root / "usr/bin/doveconf", "-f", "service=imap", "-c", self._conf),
            *("-e", self._root / "usr/lib/dovecot/imap"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env={"LD_LIBRARY_PATH": ":".join(map(str, libraries)), "USER": user, "HOME": str(self._run)},
            cwd=self._run,
        )
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            welcome = _PREAUTH.match(await process.stdout.readline())
            assert welcome is not None, "Dovecot does not let its own user in"
            writer.write(tag + b" OK " + welcome[1] + b" welcome\r\n")
            asked = asyncio.create_task(self._pass_on(reader, process.stdin))
            while data := await process.stdout.read(65536):
                writer.write(data)
                await writer.drain()
            asked.cancel()
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()

    async def _pass_on(self, reader: asyncio.StreamReader, stdin: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            self.said.append(line.decode("utf-8", "replace").strip().partition(" ")[2])
            stdin.write(line)
            await stdin.drain()
        stdin.close()
