"""Commands on parked and published events; must never change a mailbox or the stream."""

from uuid import UUID

import asyncpg
from nats.js.api import ConsumerConfig, DeliverPolicy

from deploy.commands.terminal import DONE, NO, carry_out, print_json, print_line, print_table, progress
from deploy.local.stream import opened
from libs.schema.events import STREAM
from libs.schema.runtime.db import close_pool, open_pool
from libs.schema.runtime.parked import retry_parked

LIST_PARKED = """
SELECT consumer, event_id, type, attempts, parked_at, retried_at, error
FROM parked
ORDER BY parked_at, event_id
"""


def parked_list(database_url: str, *, as_json: bool) -> int:
    """Prints what is parked, oldest first, with the error."""

    async def work() -> int:
        connection = await asyncpg.connect(database_url, timeout=5)
        try:
            rows = [dict(row) for row in await connection.fetch(LIST_PARKED)]
        finally:
            await connection.close()
        if as_json:
            print_json(rows)
        else:
            columns = ["parked_at", "consumer", "type", "event_id", "attempts", "error"]
            print_table(columns, [[str(row[column]) for column in columns] for row in rows])
            progress.print(f"{len(rows)} parked")
        return DONE

    return carry_out(work())


def parked_retry(database_url: str, event_ids: list[UUID], consumer: str | None) -> int:
    """Asks the owners to run them again, all when none is named; NO when nothing that was named is parked."""

    async def work() -> int:
        pool = await open_pool(database_url, application_name="coldstream-cli", max_size=1)
        try:
            chosen: list[UUID | None] = [*event_ids] or [None]
            asked = sum([await retry_parked(pool, consumer=consumer, event_id=event_id) for event_id in chosen])
        finally:
            await close_pool(pool)
        progress.print(f"{asked} will be run again")
        return DONE if asked or not event_ids else NO

    return carry_out(work())


def events_tail(nats_url: str, subject: str, *, from_start: bool) -> int:
    """Prints the stream's events, one a line, until Ctrl-C; an ordered consumer, so none is missed or doubled."""

    async def work() -> int:
        config = ConsumerConfig(deliver_policy=DeliverPolicy.ALL if from_start else DeliverPolicy.NEW)
        async with opened(nats_url) as link:
            subscription = await link.jetstream.subscribe(subject, stream=STREAM, ordered_consumer=True, config=config)
            async for message in subscription.messages:
                print_line(message.data.decode())
        return DONE

    try:
        return carry_out(work())
    except KeyboardInterrupt:
        return DONE
