-- owner: the schema's
-- why:   no row crosses teams by any role a user can reach (P10); which columns a role may touch, grants say (022)
-- locks: ACCESS EXCLUSIVE on each table, all empty
--
-- viewer reads, member works, admin and owner manage; pending invitees and anon see nothing. What no policy allows is
-- denied: emails, events, statistics and logs are written by services alone. ENABLE and not FORCE: the owner is the
-- migrator, as whom no service logs in. `ARRAY(SELECT …)` is evaluated once a statement, not once a row.

-- 1. On for every table, partitions too: a partition is reached by its own name as well -------------------------------

DO $$
DECLARE
    t REGCLASS;
BEGIN
    FOR t IN SELECT c.oid FROM pg_class AS c WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p')
        AND c.relname IN ('teams', 'users', 'team_members', 'domains', 'inboxes', 'inbox_settings', 'warmup_state',
            'warmup_interactions', 'warmup_interactions_default', 'lead_lists', 'leads', 'suppression_list',
            'campaigns', 'campaign_inboxes', 'sequences', 'sequence_variants', 'emails', 'email_events',
            'email_events_default', 'replies', 'webhooks', 'webhook_logs', 'daily_stats', 'inbox_daily_stats') LOOP
        EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', t);
    END LOOP;
END
$$;

-- What the functions of 014 do for their callers.
DO $$
DECLARE
    t TEXT;
BEGIN
    FOREACH t IN ARRAY ARRAY['teams', 'users', 'team_members', 'lead_lists', 'inboxes', 'inbox_settings',
        'warmup_state'] LOOP
        EXECUTE format('CREATE POLICY "Coldstream functions" ON %I TO coldstream_definer'
            ' USING (true) WITH CHECK (true)', t);
    END LOOP;
END
$$;

-- 2. Teams, users, members: each rule is its own ----------------------------------------------------------------------

CREATE POLICY "Users can view their team"
    ON teams FOR SELECT TO authenticated
    USING (id = ANY (ARRAY(SELECT app.my_team_ids())));
CREATE POLICY "Team admins can update their team"
    ON teams FOR UPDATE TO authenticated
    USING (id = ANY (ARRAY(SELECT app.my_team_ids('owner', 'admin'))))
    WITH CHECK (id = ANY (ARRAY(SELECT app.my_team_ids('owner', 'admin'))));

CREATE POLICY "Users can view themselves"
    ON users FOR SELECT TO authenticated
    USING (id = (SELECT auth.uid()));
CREATE POLICY "Users can view their team mates"
    ON users FOR SELECT TO authenticated
    USING (id IN (SELECT m.user_id FROM team_members AS m WHERE m.team_id = ANY (ARRAY(SELECT app.my_team_ids()))));
CREATE POLICY "Users can update themselves"
    ON users FOR UPDATE TO authenticated
    USING (id = (SELECT auth.uid()))
    WITH CHECK (id = (SELECT auth.uid()));

CREATE POLICY "Team members can view their team members"
    ON team_members FOR SELECT TO authenticated
    USING (team_id = ANY (ARRAY(SELECT app.my_team_ids())));
-- A new member is invited and has to accept; only an owner makes, changes or removes an owner (and guard_members
-- watches the last).
CREATE POLICY "Team admins can invite team members"
    ON team_members FOR INSERT TO authenticated
    WITH CHECK (
        invited_at IS NOT NULL AND accepted_at IS NULL
        AND (team_id = ANY (ARRAY(SELECT app.my_team_ids('owner')))
            OR (role <> 'owner' AND team_id = ANY (ARRAY(SELECT app.my_team_ids('admin')))))
    );
CREATE POLICY "Team admins can update team members"
    ON team_members FOR UPDATE TO authenticated
    USING (team_id = ANY (ARRAY(SELECT app.my_team_ids('owner')))
        OR (role <> 'owner' AND team_id = ANY (ARRAY(SELECT app.my_team_ids('admin')))))
    WITH CHECK (team_id = ANY (ARRAY(SELECT app.my_team_ids('owner')))
        OR (role <> 'owner' AND team_id = ANY (ARRAY(SELECT app.my_team_ids('admin')))));
CREATE POLICY "Team admins can remove team members, and anyone can leave"
    ON team_members FOR DELETE TO authenticated
    USING (team_id = ANY (ARRAY(SELECT app.my_team_ids('owner')))
        OR (role <> 'owner' AND team_id = ANY (ARRAY(SELECT app.my_team_ids('admin'))))
        OR (user_id = (SELECT auth.uid()) AND team_id = ANY (ARRAY(SELECT app.my_team_ids()))));

-- 3. Tables of one team: who may read, and who may write --------------------------------------------------------------

DO $$
DECLARE
    mine CONSTANT TEXT := 'team_id = ANY (ARRAY(SELECT app.my_team_ids()))';
    workers CONSTANT TEXT := 'team_id = ANY (ARRAY(SELECT app.my_team_ids(''owner'', ''admin'', ''member'')))';
    managers CONSTANT TEXT := 'team_id = ANY (ARRAY(SELECT app.my_team_ids(''owner'', ''admin'')))';
    t TEXT[];
    words TEXT;
    rule TEXT;
BEGIN
    FOREACH t SLICE 1 IN ARRAY ARRAY[
        ['domains', 'manage'], ['inboxes', 'manage'], ['inbox_settings', 'manage'], ['warmup_state', 'manage'],
        ['webhooks', 'manage'],
        ['lead_lists', 'work'], ['leads', 'work'], ['suppression_list', 'work'], ['campaigns', 'work'],
        ['campaign_inboxes', 'work'], ['sequences', 'work'], ['sequence_variants', 'work'], ['replies', 'work'],
        ['emails', 'read'], ['email_events', 'read'], ['webhook_logs', 'read'], ['daily_stats', 'read'],
        ['inbox_daily_stats', 'read']
    ] LOOP
        words := replace(t[1], '_', ' ');
        EXECUTE format('CREATE POLICY %I ON %I FOR SELECT TO authenticated USING (%s)',
            'Team members can view their ' || words, t[1], mine);
        CONTINUE WHEN t[2] = 'read';
        rule := CASE t[2] WHEN 'manage' THEN managers ELSE workers END;
        -- The seed's one policy for all verbs; elsewhere a verb each, so that a SELECT asks for one rule only.
        IF t[1] = 'inboxes' THEN
            EXECUTE format('CREATE POLICY "Team admins can manage inboxes" ON inboxes FOR ALL TO authenticated'
                ' USING (%s) WITH CHECK (%s)', rule, rule);
            CONTINUE;
        END IF;
        words := CASE t[2] WHEN 'manage' THEN 'Team admins can % ' ELSE 'Team members can % their ' END || words;
        EXECUTE format('CREATE POLICY %I ON %I FOR INSERT TO authenticated WITH CHECK (%s)',
            replace(words, '%', 'add'), t[1], rule);
        EXECUTE format('CREATE POLICY %I ON %I FOR UPDATE TO authenticated USING (%s) WITH CHECK (%s)',
            replace(words, '%', 'update'), t[1], rule, rule);
        EXECUTE format('CREATE POLICY %I ON %I FOR DELETE TO authenticated USING (%s)',
            replace(words, '%', 'remove'), t[1], rule);
    END LOOP;
END
$$;

-- 4. Both ends of an interaction see it; inboxes' own policy says which inboxes are the caller's ----------------------

CREATE POLICY "Team members can view their warmup interactions"
    ON warmup_interactions FOR SELECT TO authenticated
    USING (from_inbox_id IN (SELECT i.id FROM inboxes AS i WHERE i.team_id = ANY (ARRAY(SELECT app.my_team_ids())))
        OR to_inbox_id IN (SELECT i.id FROM inboxes AS i WHERE i.team_id = ANY (ARRAY(SELECT app.my_team_ids()))));
