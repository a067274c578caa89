"""Warm-up: will plan how the inboxes of the pool write to each other until providers trust them; it never speaks.

Not built yet: the process runs and does nothing, and its tables stay empty. Sender will send what it plans, replies
will find it, open it and rescue it from spam.

Owns:  warmup_state, warmup_interactions
Reads: inboxes, inbox_settings, inbox_daily_stats
Hears: nothing yet (warmup.received, email.sent, bounce.*)
Tells: nothing yet (warmup.planned, warmup.engagement_planned, warmup.phase_changed)
"""
