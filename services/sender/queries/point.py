"""T2: the point of no return, after which a mail counts as perhaps sent (reliability.md §2.1).

Never lets a mail pass that somebody has stopped: whoever stops holds the barrier's locks while he writes.
"""

from collections.abc import Sequence
from datetime import date, datetime

import msgspec

from libs.schema.runtime.db import Tx
from services.sender.queries.claim import Claimed

# After barrier.inside has locked, as a statement of its own: its snapshot is younger than the locks.
# What ends sequences ends no talk: an answer by hand has no enrollment, and of the stops only an erasure holds it.
COMMIT_POINT = """
WITH passed AS (
    UPDATE send_ledger AS l
    SET state = 'in_data', committed_at = u.at, sent_on = u.sent_on, inbox_sent_on = u.inbox_sent_on,
        lease_until = clock_timestamp() + make_interval(secs => u.lease_s)
    FROM unnest($1::uuid[], $2::bigint[], $3::int[], $4::timestamptz[], $5::date[], $6::date[], $7::float8[],
            $8::text[], $9::text[], $10::text[], $11::text[], $12::text[], $13::text[], $14::boolean[], $15::boolean[])
        AS u(send_id, fence, epoch, at, sent_on, inbox_sent_on, lease_s,
            recipient, subject, body_text, body_html, thread_id, in_reply_to, open_tracked, click_tracked)
    WHERE l.send_id = u.send_id
        AND l.fence = u.fence
        AND l.epoch = u.epoch
        AND l.state = 'claimed'
        AND l.lease_until > clock_timestamp()
        AND EXISTS (SELECT FROM installation AS n WHERE n.epoch = l.epoch AND NOT n.paused)
        AND (l.kind <> 'campaign' OR EXISTS (
            SELECT FROM campaigns AS c
            JOIN enrollments AS e ON e.campaign_id = c.id
            WHERE c.id = l.campaign_id AND c.status = 'active' AND e.id = l.enrollment_id AND e.state = 'active'))
        AND NOT EXISTS (SELECT FROM suppression_list AS sl
            WHERE (sl.team_id = l.team_id OR sl.team_id IS NULL)
                AND (sl.value_hash = l.lead_key OR sl.email = u.recipient
                    OR sl.email = split_part(u.recipient, '@', 2)))
        AND (l.kind <> 'reply' OR NOT EXISTS (SELECT FROM lead_stop AS ls
            WHERE ls.team_id = l.team_id AND ls.lead_key = l.lead_key AND ls.reason = 'erased'
                AND ls.stopped_at >= l.created_at))
        AND NOT EXISTS (
            SELECT FROM lead_stop AS ls
            JOIN enrollments AS e ON e.id = l.enrollment_id
            JOIN campaigns AS c ON c.id = e.campaign_id
            WHERE ls.team_id = l.team_id AND ls.lead_key = l.lead_key
                AND ls.stopped_at >= e.enrolled_at
                AND (ls.campaign_id IS NULL OR ls.campaign_id = l.campaign_id)
                AND (ls.reason <> 'replied' OR coalesce((c.settings ->> 'stop_on_reply')::boolean, true))
                AND (ls.reason NOT IN ('hard_bounce', 'soft_bounce')
                    OR coalesce((c.settings ->> 'stop_on_bounce')::boolean, true)))
    RETURNING u.send_id, u.sent_on, u.inbox_sent_on, u.subject, u.body_text, u.body_html, u.thread_id, u.in_reply_to,
        u.open_tracked, u.click_tracked
),
shown AS (
    UPDATE emails AS m
    SET subject = p.subject, body_text = p.body_text, body_html = p.body_html, thread_id = p.thread_id,
        in_reply_to = p.in_reply_to, sent_on = p.sent_on, inbox_sent_on = p.inbox_sent_on,
        open_tracked = p.open_tracked, click_tracked = p.click_tracked
    FROM passed AS p
    WHERE m.id = p.send_id
)
SELECT p.send_id FROM passed AS p
"""


class Point(msgspec.Struct, frozen=True, kw_only=True):
    """What is written when a send passes the point of no return, as COMMIT_POINT takes it."""

    at: datetime
    sent_on: date
    inbox_sent_on: date
    lease_s: float
    recipient: str
    subject: str
    text: str
    html: str | None
    thread_id: str
    in_reply_to: str | None
    open_tracked: bool
    click_tracked: bool


async def pass_the_point(tx: Tx, asked: Sequence[tuple[Claimed, Point]]) -> list[bool]:
    """T2: whether each one's final dot may go, whatever the others may.

    False when the claim is lost, or person, campaign or everything is stopped.
    """
    rows = [(send.send_id, send.fence, send.epoch, *msgspec.structs.astuple(point)) for send, point in asked]
    passed = {record["send_id"] for record in await tx.fetch(COMMIT_POINT, *zip(*rows, strict=True))}
    return [send.send_id in passed for send, _ in asked]
