-- owner: api (explanations, simulations, preflight)
-- why:   an address that the operator suppresses for everybody is mailed by nobody, and a team that asks why must be told; until
--        now a request saw its own team's entries only, and would have promised a mail that the sender never lets through
-- locks: ACCESS EXCLUSIVE on suppression_list for a moment: a policy, no rewrite

-- Reading only: every listing of the API asks for its own team's entries by name.
CREATE POLICY "Requests see what is suppressed for everybody" ON suppression_list FOR SELECT TO coldstream_tenant
    USING (team_id IS NULL);
