"""`coldstream verify-sends`: whether ledger, emails, journal, stream and Sent folders tell the same story.

Must never mend what it finds. Ledger, emails and journal are read in one snapshot, and the stream up to the last
message which that snapshot knows to be published. So the comparison is exact while everything runs.
"""

from collections.abc import Sequence
from contextlib import aclosing
from uuid import UUID

import asyncpg
import msgspec

from deploy.local.sent import MailAccess, compare_sent
from deploy.local.stream import opened, read_all
from deploy.local.verdict import Disagreement, Verdict
from libs.schema.events import open_envelope
from libs.schema.runtime.db import Connection, prepare_connection
from libs.schema.runtime.streams import StreamLink, StreamMessage

COUNT_ROWS = """
SELECT
    (SELECT count(*) FROM send_ledger) AS ledger,
    (SELECT count(*) FROM emails) AS emails,
    (SELECT count(*) FROM event_log) AS event_log,
    (SELECT count(*) FROM event_log WHERE stream_seq IS NULL OR stream_seq < 0) AS unpublished,
    (SELECT coalesce(max(stream_seq), 0) FROM event_log) AS last_seq
"""
# design.md §9.2: the ledger is the truth and emails.status follows it; engagement and late bounces move it further.
LEDGER_AGAINST_EMAILS = """
WITH expected (state, statuses) AS (VALUES
    ('queued', ARRAY['queued']),
    ('claimed', ARRAY['sending']),
    ('in_data', ARRAY['sending']),
    ('accepted', ARRAY['sent', 'delivered', 'opened', 'clicked', 'bounced']),
    ('rejected', ARRAY['bounced', 'failed']),
    ('unknown', ARRAY['unknown']),
    ('suppressed', ARRAY['cancelled']),
    ('stopped', ARRAY['cancelled']),
    ('expired', ARRAY['cancelled'])
)
SELECT coalesce(l.send_id, e.id) AS id,
    CASE
        WHEN e.id IS NULL THEN 'the ledger has it as ' || l.state || ', emails has no such row'
        WHEN l.send_id IS NULL THEN 'emails has it as ' || e.status || ', the ledger has no such row'
        ELSE 'the ledger has it as ' || l.state || ', emails as ' || e.status
    END AS text
FROM (SELECT send_id, state FROM send_ledger WHERE kind IN ('campaign', 'reply')) AS l
FULL JOIN emails e ON e.id = l.send_id
LEFT JOIN expected x ON x.state = l.state
WHERE e.id IS NULL OR l.send_id IS NULL OR e.status::text <> ALL (x.statuses)
ORDER BY 1
"""
LEDGER_AGAINST_JOURNAL = """
WITH told AS (
    SELECT substr(subject, length('email/') + 1)::uuid AS send_id,
        count(*) FILTER (WHERE type = 'email.queued') AS queued,
        count(*) FILTER (WHERE type = 'email.sent') AS sent,
        count(*) FILTER (WHERE type = 'email.unknown') AS unknown,
        count(*) FILTER (WHERE type IN ('bounce.hard', 'bounce.soft', 'bounce.blocked', 'email.failed')) AS refused,
        count(*) FILTER (WHERE type = 'email.cancelled') AS cancelled
    FROM event_log
    WHERE subject LIKE 'email/%'
    GROUP BY subject
)
SELECT coalesce(l.send_id, t.send_id) AS id,
    concat(
        'the ledger has it as ', coalesce(l.state, 'nothing'), ', the journal tells ',
        coalesce(t.queued, 0), ' queued, ',
        coalesce(t.sent, 0), ' sent, ', coalesce(t.unknown, 0), ' unknown, ', coalesce(t.refused, 0), ' refused, ',
        coalesce(t.cancelled, 0), ' cancelled'
    ) AS text
FROM send_ledger l
FULL JOIN told t ON t.send_id = l.send_id
WHERE l.send_id IS NULL
    OR coalesce(t.queued, 0) = 0
    OR coalesce(t.sent, 0) <> (l.state = 'accepted')::int
    OR (l.state = 'unknown' AND coalesce(t.unknown, 0) = 0)
    OR (l.state = 'rejected' AND coalesce(t.refused, 0) = 0)
    OR (l.state IN ('suppressed', 'stopped', 'expired') AND coalesce(t.cancelled, 0) = 0)
ORDER BY 1
"""
# enrolled = active + held + finished + stopped + failed: every row was told once as enrolled, every ended one as ended.
ENROLLMENTS_AGAINST_JOURNAL = """
WITH told AS (
    SELECT (body -> 'data' ->> 'enrollment_id')::uuid AS id,
        count(*) FILTER (WHERE type = 'lead.enrolled') AS enrolled,
        count(*) FILTER (WHERE type = 'lead.completed') AS completed,
        count(*) FILTER (WHERE type = 'lead.stopped') AS stopped
    FROM event_log
    WHERE type IN ('lead.enrolled', 'lead.completed', 'lead.stopped')
    GROUP BY 1
)
SELECT coalesce(e.id, t.id) AS id,
    concat(
        'the enrollment is ', coalesce(e.state, 'not there'), ', the journal tells ',
        coalesce(t.enrolled, 0), ' enrolled, ', coalesce(t.completed, 0), ' completed, ',
        coalesce(t.stopped, 0), ' stopped'
    ) AS text
FROM enrollments e
FULL JOIN told t ON t.id = e.id
WHERE coalesce(t.enrolled, 0) <> (e.id IS NOT NULL)::int
    OR coalesce(t.completed, 0) <> coalesce((e.state = 'finished')::int, 0)
    OR coalesce(t.stopped, 0) <> coalesce((e.state IN ('stopped', 'failed'))::int, 0)
ORDER BY 1
"""
CAMPAIGNS_AGAINST_ENROLLMENTS = """
SELECT c.id, concat('the campaign is completed, and ', count(*), ' leads are on their way') AS text
FROM campaigns c
JOIN enrollments e ON e.campaign_id = c.id AND e.state IN ('active', 'held')
WHERE c.status = 'completed'
GROUP BY c.id
ORDER BY 1
"""
READ_JOURNAL = """
SELECT stream_seq, event_id, body
FROM event_log
WHERE stream_seq > $1 AND stream_seq <= $2
ORDER BY stream_seq
"""
KNOWN = "SELECT event_id FROM event_log WHERE event_id = ANY($1)"


async def verify_sends(database_url: str, nats_url: str, access: MailAccess | None) -> Verdict:
    """Compares them all, on a running system too; needs a login that may read every table (the owner's).

    Without `access` the Sent folders are left out; see sent.py for how they are read.

    Raises:
        OSError, asyncpg.PostgresError, nats.errors.Error: a server cannot be reached.

    """
    async with opened(nats_url) as link:
        connection = await asyncpg.connect(database_url, timeout=5)
        try:
            await prepare_connection(connection)
            verdict = await _compare(connection, link)
            if access is None:
                return verdict
            sent, found = await compare_sent(connection, access)
            return msgspec.structs.replace(verdict, sent=sent, disagreements=verdict.disagreements + found)
        finally:
            await connection.close()


async def _compare(connection: Connection, link: StreamLink) -> Verdict:
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        counts = await connection.fetchrow(COUNT_ROWS)
        assert counts is not None  # noqa: S101 - a SELECT without FROM has one row
        found = await _ask(connection, "ledger and emails", LEDGER_AGAINST_EMAILS)
        found += await _ask(connection, "ledger and journal", LEDGER_AGAINST_JOURNAL)
        found += await _ask(connection, "enrollments and journal", ENROLLMENTS_AGAINST_JOURNAL)
        found += await _ask(connection, "campaigns and enrollments", CAMPAIGNS_AGAINST_ENROLLMENTS)
        found += await _compare_stream(connection, link, upto=counts["last_seq"])
        stream = (await link.state()).last_seq
    # An event is committed before it is published: by now the journal knows what has come into the stream since.
    found += await _look_up_tail(connection, link, after=counts["last_seq"], upto=stream)
    return Verdict(
        ledger=counts["ledger"],
        emails=counts["emails"],
        event_log=counts["event_log"],
        unpublished=counts["unpublished"],
        stream=stream,
        sent=None,
        disagreements=found,
    )


async def _ask(connection: Connection, between: str, query: str) -> list[Disagreement]:
    rows = await connection.fetch(query)
    return [Disagreement(between=between, id=str(row["id"]), text=row["text"]) for row in rows]


async def _compare_stream(connection: Connection, link: StreamLink, *, upto: int) -> list[Disagreement]:
    """Each place of the stream up to `upto` where it and the journal differ."""
    found: list[Disagreement] = []
    reached = 0
    async with aclosing(read_all(link, upto=upto)) as batches:
        async for batch in batches:
            journal = await connection.fetch(READ_JOURNAL, reached, batch[-1].seq)
            found += _compare_batch(journal, batch)
            reached = batch[-1].seq
    return found + _compare_batch(await connection.fetch(READ_JOURNAL, reached, upto), [])


async def _look_up_tail(connection: Connection, link: StreamLink, *, after: int, upto: int) -> list[Disagreement]:
    found: list[Disagreement] = []
    async with aclosing(read_all(link, after=after, upto=upto)) as batches:
        async for batch in batches:
            ids = {open_envelope(message.body).id: message.seq for message in batch}
            known = {row["event_id"] for row in await connection.fetch(KNOWN, list(ids))}
            found += [_differ(id_, f"only the stream has it, at {seq}") for id_, seq in ids.items() if id_ not in known]
    return found


def _compare_batch(journal: Sequence[asyncpg.Record], stored: Sequence[StreamMessage]) -> list[Disagreement]:
    ours = {row["stream_seq"]: row for row in journal}
    theirs = {message.seq: message.body for message in stored}
    found: list[Disagreement] = []
    for seq in sorted(ours.keys() | theirs.keys()):
        if seq not in ours:
            found.append(_differ(open_envelope(theirs[seq]).id, f"only the stream has it, at {seq}"))
        elif seq not in theirs:
            found.append(_differ(ours[seq]["event_id"], f"the journal has it at {seq}, the stream nothing"))
        elif ours[seq]["body"] != theirs[seq]:
            found.append(_differ(ours[seq]["event_id"], f"the stream has other bytes at {seq} than the journal"))
    return found


def _differ(event_id: UUID, text: str) -> Disagreement:
    return Disagreement(between="journal and stream", id=str(event_id), text=text)
