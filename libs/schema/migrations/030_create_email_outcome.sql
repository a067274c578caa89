-- owner: analytics
-- why:   counters count emails and not events, so what is known of each email must last; a rebuild needs tables of its own
-- locks: ACCESS EXCLUSIVE on daily_stats and inbox_daily_stats for a new column each, no rewrite

-- One row per campaign email of which anything has been heard. A number is a sum over these rows: an open counts once, a bounce that
-- comes weeks later takes the delivery back. No foreign key to emails: when an inbox is deleted its emails go, and its campaign's
-- numbers stay.
CREATE TABLE email_outcome (
    email_id UUID PRIMARY KEY,
    team_id UUID NOT NULL REFERENCES teams(id) ON DELETE CASCADE,
    -- What the email is counted under, as its own events say.
    campaign_id UUID,
    inbox_id UUID,
    step_id UUID,
    variant_id UUID,
    sent_on DATE,                         -- in the team's zone
    inbox_sent_on DATE,                   -- in the inbox's zone
    sent BOOLEAN NOT NULL,
    delivered BOOLEAN NOT NULL,
    returned BOOLEAN NOT NULL,            -- a report said that it did not arrive
    bounced BOOLEAN NOT NULL,             -- hard or soft
    opened BOOLEAN NOT NULL,
    clicked BOOLEAN NOT NULL,
    unsubscribed BOOLEAN NOT NULL,
    human_replies INTEGER NOT NULL        -- without out-of-office notes, automatic replies and bounces
) WITH (fillfactor = 80);
CREATE INDEX idx_email_outcome_team ON email_outcome(team_id);

ALTER TABLE email_outcome ENABLE ROW LEVEL SECURITY;
CREATE POLICY "Coldstream services" ON email_outcome TO coldstream_service, coldstream_api USING (true) WITH CHECK (true);
REVOKE ALL ON email_outcome FROM PUBLIC, anon, authenticated, service_role;
GRANT SELECT, INSERT, UPDATE, DELETE ON email_outcome TO coldstream_analytics;

-- Bounced in the SMTP dialogue: tried and never sent. Without them a bounce rate could be over 1.
ALTER TABLE daily_stats ADD COLUMN emails_refused INTEGER NOT NULL DEFAULT 0 CHECK (emails_refused >= 0);
ALTER TABLE inbox_daily_stats ADD COLUMN campaign_refused INTEGER NOT NULL DEFAULT 0 CHECK (campaign_refused >= 0);

-- Where a rebuild builds, beside what is live: whole tables of ours, and of other tables the key and our counters. Emptied at the
-- start of a rebuild, never read by anybody else; lost in a crash, which costs nothing.
CREATE UNLOGGED TABLE shadow.email_events (LIKE public.email_events INCLUDING DEFAULTS, PRIMARY KEY (id, created_at));
CREATE UNLOGGED TABLE shadow.email_outcome (LIKE public.email_outcome INCLUDING DEFAULTS INCLUDING INDEXES);
CREATE UNLOGGED TABLE shadow.daily_stats (LIKE public.daily_stats INCLUDING DEFAULTS INCLUDING INDEXES);
CREATE UNLOGGED TABLE shadow.inbox_daily_stats (LIKE public.inbox_daily_stats INCLUDING DEFAULTS INCLUDING INDEXES);
CREATE UNLOGGED TABLE shadow.event_handled (LIKE public.event_handled INCLUDING DEFAULTS INCLUDING INDEXES);
CREATE UNLOGGED TABLE shadow.emails (
    id UUID PRIMARY KEY,
    team_id UUID NOT NULL,
    open_count INTEGER NOT NULL DEFAULT 0,
    click_count INTEGER NOT NULL DEFAULT 0
);
CREATE UNLOGGED TABLE shadow.campaigns (
    id UUID PRIMARY KEY,
    lead_count INTEGER NOT NULL DEFAULT 0,
    sent_count INTEGER NOT NULL DEFAULT 0,
    delivered_count INTEGER NOT NULL DEFAULT 0,
    opened_count INTEGER NOT NULL DEFAULT 0,
    clicked_count INTEGER NOT NULL DEFAULT 0,
    replied_count INTEGER NOT NULL DEFAULT 0,
    bounced_count INTEGER NOT NULL DEFAULT 0,
    unsubscribed_count INTEGER NOT NULL DEFAULT 0
);
CREATE UNLOGGED TABLE shadow.campaign_inboxes (
    id UUID PRIMARY KEY,
    campaign_id UUID NOT NULL,
    inbox_id UUID NOT NULL,
    sent_count INTEGER NOT NULL DEFAULT 0,
    UNIQUE (campaign_id, inbox_id)
);
CREATE UNLOGGED TABLE shadow.sequences (
    id UUID PRIMARY KEY,
    sent_count INTEGER NOT NULL DEFAULT 0,
    opened_count INTEGER NOT NULL DEFAULT 0,
    replied_count INTEGER NOT NULL DEFAULT 0
);
CREATE UNLOGGED TABLE shadow.sequence_variants (
    id UUID PRIMARY KEY,
    sent_count INTEGER NOT NULL DEFAULT 0,
    opened_count INTEGER NOT NULL DEFAULT 0,
    replied_count INTEGER NOT NULL DEFAULT 0
);
CREATE UNLOGGED TABLE shadow.inboxes (
    id UUID PRIMARY KEY,
    team_id UUID NOT NULL,
    sent_total INTEGER NOT NULL DEFAULT 0
);
GRANT SELECT, INSERT, UPDATE, DELETE, TRUNCATE ON ALL TABLES IN SCHEMA shadow TO coldstream_analytics;
