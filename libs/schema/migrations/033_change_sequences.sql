-- owner: api (sequence_variants, sequence_version), analytics (verdicts on A/B tests), sender (enrollments)
-- why:   conditions decide now who is mailed, an arm of a test is its words, and leads may move to a newer version
-- locks: ACCESS EXCLUSIVE on sequences, sequence_variants, sequence_version for a new column each, no rewrite; SHARE on
--        sequence_variants, enrollments and email_outcome while their indexes are built

-- Only what the sender knows, since it decides who is mailed. Nobody has read them until now, so what is none of it goes.
DO $$
DECLARE
    known CONSTANT TEXT := $path$jsonb_path_query_array(conditions, '$[*] ? (@.type() == "object"
        && @.type.type() == "string" && @.action.type() == "string"
        && (@.type == "no_reply" || @.type == "replied" || @.type == "opened" || @.type == "not_opened"
            || @.type == "clicked" || @.type == "not_clicked" || @.type == "intent_is")
        && (@.action == "continue" || @.action == "skip" || @.action == "stop" || @.action == "goto")
        && (!exists(@.step) || (@.step.type() == "number" && @.step >= 1 && @.step <= 1000))
        && (!exists(@.intent) || @.intent.type() == "string"
            || (@.intent.type() == "array" && !exists(@.intent[*] ? (@.type() != "string")))))') = conditions
        AND conditions::text !~ '"step": [0-9]+[.]'$path$;
BEGIN
    EXECUTE 'UPDATE sequences SET conditions = DEFAULT WHERE NOT (' || known || ')';
    EXECUTE 'ALTER TABLE sequences ADD CONSTRAINT sequences_conditions_known CHECK (' || known || ')';
END $$;

-- Archived like a step, since versions and emails name variants: the counts of other words are never mixed with its own.
-- Nobody deletes one any more: an email of a lead in an older version could not be written for want of it.
ALTER TABLE sequence_variants ADD COLUMN deleted_at TIMESTAMPTZ;
ALTER TABLE sequence_variants DROP CONSTRAINT sequence_variants_sequence_id_variant_index_key;
CREATE UNIQUE INDEX sequence_variants_sequence_id_variant_index_key ON sequence_variants(sequence_id, variant_index)
    WHERE deleted_at IS NULL;
DROP INDEX idx_sequence_variants_winner;
CREATE UNIQUE INDEX idx_sequence_variants_winner ON sequence_variants(sequence_id)
    WHERE is_winner AND deleted_at IS NULL;
REVOKE DELETE ON sequence_variants FROM authenticated;
GRANT UPDATE (deleted_at) ON sequence_variants TO authenticated;

-- Saved with "apply to all": leads on their way in an older version go on in this one.
ALTER TABLE sequence_version ADD COLUMN moves_leads BOOLEAN NOT NULL DEFAULT FALSE;
CREATE INDEX idx_sequence_version_moves ON sequence_version(campaign_id, version) WHERE moves_leads;
CREATE INDEX idx_enrollments_version ON enrollments(campaign_id, sequence_version) WHERE state IN ('active', 'held');

-- An A/B test that ran long enough to find a winner worth having, and found none.
ALTER TABLE sequences ADD COLUMN no_difference BOOLEAN NOT NULL DEFAULT FALSE;
GRANT UPDATE (no_difference) ON sequences TO coldstream_analytics;
-- What became of each arm's mails (analytics/queries/arms.py).
CREATE INDEX idx_email_outcome_variant ON email_outcome(variant_id) WHERE variant_id IS NOT NULL;
