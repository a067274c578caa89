-- owner: replies; people triage through the API (read, archived, intent)
-- why:   answers of leads, found by message_id and in_reply_to, classified
-- locks: none but on new objects

CREATE TYPE reply_intent AS ENUM (
    'interested',
    'meeting_request',
    'question',
    'not_interested',
    'unsubscribe',
    'out_of_office',
    'auto_reply',
    'bounce',
    'neutral'
);

CREATE TABLE replies (
    id UUID PRIMARY KEY DEFAULT gen_random_uuid(),
    team_id UUID NOT NULL REFERENCES teams(id) ON DELETE CASCADE,

    -- Relationships
    email_id UUID,  -- Original email
    lead_id UUID NOT NULL,
    inbox_id UUID NOT NULL,
    campaign_id UUID,

    -- Email details
    message_id VARCHAR(255),
    thread_id VARCHAR(255),
    in_reply_to VARCHAR(255),  -- Original message ID

    -- Content
    from_email VARCHAR(255) NOT NULL,
    from_name VARCHAR(255),
    subject VARCHAR(500),
    body_html TEXT,
    body_text TEXT,
    body_preview VARCHAR(500),  -- First 500 chars stripped

    -- Classification
    intent reply_intent,
    intent_confidence DECIMAL(3,2) CHECK (intent_confidence BETWEEN 0 AND 1),  -- 0.00 - 1.00
    intent_model VARCHAR(50),  -- 'rule_based', 'gpt-3.5', etc.
    intent_manual_override BOOLEAN NOT NULL DEFAULT FALSE,

    -- Status
    is_read BOOLEAN NOT NULL DEFAULT FALSE,
    is_archived BOOLEAN NOT NULL DEFAULT FALSE,

    -- Timestamps
    received_at TIMESTAMPTZ NOT NULL,
    read_at TIMESTAMPTZ,
    created_at TIMESTAMPTZ NOT NULL DEFAULT NOW(),

    -- Ours: how the lead was found and how surely; whether a person should look; the stored bytes (019);
    -- the day an out-of-office note names; when it was last triaged.
    match_method VARCHAR(50),
    match_confidence DECIMAL(3,2) CHECK (match_confidence BETWEEN 0 AND 1),
    needs_review BOOLEAN NOT NULL DEFAULT FALSE,
    raw_id UUID,
    return_date DATE,
    updated_at TIMESTAMPTZ NOT NULL DEFAULT NOW(),

    UNIQUE(inbox_id, message_id),
    UNIQUE(team_id, id),
    FOREIGN KEY (team_id, email_id) REFERENCES emails(team_id, id) ON DELETE SET NULL (email_id),
    FOREIGN KEY (team_id, lead_id) REFERENCES leads(team_id, id) ON DELETE CASCADE,
    FOREIGN KEY (team_id, inbox_id) REFERENCES inboxes(team_id, id) ON DELETE CASCADE,
    FOREIGN KEY (team_id, campaign_id) REFERENCES campaigns(team_id, id) ON DELETE SET NULL (campaign_id)
);

CREATE INDEX idx_replies_team ON replies(team_id);
CREATE INDEX idx_replies_lead ON replies(lead_id);
CREATE INDEX idx_replies_inbox ON replies(inbox_id);
CREATE INDEX idx_replies_campaign ON replies(campaign_id);
CREATE INDEX idx_replies_intent ON replies(intent);
-- The seed gives this name to two indexes (§6.3 and §12).
CREATE INDEX idx_replies_unread ON replies(is_read, team_id) WHERE is_read = FALSE;
CREATE INDEX idx_replies_unread_received ON replies(team_id, received_at) WHERE is_read = FALSE;
CREATE INDEX idx_replies_received ON replies(received_at);
CREATE INDEX idx_replies_email ON replies(email_id) WHERE email_id IS NOT NULL;
