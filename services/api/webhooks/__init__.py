"""Outgoing webhooks: events out to the addresses that a team names. Comes later; nothing runs here yet.

Owns:  webhooks, webhook_delivery, webhook_logs.
Reads: event_log, leads (for the payload's lead).
Hears: every public event type.
Tells: nothing.
"""
