-- owner: api; sender (status, started_at, completed_at by guarded transitions), analytics (counters)
-- why:   campaigns, their steps and the A/B variants of a step
-- locks: none but on new objects, and on leads (empty) for the foreign key that 008 could not make yet

CREATE TYPE campaign_status AS ENUM ('draft', 'scheduled', 'active', 'paused', 'completed', 'archived');

CREATE TABLE campaigns (
    id UUID PRIMARY KEY DEFAULT gen_random_uuid(),
    team_id UUID NOT NULL REFERENCES teams(id) ON DELETE CASCADE,
    lead_list_id UUID,

    -- Basic info
    name VARCHAR(255) NOT NULL,
    description TEXT,
    status campaign_status NOT NULL DEFAULT 'draft',

    -- Settings
    settings JSONB NOT NULL DEFAULT '{
        "timezone": "America/New_York",
        "send_days": ["mon", "tue", "wed", "thu", "fri"],
        "stop_on_reply": true,
        "stop_on_bounce": true,
        "track_opens": true,
        "track_clicks": false,
        "esp_matching": true,
        "min_health_score": 70
    }' CHECK (jsonb_typeof(settings) = 'object'),

    -- Stats (denormalized for fast queries)
    lead_count INTEGER NOT NULL DEFAULT 0 CHECK (lead_count >= 0),
    sent_count INTEGER NOT NULL DEFAULT 0 CHECK (sent_count >= 0),
    delivered_count INTEGER NOT NULL DEFAULT 0 CHECK (delivered_count >= 0),
    opened_count INTEGER NOT NULL DEFAULT 0 CHECK (opened_count >= 0),
    clicked_count INTEGER NOT NULL DEFAULT 0 CHECK (clicked_count >= 0),
    replied_count INTEGER NOT NULL DEFAULT 0 CHECK (replied_count >= 0),
    bounced_count INTEGER NOT NULL DEFAULT 0 CHECK (bounced_count >= 0),
    unsubscribed_count INTEGER NOT NULL DEFAULT 0 CHECK (unsubscribed_count >= 0),

    -- Scheduling
    scheduled_start_at TIMESTAMPTZ,
    started_at TIMESTAMPTZ,
    completed_at TIMESTAMPTZ,
    paused_at TIMESTAMPTZ,

    -- Metadata
    created_by UUID REFERENCES users(id) ON DELETE SET NULL,
    created_at TIMESTAMPTZ NOT NULL DEFAULT NOW(),
    updated_at TIMESTAMPTZ NOT NULL DEFAULT NOW(),

    -- Ours: archived, not deleted; ETag of the API.
    deleted_at TIMESTAMPTZ,
    revision BIGINT NOT NULL DEFAULT 1,

    UNIQUE(team_id, id),
    FOREIGN KEY (team_id, lead_list_id) REFERENCES lead_lists(team_id, id) ON DELETE SET NULL (lead_list_id),
    CONSTRAINT campaigns_timezone_check CHECK (settings ->> 'timezone' IS NULL
        OR timezone(settings ->> 'timezone', TIMESTAMPTZ '2000-01-01 00:00:00Z') IS NOT NULL)
);

CREATE INDEX idx_campaigns_team ON campaigns(team_id);
CREATE INDEX idx_campaigns_status ON campaigns(status);
CREATE INDEX idx_campaigns_lead_list ON campaigns(lead_list_id);
CREATE INDEX idx_campaigns_created_by ON campaigns(created_by);

-- Left out of 008, because each of the two tables needs the other.
ALTER TABLE leads ADD FOREIGN KEY (team_id, current_campaign_id) REFERENCES campaigns(team_id, id)
    ON DELETE SET NULL (current_campaign_id);

CREATE TABLE campaign_inboxes (
    id UUID PRIMARY KEY DEFAULT gen_random_uuid(),
    campaign_id UUID NOT NULL,
    inbox_id UUID NOT NULL,

    -- Per-inbox campaign stats
    sent_count INTEGER NOT NULL DEFAULT 0 CHECK (sent_count >= 0),

    created_at TIMESTAMPTZ NOT NULL DEFAULT NOW(),

    -- Ours: filled from the campaign when not given (014).
    team_id UUID NOT NULL,

    UNIQUE(campaign_id, inbox_id),
    FOREIGN KEY (team_id, campaign_id) REFERENCES campaigns(team_id, id) ON DELETE CASCADE,
    FOREIGN KEY (team_id, inbox_id) REFERENCES inboxes(team_id, id) ON DELETE CASCADE
);

CREATE INDEX idx_campaign_inboxes_campaign ON campaign_inboxes(campaign_id);
CREATE INDEX idx_campaign_inboxes_inbox ON campaign_inboxes(inbox_id);
CREATE INDEX idx_campaign_inboxes_team ON campaign_inboxes(team_id);

CREATE TABLE sequences (
    id UUID PRIMARY KEY DEFAULT gen_random_uuid(),
    campaign_id UUID NOT NULL,

    -- Step info
    step_number INTEGER NOT NULL CHECK (step_number > 0),

    -- Timing
    delay_days INTEGER NOT NULL DEFAULT 0 CHECK (delay_days >= 0),
    delay_hours INTEGER NOT NULL DEFAULT 0 CHECK (delay_hours >= 0),

    -- Content; an empty subject means "same thread"
    subject VARCHAR(500) NOT NULL,
    body TEXT NOT NULL,

    -- Conditions (JSONB for flexibility)
    conditions JSONB NOT NULL DEFAULT '[{"type": "no_reply", "action": "continue"}]'
        CHECK (jsonb_typeof(conditions) = 'array'),

    -- Stats
    sent_count INTEGER NOT NULL DEFAULT 0 CHECK (sent_count >= 0),
    opened_count INTEGER NOT NULL DEFAULT 0 CHECK (opened_count >= 0),
    replied_count INTEGER NOT NULL DEFAULT 0 CHECK (replied_count >= 0),

    -- Metadata
    created_at TIMESTAMPTZ NOT NULL DEFAULT NOW(),
    updated_at TIMESTAMPTZ NOT NULL DEFAULT NOW(),

    -- Ours: filled from the campaign when not given (014); archived, since the ledger names steps; ETag of the API.
    team_id UUID NOT NULL,
    deleted_at TIMESTAMPTZ,
    revision BIGINT NOT NULL DEFAULT 1,

    UNIQUE(team_id, id),
    FOREIGN KEY (team_id, campaign_id) REFERENCES campaigns(team_id, id) ON DELETE CASCADE
);

-- The seed's UNIQUE(campaign_id, step_number), under its name, among the steps that are not archived:
-- the number of a step that was taken out is free again.
CREATE UNIQUE INDEX sequences_campaign_id_step_number_key ON sequences(campaign_id, step_number)
    WHERE deleted_at IS NULL;
CREATE INDEX idx_sequences_campaign ON sequences(campaign_id);
CREATE INDEX idx_sequences_team ON sequences(team_id);

CREATE TABLE sequence_variants (
    id UUID PRIMARY KEY DEFAULT gen_random_uuid(),
    sequence_id UUID NOT NULL,

    -- Variant info. Weights are shares of their sum, so they need not add up to 100.
    variant_index INTEGER NOT NULL CHECK (variant_index >= 0),
    weight INTEGER NOT NULL DEFAULT 50 CHECK (weight > 0 AND weight <= 100),

    -- Content
    subject VARCHAR(500) NOT NULL,
    body TEXT NOT NULL,

    -- Stats
    sent_count INTEGER NOT NULL DEFAULT 0 CHECK (sent_count >= 0),
    opened_count INTEGER NOT NULL DEFAULT 0 CHECK (opened_count >= 0),
    replied_count INTEGER NOT NULL DEFAULT 0 CHECK (replied_count >= 0),

    -- A/B test results
    is_winner BOOLEAN NOT NULL DEFAULT FALSE,

    created_at TIMESTAMPTZ NOT NULL DEFAULT NOW(),

    -- Ours: filled from the step when not given (014); a variant is edited too.
    team_id UUID NOT NULL,
    updated_at TIMESTAMPTZ NOT NULL DEFAULT NOW(),

    UNIQUE(sequence_id, variant_index),
    UNIQUE(team_id, id),
    FOREIGN KEY (team_id, sequence_id) REFERENCES sequences(team_id, id) ON DELETE CASCADE
);

CREATE INDEX idx_sequence_variants_sequence ON sequence_variants(sequence_id);
CREATE INDEX idx_sequence_variants_team ON sequence_variants(team_id);
CREATE UNIQUE INDEX idx_sequence_variants_winner ON sequence_variants(sequence_id) WHERE is_winner;
