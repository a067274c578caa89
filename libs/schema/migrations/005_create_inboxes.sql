-- owner: api; sender (circuit, status), replies (last_reply_checked_at), analytics (health, counters)
-- why:   one mailbox, connected once on the whole platform
-- locks: none but on new objects

CREATE TYPE inbox_provider AS ENUM ('google', 'microsoft', 'smtp');
CREATE TYPE inbox_status AS ENUM ('active', 'paused', 'error', 'warming_up', 'banned');

CREATE TABLE inboxes (
    id UUID PRIMARY KEY DEFAULT gen_random_uuid(),
    team_id UUID NOT NULL REFERENCES teams(id) ON DELETE CASCADE,
    domain_id UUID,

    -- Email info
    email VARCHAR(255) NOT NULL CHECK (email = lower(email)),
    from_name VARCHAR(255),
    provider inbox_provider NOT NULL,

    -- Status
    status inbox_status NOT NULL DEFAULT 'active',
    status_reason TEXT,
    paused_at TIMESTAMPTZ,

    -- OAuth (sealed by the API: libs/schema/secrets.py)
    oauth_access_token TEXT,
    oauth_refresh_token TEXT,
    oauth_expires_at TIMESTAMPTZ,
    oauth_scope TEXT,

    -- SMTP/IMAP (for non-OAuth); passwords sealed by the API
    smtp_host VARCHAR(255),
    smtp_port INTEGER CHECK (smtp_port BETWEEN 1 AND 65535),
    smtp_username VARCHAR(255),
    smtp_password TEXT,
    imap_host VARCHAR(255),
    imap_port INTEGER CHECK (imap_port BETWEEN 1 AND 65535),

    -- Health metrics
    health_score INTEGER NOT NULL DEFAULT 100 CHECK (health_score >= 0 AND health_score <= 100),
    bounce_rate_7d DECIMAL(5,4) NOT NULL DEFAULT 0 CHECK (bounce_rate_7d BETWEEN 0 AND 1),
    open_rate_7d DECIMAL(5,4) NOT NULL DEFAULT 0 CHECK (open_rate_7d BETWEEN 0 AND 1),
    reply_rate_7d DECIMAL(5,4) NOT NULL DEFAULT 0 CHECK (reply_rate_7d BETWEEN 0 AND 1),

    -- Counters (updated by workers); for display, caps count the ledger
    sent_today INTEGER NOT NULL DEFAULT 0 CHECK (sent_today >= 0),
    sent_this_week INTEGER NOT NULL DEFAULT 0 CHECK (sent_this_week >= 0),
    sent_total INTEGER NOT NULL DEFAULT 0 CHECK (sent_total >= 0),

    -- Circuit breaker
    circuit_state VARCHAR(20) NOT NULL DEFAULT 'closed' CHECK (circuit_state IN ('closed', 'open', 'half-open')),
    circuit_failure_count INTEGER NOT NULL DEFAULT 0 CHECK (circuit_failure_count >= 0),
    circuit_last_failure_at TIMESTAMPTZ,

    -- Metadata
    last_sent_at TIMESTAMPTZ,
    last_reply_checked_at TIMESTAMPTZ,
    created_at TIMESTAMPTZ NOT NULL DEFAULT NOW(),
    updated_at TIMESTAMPTZ NOT NULL DEFAULT NOW(),

    -- Ours: an IMAP login that differs from the SMTP one (NULL: the same), and how the lines are secured.
    imap_username VARCHAR(255),
    imap_password TEXT,
    smtp_tls VARCHAR(10) NOT NULL DEFAULT 'starttls' CHECK (smtp_tls IN ('starttls', 'implicit', 'none')),
    imap_tls VARCHAR(10) NOT NULL DEFAULT 'implicit' CHECK (imap_tls IN ('implicit', 'none')),
    -- Ours: 100 is not praise until there is data; the inbox's own day to which sent_today belongs (NULL: not known
    -- yet); archived, not deleted; ETag of the API.
    health_known BOOLEAN NOT NULL DEFAULT FALSE,
    counters_date DATE,
    deleted_at TIMESTAMPTZ,
    revision BIGINT NOT NULL DEFAULT 1,

    UNIQUE(team_id, id),
    FOREIGN KEY (team_id, domain_id) REFERENCES domains(team_id, id) ON DELETE SET NULL (domain_id)
);

-- Also for archived ones: connecting the address again revives its row, so that its caps and history go on.
CREATE UNIQUE INDEX idx_inboxes_email ON inboxes(email);
CREATE INDEX idx_inboxes_team ON inboxes(team_id);
CREATE INDEX idx_inboxes_status ON inboxes(status);
CREATE INDEX idx_inboxes_provider ON inboxes(provider);
CREATE INDEX idx_inboxes_domain ON inboxes(domain_id);
