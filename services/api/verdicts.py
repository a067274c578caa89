"""What became of each row of a batch; never one verdict for all."""

from typing import Literal
from uuid import UUID

import msgspec

from services.api.resources import Resource


class RowFault(Resource, frozen=True, kw_only=True):
    """One thing that is wrong with a row of a batch."""

    field: str
    code: str
    detail: str
    mend: str | None = None


class RowResult(Resource, frozen=True, kw_only=True):
    """What became of one row of a batch; `index` is its place in the request, from 0."""

    index: int
    outcome: Literal["created", "updated", "skipped", "rejected"]
    id: UUID | None = None
    reason: Literal["duplicate", "duplicate_in_batch", "suppressed"] | None = None
    errors: list[RowFault] = msgspec.field(default_factory=list[RowFault])


class BatchResult(Resource, frozen=True, kw_only=True):
    """A result for each row, in the order of the request, and how many of each kind."""

    created: int
    updated: int
    skipped: int
    rejected: int
    results: list[RowResult]
