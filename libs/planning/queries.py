"""How the facts of a planning round are read: a fixed number of statements, however many leads fall due.

The sender and a request of the API may run them all, each under its own role. Never locks and never writes.
"""

from collections.abc import Collection, Sequence
from datetime import datetime
from uuid import UUID

from libs.planning.facts import DueLead, PlannedInbox, SequenceVersion, TeamDay
from libs.planning.limits.budget import RAMP_MEMORY_DAYS, RAMP_STEP, RESTED
from libs.planning.limits.domains import company_domain
from libs.planning.settings import team_rules
from libs.schema.runtime.db import Tx, fetch_all, fetch_one

CHANGED_SCOPES = """
SELECT DISTINCT r.scope_id
FROM replan AS r
WHERE r.team_id = $1
"""


async def changed_scopes(tx: Tx, team_id: UUID) -> list[UUID]:
    """The campaigns, inboxes or the team itself whose queued mails will lose their slots, since they were changed."""
    return [record["scope_id"] for record in await tx.fetch(CHANGED_SCOPES, team_id)]


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
    ld.country, ld.timezone, ld.custom_fields, rd.provider,
    (SELECT max(CASE WHEN o.committed_at > o.not_before + INTERVAL '1 minute' THEN o.committed_at ELSE o.not_before END)
        FROM send_ledger AS o
        WHERE o.team_id = e.team_id AND o.lead_key = e.lead_key AND o.kind = 'campaign'
            AND o.campaign_id <> e.campaign_id
            AND o.state IN ('queued', 'claimed', 'in_data', 'accepted', 'unknown')) AS contacted_at,
    before.subject AS thread_subject, coalesce(before.opened, false) AS opened,
    coalesce(before.clicked, false) AS clicked, answer.intent AS reply_intent, coalesce(answer.human, false) AS replied
FROM unnest($2::uuid[]) WITH ORDINALITY AS u(id, place)
JOIN enrollments AS e ON e.id = u.id
JOIN campaigns AS c ON c.id = e.campaign_id
JOIN leads AS ld ON ld.id = e.lead_id
LEFT JOIN recipient_domain AS rd ON rd.domain = lower(split_part(ld.email, '@', 2))
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
    t.physical_address, t.settings, coalesce(u.days, '{}') AS days, coalesce(u.counts, '{}') AS counts
FROM teams AS t
LEFT JOIN LATERAL (
    SELECT array_agg(d.day) AS days, array_agg(d.mails) AS counts
    FROM (
        SELECT (s.at AT TIME ZONE coalesce(t.settings ->> 'timezone', 'UTC'))::date AS day, count(*)::int AS mails
        FROM (
            SELECT CASE WHEN l.committed_at > l.not_before + INTERVAL '1 minute' THEN l.committed_at
                ELSE l.not_before END AS at
            FROM send_ledger AS l
            WHERE l.team_id = t.id AND l.committed_at > $2::timestamptz - INTERVAL '26 hours'
            UNION ALL
            SELECT l.not_before
            FROM send_ledger AS l
            JOIN inboxes AS i ON i.id = l.inbox_id
            WHERE i.team_id = t.id AND (l.state = 'claimed' OR (l.state = 'queued'
                AND (l.kind <> 'campaign' OR NOT ARRAY[l.campaign_id, l.inbox_id, l.team_id] && $3::uuid[])))
        ) AS s
        GROUP BY 1
    ) AS d
) AS u ON true
WHERE t.id = $1
"""


async def team_day(tx: Tx, team_id: UUID, now: datetime, changed: Sequence[UUID] = ()) -> TeamDay:
    """The team as the planner sees it, or will see it when the slots of `changed` scopes are free.

    Raises:
        LookupError: there is no such team.

    """
    team = await fetch_one(tx, TeamDay, TEAM_DAYS, team_id, now, changed)
    if team is None:
        raise LookupError(f"no team {team_id}")
    return team


# A mail that went within a minute of its second counts as gone in that second: so the plan stays exact, and late
# sending shows. Days with campaign mail are found by hopping from one to the next, not by reading every mail. Tokens
# live in real time (design.md §9.1).
PLANNED_INBOXES = """
SELECT i.id, i.email, i.from_name, i.provider::text AS provider,
    CASE WHEN i.status = 'active' AND i.oauth_expires_at <= clock_timestamp() THEN 'token_expired'
        WHEN i.status = 'error' AND coalesce(i.imap_refused, i.imap_unreachable_since::text) IS NOT NULL
            THEN 'replies_unread'
        ELSE i.status::text END AS status,
    i.deleted_at IS NOT NULL AS archived, CASE WHEN i.health_known THEN i.health_score END AS health_score,
    b.kind AS circuit, b.retry_at AS circuit_retry_at, s.daily_send_limit, s.hourly_limit, s.min_delay_seconds,
    s.max_delay_seconds, s.send_days, s.send_window_start, s.send_window_end, s.send_window_timezone,
    s.weekends_enabled, s.esp_matching_enabled, s.auto_throttle_enabled,
    EXISTS (SELECT FROM breaker AS br
        WHERE br.team_id = i.team_id AND br.kind = 'complaint' AND br.scope = 'inbox' AND br.scope_key = i.id::text
            AND br.state = 'half-open' AND br.retry_at > $2) AS halved,
    ARRAY(SELECT ci.campaign_id FROM campaign_inboxes AS ci WHERE ci.inbox_id = i.id) AS campaign_ids,
    coalesce(mails.busy, '{}') AS busy, coalesce(mails.not_cold, '{}') AS not_cold,
    CASE WHEN s.auto_throttle_enabled THEN ARRAY(
        WITH RECURSIVE sent AS (
            (SELECT (l.committed_at AT TIME ZONE s.send_window_timezone)::date AS day, 1 AS run
                FROM send_ledger AS l
                WHERE l.inbox_id = i.id AND l.kind = 'campaign'
                    AND l.committed_at > $2::timestamptz - make_interval(days => $5)
                ORDER BY l.committed_at DESC
                LIMIT 1)
            UNION ALL
            SELECT p.day, CASE WHEN sent.day - p.day > $6::int THEN 1 ELSE sent.run + 1 END
            FROM sent
            CROSS JOIN LATERAL (
                SELECT (l.committed_at AT TIME ZONE s.send_window_timezone)::date AS day
                FROM send_ledger AS l
                WHERE l.inbox_id = i.id AND l.kind = 'campaign'
                    AND l.committed_at > $2::timestamptz - make_interval(days => $5)
                    AND l.committed_at < sent.day::timestamp AT TIME ZONE s.send_window_timezone
                ORDER BY l.committed_at DESC
                LIMIT 1
            ) AS p
            WHERE sent.run <= s.daily_send_limit / $7::int
        )
        SELECT sent.day FROM sent
        UNION
        SELECT (l.not_before AT TIME ZONE s.send_window_timezone)::date
        FROM send_ledger AS l
        WHERE l.inbox_id = i.id AND l.kind = 'campaign' AND l.state = 'queued'
            AND NOT ARRAY[l.campaign_id, l.inbox_id, l.team_id] && $8::uuid[]
    ) ELSE '{}' END AS sending_days
FROM inboxes AS i
JOIN inbox_settings AS s ON s.inbox_id = i.id
LEFT JOIN LATERAL (
    SELECT array_agg(m.at) AS busy, array_agg(m.at) FILTER (WHERE m.kind <> 'campaign') AS not_cold
    FROM (
        SELECT l.kind, CASE WHEN l.committed_at > l.not_before + INTERVAL '1 minute' THEN l.committed_at
            ELSE l.not_before END AS at
        FROM send_ledger AS l
        WHERE l.inbox_id = i.id AND l.committed_at > $2::timestamptz - INTERVAL '26 hours'
        UNION ALL
        SELECT l.kind, l.not_before
        FROM send_ledger AS l
        WHERE l.inbox_id = i.id AND l.state = 'queued'
            AND (l.kind <> 'campaign' OR NOT ARRAY[l.campaign_id, l.inbox_id, l.team_id] && $8::uuid[])
        UNION ALL
        SELECT l.kind, l.not_before
        FROM send_ledger AS l
        WHERE l.inbox_id = i.id AND l.state = 'claimed'
    ) AS m
) AS mails ON true
LEFT JOIN LATERAL (
    SELECT CASE br.scope WHEN 'inbox' THEN br.kind ELSE br.scope END AS kind,
        CASE WHEN br.kind <> 'complaint' THEN br.retry_at END AS retry_at
    FROM breaker AS br
    WHERE br.team_id = i.team_id
        AND (br.scope, br.scope_key) IN (('inbox', i.id::text), ('smtp_host', lower(i.smtp_host)))
        AND br.state = 'open' AND (br.kind = 'complaint' OR br.retry_at > $2)
    ORDER BY br.kind = 'complaint' DESC, br.retry_at DESC
    LIMIT 1
) AS b ON true
WHERE i.team_id = $1
    AND ($3::uuid[] IS NULL OR i.id = ANY ($4::uuid[])
        OR EXISTS (SELECT FROM campaign_inboxes AS ci WHERE ci.inbox_id = i.id AND ci.campaign_id = ANY ($3)))
ORDER BY i.id
"""


async def planned_inboxes(  # noqa: PLR0913 - whose, for whom, when
    tx: Tx,
    team_id: UUID,
    now: datetime,
    leads: Sequence[DueLead] | None = None,
    *,
    besides: Sequence[UUID] = (),
    changed: Sequence[UUID] = (),
) -> list[PlannedInbox]:
    """The inboxes that these leads may get, and others, or all of the team; also those that may not send.

    Without the slots of `changed` scopes, which will be free.
    """
    campaigns = None if leads is None else list({lead.campaign_id for lead in leads})
    own = [*{lead.inbox_id for lead in leads or () if lead.inbox_id}, *besides]
    ramp = RAMP_MEMORY_DAYS, RESTED.days, RAMP_STEP
    return await fetch_all(tx, PlannedInbox, PLANNED_INBOXES, team_id, now, campaigns, own, *ramp, changed)


# A mail of last week may still go today, after deferrals; before it is queued its hour is the planned one.
DOMAIN_MAILS = """
SELECT d.domain, l.inbox_id, CASE WHEN l.committed_at > l.not_before + INTERVAL '1 minute' THEN l.committed_at
    ELSE l.not_before END AS at
FROM unnest($2::text[]) AS d(domain)
JOIN emails AS m ON m.team_id = $1 AND lower(split_part(m.to_email, '@', 2)) = d.domain
    AND m.scheduled_at > $3::timestamptz - INTERVAL '7 days'
JOIN send_ledger AS l ON l.send_id = m.id
WHERE l.kind = 'campaign'
    AND (l.committed_at > $3::timestamptz - INTERVAL '26 hours' OR l.state = 'claimed'
        OR (l.state = 'queued' AND NOT ARRAY[l.campaign_id, l.inbox_id, l.team_id] && $4::uuid[]))
ORDER BY at, l.inbox_id
"""


async def domain_mails(  # noqa: PLR0913, PLR0917 - whose, whom, when
    tx: Tx, team: TeamDay, team_id: UUID, leads: Sequence[DueLead], now: datetime, changed: Sequence[UUID] = ()
) -> dict[str, list[tuple[UUID, datetime]]]:
    """What the team has sent of late, or will send, to these leads' companies; empty when no limit asks for it.

    Without the slots of `changed` scopes, which will be free.
    """
    rules = team_rules(team.settings)
    wanted = {domain for lead in leads if (domain := company_domain(lead.email))}
    if not wanted or not (rules.domain_daily_limit or rules.domain_gap_minutes):
        return {}
    mails: dict[str, list[tuple[UUID, datetime]]] = {}
    for record in await tx.fetch(DOMAIN_MAILS, team_id, sorted(wanted), now, changed):
        mails.setdefault(record["domain"], []).append((record["inbox_id"], record["at"]))
    return mails


# Who has won, has won against the arms that were tested: in a version whose step has another one, the test runs again.
SEQUENCES = """
SELECT v.campaign_id, v.version, c.settings, v.steps,
    ARRAY(SELECT sv.id
        FROM jsonb_array_elements(v.steps) AS st(step)
        CROSS JOIN LATERAL (
            SELECT array_agg((arm ->> 'variant_id')::uuid) AS ids
            FROM jsonb_array_elements(coalesce(st.step -> 'variants', '[]')) AS arm
        ) AS arms
        JOIN sequence_variants AS sv ON sv.id = ANY (arms.ids) AND sv.won_against @> arms.ids) AS winners,
    (SELECT br.retry_at FROM breaker AS br
        WHERE br.team_id = c.team_id AND br.kind = 'reputation' AND br.scope = 'campaign'
            AND br.scope_key = c.id::text AND br.state = 'open') AS circuit_until
FROM sequence_version AS v
JOIN campaigns AS c ON c.id = v.campaign_id
WHERE c.team_id = $1
    AND (v.campaign_id, v.version) IN (SELECT u.campaign_id, u.version
        FROM unnest($2::uuid[], $3::int[]) AS u(campaign_id, version))
"""


async def sequences(tx: Tx, team_id: UUID, leads: Sequence[DueLead]) -> list[SequenceVersion]:
    """The versions that these leads are in."""
    return await versions(tx, team_id, {(lead.campaign_id, lead.sequence_version) for lead in leads})


async def versions(tx: Tx, team_id: UUID, wanted: Collection[tuple[UUID, int]]) -> list[SequenceVersion]:
    """These versions, each named by its campaign and its number."""
    return await fetch_all(
        tx,
        SequenceVersion,
        SEQUENCES,
        team_id,
        [campaign for campaign, _ in wanted],
        [version for _, version in wanted],
    )
