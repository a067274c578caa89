-- owner: api (explanations, simulations, preflight)
-- why:   who asks why a lead is not mailed must be told of a suppression for everybody: the sender keeps to it
-- locks: ACCESS EXCLUSIVE on suppression_list for a moment: a policy, no rewrite

-- Reading only: every listing of the API asks for its own team's entries by name.
CREATE POLICY "Requests see what is suppressed for everybody" ON suppression_list FOR SELECT TO coldstream_tenant
    USING (team_id IS NULL);
