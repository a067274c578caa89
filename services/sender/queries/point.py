"""T2: the point of no return, after which a mail counts as perhaps sent (reliability.md §2.1).

Never lets a mail pass that somebody has stopped: whoever stops holds the barrier's locks while he writes.
"""

from datetime import date, datetime

import msgspec

from libs.schema.runtime.db import Tx
from services.sender.queries.claim import Claimed

# After barrier.inside has locked, as a statement of its own: its snapshot is younger than the locks.
# What ends sequences ends no talk: an answer by hand has no enrollment, and of the stops only an erasure holds it.
COMMIT_POINT = """
WITH passed AS (
    UPDATE send_ledger AS l
    SET state = 'in_data', committed_at = $4, sent_on = $5, inbox_sent_on = $6,
        lease_until = clock_timestamp() + make_interval(secs => $7::float8)
    WHERE l.send_id = $1
        AND l.fence = $2
        AND l.epoch = $3
        AND l.state = 'claimed'
        AND l.lease_until > clock_timestamp()
        AND EXISTS (SELECT FROM installation AS n WHERE n.epoch = l.epoch AND NOT n.paused)
        AND (l.kind <> 'campaign' OR EXISTS (
            SELECT FROM campaigns AS c
            JOIN enrollments AS e ON e.campaign_id = c.id
            WHERE c.id = l.campaign_id AND c.status = 'active' AND e.id = l.enrollment_id AND e.state = 'active'))
        AND NOT EXISTS (SELECT FROM suppression_list AS sl
            WHERE (sl.team_id = l.team_id OR sl.team_id IS NULL)
                AND (sl.value_hash = l.lead_key OR sl.email = $8 OR sl.email = split_part($8, '@', 2)))
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
    RETURNING l.send_id
),
shown AS (
    UPDATE emails AS m
    SET subject = $9, body_text = $10, body_html = $11, thread_id = $12, in_reply_to = $13, sent_on = $5,
        inbox_sent_on = $6, open_tracked = $14, click_tracked = $15
    FROM passed
    WHERE m.id = passed.send_id
)
SELECT count(*) FROM passed
"""


class Point(msgspec.Struct, frozen=True, kw_only=True):
    """What is written when a send passes the point of no return."""

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


async def pass_the_point(tx: Tx, send: Claimed, point: Point) -> bool:
    """T2: whether the final dot may go. False when the claim is lost, or person, campaign or everything is stopped."""
    count = await tx.fetchval(
        COMMIT_POINT,
        send.send_id,
        send.fence,
        send.epoch,
        point.at,
        point.sent_on,
        point.inbox_sent_on,
        point.lease_s,
        point.recipient,
        point.subject,
        point.text,
        point.html,
        point.thread_id,
        point.in_reply_to,
        point.open_tracked,
        point.click_tracked,
    )
    return count == 1
