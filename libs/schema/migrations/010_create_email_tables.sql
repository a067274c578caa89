-- owner: sender (emails); analytics (email_events, emails.open_count, emails.click_count)
-- why:   one message and its state; what happened to it, append-only
-- locks: none but on new objects

-- The last two are ours: never sent, and why is in error_message; perhaps sent, and being settled.
CREATE TYPE email_status AS ENUM ('queued', 'sending', 'sent', 'delivered', 'opened', 'clicked', 'bounced', 'failed',
    'cancelled', 'unknown');

CREATE TABLE emails (
    id UUID PRIMARY KEY DEFAULT gen_random_uuid(),
    team_id UUID NOT NULL REFERENCES teams(id) ON DELETE CASCADE,

    -- Relationships
    campaign_id UUID,
    sequence_id UUID,
    variant_id UUID,
    lead_id UUID NOT NULL,
    inbox_id UUID NOT NULL,

    -- Email details
    message_id VARCHAR(255),  -- From email provider
    thread_id VARCHAR(255),

    -- Content (stored for reference)
    from_email VARCHAR(255) NOT NULL,
    from_name VARCHAR(255),
    to_email VARCHAR(255) NOT NULL,
    subject VARCHAR(500) NOT NULL,
    body_html TEXT,
    body_text TEXT,

    -- Status
    status email_status NOT NULL DEFAULT 'queued',
    error_message TEXT,

    -- Tracking
    open_tracked BOOLEAN NOT NULL DEFAULT FALSE,
    click_tracked BOOLEAN NOT NULL DEFAULT FALSE,
    open_count INTEGER NOT NULL DEFAULT 0 CHECK (open_count >= 0),
    click_count INTEGER NOT NULL DEFAULT 0 CHECK (click_count >= 0),

    -- Scheduling
    scheduled_at TIMESTAMPTZ,
    sent_at TIMESTAMPTZ,
    delivered_at TIMESTAMPTZ,

    -- Metadata
    created_at TIMESTAMPTZ NOT NULL DEFAULT NOW(),
    updated_at TIMESTAMPTZ NOT NULL DEFAULT NOW(),

    -- Ours: a step of a campaign or a person's answer to a lead; the enrollment and version it was written from;
    -- the thread it goes on; the day of sending in the team's and in the inbox's zone (design.md §9.5).
    kind VARCHAR(20) NOT NULL DEFAULT 'campaign' CHECK (kind IN ('campaign', 'reply')),
    enrollment_id UUID,
    sequence_version INTEGER,
    in_reply_to VARCHAR(255),
    sent_on DATE,
    inbox_sent_on DATE,

    UNIQUE(team_id, id),
    FOREIGN KEY (team_id, campaign_id) REFERENCES campaigns(team_id, id) ON DELETE SET NULL (campaign_id),
    FOREIGN KEY (team_id, sequence_id) REFERENCES sequences(team_id, id) ON DELETE SET NULL (sequence_id),
    FOREIGN KEY (team_id, variant_id) REFERENCES sequence_variants(team_id, id) ON DELETE SET NULL (variant_id),
    FOREIGN KEY (team_id, lead_id) REFERENCES leads(team_id, id) ON DELETE CASCADE,
    FOREIGN KEY (team_id, inbox_id) REFERENCES inboxes(team_id, id) ON DELETE CASCADE
);

CREATE INDEX idx_emails_team ON emails(team_id);
CREATE INDEX idx_emails_campaign ON emails(campaign_id);
CREATE INDEX idx_emails_lead ON emails(lead_id);
CREATE INDEX idx_emails_inbox ON emails(inbox_id);
CREATE INDEX idx_emails_status ON emails(status);
CREATE INDEX idx_emails_message_id ON emails(message_id);
CREATE INDEX idx_emails_scheduled ON emails(scheduled_at) WHERE status = 'queued';
CREATE INDEX idx_emails_queued ON emails(scheduled_at) WHERE status = 'queued';
CREATE INDEX idx_emails_sent_at ON emails(sent_at);
-- The same step never goes twice to a lead; the ledger promises more, this is the wall behind it.
CREATE UNIQUE INDEX idx_emails_once ON emails(sequence_id, lead_id) WHERE sequence_id IS NOT NULL;
CREATE INDEX idx_emails_variant ON emails(variant_id) WHERE variant_id IS NOT NULL;

CREATE TYPE event_type AS ENUM (
    'queued',
    'sent',
    'delivered',
    'deferred',
    'bounced',
    'soft_bounced',
    'opened',
    'clicked',
    'unsubscribed',
    'spam_reported'
);

-- A projection of the stream: id is the event's id, created_at its time, so the same event cannot be stored twice.
CREATE TABLE email_events (
    id UUID NOT NULL DEFAULT gen_random_uuid(),
    team_id UUID NOT NULL REFERENCES teams(id) ON DELETE CASCADE,
    email_id UUID NOT NULL,

    -- Event details
    event_type event_type NOT NULL,

    -- Metadata
    metadata JSONB NOT NULL DEFAULT '{}',
    -- For opens: {"user_agent": "...", "ip": "...", "country": "..."}
    -- For clicks: {"url": "...", "user_agent": "...", "ip": "..."}
    -- For bounces: {"bounce_type": "hard", "reason": "..."}

    -- Timestamp
    created_at TIMESTAMPTZ NOT NULL DEFAULT NOW(),

    PRIMARY KEY (id, created_at),
    FOREIGN KEY (team_id, email_id) REFERENCES emails(team_id, id) ON DELETE CASCADE
) PARTITION BY RANGE (created_at);

-- What no month has been made for; app.make_month_partitions() (021) moves it out again.
CREATE TABLE email_events_default PARTITION OF email_events DEFAULT;

CREATE INDEX idx_email_events_team ON email_events(team_id);
CREATE INDEX idx_email_events_email ON email_events(email_id);
CREATE INDEX idx_email_events_type ON email_events(event_type);
CREATE INDEX idx_email_events_created ON email_events(created_at);
