"""T1: which sends a worker takes, and what it must know of them (reliability.md §2.1).

A claim is (fence, epoch), and every later statement about it names both. Caps, gap and "one in flight per inbox" are
decided in the statement that claims, under a lock per team, so that two claimers never pass them together.
"""

from collections.abc import Sequence
from datetime import datetime, time
from typing import Any, Literal
from uuid import UUID

import msgspec

from libs.planning.sequence import Step
from libs.schema.runtime.db import Tx, fetch_all
from services.sender.queries.answer import Answer, load_answers
from services.sender.queries.sends import Send
from services.sender.rules.breaker import Breaker

LOCK_TEAMS_WITH_DUE = """
SELECT t.team_id
FROM (
    SELECT DISTINCT team_id
    FROM send_ledger
    WHERE state = 'queued'
        AND not_before <= $1
) AS t
WHERE pg_try_advisory_xact_lock(hashtextextended('sender/claim/' || t.team_id, 0))
"""


async def lock_teams_with_due(tx: Tx, now: datetime) -> list[UUID]:
    """The teams with a due send that no other claimer is looking at now; they stay ours until the transaction ends."""
    return [record["team_id"] for record in await tx.fetch(LOCK_TEAMS_WITH_DUE, now)]


# A statement of its own after the locks: its snapshot sees what the last holder of each lock committed.
# Of a breaker that is not shut any more, so many mails pass as the kind allows: one of a host, `probes` of a good name.
# Answers by hand go before all campaign mail that is due, and nobody plans them anew: they are never too late.
CLAIM_DUE = """
WITH held AS MATERIALIZED (
    SELECT b.team_id, b.kind IN ('reputation', 'complaint') AS of_cold, b.scope, b.scope_key, b.retry_at,
        b.kind = 'complaint' OR b.retry_at > $2 AS shut
    FROM breaker AS b
    WHERE b.team_id = ANY ($1::uuid[])
        AND (b.state = 'open' OR (b.state = 'half-open' AND b.kind = 'reputation'))
),
few AS MATERIALIZED (
    SELECT h.scope_key AS campaign_id,
        CASE WHEN h.shut THEN 0 ELSE $10::int - (SELECT count(*) FROM send_ledger AS l
            WHERE l.campaign_id = h.scope_key::uuid AND (l.committed_at >= h.retry_at OR l.state = 'claimed')) END
            AS mails
    FROM held AS h
    WHERE h.scope = 'campaign'
),
room AS (
    SELECT i.id AS inbox_id, i.team_id, lower(i.smtp_host) AS smtp_host,
        NOT EXISTS (SELECT FROM held AS h
            WHERE h.of_cold AND h.scope = 'inbox' AND h.scope_key = i.id::text
                AND (h.shut OR (SELECT count(*) FROM send_ledger AS l
                    WHERE l.inbox_id = i.id AND l.kind = 'campaign' AND l.committed_at >= h.retry_at) >= $10::int))
            AS cold
    FROM inboxes AS i
    JOIN inbox_settings AS s ON s.inbox_id = i.id
    WHERE i.team_id = ANY ($1::uuid[])
        AND i.status = 'active'
        AND i.deleted_at IS NULL
        -- Tokens live in real time (design.md §9.1).
        AND CASE WHEN i.oauth_access_token IS NOT NULL THEN coalesce(i.oauth_expires_at > clock_timestamp(), true)
            ELSE i.provider = 'smtp' OR i.smtp_password IS NOT NULL END
        AND EXISTS (SELECT FROM send_ledger AS l
            WHERE l.inbox_id = i.id AND l.state = 'queued' AND l.not_before <= $2)
        AND NOT EXISTS (SELECT FROM send_ledger AS l WHERE l.inbox_id = i.id AND l.state IN ('claimed', 'in_data'))
        AND NOT EXISTS (SELECT FROM held AS h
            WHERE h.scope = 'inbox' AND h.scope_key = i.id::text AND h.shut AND NOT h.of_cold)
        AND NOT EXISTS (SELECT FROM held AS h
            WHERE h.team_id = i.team_id AND h.scope = 'smtp_host' AND h.scope_key = lower(i.smtp_host)
                AND (h.shut OR EXISTS (
                    SELECT FROM send_ledger AS l
                    JOIN inboxes AS o ON o.id = l.inbox_id
                    WHERE l.state IN ('claimed', 'in_data') AND l.team_id = h.team_id
                        AND lower(o.smtp_host) = h.scope_key)))
        AND NOT EXISTS (SELECT FROM send_ledger AS l
            WHERE l.inbox_id = i.id
                AND l.committed_at > $2 - make_interval(secs => greatest(s.min_delay_seconds, $6::int)))
        AND (SELECT count(*) FROM send_ledger AS l
            WHERE l.inbox_id = i.id
                AND l.committed_at >= date_trunc('day', $2, s.send_window_timezone)) < s.daily_send_limit
        AND (SELECT count(*) FROM send_ledger AS l
            WHERE l.inbox_id = i.id AND l.committed_at > $2 - INTERVAL '1 hour') < s.hourly_limit
        AND (SELECT count(*) FROM send_ledger AS l
            WHERE l.inbox_id = i.id AND l.committed_at > $2 - INTERVAL '24 hours') < $7::int
),
first_due AS (
    SELECT DISTINCT ON (l.inbox_id) l.send_id, l.team_id, l.kind = 'reply' AS by_hand, l.not_before, l.campaign_id,
        r.smtp_host
    FROM room AS r
    JOIN send_ledger AS l ON l.inbox_id = r.inbox_id
    LEFT JOIN campaigns AS c ON c.id = l.campaign_id
    WHERE l.state = 'queued'
        AND l.not_before <= $2
        AND (l.not_before > $8 OR l.kind = 'reply')
        AND (l.kind <> 'campaign' OR (c.status = 'active' AND r.cold))
        AND NOT EXISTS (SELECT FROM few AS f WHERE f.campaign_id = l.campaign_id::text AND f.mails <= 0)
    ORDER BY l.inbox_id, l.kind = 'reply' DESC, l.not_before, l.send_id
),
placed AS (
    SELECT f.send_id, f.team_id, f.by_hand, f.not_before, f.campaign_id, f.smtp_host,
        row_number() OVER (PARTITION BY f.team_id ORDER BY f.by_hand DESC, f.not_before, f.send_id) AS place,
        row_number() OVER (PARTITION BY f.campaign_id ORDER BY f.not_before, f.send_id) AS campaign_place,
        row_number() OVER (PARTITION BY f.team_id, f.smtp_host
            ORDER BY f.by_hand DESC, f.not_before, f.send_id) AS host_place
    FROM first_due AS f
),
budget AS MATERIALIZED (
    SELECT t.id AS team_id, t.daily_email_limit
        - (SELECT count(*) FROM send_ledger AS l
            WHERE l.team_id = t.id
                AND l.committed_at >= date_trunc('day', $2, coalesce(t.settings ->> 'timezone', 'UTC')))
        - (SELECT count(*) FROM send_ledger AS l WHERE l.team_id = t.id AND l.state = 'claimed') AS mails
    FROM teams AS t
    WHERE t.id = ANY ($1::uuid[])
),
allowed AS (
    SELECT p.send_id
    FROM placed AS p
    JOIN budget AS b ON b.team_id = p.team_id
    WHERE p.place <= b.mails
        AND NOT EXISTS (SELECT FROM few AS f WHERE f.campaign_id = p.campaign_id::text AND f.mails < p.campaign_place)
        AND (p.host_place = 1 OR NOT EXISTS (SELECT FROM held AS h
            WHERE h.team_id = p.team_id AND h.scope = 'smtp_host' AND h.scope_key = p.smtp_host))
    ORDER BY p.by_hand DESC, p.not_before, p.send_id
    LIMIT $3
),
locked AS (
    SELECT l.send_id
    FROM send_ledger AS l
    WHERE l.send_id IN (SELECT a.send_id FROM allowed AS a)
        AND l.state = 'queued'
    FOR UPDATE SKIP LOCKED
),
claimed AS (
    UPDATE send_ledger AS l
    SET state = 'claimed', attempt = l.attempt + 1, fence = nextval('fence_seq'), epoch = n.epoch,
        lease_until = clock_timestamp() + make_interval(secs => $4::float8), claimed_at = $2, claimed_by = $5
    FROM locked
    CROSS JOIN installation AS n
    WHERE l.send_id = locked.send_id
        AND NOT n.paused
    RETURNING l.send_id
),
shown AS (
    UPDATE emails AS m
    SET status = $9::text::email_status
    FROM claimed
    WHERE m.id = claimed.send_id
)
SELECT c.send_id FROM claimed AS c
"""


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What a claim needs to know that is in no table: the least gap and the rolling cap, and how late is too late."""

    least_gap_s: int
    rolling_limit: int
    not_before: datetime  # a campaign's slots that are due longer than this are planned anew
    most: int
    lease_s: float
    owner: int
    probes: int  # cold mails while a breaker is half-open


async def claim_due(tx: Tx, team_ids: Sequence[UUID], now: datetime, limits: Limits, email_status: str) -> list[UUID]:
    """T1: at most one due send of each inbox that may send now; call it only for teams that are locked."""
    records = await tx.fetch(
        CLAIM_DUE,
        team_ids,
        now,
        limits.most,
        limits.lease_s,
        limits.owner,
        limits.least_gap_s,
        limits.rolling_limit,
        limits.not_before,
        email_status,
        limits.probes,
    )
    return [record["send_id"] for record in records]


class SealedKey(msgspec.Struct, frozen=True, kw_only=True):
    """A domain's DKIM key, not yet opened."""

    domain_id: UUID
    domain: str
    selector: str
    sealed: str


class Claimed(Send, frozen=True, kw_only=True):
    """A claimed send with every fact that gates, rendering and delivery ask for; a missing lead was erased."""

    fence: int
    epoch: int
    previous_code: int | None
    message_id: str
    paused: bool
    campaign_status: str
    campaign_settings: dict[str, Any]
    enrollment_state: str
    away_until: datetime | None  # an absence that became known after the slot was given
    lead_archived: bool
    suppressed: str | None
    stopped: str | None
    email: str
    first_name: str | None
    last_name: str | None
    company: str | None
    title: str | None
    phone: str | None
    linkedin_url: str | None
    website: str | None
    city: str | None
    country: str | None
    timezone: str | None
    custom_fields: dict[str, Any]
    inbox_email: str
    from_name: str | None
    inbox_status: str
    inbox_archived: bool
    health_score: int | None
    smtp_host: str | None
    smtp_port: int | None
    smtp_tls: Literal["starttls", "implicit", "none"]
    smtp_username: str | None
    smtp_password: str | None
    oauth_access_token: str | None
    dkim: SealedKey | None
    send_days: list[str]
    send_window_start: time
    send_window_end: time
    send_window_timezone: str
    weekends_enabled: bool
    auto_throttle_enabled: bool
    team_zone: str
    company_name: str | None
    physical_address: str | None
    step: Step | None
    tracked_links: dict[str, UUID]
    replied: bool
    reply_intent: str | None
    opened: bool
    clicked: bool
    breakers: list[Breaker]  # that are not closed, count failures in a row, or wait for enough mails to judge by
    answer: Answer | None = None  # what a person wrote; recipient and bars are then its own


LOAD_CLAIMED = """
SELECT l.send_id, l.kind, l.team_id, l.lead_id, l.lead_key, l.inbox_id, l.campaign_id, l.enrollment_id, l.step_id,
    (st.step ->> 'step_number')::int AS step_number, m.variant_id, l.attempt, l.slot_at, l.not_before,
    l.committed_at, l.sent_on, l.inbox_sent_on, l.fence, l.epoch, l.smtp_code AS previous_code, l.message_id, n.paused,
    CASE WHEN l.kind <> 'campaign' THEN 'active' ELSE coalesce(c.status::text, 'archived') END AS campaign_status,
    coalesce(c.settings, '{}') AS campaign_settings,
    CASE WHEN l.kind <> 'campaign' THEN 'active' ELSE coalesce(e.state, 'stopped') END AS enrollment_state,
    CASE WHEN l.kind = 'campaign' AND e.held_gate = 'out_of_office' THEN e.held_until END AS away_until,
    (ld.id IS NULL OR ld.deleted_at IS NOT NULL) AS lead_archived,
    (SELECT sl.reason FROM suppression_list AS sl
        WHERE (sl.team_id = l.team_id OR sl.team_id IS NULL)
            AND (sl.value_hash = l.lead_key OR sl.email = ld.email OR sl.email = split_part(ld.email, '@', 2))
        LIMIT 1) AS suppressed,
    (SELECT ls.reason FROM lead_stop AS ls
        WHERE ls.team_id = l.team_id AND ls.lead_key = l.lead_key
            AND ls.stopped_at >= e.enrolled_at
            AND (ls.campaign_id IS NULL OR ls.campaign_id = l.campaign_id)
            AND (ls.reason <> 'replied' OR coalesce((c.settings ->> 'stop_on_reply')::boolean, true))
            AND (ls.reason NOT IN ('hard_bounce', 'soft_bounce')
                OR coalesce((c.settings ->> 'stop_on_bounce')::boolean, true))
        ORDER BY ls.stopped_at
        LIMIT 1) AS stopped,
    coalesce(ld.email, '') AS email, ld.first_name, ld.last_name, ld.company, ld.title, ld.phone, ld.linkedin_url,
    ld.website, ld.city, ld.country, ld.timezone, coalesce(ld.custom_fields, '{}') AS custom_fields,
    i.email AS inbox_email, i.from_name, i.status::text AS inbox_status, i.deleted_at IS NOT NULL AS inbox_archived,
    CASE WHEN i.health_known THEN i.health_score END AS health_score,
    i.smtp_host, i.smtp_port, i.smtp_tls, i.smtp_username, i.smtp_password, i.oauth_access_token,
    CASE WHEN i.provider = 'smtp' AND d.dkim_selector IS NOT NULL AND d.dkim_private_key IS NOT NULL
        THEN jsonb_build_object('domain_id', d.id, 'domain', d.domain, 'selector', d.dkim_selector,
            'sealed', d.dkim_private_key) END AS dkim,
    s.send_days, s.send_window_start, s.send_window_end, s.send_window_timezone, s.weekends_enabled,
    s.auto_throttle_enabled,
    coalesce(t.settings ->> 'timezone', 'UTC') AS team_zone, t.company_name, t.physical_address,
    st.step,
    coalesce((SELECT jsonb_object_agg(k.url, k.id)
        FROM tracked_link AS k
        WHERE k.campaign_id = c.id AND c.settings -> 'track_clicks' = 'true'), '{}') AS tracked_links,
    coalesce(answer.human, false) AS replied, answer.intent AS reply_intent,
    coalesce(before.opened, false) AS opened, coalesce(before.clicked, false) AS clicked,
    coalesce((SELECT jsonb_agg(jsonb_build_object('kind', b.kind, 'scope', b.scope, 'key', b.scope_key,
            'state', b.state, 'failures', b.failures, 'retry_at', b.retry_at))
        FROM breaker AS b
        WHERE b.team_id = l.team_id
            AND (b.scope, b.scope_key) IN (('inbox', l.inbox_id::text), ('smtp_host', lower(i.smtp_host)),
                ('campaign', l.campaign_id::text))
            AND (b.state <> 'closed' OR (b.failures > 0 AND b.kind IN ('transport', 'auth'))
                OR (b.failures >= b.threshold AND b.kind = 'reputation'))), '[]') AS breakers
FROM send_ledger AS l
CROSS JOIN installation AS n
JOIN teams AS t ON t.id = l.team_id
JOIN inboxes AS i ON i.id = l.inbox_id
JOIN inbox_settings AS s ON s.inbox_id = l.inbox_id
LEFT JOIN domains AS d ON d.id = i.domain_id AND d.domain = split_part(i.email, '@', 2)
LEFT JOIN emails AS m ON m.id = l.send_id
LEFT JOIN campaigns AS c ON c.id = l.campaign_id
LEFT JOIN enrollments AS e ON e.id = l.enrollment_id
LEFT JOIN leads AS ld ON ld.id = l.lead_id
LEFT JOIN sequence_version AS v ON v.campaign_id = e.campaign_id AND v.version = e.sequence_version
LEFT JOIN LATERAL (
    SELECT step
    FROM jsonb_array_elements(v.steps) AS step
    WHERE step ->> 'step_id' = l.step_id::text
) AS st ON true
-- Both only where the step's conditions ask; libs/planning/queries.py reads the same facts for the planner.
LEFT JOIN LATERAL (
    SELECT b.open_count > 0 AS opened, b.click_count > 0 AS clicked
    FROM emails AS b
    WHERE st.step -> 'conditions' @? '$[*] ? (@.action != "continue")'
        AND b.lead_id = l.lead_id AND b.enrollment_id = l.enrollment_id AND b.sent_at IS NOT NULL
    ORDER BY b.sent_at DESC
    LIMIT 1
) AS before ON true
LEFT JOIN LATERAL (
    SELECT r.intent::text AS intent, coalesce(r.intent NOT IN ('out_of_office', 'auto_reply', 'bounce'), true) AS human
    FROM replies AS r
    WHERE st.step -> 'conditions' @? '$[*] ? (@.action != "continue")'
        AND r.lead_id = l.lead_id AND r.received_at >= e.enrolled_at
        AND (r.campaign_id = l.campaign_id OR r.campaign_id IS NULL)
    ORDER BY human DESC, r.received_at DESC
    LIMIT 1
) AS answer ON true
WHERE l.send_id = ANY ($1::uuid[])
"""


async def load_claimed(tx: Tx, send_ids: Sequence[UUID]) -> list[Claimed]:
    """The claimed sends with their facts."""
    claimed = await fetch_all(tx, Claimed, LOAD_CLAIMED, send_ids)
    by_hand = [send.send_id for send in claimed if send.kind == "reply"]
    answers = await load_answers(tx, by_hand) if by_hand else {}
    return [_by_hand(send, answers[send.send_id]) if send.send_id in answers else send for send in claimed]


def _by_hand(send: Claimed, answer: Answer) -> Claimed:
    """An answer goes to who wrote, whatever became of the lead's row; only an erased person's is no more."""
    return msgspec.structs.replace(
        send,
        email=answer.recipient,
        suppressed=answer.suppressed,
        lead_archived=False,
        stopped="erased" if answer.erased else None,
        answer=answer,
    )


class Earlier(msgspec.Struct, frozen=True, kw_only=True):
    """A mail that the same enrollment has sent before."""

    enrollment_id: UUID
    message_id: str  # the provider's own, where it rewrote ours
    thread_id: str | None
    subject: str


EARLIER_MAILS = """
SELECT m.enrollment_id, coalesce(l.provider_message_id, l.message_id) AS message_id, m.thread_id, m.subject
FROM emails AS m
JOIN send_ledger AS l ON l.send_id = m.id
WHERE m.lead_id = ANY ($1::uuid[])
    AND m.enrollment_id = ANY ($2::uuid[])
    AND l.state = 'accepted'
ORDER BY l.committed_at
"""


async def earlier_mails(tx: Tx, lead_ids: Sequence[UUID], enrollment_ids: Sequence[UUID]) -> list[Earlier]:
    """What these enrollments have sent, oldest first: the threads that a follow-up may go on in."""
    return await fetch_all(tx, Earlier, EARLIER_MAILS, lead_ids, enrollment_ids)
