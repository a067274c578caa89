-- owner: api
-- why:   exactly one row a mailbox: limits, delays, local send window
-- locks: none but on new objects

CREATE TABLE inbox_settings (
    id UUID PRIMARY KEY DEFAULT gen_random_uuid(),
    inbox_id UUID UNIQUE NOT NULL,

    -- Sending limits
    daily_send_limit INTEGER NOT NULL DEFAULT 50 CHECK (daily_send_limit > 0 AND daily_send_limit <= 500),
    hourly_limit INTEGER NOT NULL DEFAULT 10 CHECK (hourly_limit > 0),

    -- Timing
    min_delay_seconds INTEGER NOT NULL DEFAULT 60 CHECK (min_delay_seconds >= 0),
    max_delay_seconds INTEGER NOT NULL DEFAULT 300,

    -- Send window
    send_window_start TIME NOT NULL DEFAULT '09:00',
    send_window_end TIME NOT NULL DEFAULT '17:00',
    send_window_timezone VARCHAR(100) NOT NULL DEFAULT 'America/New_York'
        CHECK (timezone(send_window_timezone, TIMESTAMPTZ '2000-01-01 00:00:00Z') IS NOT NULL),
    send_days VARCHAR(50)[] NOT NULL DEFAULT ARRAY['mon', 'tue', 'wed', 'thu', 'fri']
        CHECK (send_days <@ ARRAY['mon', 'tue', 'wed', 'thu', 'fri', 'sat', 'sun']::VARCHAR(50)[]),
    weekends_enabled BOOLEAN NOT NULL DEFAULT FALSE,

    -- Advanced
    esp_matching_enabled BOOLEAN NOT NULL DEFAULT TRUE,
    auto_throttle_enabled BOOLEAN NOT NULL DEFAULT TRUE,

    created_at TIMESTAMPTZ NOT NULL DEFAULT NOW(),
    updated_at TIMESTAMPTZ NOT NULL DEFAULT NOW(),

    -- Ours: filled from the inbox when not given (014); ETag of the API.
    team_id UUID NOT NULL,
    revision BIGINT NOT NULL DEFAULT 1,

    CHECK (max_delay_seconds >= min_delay_seconds),
    FOREIGN KEY (team_id, inbox_id) REFERENCES inboxes(team_id, id) ON DELETE CASCADE
);

CREATE INDEX idx_inbox_settings_inbox ON inbox_settings(inbox_id);
CREATE INDEX idx_inbox_settings_team ON inbox_settings(team_id);
