-- owner: replies
-- why:   a reply says who wrote it in whose name; threads are found by replies' own ids; unmatched mail is looked at again
-- locks: ACCESS EXCLUSIVE on replies for columns with constant defaults, no rewrite; SHARE on it and inbound_raw for indexes

ALTER TABLE replies
    -- Another address than the lead's: an alias of the lead, or a colleague.
    ADD COLUMN is_alias BOOLEAN NOT NULL DEFAULT FALSE,
    -- An automatic note: the person works there no longer, and who does instead, where the note names somebody.
    ADD COLUMN left_company BOOLEAN NOT NULL DEFAULT FALSE,
    ADD COLUMN replacement VARCHAR(255);
-- replies holds SELECT and INSERT on the whole table (022), clients SELECT: new columns are within them.

-- A message that answers a reply, or is the same one in a second mailbox of the team.
CREATE INDEX idx_replies_message_id ON replies(team_id, message_id);

-- Unmatched mail by its own id, and by the ids that it answers: once one of these is known, it is sorted again.
CREATE INDEX idx_inbound_raw_unmatched_id ON inbound_raw(team_id, (outcome_detail ->> 'message_id'))
    WHERE outcome = 'unmatched';
CREATE INDEX idx_inbound_raw_unmatched_answers ON inbound_raw USING GIN ((outcome_detail -> 'answers')) WITH (fastupdate = off)
    WHERE outcome = 'unmatched';
