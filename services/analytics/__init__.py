"""Counts: makes every number on a dashboard out of the event stream, and can prove it by making it again.

Decides who has won an A/B test and nothing else; speaks no protocol. A number is a projection: nobody else writes it,
and a rebuild from the first event comes to the same rows.

Owns:  email_events, email_outcome, daily_stats, inbox_daily_stats; the counter and rate columns of campaigns,
       campaign_inboxes, sequences, sequence_variants and inboxes; sequence_variants.is_winner, sequences.no_difference;
       emails.open_count and click_count; its row of projection_offset; schema shadow; the months of email_events and
       warmup_interactions
Reads: emails, teams, inboxes and inbox_settings (does the row still exist; the inbox's zone)
Hears: everything; rules/history.py says which events move a number
Tells: campaign.variant_won (inbox.health_changed comes with the warm-up)
"""
