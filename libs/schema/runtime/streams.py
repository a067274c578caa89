"""The one stream and its durable consumers: declared here, made by `migrate`, asserted by services; and how it is read.

Never changes what an existing stream keeps: what differs is named and left to a person, since a changed limit can cut
history. Only a noun that it does not hear yet is added.
"""

# pyright: reportUnknownMemberType=false
# nats-py leaves its **options and **params open; what is passed to them is written out here.

import asyncio
import os
from collections.abc import Callable, Mapping
from typing import Any, Final
from uuid import UUID

import msgspec
import nats
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import ConnectionClosedError
from nats.js import JetStreamContext
from nats.js.api import (
    AckPolicy,
    ConsumerConfig,
    DiscardPolicy,
    RetentionPolicy,
    StorageType,
    StoreCompression,
    StreamConfig,
)
from nats.js.errors import NotFoundError

from libs.schema.events.base import STREAM
from libs.schema.runtime.telemetry import logger

MSG_ID: Final = "Nats-Msg-Id"
MAX_MESSAGE_BYTES: Final = 64 * 1024
REQUEST_TIMEOUT_S: Final = 5.0
END_OF_PROCESS: Final = 70  # EX_SOFTWARE: whoever runs us starts us again

_NOUNS: Final = ("email", "reply", "bounce", "lead", "campaign", "inbox", "team", "domain", "warmup")
STREAM_CONFIG: Final = StreamConfig(
    name=STREAM,
    description="Every event of Coldstream, in log order; Postgres is the record",
    subjects=[f"{noun}.*.*" for noun in _NOUNS],
    retention=RetentionPolicy.LIMITS,
    storage=StorageType.FILE,
    max_age=0,  # a rebuild needs all history
    max_msgs=-1,
    discard=DiscardPolicy.NEW,  # a full disk must stop the relay, never cut history
    duplicate_window=3600,
    max_msg_size=MAX_MESSAGE_BYTES,
    deny_delete=True,
    deny_purge=True,
    allow_direct=True,
    allow_atomic=True,
    compression=StoreCompression.S2,
)
# What each durable hears (design.md §2); the handlers of a service may take less, the rest is acked unread.
DURABLES: Final[Mapping[str, tuple[str, ...]]] = {
    "sender": (
        *("reply.*.*", "bounce.*.*", "lead.*.*", "warmup.planned.*"),
        *("email.confirmed.*", "email.complained.*", "email.opened.*", "email.clicked.*"),
        *("campaign.resumed.*", "campaign.changed.*", "campaign.archived.*", "campaign.circuit_closed.*"),
        *("inbox.connected.*", "inbox.disconnected.*", "inbox.resumed.*"),
        *("inbox.circuit_closed.*", "inbox.health_changed.*"),
    ),
    "warmup": ("warmup.received.*", "email.sent.*", "bounce.*.*"),
    "replies": ("warmup.engagement_planned.*",),
    "webhooks": (),  # everything
}
ACK_WAIT_S: Final = 30.0
MAX_ACK_PENDING: Final = 1000  # what waits for its next try counts too, so not less
_STREAM_FIELDS: Final = (
    *("retention", "storage", "max_age", "max_msgs", "discard", "duplicate_window", "max_msg_size"),
    *("deny_delete", "deny_purge", "allow_direct", "allow_atomic"),
)
_DURABLE_FIELDS: Final = ("ack_policy", "ack_wait", "max_deliver")


class StreamMismatchError(Exception):
    """The stream or a consumer exists and promises something else; the text names each difference."""


class StreamState(msgspec.Struct, frozen=True, kw_only=True):
    """Where the stream begins and ends."""

    first_seq: int
    last_seq: int


class StreamMessage(msgspec.Struct, frozen=True, kw_only=True):
    """One message of the stream."""

    seq: int
    subject: str
    msg_id: UUID | None  # None: not published by our relay
    body: bytes


class StreamLink:
    """A process's one connection to NATS: opened in the background, reconnecting for ever, buffering nothing.

    While it is down every call raises at once, and nothing that failed is sent later (reliability.md §0.4).
    """

    def __init__(self, nats_url: str, name: str) -> None:
        self._url = nats_url
        self._name = name
        self._client: Client | None = None
        self._is_closing = False

    @property
    def is_connected(self) -> bool:
        """Whether the connection stands at this moment."""
        return self._client is not None and self._client.is_connected

    @property
    def client(self) -> Client:
        """The connection.

        Raises:
            nats.errors.ConnectionClosedError: it has never been up yet.

        """
        if self._client is None:
            raise ConnectionClosedError
        return self._client

    @property
    def jetstream(self) -> JetStreamContext:
        """JetStream on it; raises as `client` does."""
        return self.client.jetstream(timeout=REQUEST_TIMEOUT_S)

    async def open(self) -> None:
        """Waits until the server answers, for ever if need be."""
        self._client = await nats.connect(self._url, **connection_options(self._name, lambda: self._is_closing))

    async def close(self) -> None:
        """Sends what is buffered and closes; a second call does nothing."""
        self._is_closing = True
        if self._client is not None and not self._client.is_closed:
            await self._client.close()

    async def state(self) -> StreamState:
        """Where the stream begins and ends.

        Raises:
            nats.js.errors.NotFoundError: there is none.

        """
        info = await self.jetstream.stream_info(STREAM)
        return StreamState(first_seq=info.state.first_seq, last_seq=info.state.last_seq)

    async def read(self, seq: int, limit: int) -> list[StreamMessage]:
        """At most `limit` messages from `seq` on, in order; none where the stream ends before it (or is gone).

        A stateless direct get (NATS ADR-31): there is no consumer that could be lost or reset.
        """
        inbox = self.client.new_inbox()
        subscription = await self.client.subscribe(inbox)
        try:
            request = msgspec.json.encode({"seq": seq, "batch": limit})
            await self.client.publish(f"$JS.API.DIRECT.GET.{STREAM}", request, reply=inbox)
            messages: list[StreamMessage] = []
            async with asyncio.timeout(REQUEST_TIMEOUT_S):
                while (
                    message := await subscription.next_msg(timeout=None)
                ).headers and "Status" not in message.headers:
                    messages.append(_stream_message(message))
            return messages
        finally:
            await subscription.unsubscribe()


def connection_options(name: str, is_closing: Callable[[], bool]) -> dict[str, Any]:
    """How we connect (reliability.md §6): for ever and without a buffer; where that ends nevertheless, so do we."""
    log = logger()

    async def on_error(error: Exception) -> None:
        log.warning("nats.error", error=type(error).__name__, detail=str(error))

    async def on_disconnect() -> None:
        if not is_closing():
            log.warning("nats.disconnected")

    async def on_reconnect() -> None:
        log.info("nats.reconnected")

    async def on_closed() -> None:
        # The client has given up for good, and FastStream would spin on it for ever (libraries.md §2, trap 0).
        if not is_closing():
            log.critical("process.ended", reason="the connection to NATS was closed")
            os._exit(END_OF_PROCESS)

    return {
        "name": f"coldstream-{name}",
        "max_reconnect_attempts": -1,
        "reconnect_time_wait": 0.5,
        "ping_interval": 10,
        "max_outstanding_pings": 2,
        "pending_size": 0,
        "error_cb": on_error,
        "disconnected_cb": on_disconnect,
        "reconnected_cb": on_reconnect,
        "closed_cb": on_closed,
    }


def durable_config(name: str) -> ConsumerConfig:
    """How the durable consumer is declared."""
    return ConsumerConfig(
        name=name,
        durable_name=name,
        filter_subjects=list(DURABLES[name]) or None,
        ack_policy=AckPolicy.EXPLICIT,
        ack_wait=ACK_WAIT_S,
        max_deliver=-1,  # we count failures ourselves and park (reliability.md §1: a limit skips in silence)
        max_ack_pending=MAX_ACK_PENDING,
    )


async def ensure_streams(nats_url: str) -> None:
    """Makes the stream and the durable consumers where they are missing, and lets both hear a release's news.

    A second call changes nothing.

    Raises:
        StreamMismatchError: one exists and differs in a way that matters.
        nats.errors.NoServersError: no server answers.

    """
    client = await nats.connect(nats_url, name="coldstream-migrate", allow_reconnect=False, connect_timeout=5)
    try:
        jetstream = client.jetstream(timeout=REQUEST_TIMEOUT_S)
        await _hear_new_nouns(jetstream)
        await ensure_declared(jetstream)
        for name in DURABLES:
            wanted = durable_config(name)
            if _filters(wanted) != _filters((await jetstream.consumer_info(STREAM, name)).config):
                await jetstream.add_consumer(STREAM, wanted)
    finally:
        await client.close()


async def ensure_declared(jetstream: JetStreamContext) -> None:
    """What services do at start and when something was lost: make what is missing, refuse what differs, edit nothing.

    What a durable hears may differ while two releases run side by side. Raises as `ensure_streams` does.
    """
    try:
        found = await jetstream.stream_info(STREAM)
    except NotFoundError:
        found = await jetstream.add_stream(STREAM_CONFIG)
    wrong = _differences(STREAM, _STREAM_FIELDS, STREAM_CONFIG, found.config)
    if missing := set(STREAM_CONFIG.subjects or ()) - set(found.config.subjects or ()):
        wrong.append(f"{STREAM}: the subjects lack {', '.join(sorted(missing))}")
    for name in DURABLES:
        wanted = durable_config(name)
        try:
            config = (await jetstream.consumer_info(STREAM, name)).config
        except NotFoundError:
            config = (await jetstream.add_consumer(STREAM, wanted)).config
        wrong += _differences(name, _DURABLE_FIELDS, wanted, config)
    if wrong:
        raise StreamMismatchError("NATS holds something else than this release declares:\n  " + "\n  ".join(wrong))


async def _hear_new_nouns(jetstream: JetStreamContext) -> None:
    """Adds the subjects that are missing, unless something else differs too: then it is not our stream to touch."""
    try:
        found = (await jetstream.stream_info(STREAM)).config
    except NotFoundError:
        return
    known = found.subjects or []
    missing = [subject for subject in STREAM_CONFIG.subjects or [] if subject not in known]
    if missing and not _differences(STREAM, _STREAM_FIELDS, STREAM_CONFIG, found):
        await jetstream.update_stream(found.evolve(subjects=[*known, *missing]))


def _differences(owner: str, fields: tuple[str, ...], wanted: object, found: object) -> list[str]:
    pairs = [(name, getattr(wanted, name), getattr(found, name)) for name in fields]
    # 0 and None are how the server and the client say "unset".
    return [f"{owner}: {name} is {is_!r}, must be {must!r}" for name, must, is_ in pairs if (must or 0) != (is_ or 0)]


def _filters(config: ConsumerConfig) -> frozenset[str]:
    return frozenset(config.filter_subjects or ([config.filter_subject] if config.filter_subject else ()))


def _stream_message(message: Msg) -> StreamMessage:
    headers = message.headers or {}
    return StreamMessage(
        seq=int(headers["Nats-Sequence"]),
        subject=headers["Nats-Subject"],
        msg_id=as_uuid(headers.get(MSG_ID)),
        body=message.data,
    )


def as_uuid(text: str | None) -> UUID | None:
    """The id that a header carries, or None where a stranger wrote something else."""
    try:
        return UUID(text) if text else None
    except ValueError:
        return None
