"""Projections: the stream in order, in batches, each applied in one transaction with the move of its offset."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from libs.schema.events.base import Envelope, Event
from libs.schema.runtime.db import Tx


@dataclass(frozen=True, kw_only=True)
class Projected:
    """One event with its place in the stream."""

    seq: int
    envelope: Envelope
    event: Event


class Projection(Protocol):
    """A read model: what events make of rows."""

    name: str

    async def apply(self, tx: Tx, batch: Sequence[Projected]) -> None:
        """Writes what the events mean, in their order; must be idempotent, since a parked event can be run again."""
        ...
