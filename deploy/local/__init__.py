"""The whole platform on one machine, and the only importer of all services; it must never be needed by a service.

Owns: a data directory with an embedded PostgreSQL, an embedded NATS and the sandbox mail world, one folder each.
Reads: nothing of the platform's tables.
Hears: nothing. Tells: nothing.
"""
