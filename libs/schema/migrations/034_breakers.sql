-- owner: sender
-- why:   breakers of hosts, campaigns, reputation and complaints keep the numbers that decided them (field.md 4.4, 4.5)
-- locks: ACCESS EXCLUSIVE on breaker for its new columns, no rewrite; SHARE on send_ledger while an index is built

-- What was said against a mail, once each: a server's refusal in the dialogue and its later report are one.
CREATE TABLE refusal (
    email_id UUID NOT NULL,
    lead_key BYTEA NOT NULL,
    class TEXT NOT NULL CHECK (class IN ('hard', 'soft', 'blocked', 'complaint')),
    team_id UUID NOT NULL REFERENCES teams(id) ON DELETE CASCADE,
    inbox_id UUID NOT NULL,
    campaign_id UUID,                     -- NULL: no campaign's mail
    source TEXT NOT NULL CHECK (source IN ('smtp', 'dsn', 'arf')),
    sent_at TIMESTAMPTZ,                  -- NULL: refused before it went
    refused_at TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (email_id, lead_key, class)
);
CREATE INDEX idx_refusal_inbox ON refusal(inbox_id, class);
CREATE INDEX idx_refusal_campaign ON refusal(campaign_id, class);
CREATE INDEX idx_refusal_person ON refusal(team_id, lead_key, refused_at);

ALTER TABLE refusal ENABLE ROW LEVEL SECURITY;
CREATE POLICY "Coldstream services" ON refusal TO coldstream_service, coldstream_api USING (true) WITH CHECK (true);
CREATE POLICY "Requests see their team" ON refusal FOR SELECT TO coldstream_tenant
    USING (team_id = ANY (ARRAY(SELECT app.my_team_ids())));
REVOKE ALL ON refusal FROM PUBLIC, anon, authenticated;
GRANT SELECT, INSERT ON refusal TO coldstream_sender;
GRANT SELECT ON refusal TO coldstream_tenant;

ALTER TABLE breaker
    ADD COLUMN sends INTEGER CHECK (sends >= 0),              -- of which `failures` failed; NULL: failures in a row
    ADD COLUMN threshold INTEGER CHECK (threshold > 0),       -- so many failures open it
    ADD COLUMN failed_at TIMESTAMPTZ[] NOT NULL DEFAULT '{}', -- auth: the last failures, at most three
    ADD COLUMN counted_from TIMESTAMPTZ;                      -- what lies before has had its verdict

-- A campaign's sends of the last days.
CREATE INDEX idx_send_ledger_campaign_day ON send_ledger(campaign_id, committed_at) WHERE committed_at IS NOT NULL;
