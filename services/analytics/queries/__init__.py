"""The SQL of the projections: a batch of events is a handful of statements, whatever its size.

Every table is named without its schema: a rebuild runs the same text with `shadow` first in its search path.
Never deletes, and only ever inserts where the row's owner still exists (design.md §9.13).
"""
