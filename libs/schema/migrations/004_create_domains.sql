-- owner: api
-- why:   a sending domain of a team, its DNS state and health
-- locks: none but on new objects

CREATE TABLE domains (
    id UUID PRIMARY KEY DEFAULT gen_random_uuid(),
    team_id UUID NOT NULL REFERENCES teams(id) ON DELETE CASCADE,
    domain VARCHAR(255) NOT NULL CHECK (domain = lower(domain)),

    -- DNS Records
    spf_valid BOOLEAN NOT NULL DEFAULT FALSE,
    spf_record TEXT,
    dkim_valid BOOLEAN NOT NULL DEFAULT FALSE,
    dkim_selector VARCHAR(100),
    dkim_record TEXT,
    dmarc_valid BOOLEAN NOT NULL DEFAULT FALSE,
    dmarc_policy VARCHAR(50),
    dmarc_record TEXT,

    -- Health
    health_score INTEGER NOT NULL DEFAULT 0 CHECK (health_score >= 0 AND health_score <= 100),
    last_checked_at TIMESTAMPTZ,

    -- Metadata
    verified_at TIMESTAMPTZ,
    created_at TIMESTAMPTZ NOT NULL DEFAULT NOW(),
    updated_at TIMESTAMPTZ NOT NULL DEFAULT NOW(),

    -- Ours: 0 is not a verdict until there is data; ETag of the API.
    health_known BOOLEAN NOT NULL DEFAULT FALSE,
    revision BIGINT NOT NULL DEFAULT 1,

    UNIQUE(team_id, domain),
    UNIQUE(team_id, id)
);

CREATE INDEX idx_domains_team ON domains(team_id);
CREATE INDEX idx_domains_domain ON domains(domain);
