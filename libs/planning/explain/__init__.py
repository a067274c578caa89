"""Why one lead is mailed, is not, or when, at any instant.

Queries reads the case, past puts it back to an earlier instant, answer asks the gates, sayings finds the words.
"""
