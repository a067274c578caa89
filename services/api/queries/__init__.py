"""The API's SQL, a file a noun: run in a request's transaction as coldstream_tenant, so that RLS is the second wall.

`gate.py` and `optout.py` hold what the login itself runs: finding a key, and the public opt-out, which has no caller.
"""
