"""`python -m benchmarks.sink DIRECTORY`: an SMTP server that takes everything and keeps nothing, in its own process.

Prints its port, then serves STARTTLS and AUTH PLAIN on 127.0.0.1 until its standard input closes. As little as a server
can do, so that what is measured is the client.
"""

import asyncio
import base64
import ssl
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

from benchmarks.world import PASSWORD
from deploy.local.ca import certificates

END = b"\r\n.\r\n"
LONGEST_MESSAGE = 2**20
EXTENSIONS = {False: b"250-sink.test\r\n250 STARTTLS\r\n", True: b"250-sink.test\r\n250-8BITMIME\r\n250 AUTH PLAIN\r\n"}
ANSWERS = {
    b"MAIL": b"250 2.1.0 ok\r\n",
    b"RCPT": b"250 2.1.5 ok\r\n",
    b"RSET": b"250 2.0.0 ok\r\n",
    b"QUIT": b"221 2.0.0 bye\r\n",
}


@asynccontextmanager
async def sink(directory: Path) -> AsyncGenerator[int]:
    """The port of a sink that lives as long as the block, and shows the certificate kept in `directory`."""
    certificates(directory)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "benchmarks.sink", str(directory)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        if process.stdin is None or process.stdout is None:
            raise AssertionError("both were asked for")
        yield int(await process.stdout.readline())
        process.stdin.close()
        await process.wait()
    finally:
        if process.returncode is None:
            process.kill()


async def _serve(directory: Path) -> None:
    tls = certificates(directory).server_context()

    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await _converse(reader, writer, tls)
        except (ConnectionError, asyncio.IncompleteReadError, ssl.SSLError):
            pass  # the client left; that is how a round ends
        finally:
            writer.close()

    server = await asyncio.start_server(converse, "127.0.0.1", 0, limit=LONGEST_MESSAGE, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


async def _converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, tls: ssl.SSLContext) -> None:
    writer.write(b"220 sink.test ESMTP\r\n")
    is_encrypted, accepted = False, 0
    while line := await reader.readline():
        verb = line[:4].upper()
        if verb == b"EHLO":
            writer.write(EXTENSIONS[is_encrypted])
        elif verb == b"STAR":
            writer.write(b"220 go ahead\r\n")
            await writer.start_tls(tls)
            is_encrypted = True
        elif verb == b"AUTH":
            is_right = is_encrypted and base64.b64decode(line.split()[2]).split(b"\0")[2].decode() == PASSWORD
            writer.write(b"235 2.7.0 welcome\r\n" if is_right else b"535 5.7.8 no\r\n")
        elif verb == b"DATA":
            writer.write(b"354 go on\r\n")
            await reader.readuntil(END)
            accepted += 1
            writer.write(b"250 2.0.0 Ok: queued as %X\r\n" % accepted)
        else:
            writer.write(ANSWERS.get(verb, b"502 5.5.2 what?\r\n"))
            if verb == b"QUIT":
                return


if __name__ == "__main__":
    asyncio.run(_serve(Path(sys.argv[1])))
