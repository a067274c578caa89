-- owner: sender
-- why:   a person whose notes only ever say that they are away is stopped for a reason of its own (field.md 4.6)
-- locks: ACCESS EXCLUSIVE on lead_stop for an instant, then SHARE UPDATE EXCLUSIVE while its rows are checked

ALTER TABLE lead_stop
    DROP CONSTRAINT lead_stop_reason_check,
    ADD CONSTRAINT lead_stop_reason_check CHECK (reason IN ('replied', 'hard_bounce', 'soft_bounce', 'unsubscribe',
        'complaint', 'left_company', 'absent', 'suppressed', 'marked', 'erased')) NOT VALID;
ALTER TABLE lead_stop VALIDATE CONSTRAINT lead_stop_reason_check;
