-- owner: the schema's; coldstream_definer owns what must see more than its caller does
-- why:   timestamps, lead counts, daily counters, addresses without case, teams of children, the way in, the last owner
-- locks: SHARE ROW EXCLUSIVE on each table that gets a trigger; all are empty but auth.users

-- Nobody logs in as it. It owns the SECURITY DEFINER functions, so a fault in one reaches no further than its grants.
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'coldstream_definer') THEN
        BEGIN
            CREATE ROLE coldstream_definer NOLOGIN;
        EXCEPTION WHEN duplicate_object OR unique_violation THEN
            NULL;  -- made by the migration of another database of this server
        END;
    END IF;
    -- Only its members may give it a function; from PostgreSQL 16 on who makes a role is no full member of it.
    IF NOT (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) THEN
        EXECUTE format('GRANT coldstream_definer TO %I', current_user);
    END IF;
END
$$;
GRANT USAGE, CREATE ON SCHEMA app TO coldstream_definer;
GRANT USAGE ON SCHEMA public TO coldstream_definer;
GRANT SELECT, INSERT ON teams, team_members TO coldstream_definer;
GRANT UPDATE (updated_at) ON teams TO coldstream_definer;  -- what SELECT … FOR UPDATE asks for
GRANT SELECT, INSERT, UPDATE (email) ON users TO coldstream_definer;
GRANT SELECT (id), UPDATE (lead_count) ON lead_lists TO coldstream_definer;
GRANT SELECT (lead_count) ON lead_lists TO coldstream_definer;
GRANT SELECT (id, counters_date), UPDATE (sent_today, sent_this_week, counters_date) ON inboxes TO coldstream_definer;
GRANT SELECT (inbox_id, send_window_timezone) ON inbox_settings TO coldstream_definer;
GRANT SELECT (inbox_id, counters_date), UPDATE (sent_today, received_today, replied_today, counters_date)
    ON warmup_state TO coldstream_definer;

-- 1. Who calls --------------------------------------------------------------------------------------------------------

-- auth.uid() for functions of coldstream_definer. Parsed here and now, so that its owner needs no right on schema auth,
-- which on Supabase nobody may grant.
CREATE FUNCTION app.user_id() RETURNS UUID
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = ''
RETURN auth.uid();

CREATE FUNCTION app.my_team_ids(VARIADIC roles TEXT[]) RETURNS SETOF UUID
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = ''
BEGIN ATOMIC
    SELECT m.team_id
    FROM public.team_members AS m
    WHERE m.user_id = (SELECT auth.uid())
        AND (m.accepted_at IS NOT NULL OR m.invited_at IS NULL)
        AND m.role = ANY (roles)
    UNION ALL
    SELECT nullif(current_setting('app.team_id', true), '')::uuid
    WHERE session_user = 'coldstream_api'
        AND (SELECT auth.uid()) IS NULL
        AND nullif(current_setting('app.team_id', true), '') IS NOT NULL
        AND coalesce(nullif(current_setting('app.role', true), ''), 'member') = ANY (roles);
END;
COMMENT ON FUNCTION app.my_team_ids(TEXT[]) IS
'The teams in which the caller has one of these roles. A person is known by request.jwt.claims ->> ''sub'' (auth.uid());
pending invitations do not count. An API key has no person: the API, logged in as coldstream_api, says in each
transaction
  SET LOCAL ROLE coldstream_tenant;
  SELECT set_config(''app.team_id'', <team>, true), set_config(''app.role'', <owner | admin | member | viewer>, true);
app.role defaults to member. Both settings are ignored for every other login, and where the claims name a person: then
membership alone decides.';

CREATE FUNCTION app.my_team_ids() RETURNS SETOF UUID
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = ''
BEGIN ATOMIC
    SELECT t FROM app.my_team_ids('owner', 'admin', 'member', 'viewer') AS t;
END;

ALTER FUNCTION app.user_id() OWNER TO coldstream_definer;
ALTER FUNCTION app.my_team_ids(TEXT[]) OWNER TO coldstream_definer;
ALTER FUNCTION app.my_team_ids() OWNER TO coldstream_definer;
REVOKE EXECUTE ON FUNCTION app.user_id(), app.my_team_ids(TEXT[]), app.my_team_ids() FROM PUBLIC, anon;
GRANT EXECUTE ON FUNCTION app.user_id(), app.my_team_ids(TEXT[]), app.my_team_ids() TO authenticated;
GRANT USAGE ON SCHEMA app TO authenticated;

-- 2. Update timestamps ------------------------------------------------------------------------------------------------

CREATE OR REPLACE FUNCTION update_updated_at()
RETURNS TRIGGER AS $$
BEGIN
    NEW.updated_at = NOW();
    RETURN NEW;
END;
$$ LANGUAGE plpgsql SET search_path = '';

DO $$
DECLARE
    table_name TEXT;
BEGIN
    FOREACH table_name IN ARRAY ARRAY['teams', 'users', 'team_members', 'domains', 'inboxes', 'inbox_settings',
        'warmup_state', 'lead_lists', 'leads', 'campaigns', 'sequences', 'sequence_variants', 'emails', 'replies',
        'webhooks'] LOOP
        EXECUTE format('CREATE TRIGGER %I BEFORE UPDATE ON %I FOR EACH ROW EXECUTE FUNCTION update_updated_at()',
            'update_' || table_name || '_updated_at', table_name);
    END LOOP;
    -- In a projection the events' time stands, or a rebuild would never equal the live rows (design.md §9.5).
    FOREACH table_name IN ARRAY ARRAY['daily_stats', 'inbox_daily_stats'] LOOP
        EXECUTE format('CREATE TRIGGER %I BEFORE UPDATE ON %I FOR EACH ROW'
            ' WHEN (current_user <> ''coldstream_analytics'') EXECUTE FUNCTION update_updated_at()',
            'update_' || table_name || '_updated_at', table_name);
    END LOOP;
END
$$;

-- 3. Update lead list count -------------------------------------------------------------------------------------------

-- Per statement: 20,000 leads cost one update of the list. Archived leads do not count.
CREATE OR REPLACE FUNCTION update_lead_list_count()
RETURNS TRIGGER AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        PERFORM app.add_to_lead_lists(
            (SELECT array_agg(n.lead_list_id) FROM new_leads AS n WHERE n.deleted_at IS NULL), NULL);
    ELSIF TG_OP = 'DELETE' THEN
        PERFORM app.add_to_lead_lists(
            NULL, (SELECT array_agg(o.lead_list_id) FROM old_leads AS o WHERE o.deleted_at IS NULL));
    ELSIF TG_OP = 'UPDATE' THEN
        PERFORM app.add_to_lead_lists(
            (SELECT array_agg(n.lead_list_id) FROM new_leads AS n WHERE n.deleted_at IS NULL),
            (SELECT array_agg(o.lead_list_id) FROM old_leads AS o WHERE o.deleted_at IS NULL));
    ELSE
        UPDATE public.lead_lists SET lead_count = 0 WHERE lead_count <> 0;
    END IF;
    RETURN NULL;
END;
$$ LANGUAGE plpgsql SECURITY DEFINER SET search_path = '';

-- One list id for each lead that came, one for each that went; NULL is no list.
CREATE FUNCTION app.add_to_lead_lists(came UUID[], went UUID[]) RETURNS VOID AS $$
DECLARE
    changed UUID[];
    change BIGINT[];
BEGIN
    SELECT array_agg(d.list_id ORDER BY d.list_id), array_agg(d.delta ORDER BY d.list_id)
    INTO changed, change
    FROM (
        SELECT moved.list_id, sum(moved.one) AS delta
        FROM (SELECT unnest(came) AS list_id, 1 AS one UNION ALL SELECT unnest(went), -1) AS moved
        WHERE moved.list_id IS NOT NULL
        GROUP BY moved.list_id
        HAVING sum(moved.one) <> 0
    ) AS d;
    IF changed IS NULL THEN
        RETURN;
    END IF;
    -- Always in this order, or two imports into the same lists could wait for each other.
    PERFORM FROM public.lead_lists AS l WHERE l.id = ANY (changed) ORDER BY l.id FOR NO KEY UPDATE;
    UPDATE public.lead_lists AS l
    SET lead_count = l.lead_count + d.delta
    FROM unnest(changed, change) AS d(list_id, delta)
    WHERE l.id = d.list_id;
END;
$$ LANGUAGE plpgsql SET search_path = '';

CREATE TRIGGER update_lead_list_count_trigger
    AFTER INSERT ON leads REFERENCING NEW TABLE AS new_leads
    FOR EACH STATEMENT EXECUTE FUNCTION update_lead_list_count();
CREATE TRIGGER update_lead_list_count_on_update_trigger
    AFTER UPDATE ON leads REFERENCING OLD TABLE AS old_leads NEW TABLE AS new_leads
    FOR EACH STATEMENT EXECUTE FUNCTION update_lead_list_count();
CREATE TRIGGER update_lead_list_count_on_delete_trigger
    AFTER DELETE ON leads REFERENCING OLD TABLE AS old_leads
    FOR EACH STATEMENT EXECUTE FUNCTION update_lead_list_count();
CREATE TRIGGER update_lead_list_count_on_truncate_trigger
    AFTER TRUNCATE ON leads
    FOR EACH STATEMENT EXECUTE FUNCTION update_lead_list_count();

ALTER FUNCTION app.add_to_lead_lists(UUID[], UUID[]) OWNER TO coldstream_definer;

-- A lead whose campaign is gone is nowhere in it.
CREATE FUNCTION app.clear_lead_cursor() RETURNS TRIGGER AS $$
BEGIN
    NEW.current_step = NULL;
    NEW.next_send_at = NULL;
    RETURN NEW;
END;
$$ LANGUAGE plpgsql SET search_path = '';

CREATE TRIGGER clear_lead_cursor_trigger
    BEFORE UPDATE OF current_campaign_id ON leads
    FOR EACH ROW WHEN (NEW.current_campaign_id IS NULL AND OLD.current_campaign_id IS NOT NULL)
    EXECUTE FUNCTION app.clear_lead_cursor();

-- 4. Reset daily counters ---------------------------------------------------------------------------------------------

-- A counter belongs to the inbox's own day and week (inbox_settings.send_window_timezone): what is over at as_of goes
-- to 0, whether this runs once an hour, twice, or after a day's pause. For display only: caps count the ledger.
CREATE FUNCTION app.reset_daily_counters(as_of TIMESTAMPTZ) RETURNS VOID AS $$
BEGIN
    UPDATE public.inboxes AS i
    SET sent_today = CASE WHEN i.counters_date IS NULL THEN i.sent_today ELSE 0 END,
        sent_this_week = CASE WHEN date_trunc('week', i.counters_date) < date_trunc('week', l.today) THEN 0
            ELSE i.sent_this_week END,
        counters_date = l.today
    FROM (
        SELECT n.id, (as_of AT TIME ZONE coalesce(s.send_window_timezone, 'UTC'))::date AS today
        FROM public.inboxes AS n
        LEFT JOIN public.inbox_settings AS s ON s.inbox_id = n.id
    ) AS l
    WHERE i.id = l.id AND (i.counters_date < l.today OR i.counters_date IS NULL);

    UPDATE public.warmup_state AS w
    SET sent_today = CASE WHEN w.counters_date IS NULL THEN w.sent_today ELSE 0 END,
        received_today = CASE WHEN w.counters_date IS NULL THEN w.received_today ELSE 0 END,
        replied_today = CASE WHEN w.counters_date IS NULL THEN w.replied_today ELSE 0 END,
        counters_date = l.today
    FROM (
        SELECT n.inbox_id, (as_of AT TIME ZONE coalesce(s.send_window_timezone, 'UTC'))::date AS today
        FROM public.warmup_state AS n
        LEFT JOIN public.inbox_settings AS s ON s.inbox_id = n.inbox_id
    ) AS l
    WHERE w.inbox_id = l.inbox_id AND (w.counters_date < l.today OR w.counters_date IS NULL);
END;
$$ LANGUAGE plpgsql SECURITY DEFINER SET search_path = '';
ALTER FUNCTION app.reset_daily_counters(TIMESTAMPTZ) OWNER TO coldstream_definer;
GRANT SELECT (sent_today, sent_this_week) ON inboxes TO coldstream_definer;
GRANT SELECT (sent_today, received_today, replied_today) ON warmup_state TO coldstream_definer;

CREATE OR REPLACE FUNCTION reset_daily_counters()
RETURNS void AS $$
BEGIN
    PERFORM app.reset_daily_counters(NOW());
END;
$$ LANGUAGE plpgsql SET search_path = '';
REVOKE EXECUTE ON FUNCTION reset_daily_counters(), app.reset_daily_counters(TIMESTAMPTZ)
    FROM PUBLIC, anon, authenticated, service_role;

-- Once an hour, because days end at another hour in each zone. Elsewhere a job of analytics calls it.
DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_extension WHERE extname = 'pg_cron') THEN
        EXECUTE $cron$
            SELECT cron.schedule('reset-daily-counters', '0 * * * *', 'SELECT public.reset_daily_counters()')
        $cron$;
    END IF;
END
$$;

-- 5. Addresses and domains know no case -------------------------------------------------------------------------------

CREATE FUNCTION app.normalise_email() RETURNS TRIGGER AS $$
BEGIN
    NEW.email = lower(btrim(NEW.email));
    RETURN NEW;
END;
$$ LANGUAGE plpgsql SET search_path = '';

CREATE FUNCTION app.normalise_domain() RETURNS TRIGGER AS $$
BEGIN
    NEW.domain = rtrim(lower(btrim(NEW.domain)), '.');
    RETURN NEW;
END;
$$ LANGUAGE plpgsql SET search_path = '';

DO $$
DECLARE
    table_name TEXT;
BEGIN
    FOREACH table_name IN ARRAY ARRAY['users', 'inboxes', 'leads', 'suppression_list'] LOOP
        EXECUTE format('CREATE TRIGGER normalise_email_trigger BEFORE INSERT OR UPDATE OF email ON %I'
            ' FOR EACH ROW EXECUTE FUNCTION app.normalise_email()', table_name);
    END LOOP;
END
$$;
CREATE TRIGGER normalise_domain_trigger BEFORE INSERT OR UPDATE OF domain ON domains
    FOR EACH ROW EXECUTE FUNCTION app.normalise_domain();

-- 6. A child belongs to its parent's team -----------------------------------------------------------------------------

-- Arguments: the parent table and the column that names its row. Runs as the caller: what he may not see stays unseen.
CREATE FUNCTION app.fill_team_id() RETURNS TRIGGER AS $$
BEGIN
    EXECUTE format('SELECT p.team_id FROM public.%I AS p WHERE p.id = ($1).%I', TG_ARGV[0], TG_ARGV[1])
        INTO NEW.team_id USING NEW;
    RETURN NEW;
END;
$$ LANGUAGE plpgsql SET search_path = '';

DO $$
DECLARE
    child TEXT[];
BEGIN
    FOREACH child SLICE 1 IN ARRAY ARRAY[
        ['inbox_settings', 'inboxes', 'inbox_id'],
        ['warmup_state', 'inboxes', 'inbox_id'],
        ['campaign_inboxes', 'campaigns', 'campaign_id'],
        ['sequences', 'campaigns', 'campaign_id'],
        ['sequence_variants', 'sequences', 'sequence_id'],
        ['webhook_logs', 'webhooks', 'webhook_id'],
        ['inbox_daily_stats', 'inboxes', 'inbox_id']
    ] LOOP
        EXECUTE format('CREATE TRIGGER fill_team_id_trigger BEFORE INSERT ON %I FOR EACH ROW WHEN (NEW.team_id IS NULL)'
            ' EXECUTE FUNCTION app.fill_team_id(%L, %L)', child[1], child[2], child[3]);
    END LOOP;
END
$$;

-- 7. The way in -------------------------------------------------------------------------------------------------------

-- The profile of an auth.users row, and its address kept the same. A row without an address gets none until it has one.
CREATE FUNCTION app.keep_profile() RETURNS TRIGGER AS $$
BEGIN
    IF NEW.email IS NOT NULL THEN
        INSERT INTO public.users AS u (id, email) VALUES (NEW.id, NEW.email)
        ON CONFLICT (id) DO UPDATE SET email = excluded.email WHERE u.email <> excluded.email;
    END IF;
    RETURN NULL;
END;
$$ LANGUAGE plpgsql SECURITY DEFINER SET search_path = '';

CREATE TRIGGER coldstream_keep_profile
    AFTER INSERT OR UPDATE OF email ON auth.users
    FOR EACH ROW EXECUTE FUNCTION app.keep_profile();
ALTER FUNCTION app.keep_profile() OWNER TO coldstream_definer;

-- Those who were there before us.
INSERT INTO users (id, email) SELECT id, email FROM auth.users WHERE email IS NOT NULL;

-- Makes a team and its first owner, the caller. There is no other way to become the owner of a new team.
CREATE FUNCTION create_team(name TEXT, slug TEXT) RETURNS UUID AS $$
DECLARE
    team UUID;
BEGIN
    IF app.user_id() IS NULL THEN
        RAISE EXCEPTION 'create_team: nobody is signed in' USING ERRCODE = 'insufficient_privilege';
    END IF;
    INSERT INTO public.teams AS t (name, slug) VALUES (create_team.name, create_team.slug) RETURNING t.id INTO team;
    INSERT INTO public.team_members (team_id, user_id, role) VALUES (team, app.user_id(), 'owner');
    RETURN team;
END;
$$ LANGUAGE plpgsql SECURITY DEFINER SET search_path = '';

-- 8. Nobody raises himself; the last owner stays ----------------------------------------------------------------------

CREATE FUNCTION app.guard_members() RETURNS TRIGGER AS $$
BEGIN
    IF TG_OP = 'UPDATE' AND NEW.role <> OLD.role AND OLD.user_id = app.user_id() THEN
        RAISE EXCEPTION 'team_members: nobody changes their own role' USING ERRCODE = 'insufficient_privilege';
    END IF;
    IF OLD.role = 'owner' AND (TG_OP = 'DELETE' OR NEW.role <> 'owner' OR NEW.team_id <> OLD.team_id) THEN
        -- The lock keeps two owners from removing each other at once. No team: it is being deleted, and all go.
        PERFORM FROM public.teams AS t WHERE t.id = OLD.team_id FOR UPDATE;
        IF FOUND AND NOT EXISTS (
            SELECT FROM public.team_members AS m
            WHERE m.team_id = OLD.team_id AND m.id <> OLD.id AND m.role = 'owner'
                AND (m.accepted_at IS NOT NULL OR m.invited_at IS NULL)
        ) THEN
            RAISE EXCEPTION 'team_members: the last owner stays' USING ERRCODE = 'restrict_violation';
        END IF;
    END IF;
    RETURN CASE WHEN TG_OP = 'DELETE' THEN OLD ELSE NEW END;
END;
$$ LANGUAGE plpgsql SECURITY DEFINER SET search_path = '';

CREATE TRIGGER guard_members_trigger
    BEFORE UPDATE OR DELETE ON team_members
    FOR EACH ROW EXECUTE FUNCTION app.guard_members();
ALTER FUNCTION app.guard_members() OWNER TO coldstream_definer;

-- 9. Functions of schema public: given away, and taken from the public ------------------------------------------------

GRANT CREATE ON SCHEMA public TO coldstream_definer;
ALTER FUNCTION create_team(TEXT, TEXT) OWNER TO coldstream_definer;
ALTER FUNCTION update_lead_list_count() OWNER TO coldstream_definer;
REVOKE CREATE ON SCHEMA public, app FROM coldstream_definer;

REVOKE EXECUTE ON FUNCTION create_team(TEXT, TEXT), update_lead_list_count(), update_updated_at() FROM PUBLIC, anon,
    authenticated;
GRANT EXECUTE ON FUNCTION create_team(TEXT, TEXT) TO authenticated;
REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA app FROM PUBLIC;
GRANT EXECUTE ON FUNCTION app.user_id(), app.my_team_ids(TEXT[]), app.my_team_ids() TO authenticated;
