"""The customer's edge: requests in, and what recipients of mail reach: the opt-out page, the open pixel, tracked links.

Owns:  teams, users, team_members, invitation, api_keys, domains, inboxes (identity, credentials, pause by hand),
       inbox_settings, lead_lists, leads (contact columns), campaigns (definition, status by command), campaign_inboxes,
       sequences, sequence_variants, sequence_version, suppression_list, tracked_link, idempotency_key, audit_log,
       recipient_domain, conversation_assignee; people's marks on replies (read, archived, looked at) and on inbound_raw
       (dismissed). Inserts lead_stop, job_queue and replan.
Reads: emails, send_ledger, replies, inbound_raw, job_queue, daily_stats, event_log, projection_offset, every counter.
Hears: nothing; it reads rows.
Tells: campaign.scheduled, activated, paused, resumed, changed, archived; lead.imported, suppressed, unsubscribed,
       marked; inbox.connected, changed, disconnected, paused, resumed; team.changed; domain.checked; email.opened,
       clicked.
Asks:  the providers' token endpoints for access tokens, name servers for recipients' providers and for what sending
       domains publish, in jobs.

A request is one transaction under row level security, and its events are in it. It never sends, polls or counts.
Outgoing webhooks are a second process (api/webhooks).
"""
