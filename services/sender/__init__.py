"""The sender: plans every campaign mail, claims it, renders it, delivers it, and settles what became of it.

It is the only one that speaks SMTP. The ledger is its truth: at most one message per campaign, step and person.

Owns:   enrollments, send_ledger, emails, breaker, refusal, replan (which the API inserts into); leads' status and
        progress; inboxes' status, circuit, last_sent_at; campaigns' status by guarded transitions; inserts lead_stop
        (hard bounces in the dialogue, lasting soft ones, people who are only ever away) and suppression_list.
Reads:  campaigns, sequence_version, campaign_inboxes, leads, inboxes and their settings, teams, suppression_list,
        domains' keys, tracked_link, replies.
Does:   what people leave in job_queue "sender": answers by hand.
Hears:  reply.received, reply.classified, bounce.*, email.confirmed, email.opened, email.clicked, email.complained,
        lead.unsubscribed, lead.suppressed, lead.marked, lead.erased, lead.imported,
        campaign.resumed, campaign.changed, campaign.archived, campaign.circuit_closed,
        inbox.connected, inbox.disconnected, inbox.resumed, inbox.circuit_closed, inbox.health_changed.
Tells:  email.queued, cancelled, sent, delivered, deferred, failed, unknown; bounce.* out of the dialogue;
        lead.enrolled, held, stopped, completed; campaign.activated (by schedule), completed, circuit_opened,
        circuit_closed; inbox.circuit_opened, circuit_closed, disconnected.

Start at app.py; one email's way is jobs/plan.py, jobs/send.py, smtp.py, jobs/settle.py, outcomes.py, circuits.py.
"""
