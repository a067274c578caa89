"""How the facts of a planning round are read: a fixed number of statements, however many leads fall due.

The sender and a request of the API may run them all, each under its own role. Never locks and never writes.
"""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from libs.planning.facts import DueLead, PlannedInbox, SequenceVersion, TeamDay
from libs.schema.runtime.db import Tx, fetch_all, fetch_one

LEAD_FACTS = """
SELECT e.id AS enrollment_id, e.campaign_id, e.lead_id, e.lead_key, e.sequence_version, e.step_number,
    coalesce(e.next_at, e.enrolled_at) AS next_at,
    e.inbox_id, e.held_gate, e.held_until, ld.deleted_at IS NOT NULL AS archived,
    (SELECT sl.reason FROM suppression_list AS sl
        WHERE (sl.team_id = e.team_id OR sl.team_id IS NULL)
            AND (sl.value_hash = e.lead_key OR sl.email = ld.email OR sl.email = split_part(ld.email, '@', 2))
        LIMIT 1) AS suppressed,
    (SELECT ls.reason FROM lead_stop AS ls
        WHERE ls.team_id = e.team_id AND ls.lead_key = e.lead_key
            AND ls.stopped_at >= e.enrolled_at
            AND (ls.campaign_id IS NULL OR ls.campaign_id = e.campaign_id)
            AND (ls.reason <> 'replied' OR coalesce((c.settings ->> 'stop_on_reply')::boolean, true))
            AND (ls.reason NOT IN ('hard_bounce', 'soft_bounce')
                OR coalesce((c.settings ->> 'stop_on_bounce')::boolean, true))
        ORDER BY ls.stopped_at
        LIMIT 1) AS stopped,
    ld.email, ld.first_name, ld.last_name, ld.company, ld.title, ld.phone, ld.linkedin_url, ld.website, ld.city,
    ld.country, ld.custom_fields, before.subject AS thread_subject, coalesce(before.opened, false) AS opened,
    coalesce(before.clicked, false) AS clicked, answer.intent AS reply_intent, coalesce(answer.human, false) AS replied
FROM unnest($2::uuid[]) WITH ORDINALITY AS u(id, place)
JOIN enrollments AS e ON e.id = u.id
JOIN campaigns AS c ON c.id = e.campaign_id
JOIN leads AS ld ON ld.id = e.lead_id
LEFT JOIN LATERAL (
    SELECT m.subject, m.open_count > 0 AS opened, m.click_count > 0 AS clicked
    FROM emails AS m
    WHERE m.lead_id = e.lead_id AND m.enrollment_id = e.id AND m.sent_at IS NOT NULL
    ORDER BY m.sent_at DESC
    LIMIT 1
) AS before ON true
LEFT JOIN LATERAL (
    SELECT r.intent::text AS intent, coalesce(r.intent NOT IN ('out_of_office', 'auto_reply', 'bounce'), true) AS human
    FROM replies AS r
    WHERE r.lead_id = e.lead_id AND r.received_at >= e.enrolled_at
        AND (r.campaign_id = e.campaign_id OR r.campaign_id IS NULL)
    ORDER BY human DESC, r.received_at DESC
    LIMIT 1
) AS answer ON true
WHERE e.team_id = $1
ORDER BY u.place
"""


async def lead_facts(tx: Tx, team_id: UUID, enrollment_ids: Sequence[UUID]) -> list[DueLead]:
    """These enrollments with all that gates and templates ask for, in the order of the ids."""
    return await fetch_all(tx, DueLead, LEAD_FACTS, team_id, enrollment_ids)


TEAM_DAYS = """
SELECT coalesce(t.settings ->> 'timezone', 'UTC') AS zone, t.daily_email_limit AS daily_limit, t.company_name,
    t.physical_address, coalesce(u.days, '{}') AS days, coalesce(u.counts, '{}') AS counts
FROM teams AS t
LEFT JOIN LATERAL (
    SELECT array_agg(d.day) AS days, array_agg(d.mails) AS counts
    FROM (
        SELECT (s.at AT TIME ZONE coalesce(t.settings ->> 'timezone', 'UTC'))::date AS day, count(*)::int AS mails
        FROM (
            SELECT l.committed_at AS at
            FROM send_ledger AS l
            WHERE l.team_id = t.id AND l.committed_at > $2::timestamptz - INTERVAL '26 hours'
            UNION ALL
            SELECT l.not_before
            FROM send_ledger AS l
            JOIN inboxes AS i ON i.id = l.inbox_id
            WHERE i.team_id = t.id AND l.state IN ('queued', 'claimed')
        ) AS s
        GROUP BY 1
    ) AS d
) AS u ON true
WHERE t.id = $1
"""


async def team_day(tx: Tx, team_id: UUID, now: datetime) -> TeamDay:
    """The team as the planner sees it.

    Raises:
        LookupError: there is no such team.

    """
    team = await fetch_one(tx, TeamDay, TEAM_DAYS, team_id, now)
    if team is None:
        raise LookupError(f"no team {team_id}")
    return team


PLANNED_INBOXES = """
SELECT i.id, i.email, i.from_name, i.status::text AS status, i.deleted_at IS NOT NULL AS archived,
    CASE WHEN i.health_known THEN i.health_score END AS health_score, b.kind AS circuit, b.retry_at AS circuit_retry_at,
    s.daily_send_limit, s.hourly_limit, s.min_delay_seconds, s.max_delay_seconds, s.send_days, s.send_window_start,
    s.send_window_end, s.send_window_timezone, s.weekends_enabled,
    ARRAY(SELECT ci.campaign_id FROM campaign_inboxes AS ci WHERE ci.inbox_id = i.id) AS campaign_ids,
    ARRAY(
        SELECT l.committed_at
        FROM send_ledger AS l
        WHERE l.inbox_id = i.id AND l.committed_at > $2 - INTERVAL '26 hours'
        UNION ALL
        SELECT l.not_before
        FROM send_ledger AS l
        WHERE l.inbox_id = i.id AND l.state = 'queued'
        UNION ALL
        SELECT l.not_before
        FROM send_ledger AS l
        WHERE l.inbox_id = i.id AND l.state = 'claimed'
    ) AS busy
FROM inboxes AS i
JOIN inbox_settings AS s ON s.inbox_id = i.id
LEFT JOIN LATERAL (
    SELECT br.kind, br.retry_at
    FROM breaker AS br
    WHERE br.team_id = i.team_id AND br.scope = 'inbox' AND br.scope_key = i.id::text
        AND br.state = 'open' AND br.retry_at > $2
    ORDER BY br.retry_at DESC
    LIMIT 1
) AS b ON true
WHERE i.team_id = $1
ORDER BY i.id
"""


async def planned_inboxes(tx: Tx, team_id: UUID, now: datetime) -> list[PlannedInbox]:
    """All inboxes of the team, also those that may not send: their campaigns' leads are told why."""
    return await fetch_all(tx, PlannedInbox, PLANNED_INBOXES, team_id, now)


SEQUENCES = """
SELECT v.campaign_id, v.version, c.settings, v.steps,
    ARRAY(SELECT sv.id FROM sequences AS q JOIN sequence_variants AS sv ON sv.sequence_id = q.id
        WHERE q.campaign_id = c.id AND sv.is_winner) AS winners
FROM sequence_version AS v
JOIN campaigns AS c ON c.id = v.campaign_id
WHERE c.team_id = $1
    AND (v.campaign_id, v.version) IN (SELECT u.campaign_id, u.version
        FROM unnest($2::uuid[], $3::int[]) AS u(campaign_id, version))
"""


async def sequences(tx: Tx, team_id: UUID, leads: Sequence[DueLead]) -> list[SequenceVersion]:
    """The versions that these leads are in."""
    wanted = list({(lead.campaign_id, lead.sequence_version) for lead in leads})
    return await fetch_all(
        tx,
        SequenceVersion,
        SEQUENCES,
        team_id,
        [campaign for campaign, _ in wanted],
        [version for _, version in wanted],
    )
