"""Servers on 127.0.0.1 that end with an exit stack, open connections included; must never bind to anything else."""

import asyncio
import contextlib
import ssl
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import TypeAlias

HOST = "127.0.0.1"
LONGEST_LINE = 2**20
Converse: TypeAlias = "Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]"


async def listen(stack: AsyncExitStack, converse: Converse, port: int, tls: ssl.SSLContext | None = None) -> None:
    """Calls `converse` for each connection; a connection that is lost ends quietly."""
    tasks = set[asyncio.Task[None]]()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - start_server makes one for each connection
        tasks.add(task)
        try:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, ssl.SSLError):
                await converse(reader, writer)
        finally:
            tasks.discard(task)
            writer.close()

    async def close() -> None:
        server.close()
        ending = list(tasks)
        for task in ending:
            task.cancel()
        await asyncio.gather(*ending, return_exceptions=True)

    server = await asyncio.start_server(connected, HOST, port, ssl=tls, limit=LONGEST_LINE)
    stack.push_async_callback(close)
