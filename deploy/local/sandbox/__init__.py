"""The sandbox mail world: a mail provider and the people behind its addresses; must never reach a real mailbox.

Real SMTP (STARTTLS and AUTH before MAIL) and real IMAP (implicit TLS) on loopback with a CA of its own. Any address
logs in with any password but `wrong`; recipients behave by the first word of their address (recipients.py).

Owns: its data directory: mailboxes, what is yet to arrive, the SMTP log (log.py, the judge of what was sent), the CA.
Reads: nothing else. Hears: its control endpoint (control.py). Tells: nothing.
"""
