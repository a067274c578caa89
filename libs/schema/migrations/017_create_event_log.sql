-- owner: every service records its own events; relay and consumers run in every process
-- why:   journal and outbox in one (design.md §3): Postgres is the record, the stream is how the world hears of it
-- locks: none but on new objects

-- One row for the whole installation.
CREATE TABLE installation (
    singleton BOOLEAN PRIMARY KEY DEFAULT TRUE CHECK (singleton),
    id UUID NOT NULL DEFAULT gen_random_uuid(),
    -- Part of every send's fence: raised when this database turns out to be an older copy than the stream remembers.
    epoch BIGINT NOT NULL DEFAULT 1 CHECK (epoch > 0),
    -- The kill switch: no point of no return is passed while it is set.
    paused BOOLEAN NOT NULL DEFAULT FALSE,
    paused_reason TEXT,
    paused_at TIMESTAMPTZ,
    -- Only a sandbox may shift business time; set once, by `coldstream demo`.
    sandbox BOOLEAN NOT NULL DEFAULT FALSE,
    clock_offset INTERVAL NOT NULL DEFAULT INTERVAL '0' CHECK (sandbox OR clock_offset = INTERVAL '0'),
    created_at TIMESTAMPTZ NOT NULL DEFAULT NOW()
);
INSERT INTO installation DEFAULT VALUES;

CREATE TABLE event_log (
    position BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    event_id UUID NOT NULL UNIQUE,
    team_id UUID NOT NULL,
    type TEXT NOT NULL,
    -- CloudEvents subject, "<aggregate>/<id>".
    subject TEXT NOT NULL,
    time TIMESTAMPTZ NOT NULL,
    -- json and not jsonb: the bytes on the stream are these bytes.
    body JSON NOT NULL,
    -- Set by the relay. Log order is stream_seq, then position for what is not published yet: identity values are
    -- handed out at insert, so a later commit may hold a lower position.
    stream_seq BIGINT UNIQUE
);
CREATE INDEX idx_event_log_unpublished ON event_log(position) WHERE stream_seq IS NULL;
CREATE INDEX idx_event_log_subject ON event_log(team_id, subject, position);
-- What a team reads through the API, in log order.
CREATE INDEX idx_event_log_team ON event_log(team_id, stream_seq);

-- Once only: a handler's transaction inserts here first.
CREATE TABLE event_handled (
    consumer TEXT NOT NULL,
    event_id UUID NOT NULL,
    handled_at TIMESTAMPTZ NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (consumer, event_id)
);

-- Events that a handler or projection failed on too often; `coldstream parked retry` runs them again from event_log.
CREATE TABLE parked (
    consumer TEXT NOT NULL,
    event_id UUID NOT NULL,
    type TEXT NOT NULL,
    error TEXT NOT NULL,
    attempts INTEGER NOT NULL,
    parked_at TIMESTAMPTZ NOT NULL DEFAULT clock_timestamp(),
    retried_at TIMESTAMPTZ,
    PRIMARY KEY (consumer, event_id)
);

-- How far a projection has come. last_event_id finds the place again in a refilled stream.
CREATE TABLE projection_offset (
    projection TEXT PRIMARY KEY,
    stream_created TIMESTAMPTZ,
    last_seq BIGINT NOT NULL DEFAULT 0,
    last_event_id UUID,
    updated_at TIMESTAMPTZ NOT NULL DEFAULT clock_timestamp()
);
