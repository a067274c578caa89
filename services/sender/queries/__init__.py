"""The sender's SQL: every statement a whole constant right above its one function, set-based.

Never one statement per row where one can do them all, and never `now()`: business time comes in as a parameter.
"""
