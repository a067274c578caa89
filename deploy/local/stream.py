"""Reads the EVENTS stream from outside; must never acknowledge, declare or change anything there."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from libs.schema.runtime.streams import StreamLink, StreamMessage

BATCH = 500
CONNECT_TIMEOUT_S = 5.0  # a command's user waits for it


@asynccontextmanager
async def opened(nats_url: str) -> AsyncGenerator[StreamLink]:
    """A connection to the stream.

    Raises:
        TimeoutError: no server there, or it refuses the login.

    """
    link = StreamLink(nats_url, "cli")
    try:
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            await link.open()
        yield link
    finally:
        await link.close()


async def read_all(link: StreamLink, *, after: int = 0, upto: int) -> AsyncGenerator[list[StreamMessage]]:
    """Every message behind `after` and up to `upto`, in order, in batches; ends early where the stream does."""
    reached = after
    while reached < upto and (batch := await link.read(reached + 1, min(BATCH, upto - reached))):
        reached = batch[-1].seq
        yield [message for message in batch if message.seq <= upto]
