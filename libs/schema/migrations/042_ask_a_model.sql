-- owner: replies
-- why:   a model that is plugged in is asked once what a reply means, after the rules have read it
-- locks: ACCESS EXCLUSIVE on replies for a column without a default, no rewrite

ALTER TABLE replies ADD COLUMN model_asked_at TIMESTAMPTZ;
-- replies holds UPDATE on the whole table (022), clients SELECT: the column is within them.
