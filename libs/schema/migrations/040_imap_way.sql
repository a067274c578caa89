-- owner: replies
-- why:   a login that the mailbox's server refuses must not be tried for ever, and nothing may be sent while replies cannot be read
-- locks: ACCESS EXCLUSIVE on inboxes while it is written anew: some thousands of rows at the most

ALTER TABLE inboxes
    -- The way in to its mail as a fingerprint: another one as soon as anything that the login depends on is another. Of
    -- credentials only what is sealed goes into it, so it tells nothing of them.
    ADD COLUMN imap_way TEXT NOT NULL GENERATED ALWAYS AS (md5(
        coalesce(imap_host, '') || '|' || coalesce(imap_port::text, '') || '|' || imap_tls || '|'
        || coalesce(imap_username, smtp_username, email) || '|'
        || coalesce(oauth_access_token, imap_password, smtp_password, '')
    )) STORED,
    -- The way in that its server has refused again and again; NULL: none since the last login that went well.
    ADD COLUMN imap_refused TEXT,
    -- Since when every attempt to read it has failed otherwise, as far as that was told; NULL: none since it was read.
    ADD COLUMN imap_unreachable_since TIMESTAMPTZ;

GRANT SELECT (imap_way, imap_refused, imap_unreachable_since) ON inboxes TO coldstream_service;
-- Explanations name them.
GRANT SELECT (imap_refused, imap_unreachable_since) ON inboxes TO coldstream_api, coldstream_tenant;
GRANT UPDATE (imap_refused, imap_unreachable_since) ON inboxes TO coldstream_replies;
