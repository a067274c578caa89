-- owner: api.webhooks
-- why:   out-calls to customers, and a log of them that is kept for 30 days
-- locks: none but on new objects

CREATE TABLE webhooks (
    id UUID PRIMARY KEY DEFAULT gen_random_uuid(),
    team_id UUID NOT NULL REFERENCES teams(id) ON DELETE CASCADE,

    url TEXT NOT NULL,
    secret VARCHAR(255),  -- sealed by the API

    -- Events to trigger on
    events VARCHAR(100)[] NOT NULL,

    -- Status
    active BOOLEAN NOT NULL DEFAULT TRUE,

    -- Stats
    last_triggered_at TIMESTAMPTZ,
    failure_count INTEGER NOT NULL DEFAULT 0 CHECK (failure_count >= 0),

    -- Metadata
    created_at TIMESTAMPTZ NOT NULL DEFAULT NOW(),
    updated_at TIMESTAMPTZ NOT NULL DEFAULT NOW(),

    -- Ours: ETag of the API.
    revision BIGINT NOT NULL DEFAULT 1,

    UNIQUE(team_id, id)
);

CREATE INDEX idx_webhooks_team ON webhooks(team_id);
CREATE INDEX idx_webhooks_active ON webhooks(active) WHERE active = TRUE;

CREATE TABLE webhook_logs (
    id UUID PRIMARY KEY DEFAULT gen_random_uuid(),
    webhook_id UUID NOT NULL,

    -- Request
    event VARCHAR(100) NOT NULL,
    payload JSONB NOT NULL,

    -- Response
    response_status INTEGER,
    response_body TEXT,
    response_time_ms INTEGER CHECK (response_time_ms >= 0),

    -- Status
    success BOOLEAN,
    error_message TEXT,

    created_at TIMESTAMPTZ NOT NULL DEFAULT NOW(),

    -- Ours: filled from the webhook when not given (014).
    team_id UUID NOT NULL,

    FOREIGN KEY (team_id, webhook_id) REFERENCES webhooks(team_id, id) ON DELETE CASCADE
);

CREATE INDEX idx_webhook_logs_webhook ON webhook_logs(webhook_id);
CREATE INDEX idx_webhook_logs_created ON webhook_logs(created_at);
CREATE INDEX idx_webhook_logs_team ON webhook_logs(team_id);
