-- owner: api
-- why:   the profile of an auth.users row, gone with it
-- locks: SHARE ROW EXCLUSIVE on auth.users while the foreign key is made

CREATE TABLE users (
    id UUID PRIMARY KEY REFERENCES auth.users(id) ON DELETE CASCADE,
    -- Lower case, as every address that is compared; a trigger writes it so (014).
    email VARCHAR(255) UNIQUE NOT NULL CHECK (email = lower(email)),
    full_name VARCHAR(255),
    avatar_url TEXT,

    -- Preferences
    timezone VARCHAR(100) NOT NULL DEFAULT 'UTC'
        CHECK (timezone(timezone, TIMESTAMPTZ '2000-01-01 00:00:00Z') IS NOT NULL),
    notification_preferences JSONB NOT NULL DEFAULT '{"email": true, "browser": true}',

    -- Metadata
    last_active_at TIMESTAMPTZ,
    created_at TIMESTAMPTZ NOT NULL DEFAULT NOW(),
    updated_at TIMESTAMPTZ NOT NULL DEFAULT NOW()
);

CREATE INDEX idx_users_email ON users(email);
