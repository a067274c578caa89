-- owner: analytics
-- why:   projections of the stream, ready for charts; ids are uuid5 of the key, times the events' (design.md §9.5)
-- locks: none but on new objects

CREATE TABLE daily_stats (
    id UUID PRIMARY KEY DEFAULT gen_random_uuid(),
    team_id UUID NOT NULL REFERENCES teams(id) ON DELETE CASCADE,

    -- Date
    date DATE NOT NULL,

    -- Aggregate stats
    emails_sent INTEGER NOT NULL DEFAULT 0 CHECK (emails_sent >= 0),
    emails_delivered INTEGER NOT NULL DEFAULT 0 CHECK (emails_delivered >= 0),
    emails_opened INTEGER NOT NULL DEFAULT 0 CHECK (emails_opened >= 0),
    emails_clicked INTEGER NOT NULL DEFAULT 0 CHECK (emails_clicked >= 0),
    emails_replied INTEGER NOT NULL DEFAULT 0 CHECK (emails_replied >= 0),
    emails_bounced INTEGER NOT NULL DEFAULT 0 CHECK (emails_bounced >= 0),
    emails_unsubscribed INTEGER NOT NULL DEFAULT 0 CHECK (emails_unsubscribed >= 0),

    -- Rates (pre-calculated)
    delivery_rate DECIMAL(5,4) CHECK (delivery_rate BETWEEN 0 AND 1),
    open_rate DECIMAL(5,4) CHECK (open_rate BETWEEN 0 AND 1),
    click_rate DECIMAL(5,4) CHECK (click_rate BETWEEN 0 AND 1),
    reply_rate DECIMAL(5,4) CHECK (reply_rate BETWEEN 0 AND 1),
    bounce_rate DECIMAL(5,4) CHECK (bounce_rate BETWEEN 0 AND 1),

    created_at TIMESTAMPTZ NOT NULL DEFAULT NOW(),
    updated_at TIMESTAMPTZ NOT NULL DEFAULT NOW(),

    UNIQUE(team_id, date)
);

CREATE INDEX idx_daily_stats_team_date ON daily_stats(team_id, date);

CREATE TABLE inbox_daily_stats (
    id UUID PRIMARY KEY DEFAULT gen_random_uuid(),
    inbox_id UUID NOT NULL,

    date DATE NOT NULL,

    -- Campaign sends
    campaign_sent INTEGER NOT NULL DEFAULT 0 CHECK (campaign_sent >= 0),
    campaign_delivered INTEGER NOT NULL DEFAULT 0 CHECK (campaign_delivered >= 0),
    campaign_bounced INTEGER NOT NULL DEFAULT 0 CHECK (campaign_bounced >= 0),

    -- Warmup
    warmup_sent INTEGER NOT NULL DEFAULT 0 CHECK (warmup_sent >= 0),
    warmup_received INTEGER NOT NULL DEFAULT 0 CHECK (warmup_received >= 0),
    warmup_replied INTEGER NOT NULL DEFAULT 0 CHECK (warmup_replied >= 0),

    -- Health metrics
    health_score INTEGER CHECK (health_score BETWEEN 0 AND 100),

    -- Ours: filled from the inbox when not given (014); times of the first and last event counted. The rate columns of
    -- inboxes need opens and replies by day too.
    team_id UUID NOT NULL,
    campaign_opened INTEGER NOT NULL DEFAULT 0 CHECK (campaign_opened >= 0),
    campaign_replied INTEGER NOT NULL DEFAULT 0 CHECK (campaign_replied >= 0),
    created_at TIMESTAMPTZ,
    updated_at TIMESTAMPTZ,

    UNIQUE(inbox_id, date),
    FOREIGN KEY (team_id, inbox_id) REFERENCES inboxes(team_id, id) ON DELETE CASCADE
);

CREATE INDEX idx_inbox_daily_stats_inbox_date ON inbox_daily_stats(inbox_id, date);
CREATE INDEX idx_inbox_daily_stats_team ON inbox_daily_stats(team_id, date);
