-- owner: api
-- why:   the tenant, and what Supabase has and plain PostgreSQL lacks
-- locks: none but on new objects

-- Made only where missing, so that the same files run on both. auth.uid() is Supabase's: the caller's id from the
-- claims of the request.
DO $shim$
DECLARE
    role_name TEXT;
BEGIN
    FOREACH role_name IN ARRAY ARRAY['anon', 'authenticated', 'service_role'] LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = role_name) THEN
            -- Roles belong to the whole server: a migration of another database may be making the same one now.
            BEGIN
                EXECUTE format('CREATE ROLE %I NOLOGIN NOINHERIT', role_name);
            EXCEPTION WHEN duplicate_object OR unique_violation THEN
                NULL;
            END;
        END IF;
    END LOOP;

    IF to_regnamespace('auth') IS NULL THEN
        CREATE SCHEMA auth;
        COMMENT ON SCHEMA auth IS 'coldstream: stands in for Supabase''s';
        GRANT USAGE ON SCHEMA auth TO anon, authenticated, service_role;
    END IF;

    IF to_regclass('auth.users') IS NULL THEN
        CREATE TABLE auth.users (
            id UUID PRIMARY KEY DEFAULT gen_random_uuid(),
            email VARCHAR(255),
            created_at TIMESTAMPTZ DEFAULT NOW()
        );
        ALTER TABLE auth.users ENABLE ROW LEVEL SECURITY;
    END IF;

    IF to_regprocedure('auth.uid()') IS NULL THEN
        CREATE FUNCTION auth.uid() RETURNS UUID LANGUAGE sql STABLE SET search_path = '' AS $uid$
            SELECT coalesce(
                nullif(current_setting('request.jwt.claim.sub', true), ''),
                nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'sub'
            )::uuid
        $uid$;
    END IF;
END
$shim$;

-- What is ours and no client calls by name over the API (seed/defects.md 5).
CREATE SCHEMA app;

CREATE TABLE teams (
    id UUID PRIMARY KEY DEFAULT gen_random_uuid(),
    name VARCHAR(255) NOT NULL,
    slug VARCHAR(100) UNIQUE NOT NULL,

    -- Billing
    plan VARCHAR(50) NOT NULL DEFAULT 'free' CHECK (plan IN ('free', 'starter', 'pro', 'enterprise')),
    stripe_customer_id VARCHAR(255),
    stripe_subscription_id VARCHAR(255),

    -- Limits (based on plan)
    daily_email_limit INTEGER NOT NULL DEFAULT 500 CHECK (daily_email_limit >= 0),
    max_inboxes INTEGER NOT NULL DEFAULT 5 CHECK (max_inboxes >= 0),
    max_campaigns INTEGER NOT NULL DEFAULT 5 CHECK (max_campaigns >= 0),
    max_team_members INTEGER NOT NULL DEFAULT 3 CHECK (max_team_members > 0),

    -- Compliance
    physical_address TEXT,
    company_name VARCHAR(255),

    -- Metadata
    settings JSONB NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(settings) = 'object'),
    created_at TIMESTAMPTZ NOT NULL DEFAULT NOW(),
    updated_at TIMESTAMPTZ NOT NULL DEFAULT NOW(),

    -- Ours: ETag of the API, which alone raises it.
    revision BIGINT NOT NULL DEFAULT 1,

    -- Refuses a name that PostgreSQL does not know, by its own error.
    CONSTRAINT teams_timezone_check CHECK (settings ->> 'timezone' IS NULL
        OR timezone(settings ->> 'timezone', TIMESTAMPTZ '2000-01-01 00:00:00Z') IS NOT NULL)
);

CREATE INDEX idx_teams_slug ON teams(slug);
CREATE INDEX idx_teams_stripe_customer ON teams(stripe_customer_id);
