-- owner: api (conversation_assignee, inbound_raw.dismissed_at); replies and sender fill the rows that are listed
-- why:   the unibox: conversations listed, searched, handed to somebody; unmatched messages put away
-- locks: ACCESS EXCLUSIVE on replies, which is rewritten for two generated columns; SHARE on emails, inbound_raw, job_queue for indexes

-- 1. A conversation is what one mailbox and one thread have in common -------------------------------------------------

-- Of the time before threads were copied into replies.
UPDATE replies AS r
SET thread_id = coalesce(e.thread_id, e.message_id)
FROM emails AS e
WHERE e.id = r.email_id
    AND r.thread_id IS NULL;

ALTER TABLE replies
    -- The same for all of a thread, and what its address shows; a reply without a thread is one by itself.
    ADD COLUMN conversation_id UUID NOT NULL
        GENERATED ALWAYS AS (md5(inbox_id::text || ' ' || coalesce(thread_id, id::text))::uuid) STORED,
    -- Not an out-of-office note, an automatic answer or a report: those are listed, but never unread and never on top.
    ADD COLUMN by_person BOOLEAN NOT NULL
        GENERATED ALWAYS AS (coalesce(intent NOT IN ('out_of_office', 'auto_reply', 'bounce'), true)) STORED,
    ADD COLUMN words TSVECTOR;

-- The order of the list; and whether a conversation has something newer.
CREATE INDEX idx_replies_team_received ON replies(team_id, received_at, id);
CREATE INDEX idx_replies_conversation ON replies(conversation_id, by_person, received_at, id);

-- 2. Words to search for: what came, and what was answered by hand ----------------------------------------------------

ALTER TABLE emails ADD COLUMN words TSVECTOR;

-- Words as they are written ('simple': ten languages, no stems), letters of one kind (NFKC). ASCII's and other
-- punctuation parts words, so that ann@acme.test is found by acme; each character of a script without blanks (kana, Han)
-- is a word of its own, and a word of that script is found as their phrase. What is looked for is parted alike
-- (services/api/rules/search.py). Computed once, of the first 20,000 characters: 40 ms of the most hostile ones.
CREATE FUNCTION app.index_words() RETURNS TRIGGER
LANGUAGE plpgsql SET search_path = '' AS $$
BEGIN
    NEW.words := to_tsvector('simple', regexp_replace(
        regexp_replace(
            left(normalize(left(
                concat_ws(' ', NEW.from_name, NEW.from_email, NEW.subject, NEW.body_text), 20000), NFKC), 20000),
            '[\u0001-\u002f\u003a-\u0040\u005b-\u0060\u007b-\u00a9\u2000-\u206f\u3000-\u3004\u3008-\u303f]+', ' ', 'g'),
        '[\u3005-\u3007\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]', ' \& ', 'g'));
    RETURN NEW;
END;
$$;
REVOKE EXECUTE ON FUNCTION app.index_words() FROM PUBLIC;

CREATE TRIGGER index_replies_words BEFORE INSERT OR UPDATE OF from_name, from_email, subject, body_text ON replies
    FOR EACH ROW EXECUTE FUNCTION app.index_words();
-- A campaign's mail is a template's words: replies quote them, and listing every recipient would find nobody.
CREATE TRIGGER index_emails_words BEFORE INSERT OR UPDATE OF from_name, from_email, subject, body_text ON emails
    FOR EACH ROW WHEN (NEW.kind = 'reply') EXECUTE FUNCTION app.index_words();

UPDATE replies SET subject = subject;
UPDATE emails SET subject = subject WHERE kind = 'reply';

CREATE INDEX idx_replies_words ON replies USING gin(words);
CREATE INDEX idx_emails_words ON emails USING gin(words) WHERE kind = 'reply';

-- The caller's conversations in which somebody wrote such words. As its definer, because under row level security no
-- index answers an operator that might leak, and @@ might.
CREATE FUNCTION app.find_conversations(wanted TSQUERY) RETURNS SETOF UUID
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = ''
BEGIN ATOMIC
    SELECT r.conversation_id
    FROM public.replies AS r
    WHERE r.words @@ wanted
        AND r.team_id = ANY (ARRAY(SELECT app.my_team_ids()))
    UNION
    SELECT md5(e.inbox_id::text || ' ' || e.thread_id)::uuid
    FROM public.emails AS e
    WHERE e.words @@ wanted
        AND e.kind = 'reply'
        AND e.thread_id IS NOT NULL
        AND e.team_id = ANY (ARRAY(SELECT app.my_team_ids()));
END;
GRANT CREATE ON SCHEMA app TO coldstream_definer;
ALTER FUNCTION app.find_conversations(TSQUERY) OWNER TO coldstream_definer;
REVOKE CREATE ON SCHEMA app FROM coldstream_definer;
REVOKE EXECUTE ON FUNCTION app.find_conversations(TSQUERY) FROM PUBLIC, anon;
GRANT EXECUTE ON FUNCTION app.find_conversations(TSQUERY) TO coldstream_tenant;
GRANT SELECT (conversation_id, team_id, words) ON replies TO coldstream_definer;
GRANT SELECT (inbox_id, thread_id, kind, team_id, words) ON emails TO coldstream_definer;
CREATE POLICY "Coldstream functions" ON replies FOR SELECT TO coldstream_definer USING (true);
CREATE POLICY "Coldstream functions" ON emails FOR SELECT TO coldstream_definer USING (true);

-- Answers on their way to the sender, and refused ones, are shown in their conversation; a team has a handful.
CREATE INDEX idx_job_queue_answers ON job_queue(team_id) WHERE job_type = 'answer_reply' AND status <> 'completed';

-- 3. Whose a conversation is: a member's, for as long as they are one -------------------------------------------------

CREATE TABLE conversation_assignee (
    team_id UUID NOT NULL,
    conversation_id UUID NOT NULL,
    user_id UUID NOT NULL,
    assigned_at TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (team_id, conversation_id),
    FOREIGN KEY (team_id, user_id) REFERENCES team_members(team_id, user_id) ON DELETE CASCADE
);
CREATE INDEX idx_conversation_assignee_user ON conversation_assignee(team_id, user_id);

ALTER TABLE conversation_assignee ENABLE ROW LEVEL SECURITY;
REVOKE ALL ON conversation_assignee FROM PUBLIC, anon, authenticated;
CREATE POLICY "Coldstream services" ON conversation_assignee TO coldstream_service, coldstream_api
    USING (true) WITH CHECK (true);
CREATE POLICY "Requests see their team" ON conversation_assignee FOR SELECT TO coldstream_tenant
    USING (team_id = ANY (ARRAY(SELECT app.my_team_ids())));
CREATE POLICY "Requests add for their team" ON conversation_assignee FOR INSERT TO coldstream_tenant
    WITH CHECK (team_id = ANY (ARRAY(SELECT app.my_team_ids('owner', 'admin', 'member'))));
CREATE POLICY "Requests change for their team" ON conversation_assignee FOR UPDATE TO coldstream_tenant
    USING (team_id = ANY (ARRAY(SELECT app.my_team_ids('owner', 'admin', 'member'))))
    WITH CHECK (team_id = ANY (ARRAY(SELECT app.my_team_ids('owner', 'admin', 'member'))));
CREATE POLICY "Requests remove from their team" ON conversation_assignee FOR DELETE TO coldstream_tenant
    USING (team_id = ANY (ARRAY(SELECT app.my_team_ids('owner', 'admin', 'member'))));
GRANT SELECT, INSERT, UPDATE (user_id, assigned_at), DELETE ON conversation_assignee TO coldstream_tenant;

-- 4. Messages that nobody's email explains ----------------------------------------------------------------------------

-- A person saw it and wants it off the list; its outcome stays 'unmatched', and it can still be assigned.
ALTER TABLE inbound_raw ADD COLUMN dismissed_at TIMESTAMPTZ;
CREATE INDEX idx_inbound_raw_open ON inbound_raw(team_id, stored_at, id)
    WHERE outcome = 'unmatched' AND dismissed_at IS NULL;
CREATE POLICY "Requests change for their team" ON inbound_raw FOR UPDATE TO coldstream_tenant
    USING (team_id = ANY (ARRAY(SELECT app.my_team_ids('owner', 'admin', 'member'))))
    WITH CHECK (team_id = ANY (ARRAY(SELECT app.my_team_ids('owner', 'admin', 'member'))));
GRANT UPDATE (dismissed_at) ON inbound_raw TO coldstream_tenant;
