-- owner: api (domains)
-- why:   mail over a team's own SMTP server is signed by us; the key is sealed, written by a request and read by the sender alone
-- locks: ACCESS EXCLUSIVE on domains for a moment: two new columns, no rewrite

ALTER TABLE domains
    ADD COLUMN dkim_private_key TEXT,     -- sealed (libs/schema/secrets.py); with dkim_selector it signs
    ADD COLUMN dkim_public_record TEXT;   -- what must stand in the DNS at <dkim_selector>._domainkey.<domain>

-- A grant on the whole table would show the key to everybody who may read the domain.
REVOKE SELECT ON domains FROM authenticated, coldstream_service, coldstream_api;
GRANT SELECT (id, team_id, domain, spf_valid, spf_record, dkim_valid, dkim_selector, dkim_record, dmarc_valid, dmarc_policy,
    dmarc_record, health_score, health_known, last_checked_at, verified_at, created_at, updated_at, revision,
    dkim_public_record)
    ON domains TO authenticated, coldstream_service, coldstream_api;
GRANT SELECT (dkim_private_key) ON domains TO coldstream_sender;
GRANT UPDATE (dkim_private_key, dkim_public_record) ON domains TO coldstream_tenant;
