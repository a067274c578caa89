-- owner: sender (sequence_version: api; lead_stop: api, sender and replies insert)
-- why:   one truth about who is in which sequence and what has been sent (design.md §9.2, reliability.md §2.1)
-- locks: none but on new objects

-- What a campaign's steps said when they were last saved; enrolled leads keep the version they started with.
-- steps: [{"step_id", "step_number", "delay_days", "delay_hours", "subject", "body", "conditions",
--          "variants": [{"variant_id", "variant_index", "weight", "subject", "body"}]}], ordered by step_number.
CREATE TABLE sequence_version (
    id UUID PRIMARY KEY,
    team_id UUID NOT NULL,
    campaign_id UUID NOT NULL,
    version INTEGER NOT NULL CHECK (version > 0),
    steps JSONB NOT NULL,
    created_at TIMESTAMPTZ NOT NULL,
    UNIQUE (campaign_id, version),
    FOREIGN KEY (team_id, campaign_id) REFERENCES campaigns(team_id, id) ON DELETE CASCADE
);

-- One row per campaign and lead: the truth behind leads.current_*.
CREATE TABLE enrollments (
    id UUID PRIMARY KEY,
    team_id UUID NOT NULL,
    campaign_id UUID NOT NULL,
    lead_id UUID NOT NULL,
    lead_key BYTEA NOT NULL,
    -- held = cannot go on without a person (no inbox left, template cannot be rendered); active may wait for a gate.
    state TEXT NOT NULL DEFAULT 'active' CHECK (state IN ('active', 'finished', 'stopped', 'failed', 'held')),
    -- Why it is not active any more: replied, hard_bounce, unsubscribe, suppressed, ...
    ended_reason TEXT,
    sequence_version INTEGER NOT NULL,
    -- The step that goes next (or went last, once ended).
    step_number INTEGER NOT NULL CHECK (step_number > 0),
    -- When that step falls due, business time; NULL while its mail is planned, under way or unknown.
    next_at TIMESTAMPTZ,
    -- Follow-ups stay with the inbox and in the thread of step 1.
    inbox_id UUID,
    variant_id UUID,
    -- The gate that holds it back just now; lead.held is told only when it changes.
    held_gate TEXT,
    held_until TIMESTAMPTZ,
    enrolled_at TIMESTAMPTZ NOT NULL,
    ended_at TIMESTAMPTZ,
    UNIQUE (campaign_id, lead_id),
    UNIQUE (campaign_id, lead_key),
    CHECK ((state IN ('active', 'held')) = (ended_at IS NULL)),
    FOREIGN KEY (team_id, campaign_id) REFERENCES campaigns(team_id, id) ON DELETE CASCADE,
    FOREIGN KEY (team_id, lead_id) REFERENCES leads(team_id, id) ON DELETE CASCADE
);
CREATE INDEX idx_enrollments_due ON enrollments(campaign_id, next_at) WHERE state = 'active' AND next_at IS NOT NULL;
CREATE INDEX idx_enrollments_person ON enrollments(team_id, lead_key) WHERE state IN ('active', 'held');
CREATE INDEX idx_enrollments_lead ON enrollments(team_id, lead_id);

CREATE SEQUENCE fence_seq;

-- At most one message per (campaign, step, person), whatever happens to the lead's row: no foreign keys on purpose.
CREATE TABLE send_ledger (
    -- uuid5 of kind and key (libs/schema/ids.py); the same id as emails.id where there is an emails row.
    send_id UUID PRIMARY KEY,
    kind TEXT NOT NULL CHECK (kind IN ('campaign', 'reply', 'test', 'warmup')),
    team_id UUID NOT NULL,
    campaign_id UUID,
    step_id UUID,
    lead_id UUID,
    lead_key BYTEA NOT NULL,
    enrollment_id UUID,
    inbox_id UUID NOT NULL,
    message_id TEXT NOT NULL UNIQUE,
    state TEXT NOT NULL DEFAULT 'queued' CHECK (state IN
        ('queued', 'claimed', 'in_data', 'accepted', 'rejected', 'unknown', 'suppressed', 'stopped', 'expired')),
    attempt INTEGER NOT NULL DEFAULT 0,
    -- A claim is (fence, epoch); every later step of it names both.
    fence BIGINT,
    epoch BIGINT,
    lease_until TIMESTAMPTZ,              -- real time (clock_timestamp())
    claimed_by BIGINT,                    -- the advisory lock that the claiming process holds while it lives (design.md §9.14)
    -- Business time from here on.
    slot_at TIMESTAMPTZ NOT NULL,         -- the planned second; emails.scheduled_at shows it
    not_before TIMESTAMPTZ NOT NULL,      -- slot_at, or later after a deferral
    claimed_at TIMESTAMPTZ,
    committed_at TIMESTAMPTZ,             -- T2, the point of no return; caps count from here
    settled_at TIMESTAMPTZ,               -- T3, or when an unknown end was settled
    next_settle_at TIMESTAMPTZ,           -- unknown: when to look again
    settle_round INTEGER NOT NULL DEFAULT 0,
    smtp_code INTEGER,
    smtp_status TEXT,                     -- RFC 3463 enhanced status code
    smtp_reply TEXT,                      -- addresses masked
    remote_queue_id TEXT,
    provider_message_id TEXT,             -- where the provider rewrote ours
    resolved_by TEXT CHECK (resolved_by IN ('smtp', 'sent_folder', 'dsn', 'reply', 'hit', 'expired', 'operator')),
    sent_on DATE,                         -- day of committed_at in the team's zone
    inbox_sent_on DATE,                   -- the same in the inbox's zone
    created_at TIMESTAMPTZ NOT NULL,
    CHECK (kind <> 'campaign' OR (campaign_id IS NOT NULL AND step_id IS NOT NULL))
) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.01);
CREATE UNIQUE INDEX idx_send_ledger_once ON send_ledger(campaign_id, step_id, lead_key) WHERE kind = 'campaign';
-- One message in flight per inbox.
CREATE UNIQUE INDEX idx_send_ledger_in_flight ON send_ledger(inbox_id) WHERE state IN ('claimed', 'in_data');
CREATE INDEX idx_send_ledger_due ON send_ledger(inbox_id, not_before) WHERE state = 'queued';
CREATE INDEX idx_send_ledger_lease ON send_ledger(lease_until) WHERE state IN ('claimed', 'in_data');
CREATE INDEX idx_send_ledger_unknown ON send_ledger(next_settle_at) WHERE state = 'unknown';
-- Caps: what an inbox has sent lately.
CREATE INDEX idx_send_ledger_caps ON send_ledger(inbox_id, committed_at) WHERE committed_at IS NOT NULL;
CREATE INDEX idx_send_ledger_team_day ON send_ledger(team_id, committed_at) WHERE committed_at IS NOT NULL;
-- A reply to the id that the provider gave.
CREATE INDEX idx_send_ledger_provider_id ON send_ledger(team_id, provider_message_id) WHERE provider_message_id IS NOT NULL;
CREATE INDEX idx_send_ledger_person ON send_ledger(team_id, lead_key);

-- Stops are rows, inserted under the barrier lock in the transaction of the event that says why (design.md §9.4).
CREATE TABLE lead_stop (
    id UUID PRIMARY KEY,
    team_id UUID NOT NULL REFERENCES teams(id) ON DELETE CASCADE,
    lead_key BYTEA NOT NULL,
    campaign_id UUID,                     -- NULL: every sequence the person was in at stopped_at
    reason TEXT NOT NULL CHECK (reason IN ('replied', 'hard_bounce', 'soft_bounce', 'unsubscribe', 'complaint', 'left_company',
        'suppressed', 'marked', 'erased')),
    event_id UUID NOT NULL,
    stopped_at TIMESTAMPTZ NOT NULL,
    UNIQUE NULLS NOT DISTINCT (event_id, lead_key, campaign_id)
);
CREATE INDEX idx_lead_stop_person ON lead_stop(team_id, lead_key);

-- Circuit breakers (field.md 4.4): transport per inbox and SMTP host, reputation per inbox and campaign, complaint per inbox.
CREATE TABLE breaker (
    team_id UUID NOT NULL REFERENCES teams(id) ON DELETE CASCADE,
    kind TEXT NOT NULL CHECK (kind IN ('transport', 'auth', 'provider_limit', 'reputation', 'complaint')),
    scope TEXT NOT NULL CHECK (scope IN ('inbox', 'smtp_host', 'campaign', 'domain')),
    scope_key TEXT NOT NULL,
    state TEXT NOT NULL DEFAULT 'closed' CHECK (state IN ('closed', 'open', 'half-open')),
    failures INTEGER NOT NULL DEFAULT 0,
    opened_at TIMESTAMPTZ,
    retry_at TIMESTAMPTZ,
    reason TEXT,
    changed_at TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (team_id, kind, scope, scope_key)
);
