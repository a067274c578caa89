-- owner: warmup
-- why:   one ramp a mailbox; what two mailboxes of the pool did to each other, also of two teams
-- locks: none but on new objects

CREATE TYPE warmup_phase AS ENUM ('ramping', 'maintaining', 'paused', 'completed');

CREATE TABLE warmup_state (
    id UUID PRIMARY KEY DEFAULT gen_random_uuid(),
    inbox_id UUID UNIQUE NOT NULL,

    -- Status
    enabled BOOLEAN NOT NULL DEFAULT FALSE,
    phase warmup_phase NOT NULL DEFAULT 'ramping',

    -- Progress
    started_at TIMESTAMPTZ,
    current_day INTEGER NOT NULL DEFAULT 0 CHECK (current_day >= 0),

    -- Settings
    ramp_speed VARCHAR(20) NOT NULL DEFAULT 'normal' CHECK (ramp_speed IN ('slow', 'normal', 'fast')),
    target_daily_volume INTEGER NOT NULL DEFAULT 40 CHECK (target_daily_volume > 0),
    reply_rate_target DECIMAL(3,2) NOT NULL DEFAULT 0.70 CHECK (reply_rate_target BETWEEN 0 AND 1),

    -- Today's metrics
    sent_today INTEGER NOT NULL DEFAULT 0 CHECK (sent_today >= 0),
    received_today INTEGER NOT NULL DEFAULT 0 CHECK (received_today >= 0),
    replied_today INTEGER NOT NULL DEFAULT 0 CHECK (replied_today >= 0),

    -- Totals
    sent_total INTEGER NOT NULL DEFAULT 0 CHECK (sent_total >= 0),
    received_total INTEGER NOT NULL DEFAULT 0 CHECK (received_total >= 0),
    replied_total INTEGER NOT NULL DEFAULT 0 CHECK (replied_total >= 0),

    -- Metadata
    last_activity_at TIMESTAMPTZ,
    created_at TIMESTAMPTZ NOT NULL DEFAULT NOW(),
    updated_at TIMESTAMPTZ NOT NULL DEFAULT NOW(),

    -- Ours: filled from the inbox when not given (014); the inbox's own day to which today's metrics belong.
    team_id UUID NOT NULL,
    counters_date DATE,

    FOREIGN KEY (team_id, inbox_id) REFERENCES inboxes(team_id, id) ON DELETE CASCADE
);

CREATE INDEX idx_warmup_state_inbox ON warmup_state(inbox_id);
CREATE INDEX idx_warmup_state_enabled ON warmup_state(enabled) WHERE enabled = TRUE;
CREATE INDEX idx_warmup_active ON warmup_state(inbox_id) WHERE enabled = TRUE;
CREATE INDEX idx_warmup_state_team ON warmup_state(team_id);

-- The last two are ours: moved out of spam; given up.
CREATE TYPE warmup_interaction_type AS ENUM ('sent', 'received', 'replied', 'opened', 'starred', 'rescued', 'failed');

-- No team_id: an interaction has two ends, and each end's team may see it.
CREATE TABLE warmup_interactions (
    id UUID NOT NULL DEFAULT gen_random_uuid(),
    from_inbox_id UUID NOT NULL REFERENCES inboxes(id) ON DELETE CASCADE,
    to_inbox_id UUID NOT NULL REFERENCES inboxes(id) ON DELETE CASCADE,

    -- Interaction details
    interaction_type warmup_interaction_type NOT NULL,
    message_id VARCHAR(255),  -- Email message ID
    thread_id VARCHAR(255),

    -- Content (for warm-up analysis)
    subject VARCHAR(500),

    -- Metadata
    created_at TIMESTAMPTZ NOT NULL DEFAULT NOW(),

    PRIMARY KEY (id, created_at)
) PARTITION BY RANGE (created_at);

-- What no month has been made for; app.make_month_partitions() (021) moves it out again.
CREATE TABLE warmup_interactions_default PARTITION OF warmup_interactions DEFAULT;

CREATE INDEX idx_warmup_interactions_from ON warmup_interactions(from_inbox_id);
CREATE INDEX idx_warmup_interactions_to ON warmup_interactions(to_inbox_id);
CREATE INDEX idx_warmup_interactions_date ON warmup_interactions(created_at);
