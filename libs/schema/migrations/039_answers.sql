-- owner: sender (send_ledger)
-- why:   answers that find no way out are looked for every minute, among all that is queued
-- locks: SHARE on send_ledger while the index is built over the answers that are queued: there are none yet

CREATE INDEX idx_send_ledger_answers ON send_ledger(slot_at) WHERE kind = 'reply' AND state = 'queued';
