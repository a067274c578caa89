"""Rows as parameters of unnest; holds no SQL of its own."""

from collections.abc import Iterable, Sequence
from typing import Any


def columns(rows: Iterable[Any], names: Sequence[str]) -> list[list[Any]]:
    """The rows turned on their side: one list per name, as unnest wants them."""
    return [[getattr(row, name) for row in rows] for name in names]
