-- owner: api, which inserts; each worker service claims the queues that are its own
-- why:   seed §9.1 lists the table, but none of its fifteen migrations makes it (seed/defects.md 3)
-- locks: none but on new objects

CREATE TYPE job_status AS ENUM ('waiting', 'active', 'completed', 'failed', 'delayed');

CREATE TABLE job_queue (
    id UUID PRIMARY KEY DEFAULT gen_random_uuid(),
    queue_name VARCHAR(100) NOT NULL,

    -- Job info
    job_type VARCHAR(100) NOT NULL,
    payload JSONB NOT NULL,

    -- Status
    status job_status NOT NULL DEFAULT 'waiting',
    attempts INTEGER NOT NULL DEFAULT 0 CHECK (attempts >= 0),
    max_attempts INTEGER NOT NULL DEFAULT 5 CHECK (max_attempts > 0),

    -- Timing
    scheduled_at TIMESTAMPTZ NOT NULL DEFAULT NOW(),
    started_at TIMESTAMPTZ,
    completed_at TIMESTAMPTZ,

    -- Error tracking
    last_error TEXT,

    -- Priority (lower = higher priority)
    priority INTEGER NOT NULL DEFAULT 0,

    created_at TIMESTAMPTZ NOT NULL DEFAULT NOW(),

    -- Ours: whose job it is (shown as /v1/jobs/{id}), what it brought, who works on it until when (real time).
    team_id UUID REFERENCES teams(id) ON DELETE CASCADE,
    result JSONB,
    lease_until TIMESTAMPTZ
);

CREATE INDEX idx_job_queue_status ON job_queue(queue_name, status, scheduled_at)
    WHERE status IN ('waiting', 'delayed');
CREATE INDEX idx_job_queue_scheduled ON job_queue(scheduled_at)
    WHERE status = 'delayed';
-- The order in which jobs are claimed (seed/defects.md 42).
CREATE INDEX idx_job_queue_claim ON job_queue(queue_name, priority, scheduled_at)
    WHERE status IN ('waiting', 'delayed');
CREATE INDEX idx_job_queue_team ON job_queue(team_id, created_at);
