"""A campaign's whole run on a virtual clock, by the planner's own rounds.

Queries reads the world, run lets it go on over a ground that fills up, outlook sums up.
"""
