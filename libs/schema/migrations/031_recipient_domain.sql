-- owner: api (recipient_domain), sender (the indexes)
-- why:   who runs a recipient's mail is asked once and kept (ESP matching); limits per recipient domain are counted
-- locks: SHARE on emails while its index is built; none but on new objects else

-- Public facts about mail domains, of no team: a request adds the bare domain, the API's resolver fills the rest in.
CREATE TABLE recipient_domain (
    domain TEXT PRIMARY KEY CHECK (domain = lower(domain)),
    -- NULL: not known yet, or nobody could tell; it then suits every inbox.
    provider TEXT CHECK (provider IN ('google', 'microsoft', 'other')),
    resolved_at TIMESTAMPTZ
);
CREATE INDEX idx_recipient_domain_unresolved ON recipient_domain(domain) WHERE resolved_at IS NULL;

ALTER TABLE recipient_domain ENABLE ROW LEVEL SECURITY;
CREATE POLICY "Coldstream services" ON recipient_domain TO coldstream_service, coldstream_api
    USING (true) WITH CHECK (true);
CREATE POLICY "Requests see mail domains" ON recipient_domain FOR SELECT TO coldstream_tenant USING (true);
CREATE POLICY "Requests add bare mail domains" ON recipient_domain FOR INSERT TO coldstream_tenant
    WITH CHECK (provider IS NULL AND resolved_at IS NULL);
REVOKE ALL ON recipient_domain FROM PUBLIC, anon, authenticated, service_role;
GRANT SELECT ON recipient_domain TO coldstream_service, coldstream_tenant, coldstream_api;
GRANT INSERT (domain) ON recipient_domain TO coldstream_tenant;
GRANT INSERT, UPDATE (provider, resolved_at) ON recipient_domain TO coldstream_api;

-- How many mails a company got of late. Erasure overwrites to_email, and with it what stands here.
CREATE INDEX idx_emails_domain ON emails(team_id, lower(split_part(to_email, '@', 2)), scheduled_at);
