-- owner: api (domains)
-- why:   SPF, DKIM and DMARC of sending domains are looked up every day: when next, what was found, what is wrong with it
-- locks: ACCESS EXCLUSIVE on domains for a moment: columns without a rewrite, and an index over few rows

ALTER TABLE domains
    -- When the verdict was last confirmed. NULL: there is none, and the seed's FALSE beside it means nothing.
    ADD COLUMN spf_checked_at TIMESTAMPTZ,
    ADD COLUMN dkim_checked_at TIMESTAMPTZ,
    ADD COLUMN dmarc_checked_at TIMESTAMPTZ,
    ADD COLUMN check_remarks JSONB NOT NULL DEFAULT '{}',  -- by part: [{"code", "detail", "mend"}]
    ADD COLUMN check_due_at TIMESTAMPTZ,                   -- NULL: at once
    ADD COLUMN check_asked_at TIMESTAMPTZ,                 -- name servers, whatever they said
    ADD COLUMN dkim_set_at TIMESTAMPTZ;                    -- its owner is about to publish the key's record

CREATE INDEX idx_domains_check_due ON domains(check_due_at NULLS FIRST);

GRANT SELECT (spf_checked_at, dkim_checked_at, dmarc_checked_at, check_remarks, check_due_at, check_asked_at, dkim_set_at)
    ON domains TO authenticated, coldstream_service, coldstream_api;
GRANT UPDATE (spf_checked_at, dkim_checked_at, dmarc_checked_at, check_remarks, check_due_at, check_asked_at)
    ON domains TO coldstream_api;
GRANT UPDATE (check_due_at, dkim_set_at) ON domains TO coldstream_tenant;
