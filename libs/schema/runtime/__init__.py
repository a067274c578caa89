"""The few lines that keep the contract: database, clock, journal, consumption, stops, start and end.

No business word stands here.
"""
