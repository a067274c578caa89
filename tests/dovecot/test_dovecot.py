"""A real server's mailbox is read whole and once, whatever becomes of it meanwhile, and is left as it was."""

import tempfile
import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from libs.schema.runtime.db import Connection
from libs.schema.secrets import seal_secret
from services.replies.deps import Deps
from services.replies.imap import MAX_MESSAGE_BYTES
from services.replies.jobs.poll import poll
from tests.contract.replies_world import make_office, replies
from tests.dovecot.install import unpack
from tests.dovecot.server import FRENCH, GERMAN, TOKEN, Dovecot
from tests.support import SECRET_KEY, eventually

ANN = "ann@acme.test"
MANY = 5_000  # reliability.md F45
FAR = timedelta(days=1000)


@pytest.fixture(scope="session")
def root() -> Path:
    """Where `make dovecot` has unpacked it."""
    return unpack(Path(__file__).parents[2] / ".venv" / "dovecot")


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory that another user's process gets through to: pytest's own are closed to it."""
    with tempfile.TemporaryDirectory(prefix="coldstream-dovecot-") as directory:
        Path(directory).chmod(0o755)
        yield Path(directory)


@pytest.fixture
async def server(root: Path, place: Path) -> AsyncIterator[Dovecot]:
    async with Dovecot(root, place, GERMAN).running() as server:
        yield server


@asynccontextmanager
async def reading(database: str, owner: Connection, server: Dovecot) -> AsyncGenerator[Deps]:
    """Replies, on the server's one mailbox."""
    await make_office(owner, imap_port=server.port)
    await owner.execute("UPDATE inboxes SET imap_tls = 'none'")
    async with replies(database) as deps:
        yield deps


def message(number: int) -> bytes:
    return f"From: x{number}@lead.test\nMessage-ID: <{number}@x>\nSubject: {number}\n\nhello {number}\n".encode()


async def read_all(deps: Deps, owner: Connection) -> None:
    """Polls until the mailbox has been read to its end."""
    await owner.execute("UPDATE inboxes SET last_reply_checked_at = NULL")
    while await owner.fetchval("SELECT last_reply_checked_at IS NULL FROM inboxes"):
        assert await poll(deps)


async def stored(owner: Connection, folder: str = "INBOX") -> list[bytes]:
    rows = await owner.fetch("SELECT raw FROM inbound_raw WHERE folder = $1 ORDER BY uidvalidity, uid", folder)
    return [row["raw"] for row in rows]


async def test_folders_are_found_by_their_special_uses(database: str, owner: Connection, server: Dovecot) -> None:
    async with reading(database, owner, server) as deps:
        assert await poll(deps)
        server.deliver(ANN, message(1))
        server.deliver(ANN, message(2), folder="Spamverdacht")
        server.deliver(ANN, message(3), folder="Ausgang")
        server.deliver(ANN, message(4), folder="Gesendet")  # a name alone counts for less
        await read_all(deps, owner)
    rows = await owner.fetch("SELECT folder, substring(convert_from(raw, 'UTF8') FROM 'Subject: (.)') FROM inbound_raw")
    assert {tuple(row) for row in rows} == {("INBOX", "1"), ("Junk", "2"), ("Sent", "3")}


async def test_folders_without_uses_are_found_by_names_in_modified_utf_7(
    database: str, owner: Connection, root: Path, place: Path
) -> None:
    async with Dovecot(root, place, FRENCH).running() as server, reading(database, owner, server) as deps:
        assert await poll(deps)
        server.deliver(ANN, message(1), folder="Courrier ind&AOk-sirable")
        server.deliver(ANN, message(2), folder="&AMk-l&AOk-ments envoy&AOk-s")
        await read_all(deps, owner)
        assert [len(await stored(owner, folder)) for folder in ("Junk", "Sent")] == [1, 1]


async def test_thousands_of_messages_come_once_also_when_they_are_numbered_anew(
    database: str, owner: Connection, server: Dovecot
) -> None:
    async with reading(database, owner, server) as deps:
        for number in range(MANY):
            server.deliver(ANN, message(number))
        await read_all(deps, owner)
        assert await owner.fetchval("SELECT count(*) FROM inbound_raw") == MANY
        validity = await owner.fetchval("SELECT uidvalidity FROM imap_cursor WHERE folder = 'INBOX'")
        await deps.sessions.close()
        server.number_anew(ANN)
        for number in range(MANY, MANY + 10):
            server.deliver(ANN, message(number))
        async with replies(database) as after:
            await read_all(after, owner)
    assert await owner.fetchval("SELECT uidvalidity FROM imap_cursor WHERE folder = 'INBOX'") != validity
    counts = await owner.fetchrow("SELECT count(*), count(DISTINCT raw) FROM inbound_raw")
    assert tuple(counts or ()) == (MANY + 10, MANY + 10)


async def test_messages_that_vanish_between_two_polls_are_missed_by_nobody(
    database: str, owner: Connection, server: Dovecot
) -> None:
    async with reading(database, owner, server) as deps:
        files = [server.deliver(ANN, message(number)) for number in range(10)]
        await read_all(deps, owner)
        for each in files[:5]:
            next(path for path in server.files(ANN) if path.name.startswith(each.name)).unlink()
        server.deliver(ANN, message(10))
        gone = server.deliver(ANN, message(11))
        gone.unlink()
        server.deliver(ANN, message(12))
        await read_all(deps, owner)
    assert sorted(await stored(owner)) == sorted(message(number).replace(b"\n", b"\r\n") for number in (*range(11), 12))


async def test_no_flag_is_ever_changed(database: str, owner: Connection, server: Dovecot) -> None:
    async with reading(database, owner, server) as deps:
        assert await poll(deps)
        for folder in ("", "Spamverdacht", "Ausgang"):
            server.deliver(ANN, message(1), folder=folder)
        await read_all(deps, owner)
        assert await owner.fetchval("SELECT count(*) FROM inbound_raw") == 3
    for folder in ("", "Spamverdacht", "Ausgang"):
        (path,) = server.files(ANN, folder)
        assert path.name.partition(":2,")[2] == ""
    assert not [line for line in server.said if line.startswith(("SELECT", "STORE", "UID STORE", "EXPUNGE", "CLOSE"))]


async def test_a_new_message_is_told_by_idle_and_read_at_once(
    database: str, owner: Connection, server: Dovecot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.replies.sessions.CALL_GAP_S", 0.0)
    async with reading(database, owner, server) as deps:
        patient = replace(deps, poll_interval=FAR)
        assert await poll(patient)
        for number in range(3):
            server.deliver(ANN, message(number))

            async def has_come(count: int = number + 1) -> bool:
                await poll(patient)
                return len(await stored(owner)) == count

            await eventually(has_come)
    assert server.said.count("IDLE") >= 4


async def test_a_quiet_folder_is_not_opened_and_condstore_tells_of_every_change(
    database: str, owner: Connection, server: Dovecot
) -> None:
    async with reading(database, owner, server) as deps:
        path = server.deliver(ANN, message(1), folder="Spamverdacht")
        for _ in range(2):
            assert await poll(deps)
        said = len(server.said)
        assert await poll(deps)
        quiet = [line.partition(" ")[0] for line in server.said[said:] if line]
        assert quiet == ["STATUS", "STATUS", "NOOP", "UID", "IDLE"]
        assert "HIGHESTMODSEQ" in server.said[said + 1]
        read = next(each for each in server.files(ANN, "Spamverdacht") if each.name.startswith(path.name.split(":")[0]))
        read.rename(read.parents[1] / "cur" / (read.name.partition(":")[0] + ":2,S"))  # somebody reads it
        server.deliver(ANN, message(2), folder="Spamverdacht")
        assert await poll(deps)
    assert len(await stored(owner, "Junk")) == 2


async def test_a_big_message_is_cut_and_odd_bytes_come_as_the_server_has_them(
    database: str, owner: Connection, server: Dovecot
) -> None:
    odd = [
        b"Message-ID: <1@x>\nSubject: \xff\xfe\x80 (((\n\nbody with } {5}\n) A1 OK fake\n* 9 EXISTS\n",
        b"Message-ID: <2@x>\nSubject: " + b"long " * 20_000 + b"\n\n" + b"x" * 100_000 + b"\n",
        b"no header at all",
        b"Message-ID: <3@x>\n\n" + bytes(range(1, 256)) * 10,
        b"Message-ID: <4@x>\r\nContent-Type: multipart/mixed; boundary=a\r\n\r\n" + b"--a\r\n\r\n" * 2_000,
        b"\n",
    ]
    big = b"Message-ID: <5@x>\n\n" + b"x" * 70 * 1024 * 75
    async with reading(database, owner, server) as deps:
        for raw in (*odd, big):
            server.deliver(ANN, raw)
        await read_all(deps, owner)
    expected = [raw.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n") for raw in odd]
    came = await stored(owner)
    assert sorted(came) == sorted([*expected, big.replace(b"\n", b"\r\n")[:MAX_MESSAGE_BYTES]])
    assert await owner.fetchval("SELECT count(*) FROM inbound_raw WHERE truncated") == 1


async def test_old_mail_is_left_alone_and_arrival_is_the_servers_own(
    database: str, owner: Connection, server: Dovecot
) -> None:
    now = time.time()
    server.deliver(ANN, message(1), arrived=now - 400 * 86_400)
    server.deliver(ANN, message(2), arrived=now - 3600)
    async with reading(database, owner, server) as deps:
        await read_all(deps, owner)
    rows = await owner.fetch("SELECT internal_date FROM inbound_raw")
    assert [row["internal_date"] for row in rows] == [datetime.fromtimestamp(int(now - 3600), UTC)]


async def test_a_token_opens_the_mailbox_and_a_wrong_one_does_not(
    database: str, owner: Connection, server: Dovecot
) -> None:
    server.deliver(ANN, message(1))
    async with reading(database, owner, server) as deps:
        inbox_id = await owner.fetchval("SELECT id FROM inboxes")
        for token, came in (("bad-token", False), (TOKEN, True)):
            sealed = seal_secret(SECRET_KEY, token, row_id=inbox_id, column="oauth_access_token")
            await owner.execute("UPDATE inboxes SET oauth_access_token = $1", sealed)
            assert await poll(deps) == came
    assert len(await stored(owner)) == 1
