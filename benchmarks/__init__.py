"""How fast, always against a bare baseline that runs beside it in the same minutes; a bench never passes or fails.

A machine's absolute figures say little: they are shown for information, the ratio is what can be compared.
"""
