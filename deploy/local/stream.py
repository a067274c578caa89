"""Reads the EVENTS stream from outside; must never acknowledge, declare or change anything there."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import nats
from nats.aio.client import Client
from nats.errors import TimeoutError as NatsTimeoutError
from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy

from libs.schema.events import STREAM

BATCH = 500
FETCH_TIMEOUT_S = 5.0
IDLE_S = 60.0  # an abandoned reader's consumer is gone after this


@dataclass(frozen=True, kw_only=True)
class Stored:
    """One message as it lies in the stream."""

    seq: int
    body: bytes


class StreamError(Exception):
    """The stream ended before the message that it says it has."""


@asynccontextmanager
async def connected(nats_url: str) -> AsyncGenerator[Client]:
    """A connection that gives up at once when nobody answers, since a command's user waits for it.

    Raises:
        OSError, nats.errors.Error: no server there, or it refuses the login.

    """
    client = await nats.connect(nats_url, allow_reconnect=False, connect_timeout=5)  # pyright: ignore[reportUnknownMemberType] - nats-py's options are untyped
    try:
        yield client
    finally:
        await client.close()


async def stream_size(client: Client) -> tuple[int, int]:
    """How many messages the stream holds, and the sequence number of the last one."""
    info = await _jetstream(client).stream_info(STREAM)
    return info.state.messages, info.state.last_seq


async def read_stream(client: Client, *, upto: int) -> AsyncGenerator[list[Stored]]:
    """Every message with a sequence number up to `upto`, in order, in batches.

    Raises:
        StreamError: nothing more came although `upto` was not reached.

    """
    if upto == 0:
        return
    config = ConsumerConfig(
        deliver_policy=DeliverPolicy.ALL, ack_policy=AckPolicy.NONE, inactive_threshold=IDLE_S, mem_storage=True
    )
    subscription = await _jetstream(client).pull_subscribe(">", stream=STREAM, config=config)
    reached = 0
    try:
        while reached < upto:
            try:
                messages = await subscription.fetch(min(BATCH, upto - reached), timeout=FETCH_TIMEOUT_S)
            except NatsTimeoutError:
                raise StreamError(f"the stream ends at {reached}, before {upto}") from None
            batch = [Stored(seq=message.metadata.sequence.stream, body=message.data) for message in messages]
            reached = batch[-1].seq
            yield [stored for stored in batch if stored.seq <= upto]
    finally:
        await subscription.unsubscribe()


def _jetstream(client: Client) -> JetStreamContext:
    return client.jetstream(timeout=FETCH_TIMEOUT_S)  # pyright: ignore[reportUnknownMemberType] - the same
