-- owner: api (asks for new slots), sender (send_ledger, gives them), analytics (verdicts on A/B tests)
-- why:   what changes while a campaign runs moves its whole queue, and a test that was decided begins anew with a new arm
-- locks: ACCESS EXCLUSIVE on send_ledger and sequence_variants for a column each, no rewrite; winners' rows are updated

-- Settings changed: every queued mail of the scope wants another slot. Added in the transaction of the change and deleted
-- when the last of them has lost its old one; until then its slots count for nothing, and nobody of the team gets one.
CREATE TABLE replan (
    id UUID PRIMARY KEY,
    team_id UUID NOT NULL REFERENCES teams(id) ON DELETE CASCADE,
    scope TEXT NOT NULL CHECK (scope IN ('team', 'campaign', 'inbox')),
    scope_id UUID NOT NULL,
    asked_at TIMESTAMPTZ NOT NULL
);
CREATE INDEX idx_replan_team ON replan(team_id);

ALTER TABLE replan ENABLE ROW LEVEL SECURITY;
CREATE POLICY "Coldstream services" ON replan TO coldstream_service, coldstream_api USING (true) WITH CHECK (true);
CREATE POLICY "Requests see their team" ON replan FOR SELECT TO coldstream_tenant
    USING (team_id = ANY (ARRAY(SELECT app.my_team_ids())));
CREATE POLICY "Requests add for their team" ON replan FOR INSERT TO coldstream_tenant
    WITH CHECK (team_id = ANY (ARRAY(SELECT app.my_team_ids('owner', 'admin', 'member'))));
REVOKE ALL ON replan FROM PUBLIC, anon, authenticated;
GRANT SELECT ON replan TO coldstream_service, coldstream_api, coldstream_tenant;
GRANT INSERT ON replan TO coldstream_tenant;
GRANT INSERT, DELETE ON replan TO coldstream_sender;

-- When the mail fell due, before hours and limits put it into its slot: where its lead goes back to when it loses that.
ALTER TABLE send_ledger ADD COLUMN due_at TIMESTAMPTZ;  -- NULL: of before this column, or no campaign's

-- The arms that it was tested with, itself among them: it holds for every version of its step that has no other arm.
ALTER TABLE sequence_variants ADD COLUMN won_against UUID[];
GRANT UPDATE (won_against) ON sequence_variants TO coldstream_analytics;
UPDATE sequence_variants AS v
SET won_against = ARRAY(SELECT arm::uuid FROM json_array_elements_text(won.body -> 'data' -> 'arm_ids') AS arm)
FROM sequences AS s
CROSS JOIN LATERAL (
    SELECT e.body
    FROM event_log AS e
    WHERE e.team_id = s.team_id AND e.subject = 'campaign/' || s.campaign_id AND e.type = 'campaign.variant_won'
        AND e.body -> 'data' ->> 'step_id' = s.id::text
    ORDER BY e.position DESC
    LIMIT 1
) AS won
WHERE v.is_winner
    AND s.id = v.sequence_id
    AND won.body -> 'data' ->> 'variant_id' = v.id::text;
