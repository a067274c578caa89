-- owner: api
-- why:   OAuth mailboxes: when a token is renewed, for which version of the credentials; and which domains are asked about next
-- locks: ACCESS EXCLUSIVE on inboxes for new columns with constant defaults: no rewrite; SHARE on recipient_domain, new and empty

ALTER TABLE inboxes
    -- Raised with every change of the credentials: a worker that refreshed an older version stores nothing.
    ADD COLUMN cred_version BIGINT NOT NULL DEFAULT 1,
    -- Real time. When the access token is renewed, or tried again; pushed ahead by whoever is at it. NULL: never.
    ADD COLUMN oauth_refresh_at TIMESTAMPTZ,
    ADD COLUMN oauth_failures INTEGER NOT NULL DEFAULT 0 CHECK (oauth_failures >= 0),
    -- The provider says that the grant is gone; until there is a new one the mailbox can neither send nor be resumed.
    ADD COLUMN reauth_required BOOLEAN NOT NULL DEFAULT FALSE;
CREATE INDEX idx_inboxes_oauth_refresh ON inboxes(oauth_refresh_at) WHERE oauth_refresh_at IS NOT NULL;

GRANT SELECT (cred_version, oauth_refresh_at, reauth_required) ON inboxes TO coldstream_service, authenticated;
GRANT UPDATE (cred_version, oauth_refresh_at, oauth_failures, reauth_required) ON inboxes TO coldstream_tenant;
-- What goes on between requests: the refresh job, which also tells that a grant is gone.
GRANT SELECT (cred_version, oauth_refresh_at, oauth_failures, reauth_required),
    UPDATE (cred_version, oauth_refresh_at, oauth_failures, reauth_required, status, status_reason)
    ON inboxes TO coldstream_api;

-- Unknown ones are asked about again after a day, known ones after a week; each tick looks for the oldest.
CREATE INDEX idx_recipient_domain_unknown ON recipient_domain(resolved_at) WHERE provider IS NULL;
CREATE INDEX idx_recipient_domain_known ON recipient_domain(resolved_at) WHERE provider IS NOT NULL;
