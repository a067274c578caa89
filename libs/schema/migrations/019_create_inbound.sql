-- owner: replies
-- why:   the raw bytes are stored before anything reads them, so a parser's fault never loses a message (reliability.md §2.4)
-- locks: none but on new objects

CREATE TABLE imap_cursor (
    inbox_id UUID NOT NULL,
    team_id UUID NOT NULL,
    folder TEXT NOT NULL,
    uidvalidity BIGINT NOT NULL,
    last_uid BIGINT NOT NULL DEFAULT 0,
    last_internal_date TIMESTAMPTZ,
    updated_at TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (inbox_id, folder),
    FOREIGN KEY (team_id, inbox_id) REFERENCES inboxes(team_id, id) ON DELETE CASCADE
);

CREATE TABLE inbound_raw (
    id UUID PRIMARY KEY,
    team_id UUID NOT NULL,
    inbox_id UUID NOT NULL,
    folder TEXT NOT NULL,
    uidvalidity BIGINT NOT NULL,
    uid BIGINT NOT NULL,
    -- sha256 of Message-ID, date, sender and size: finds a message again under another UIDVALIDITY.
    dedupe BYTEA NOT NULL,
    internal_date TIMESTAMPTZ NOT NULL,
    size_bytes BIGINT NOT NULL,
    raw BYTEA NOT NULL,
    truncated BOOLEAN NOT NULL DEFAULT FALSE,
    stored_at TIMESTAMPTZ NOT NULL,
    -- What it turned out to be; exactly one outcome per message.
    outcome TEXT CHECK (outcome IN ('reply', 'auto_reply', 'out_of_office', 'bounce', 'complaint', 'own', 'warmup', 'sent_copy',
        'unmatched', 'ignored', 'unreadable')),
    outcome_detail JSONB,
    attempts INTEGER NOT NULL DEFAULT 0,
    sorted_at TIMESTAMPTZ,
    UNIQUE (inbox_id, folder, uidvalidity, uid),
    UNIQUE (inbox_id, folder, dedupe),
    CHECK ((outcome IS NULL) = (sorted_at IS NULL)),
    FOREIGN KEY (team_id, inbox_id) REFERENCES inboxes(team_id, id) ON DELETE CASCADE
);
CREATE INDEX idx_inbound_raw_unsorted ON inbound_raw(stored_at) WHERE outcome IS NULL;
CREATE INDEX idx_inbound_raw_unmatched ON inbound_raw(team_id, stored_at) WHERE outcome = 'unmatched';
