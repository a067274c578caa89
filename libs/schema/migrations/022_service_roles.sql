-- owner: the schema's
-- why:   the slice is law: each service logs in as its own role, and a table or column has one writer (design.md §2)
-- locks: ACCESS EXCLUSIVE on each table for its policies and grants, all empty
--
-- This file is the one statement of who may do what; `python -m libs.schema.ownership` renders it into ARCHITECTURE.md.
-- Roles are made NOLOGIN; `migrate` gives LOGIN and a password. Roles are the server's, grants this database's.

-- 1. The roles --------------------------------------------------------------------------------------------------------

DO $$
DECLARE
    service TEXT;
BEGIN
    -- coldstream_service carries the policies and the grants that all services share; coldstream_tenant is what a
    -- request of the API runs as. coldstream_api does not inherit: a request that forgets SET LOCAL ROLE has the few
    -- rights of its login only.
    FOREACH service IN ARRAY ARRAY['service', 'tenant', 'api', 'sender', 'warmup', 'replies', 'analytics'] LOOP
        BEGIN
            IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'coldstream_' || service) THEN
                EXECUTE format('CREATE ROLE %I NOLOGIN %s', 'coldstream_' || service,
                    CASE service WHEN 'api' THEN 'NOINHERIT' ELSE 'INHERIT' END);
                IF service NOT IN ('service', 'tenant') THEN
                    -- reliability.md §6: no statement hangs a service, no forgotten transaction holds back vacuum.
                    EXECUTE format('ALTER ROLE %I SET statement_timeout = %L', 'coldstream_' || service,
                        CASE service WHEN 'api' THEN '5s' ELSE '30s' END);
                    EXECUTE format('ALTER ROLE %I SET idle_in_transaction_session_timeout = ''30s''',
                        'coldstream_' || service);
                END IF;
            END IF;
        EXCEPTION WHEN duplicate_object OR unique_violation THEN
            NULL;  -- made by the migration of another database of this server
        END;
    END LOOP;
END
$$;

DO $$
DECLARE
    grants TEXT[];
BEGIN
    FOREACH grants SLICE 1 IN ARRAY ARRAY[
        ['coldstream_service', 'coldstream_sender'], ['coldstream_service', 'coldstream_warmup'],
        ['coldstream_service', 'coldstream_replies'], ['coldstream_service', 'coldstream_analytics'],
        ['authenticated', 'coldstream_tenant'], ['coldstream_tenant', 'coldstream_api']
    ] LOOP
        -- Asked first, because two migrations of one server that grant the same membership at once disturb each other.
        IF NOT EXISTS (
            SELECT FROM pg_auth_members WHERE roleid = grants[1]::regrole AND member = grants[2]::regrole
        ) THEN
            EXECUTE format('GRANT %I TO %I', grants[1], grants[2]);
        END IF;
    END LOOP;
END
$$;

GRANT USAGE ON SCHEMA public, app TO coldstream_service, coldstream_api, authenticated;

-- 2. Every table: row level security on, the public out, services in (what they may do there is said below) ----------

DO $$
DECLARE
    t TEXT;
BEGIN
    FOREACH t IN ARRAY ARRAY[
        'teams', 'users', 'team_members', 'domains', 'inboxes', 'inbox_settings', 'warmup_state',
        'warmup_interactions', 'lead_lists', 'leads', 'suppression_list', 'campaigns', 'campaign_inboxes',
        'sequences', 'sequence_variants', 'emails', 'email_events', 'replies', 'webhooks', 'webhook_logs',
        'daily_stats', 'inbox_daily_stats', 'job_queue',
        'installation', 'event_log', 'event_handled', 'parked', 'projection_offset', 'sequence_version', 'enrollments',
        'send_ledger', 'lead_stop', 'breaker', 'imap_cursor', 'inbound_raw', 'invitation', 'api_keys', 'audit_log',
        'idempotency_key', 'tracked_link', 'webhook_delivery'
    ] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', t);
        EXECUTE format('CREATE POLICY "Coldstream services" ON %I TO coldstream_service, coldstream_api'
            ' USING (true) WITH CHECK (true)', t);
        -- Supabase grants every new table to its clients. service_role, the operator's own key there, is left alone.
        EXECUTE format('REVOKE ALL ON %I FROM PUBLIC, anon, authenticated', t);
    END LOOP;
    REVOKE ALL ON email_events_default, warmup_interactions_default FROM PUBLIC, anon, authenticated, service_role;
    REVOKE ALL ON SEQUENCE fence_seq, audit_log_position_seq, event_log_position_seq FROM PUBLIC, anon, authenticated;
    CREATE POLICY "Coldstream functions" ON audit_log TO coldstream_definer USING (true);
END
$$;

-- 3. What a request of the API sees of our own tables: its team's rows, by the same three rules as in 015 -------------

DO $$
DECLARE
    mine CONSTANT TEXT := 'team_id = ANY (ARRAY(SELECT app.my_team_ids()))';
    workers CONSTANT TEXT := 'team_id = ANY (ARRAY(SELECT app.my_team_ids(''owner'', ''admin'', ''member'')))';
    managers CONSTANT TEXT := 'team_id = ANY (ARRAY(SELECT app.my_team_ids(''owner'', ''admin'')))';
    t TEXT[];
    reads TEXT;
    writes TEXT;
BEGIN
    -- Table, who reads, who writes, what writing is; a viewer's request too is audited and may be repeated.
    FOREACH t SLICE 1 IN ARRAY ARRAY[
        ['event_log', 'all', 'work', 'add'], ['job_queue', 'all', 'work', 'add'],
        ['sequence_version', 'all', 'work', 'add'], ['lead_stop', 'all', 'work', 'add'],
        ['tracked_link', 'all', 'work', 'add'], ['audit_log', 'manage', 'all', 'add'],
        ['idempotency_key', 'all', 'all', 'change'], ['invitation', 'manage', 'manage', 'change'],
        ['api_keys', 'manage', 'manage', 'change'],
        ['enrollments', 'all', 'none', ''], ['send_ledger', 'all', 'none', ''], ['breaker', 'all', 'none', ''],
        ['inbound_raw', 'all', 'none', ''], ['imap_cursor', 'all', 'none', ''], ['webhook_delivery', 'all', 'none', '']
    ] LOOP
        reads := CASE t[2] WHEN 'manage' THEN managers ELSE mine END;
        writes := CASE t[3] WHEN 'manage' THEN managers WHEN 'work' THEN workers ELSE mine END;
        EXECUTE format('CREATE POLICY "Requests see their team" ON %I FOR SELECT TO coldstream_tenant USING (%s)',
            t[1], reads);
        CONTINUE WHEN t[3] = 'none';
        EXECUTE format('CREATE POLICY "Requests add for their team" ON %I FOR INSERT TO coldstream_tenant'
            ' WITH CHECK (%s)', t[1], writes);
        CONTINUE WHEN t[4] = 'add';
        EXECUTE format('CREATE POLICY "Requests change for their team" ON %I FOR UPDATE TO coldstream_tenant'
            ' USING (%s) WITH CHECK (%s)', t[1], writes, writes);
        EXECUTE format('CREATE POLICY "Requests remove from their team" ON %I FOR DELETE TO coldstream_tenant'
            ' USING (%s)', t[1], writes);
    END LOOP;
END
$$;
CREATE POLICY "Requests see the installation" ON installation FOR SELECT TO coldstream_tenant USING (true);
CREATE POLICY "Requests see how far projections are" ON projection_offset FOR SELECT TO coldstream_tenant USING (true);

-- 4. Clients that reach the database straight, and every request of the API: definitions only -------------------------

GRANT SELECT ON teams, users, team_members, domains, inbox_settings, warmup_state, warmup_interactions, lead_lists,
    leads, suppression_list, campaigns, campaign_inboxes, sequences, sequence_variants, emails, email_events, replies,
    webhook_logs, daily_stats, inbox_daily_stats TO authenticated;
-- Without the secrets.
GRANT SELECT (id, team_id, domain_id, email, from_name, provider, status, status_reason, paused_at, smtp_host,
    smtp_port, smtp_username, imap_host, imap_port, imap_username, smtp_tls, imap_tls, health_score, health_known,
    bounce_rate_7d, open_rate_7d, reply_rate_7d, sent_today, sent_this_week, sent_total, counters_date, circuit_state,
    circuit_failure_count, circuit_last_failure_at, last_sent_at, last_reply_checked_at, created_at, updated_at,
    deleted_at, revision)
    ON inboxes TO authenticated;
GRANT SELECT (id, team_id, url, events, active, last_triggered_at, failure_count, created_at, updated_at, revision)
    ON webhooks TO authenticated;

-- Nobody changes plan or limits.
GRANT UPDATE (name, slug, physical_address, company_name, settings) ON teams TO authenticated;
GRANT UPDATE (full_name, avatar_url, timezone, notification_preferences, last_active_at) ON users TO authenticated;
GRANT INSERT (id, team_id, user_id, role, invited_by, invited_at), UPDATE (role), DELETE
    ON team_members TO authenticated;
GRANT INSERT (id, team_id, domain, dkim_selector), UPDATE (dkim_selector), DELETE ON domains TO authenticated;
GRANT INSERT (id, team_id, domain_id, email, from_name, provider, smtp_host, smtp_port, smtp_username, smtp_tls,
    imap_host, imap_port, imap_username, imap_tls),
    UPDATE (domain_id, from_name, smtp_host, smtp_port, smtp_username, smtp_tls, imap_host, imap_port, imap_username,
        imap_tls),
    DELETE ON inboxes TO authenticated;
GRANT INSERT (id, team_id, inbox_id, daily_send_limit, hourly_limit, min_delay_seconds, max_delay_seconds,
    send_window_start, send_window_end, send_window_timezone, send_days, weekends_enabled, esp_matching_enabled,
    auto_throttle_enabled),
    UPDATE (daily_send_limit, hourly_limit, min_delay_seconds, max_delay_seconds, send_window_start, send_window_end,
        send_window_timezone, send_days, weekends_enabled, esp_matching_enabled, auto_throttle_enabled)
    ON inbox_settings TO authenticated;
GRANT INSERT (id, team_id, name, description, source, imported_at), UPDATE (name, description, source, imported_at)
    ON lead_lists TO authenticated;
GRANT INSERT (id, team_id, lead_list_id, email, first_name, last_name, company, title, phone, linkedin_url, website,
    timezone, country, city, custom_fields, consent_type, consent_source),
    UPDATE (lead_list_id, email, first_name, last_name, company, title, phone, linkedin_url, website, timezone,
        country, city, custom_fields, consent_type, consent_source)
    ON leads TO authenticated;
GRANT INSERT (id, team_id, email, reason, scope, added_by) ON suppression_list TO authenticated;
GRANT INSERT (id, team_id, lead_list_id, name, description, settings, scheduled_start_at, created_by),
    UPDATE (lead_list_id, name, description, settings, scheduled_start_at) ON campaigns TO authenticated;
GRANT INSERT (id, team_id, campaign_id, inbox_id), DELETE ON campaign_inboxes TO authenticated;
GRANT INSERT (id, team_id, campaign_id, step_number, delay_days, delay_hours, subject, body, conditions),
    UPDATE (step_number, delay_days, delay_hours, subject, body, conditions) ON sequences TO authenticated;
GRANT INSERT (id, team_id, sequence_id, variant_index, weight, subject, body),
    UPDATE (variant_index, weight, subject, body), DELETE ON sequence_variants TO authenticated;
GRANT UPDATE (is_read, read_at, is_archived) ON replies TO authenticated;
GRANT INSERT (id, team_id, url, events, active), UPDATE (url, events, active), DELETE ON webhooks TO authenticated;

-- 5. coldstream_tenant: a request of the API, beside what authenticated may -------------------------------------------

GRANT USAGE ON SCHEMA public, app TO coldstream_tenant;
GRANT UPDATE (revision) ON teams TO coldstream_tenant;
GRANT INSERT (created_at, revision), UPDATE (revision) ON domains TO coldstream_tenant;
-- Writes sealed credentials and never reads one back.
GRANT SELECT (oauth_expires_at, oauth_scope),
    INSERT (oauth_access_token, oauth_refresh_token, oauth_expires_at, oauth_scope, smtp_password, imap_password,
        created_at, revision),
    UPDATE (email, oauth_access_token, oauth_refresh_token, oauth_expires_at, oauth_scope, smtp_password,
        imap_password, deleted_at, revision)
    ON inboxes TO coldstream_tenant;
-- A person pauses and resumes by hand, and it holds when the answer comes.
GRANT UPDATE (status, status_reason, paused_at) ON inboxes TO coldstream_tenant;
GRANT INSERT (created_at, revision), UPDATE (revision) ON inbox_settings TO coldstream_tenant;
GRANT INSERT (created_at, revision), UPDATE (deleted_at, revision) ON lead_lists TO coldstream_tenant;
GRANT INSERT (unsubscribe_token, created_at, revision), UPDATE (unsubscribe_token, deleted_at, revision)
    ON leads TO coldstream_tenant;
GRANT INSERT (value_hash, created_at), UPDATE (value_hash), DELETE ON suppression_list TO coldstream_tenant;
GRANT INSERT (status, created_at, revision),
    UPDATE (status, started_at, completed_at, paused_at, deleted_at, revision) ON campaigns TO coldstream_tenant;
GRANT INSERT (created_at) ON campaign_inboxes, sequence_variants TO coldstream_tenant;
GRANT INSERT (created_at, revision), UPDATE (deleted_at, revision) ON sequences TO coldstream_tenant;
GRANT UPDATE (intent, intent_confidence, intent_model, intent_manual_override, needs_review)
    ON replies TO coldstream_tenant;
GRANT INSERT (secret, created_at, revision), UPDATE (secret, revision) ON webhooks TO coldstream_tenant;
GRANT SELECT, INSERT ON sequence_version, lead_stop, event_log, job_queue, tracked_link TO coldstream_tenant;
GRANT SELECT ON enrollments, send_ledger, breaker, inbound_raw, imap_cursor, installation, projection_offset,
    webhook_delivery TO coldstream_tenant;
GRANT SELECT, INSERT ON audit_log TO coldstream_tenant;
GRANT SELECT, INSERT, UPDATE (response_status, response_headers, response_body), DELETE
    ON idempotency_key TO coldstream_tenant;
GRANT SELECT (id, team_id, email, role, invited_by, created_at, expires_at, accepted_at, revoked_at), INSERT,
    UPDATE (revoked_at, expires_at, token_hash) ON invitation TO coldstream_tenant;
GRANT SELECT (id, team_id, name, prefix, role, scopes, created_by, created_at, expires_at, last_used_at, revoked_at),
    INSERT, UPDATE (name, scopes, expires_at, revoked_at) ON api_keys TO coldstream_tenant;

-- 6. Every service: relay, auditor, once-only handling and parking run in all of them ---------------------------------

GRANT SELECT, INSERT, UPDATE (stream_seq) ON event_log TO coldstream_service, coldstream_api;
GRANT SELECT, INSERT, DELETE ON event_handled TO coldstream_service, coldstream_api;
GRANT SELECT, INSERT, UPDATE, DELETE ON parked TO coldstream_service, coldstream_api;
GRANT SELECT, UPDATE (epoch, paused, paused_reason, paused_at) ON installation TO coldstream_service, coldstream_api;
GRANT SELECT ON projection_offset TO coldstream_service, coldstream_api;
-- Each claims the queues that are its own.
GRANT SELECT, UPDATE (status, attempts, scheduled_at, started_at, completed_at, last_error, result, lease_until)
    ON job_queue TO coldstream_service, coldstream_api;
GRANT SELECT ON teams, domains, inbox_settings, lead_lists, leads, suppression_list, campaigns, campaign_inboxes,
    sequences, sequence_variants, sequence_version, enrollments, send_ledger, lead_stop, breaker, emails,
    warmup_state, warmup_interactions, tracked_link TO coldstream_service, coldstream_api;
-- Without the secrets.
GRANT SELECT (id, team_id, domain_id, email, from_name, provider, status, status_reason, paused_at, oauth_expires_at,
    oauth_scope, smtp_host, smtp_port, smtp_username, imap_host, imap_port, imap_username, smtp_tls, imap_tls,
    health_score, health_known, bounce_rate_7d, open_rate_7d, reply_rate_7d, sent_today, sent_this_week, sent_total,
    counters_date, circuit_state, circuit_failure_count, circuit_last_failure_at, last_sent_at, last_reply_checked_at,
    created_at, updated_at, deleted_at, revision) ON inboxes TO coldstream_service, coldstream_api;

-- 7. api: the login itself, for what no single request does: sign-in, public links, webhooks, OAuth, DNS checks ------

GRANT SELECT, UPDATE (last_active_at) ON users TO coldstream_api;
GRANT SELECT, INSERT, UPDATE (accepted_at) ON team_members TO coldstream_api;
GRANT SELECT, UPDATE (accepted_at) ON invitation TO coldstream_api;
GRANT SELECT, UPDATE (last_used_at) ON api_keys TO coldstream_api;
GRANT INSERT ON lead_stop, suppression_list, job_queue, audit_log TO coldstream_api;
GRANT SELECT, DELETE ON idempotency_key TO coldstream_api;
GRANT SELECT (oauth_access_token, oauth_refresh_token),
    UPDATE (oauth_access_token, oauth_refresh_token, oauth_expires_at, oauth_scope) ON inboxes TO coldstream_api;
GRANT UPDATE (spf_valid, spf_record, dkim_valid, dkim_selector, dkim_record, dmarc_valid, dmarc_policy, dmarc_record,
    health_score, health_known, last_checked_at, verified_at) ON domains TO coldstream_api;
GRANT SELECT, UPDATE (active, last_triggered_at, failure_count) ON webhooks TO coldstream_api;
GRANT SELECT, INSERT, UPDATE, DELETE ON webhook_delivery TO coldstream_api;
GRANT SELECT, INSERT, DELETE ON webhook_logs TO coldstream_api;
GRANT SELECT ON replies, email_events TO coldstream_api;

-- 8. sender -----------------------------------------------------------------------------------------------------------

GRANT INSERT, UPDATE ON enrollments, send_ledger, breaker TO coldstream_sender;
GRANT USAGE ON SEQUENCE fence_seq TO coldstream_sender;
GRANT INSERT, UPDATE (campaign_id, sequence_id, variant_id, lead_id, inbox_id, message_id, thread_id, from_email,
    from_name, to_email, subject, body_html, body_text, status, error_message, open_tracked, click_tracked,
    scheduled_at, sent_at, delivered_at, kind, enrollment_id, sequence_version, in_reply_to, sent_on,
    inbox_sent_on) ON emails TO coldstream_sender;
GRANT UPDATE (status, reply_intent, current_campaign_id, current_step, next_send_at, first_contacted_at,
    last_contacted_at, replied_at, bounced_at, unsubscribed_at) ON leads TO coldstream_sender;
GRANT SELECT (oauth_access_token, smtp_password),
    UPDATE (status, status_reason, paused_at, circuit_state, circuit_failure_count, circuit_last_failure_at,
        last_sent_at)
    ON inboxes TO coldstream_sender;
GRANT UPDATE (status, started_at, completed_at) ON campaigns TO coldstream_sender;
GRANT INSERT ON lead_stop, suppression_list TO coldstream_sender;
GRANT SELECT ON replies, inbound_raw, inbox_daily_stats TO coldstream_sender;

-- 9. replies ----------------------------------------------------------------------------------------------------------

GRANT SELECT, INSERT, UPDATE ON inbound_raw, imap_cursor, replies TO coldstream_replies;
GRANT SELECT (oauth_access_token, smtp_password, imap_password),
    UPDATE (last_reply_checked_at)
    ON inboxes TO coldstream_replies;
GRANT INSERT ON lead_stop, suppression_list TO coldstream_replies;

-- 10. warmup ----------------------------------------------------------------------------------------------------------

GRANT INSERT, UPDATE ON warmup_state TO coldstream_warmup;
GRANT INSERT ON warmup_interactions TO coldstream_warmup;
GRANT SELECT ON inbox_daily_stats TO coldstream_warmup;

-- 11. analytics -------------------------------------------------------------------------------------------------------

GRANT SELECT, INSERT, UPDATE, DELETE ON email_events, daily_stats, inbox_daily_stats, projection_offset
    TO coldstream_analytics;
GRANT UPDATE (lead_count, sent_count, delivered_count, opened_count, clicked_count, replied_count, bounced_count,
    unsubscribed_count) ON campaigns TO coldstream_analytics;
GRANT UPDATE (sent_count) ON campaign_inboxes TO coldstream_analytics;
GRANT UPDATE (sent_count, opened_count, replied_count) ON sequences TO coldstream_analytics;
GRANT UPDATE (sent_count, opened_count, replied_count, is_winner) ON sequence_variants TO coldstream_analytics;
GRANT UPDATE (health_score, health_known, bounce_rate_7d, open_rate_7d, reply_rate_7d, sent_today, sent_this_week,
    sent_total, counters_date) ON inboxes TO coldstream_analytics;
GRANT UPDATE (open_count, click_count) ON emails TO coldstream_analytics;
GRANT SELECT ON replies TO coldstream_analytics;
GRANT EXECUTE ON FUNCTION reset_daily_counters(), app.reset_daily_counters(TIMESTAMPTZ),
    app.make_month_partitions(TIMESTAMPTZ, TIMESTAMPTZ) TO coldstream_analytics;
-- Where a rebuild builds, beside what is live (design.md §9.6).
CREATE SCHEMA shadow;
GRANT USAGE, CREATE ON SCHEMA shadow TO coldstream_analytics;
