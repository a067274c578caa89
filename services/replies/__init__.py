"""Replies: the only IMAP speaker. Hears what comes back, stores it raw, and says once what each message is.

A reply, bounce, complaint or opt-out stops the person's sequences in the transaction that records it, under the
barrier lock. Never changes a mailbox (no flag, not even Seen), and never answers a message.

Owns:
- `inbound_raw`, `imap_cursor`, `replies`, `inboxes.last_reply_checked_at`, `imap_refused` and
  `imap_unreachable_since` of `inboxes`
- inserts `lead_stop`, `suppression_list`
- people mark its rows through the API: replies as read, archived, looked at; unmatched messages as put away

Reads: `inboxes` (with their sealed passwords and tokens), `send_ledger`, `emails`, `sequences`, `leads`, `event_log`.

Hears: nothing yet; warm-up's engagement (`warmup.engagement_planned`) comes with warm-up.
Carries out (`job_queue`): `assign_message`, `classify_reply`.

Tells:
- `reply.received`, `reply.classified` (a person's word, or a plugged-in model's), `lead.unsubscribed` (method "reply")
- `bounce.hard`, `bounce.soft`, `bounce.blocked` (source "dsn")
- `email.complained`, `email.confirmed`
- `inbox.disconnected` when a mailbox cannot be read, and `inbox.connected` when it can be again
"""
