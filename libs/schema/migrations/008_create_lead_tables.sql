-- owner: api (contact columns, suppression); sender (status and progress); sender and replies insert suppressions
-- why:   a person once a team; whom never to mail
-- locks: none but on new objects

CREATE TABLE lead_lists (
    id UUID PRIMARY KEY DEFAULT gen_random_uuid(),
    team_id UUID NOT NULL REFERENCES teams(id) ON DELETE CASCADE,

    name VARCHAR(255) NOT NULL,
    description TEXT,

    -- Stats, kept by triggers (014): leads that are not archived
    lead_count INTEGER NOT NULL DEFAULT 0 CHECK (lead_count >= 0),

    -- Import metadata
    source VARCHAR(100),  -- 'csv', 'api', 'manual', 'integration'
    imported_at TIMESTAMPTZ,

    -- Metadata
    created_at TIMESTAMPTZ NOT NULL DEFAULT NOW(),
    updated_at TIMESTAMPTZ NOT NULL DEFAULT NOW(),

    -- Ours
    deleted_at TIMESTAMPTZ,
    revision BIGINT NOT NULL DEFAULT 1,

    UNIQUE(team_id, id)
);

CREATE INDEX idx_lead_lists_team ON lead_lists(team_id);

CREATE TYPE lead_status AS ENUM (
    'pending',          -- Not yet contacted
    'in_sequence',      -- Currently in a campaign sequence
    'contacted',        -- Manually marked as contacted
    'replied',          -- Replied to campaign
    'interested',       -- Replied with positive intent
    'not_interested',   -- Replied with negative intent
    'meeting_booked',   -- Meeting scheduled
    'bounced',          -- Hard bounce
    'soft_bounced',     -- Soft bounce
    'unsubscribed',     -- Unsubscribed
    'spam_reported',    -- Marked as spam
    'sequence_complete' -- Completed all steps without reply
);

CREATE TABLE leads (
    id UUID PRIMARY KEY DEFAULT gen_random_uuid(),
    team_id UUID NOT NULL REFERENCES teams(id) ON DELETE CASCADE,
    lead_list_id UUID,

    -- Contact info. The address is lower case (a trigger of 014), so that UNIQUE(team_id, email) knows no case.
    email VARCHAR(255) NOT NULL CHECK (email = lower(email)),
    first_name VARCHAR(100),
    last_name VARCHAR(100),
    company VARCHAR(255),
    title VARCHAR(255),
    phone VARCHAR(50),
    linkedin_url TEXT,
    website TEXT,

    -- Status
    status lead_status NOT NULL DEFAULT 'pending',
    reply_intent VARCHAR(50)  -- Detailed intent from NLP: the labels of reply_intent (011)
        CHECK (reply_intent IN ('interested', 'meeting_request', 'question', 'not_interested', 'unsubscribe',
            'out_of_office', 'auto_reply', 'bounce', 'neutral')),

    -- Location
    timezone VARCHAR(100)
        CHECK (timezone IS NULL OR timezone(timezone, TIMESTAMPTZ '2000-01-01 00:00:00Z') IS NOT NULL),
    country VARCHAR(100),
    city VARCHAR(100),

    -- Custom fields (flexible schema)
    custom_fields JSONB NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(custom_fields) = 'object'),

    -- Compliance
    unsubscribe_token VARCHAR(100) UNIQUE NOT NULL DEFAULT gen_random_uuid()::text,
    consent_type VARCHAR(50) CHECK (consent_type IN ('explicit', 'implicit', 'none')),
    consent_source TEXT,

    -- Campaign tracking: mirrors the active enrollment (018)
    current_campaign_id UUID,
    current_step INTEGER,
    next_send_at TIMESTAMPTZ,

    -- Timestamps
    first_contacted_at TIMESTAMPTZ,
    last_contacted_at TIMESTAMPTZ,
    replied_at TIMESTAMPTZ,
    bounced_at TIMESTAMPTZ,
    unsubscribed_at TIMESTAMPTZ,

    -- Metadata
    created_at TIMESTAMPTZ NOT NULL DEFAULT NOW(),
    updated_at TIMESTAMPTZ NOT NULL DEFAULT NOW(),

    -- Ours: archived, not deleted; ETag of the API.
    deleted_at TIMESTAMPTZ,
    revision BIGINT NOT NULL DEFAULT 1,

    UNIQUE(team_id, email),
    UNIQUE(team_id, id),
    FOREIGN KEY (team_id, lead_list_id) REFERENCES lead_lists(team_id, id) ON DELETE SET NULL (lead_list_id)
);

CREATE INDEX idx_leads_team ON leads(team_id);
CREATE INDEX idx_leads_list ON leads(lead_list_id);
CREATE INDEX idx_leads_email ON leads(email);
CREATE INDEX idx_leads_status ON leads(status);
CREATE INDEX idx_leads_campaign ON leads(current_campaign_id) WHERE current_campaign_id IS NOT NULL;
CREATE INDEX idx_leads_next_send ON leads(next_send_at) WHERE next_send_at IS NOT NULL;
CREATE INDEX idx_leads_unsubscribe_token ON leads(unsubscribe_token);

-- Full text search: 'simple', because 'english' drops names such as Will and stems the rest (seed/defects.md 41).
CREATE INDEX idx_leads_search ON leads USING GIN (
    to_tsvector('simple', coalesce(first_name, '') || ' ' ||
                          coalesce(last_name, '') || ' ' ||
                          coalesce(company, '') || ' ' ||
                          email)
);

CREATE TABLE suppression_list (
    id UUID PRIMARY KEY DEFAULT gen_random_uuid(),
    team_id UUID REFERENCES teams(id) ON DELETE CASCADE,  -- NULL = global

    email VARCHAR(255) NOT NULL CHECK (email = lower(email)),
    reason VARCHAR(100) NOT NULL,  -- 'hard_bounce', 'spam_complaint', 'unsubscribe', 'manual'

    -- Metadata
    added_by UUID REFERENCES users(id) ON DELETE SET NULL,
    created_at TIMESTAMPTZ NOT NULL DEFAULT NOW(),

    -- Ours: a whole domain (without "@" in email), and the person's lead_key, which survives erasure of the address.
    scope VARCHAR(10) NOT NULL DEFAULT 'email' CHECK (scope IN ('email', 'domain')),
    value_hash BYTEA,

    CHECK ((scope = 'email') = (position('@' IN email) > 0)),
    UNIQUE NULLS NOT DISTINCT (team_id, email)
);

CREATE INDEX idx_suppression_email ON suppression_list(email);
CREATE INDEX idx_suppression_team ON suppression_list(team_id);
CREATE INDEX idx_suppression_added_by ON suppression_list(added_by);
CREATE INDEX idx_suppression_value_hash ON suppression_list(value_hash) WHERE value_hash IS NOT NULL;
