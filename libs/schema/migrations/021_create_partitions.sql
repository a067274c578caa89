-- owner: the schema's; analytics calls app.make_month_partitions() ahead of time
-- why:   the seed's "partition by month": months are made ahead, a DEFAULT partition takes what nobody foresaw
-- locks: a new month: ACCESS EXCLUSIVE on the DEFAULT partition, SHARE ROW EXCLUSIVE on emails or inboxes, for a moment

-- Makes the partitions of email_events and warmup_interactions from the month of `since` to that of `until`, where
-- missing, and returns how many it made. Owned by the tables' owner, because nobody else may attach a partition.
CREATE FUNCTION app.make_month_partitions(since TIMESTAMPTZ, until TIMESTAMPTZ) RETURNS INTEGER AS $$
DECLARE
    parent TEXT;
    child TEXT;
    month TIMESTAMP;
    made INTEGER := 0;
    first TIMESTAMPTZ;
    next TIMESTAMPTZ;
BEGIN
    FOREACH parent IN ARRAY ARRAY['email_events', 'warmup_interactions'] LOOP
        FOR month IN
            SELECT generate_series(date_trunc('month', since AT TIME ZONE 'UTC'), until AT TIME ZONE 'UTC', '1 month')
        LOOP
            child := parent || to_char(month, '"_y"YYYY"m"MM');
            CONTINUE WHEN to_regclass('public.' || child) IS NOT NULL;
            first := month AT TIME ZONE 'UTC';
            next := (month + INTERVAL '1 month') AT TIME ZONE 'UTC';
            EXECUTE format('CREATE TABLE public.%I (LIKE public.%I INCLUDING DEFAULTS INCLUDING CONSTRAINTS)',
                child, parent);
            EXECUTE format('ALTER TABLE public.%I ENABLE ROW LEVEL SECURITY', child);
            -- Supabase grants new tables to its clients; this one is reached through its parent only.
            EXECUTE format('REVOKE ALL ON public.%I FROM PUBLIC, anon, authenticated, service_role', child);
            -- Rows of this month that came before it was made.
            EXECUTE format('WITH early AS (DELETE FROM public.%I WHERE created_at >= %L AND created_at < %L'
                ' RETURNING *) INSERT INTO public.%I SELECT * FROM early', parent || '_default', first, next, child);
            EXECUTE format('ALTER TABLE public.%I ATTACH PARTITION public.%I FOR VALUES FROM (%L) TO (%L)',
                parent, child, first, next);
            made := made + 1;
        END LOOP;
    END LOOP;
    RETURN made;
END;
$$ LANGUAGE plpgsql SECURITY DEFINER SET search_path = '';
REVOKE EXECUTE ON FUNCTION app.make_month_partitions(TIMESTAMPTZ, TIMESTAMPTZ) FROM PUBLIC;

SELECT app.make_month_partitions(NOW(), NOW() + INTERVAL '2 months');
