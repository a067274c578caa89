"""The sender's decisions: values in, values out. Never a clock, a database, a socket or chance in here."""
