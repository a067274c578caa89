-- owner: api (webhook_delivery: api.webhooks)
-- why:   invitations, API keys, the audit trail, repeated requests, tracked links, webhook attempts: the seed has none
-- locks: none but on new objects

-- An invitation to an address; accepted once, within its time. Only the token's hash is kept.
CREATE TABLE invitation (
    id UUID PRIMARY KEY,
    team_id UUID NOT NULL REFERENCES teams(id) ON DELETE CASCADE,
    email VARCHAR(255) NOT NULL CHECK (email = lower(email)),
    role VARCHAR(50) NOT NULL CHECK (role IN ('owner', 'admin', 'member', 'viewer')),
    token_hash BYTEA NOT NULL UNIQUE,
    invited_by UUID REFERENCES users(id) ON DELETE SET NULL,
    created_at TIMESTAMPTZ NOT NULL,
    expires_at TIMESTAMPTZ NOT NULL,
    accepted_at TIMESTAMPTZ,
    revoked_at TIMESTAMPTZ
);
CREATE UNIQUE INDEX idx_invitation_open ON invitation(team_id, email) WHERE accepted_at IS NULL AND revoked_at IS NULL;
CREATE INDEX idx_invitation_invited_by ON invitation(invited_by);
CREATE TRIGGER normalise_email_trigger BEFORE INSERT OR UPDATE OF email ON invitation
    FOR EACH ROW EXECUTE FUNCTION app.normalise_email();

-- cs_…: found by its prefix, compared by its hash (SHA-256 of the whole key), shown once. It acts with a role, within
-- its scopes.
CREATE TABLE api_keys (
    id UUID PRIMARY KEY,
    team_id UUID NOT NULL REFERENCES teams(id) ON DELETE CASCADE,
    name VARCHAR(255) NOT NULL,
    prefix VARCHAR(32) NOT NULL UNIQUE,
    key_hash BYTEA NOT NULL UNIQUE,
    role VARCHAR(50) NOT NULL DEFAULT 'member' CHECK (role IN ('owner', 'admin', 'member', 'viewer')),
    scopes TEXT[] NOT NULL DEFAULT '{}',
    created_by UUID REFERENCES users(id) ON DELETE SET NULL,
    created_at TIMESTAMPTZ NOT NULL,
    expires_at TIMESTAMPTZ,
    last_used_at TIMESTAMPTZ,
    revoked_at TIMESTAMPTZ
);
CREATE INDEX idx_api_keys_team ON api_keys(team_id);
CREATE INDEX idx_api_keys_created_by ON api_keys(created_by);

-- Append-only; each row holds the hash of the one before it in its team, so a changed or missing row shows.
CREATE TABLE audit_log (
    position BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    team_id UUID NOT NULL,
    actor TEXT NOT NULL,                  -- "user/<id>", "key/<id>", "system"
    action TEXT NOT NULL,                 -- "lead.export", "suppression.remove", …
    target TEXT,                          -- "<aggregate>/<id>"
    detail JSONB NOT NULL DEFAULT '{}',   -- before and after, without secrets
    ip INET,
    at TIMESTAMPTZ NOT NULL,
    previous_hash BYTEA,
    hash BYTEA NOT NULL
);
CREATE INDEX idx_audit_log_team ON audit_log(team_id, position);

CREATE FUNCTION app.chain_audit_log() RETURNS TRIGGER AS $$
BEGIN
    -- One writer a team at a time, or two rows would follow the same one.
    PERFORM pg_catalog.pg_advisory_xact_lock(pg_catalog.hashtextextended('audit_log/' || NEW.team_id, 0));
    NEW.previous_hash = (
        SELECT l.hash FROM public.audit_log AS l WHERE l.team_id = NEW.team_id ORDER BY l.position DESC LIMIT 1
    );
    NEW.hash = pg_catalog.sha256(coalesce(NEW.previous_hash, '') || pg_catalog.convert_to(
        pg_catalog.jsonb_build_array(NEW.team_id, NEW.actor, NEW.action, NEW.target, NEW.detail, NEW.ip,
            extract(EPOCH FROM NEW.at))::text, 'UTF8'));
    RETURN NEW;
END;
$$ LANGUAGE plpgsql SECURITY DEFINER SET search_path = '';
GRANT SELECT (team_id, position, hash) ON audit_log TO coldstream_definer;
GRANT CREATE ON SCHEMA app TO coldstream_definer;
ALTER FUNCTION app.chain_audit_log() OWNER TO coldstream_definer;
REVOKE CREATE ON SCHEMA app FROM coldstream_definer;
REVOKE EXECUTE ON FUNCTION app.chain_audit_log() FROM PUBLIC;
CREATE TRIGGER chain_audit_log_trigger BEFORE INSERT ON audit_log
    FOR EACH ROW EXECUTE FUNCTION app.chain_audit_log();

-- The same key and body get the same answer for 24 h. No status yet: the first request is still at work.
CREATE TABLE idempotency_key (
    team_id UUID NOT NULL REFERENCES teams(id) ON DELETE CASCADE,
    key VARCHAR(255) NOT NULL,
    request_hash BYTEA NOT NULL,          -- SHA-256 of method, path and body
    response_status INTEGER,
    response_headers JSONB,
    response_body BYTEA,
    created_at TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (team_id, key)
);
CREATE INDEX idx_idempotency_key_created ON idempotency_key(created_at);

-- A link of a step that is counted: hits carry its id, signed, and the target is looked up here: no forging it.
CREATE TABLE tracked_link (
    id UUID PRIMARY KEY,
    team_id UUID NOT NULL,
    campaign_id UUID NOT NULL,
    url TEXT NOT NULL,
    created_at TIMESTAMPTZ NOT NULL,
    FOREIGN KEY (team_id, campaign_id) REFERENCES campaigns(team_id, id) ON DELETE CASCADE
);
CREATE UNIQUE INDEX idx_tracked_link_once ON tracked_link(campaign_id, md5(url));
CREATE INDEX idx_tracked_link_team ON tracked_link(team_id);

-- One event on its way to one webhook, until it is delivered or given up; each attempt is a row of webhook_logs.
CREATE TABLE webhook_delivery (
    id UUID PRIMARY KEY,
    team_id UUID NOT NULL,
    webhook_id UUID NOT NULL,
    event_id UUID NOT NULL,
    status TEXT NOT NULL DEFAULT 'waiting' CHECK (status IN ('waiting', 'delivered', 'failed')),
    attempts INTEGER NOT NULL DEFAULT 0 CHECK (attempts >= 0),
    next_attempt_at TIMESTAMPTZ,
    lease_until TIMESTAMPTZ,              -- real time
    created_at TIMESTAMPTZ NOT NULL,
    settled_at TIMESTAMPTZ,
    UNIQUE (webhook_id, event_id),
    FOREIGN KEY (team_id, webhook_id) REFERENCES webhooks(team_id, id) ON DELETE CASCADE
);
CREATE INDEX idx_webhook_delivery_due ON webhook_delivery(next_attempt_at) WHERE status = 'waiting';
CREATE INDEX idx_webhook_delivery_team ON webhook_delivery(team_id, created_at);
