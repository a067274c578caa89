"""Mailboxes of a real Dovecot: a step of CI of its own (`make dovecot`), since its packages come from Debian."""
