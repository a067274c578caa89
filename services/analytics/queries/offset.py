"""How far the projection has come; only the runtime moves it."""

from libs.schema.runtime.db import Tx, fetch_one
from libs.schema.runtime.project import Offset

READ_OFFSET = "SELECT last_seq, last_event_id FROM projection_offset WHERE projection = 'analytics'"
HOLD_OFFSET = "SELECT last_seq, last_event_id FROM projection_offset WHERE projection = 'analytics' FOR UPDATE"


async def read_offset(tx: Tx) -> Offset:
    """How far the projection has come."""
    return await fetch_one(tx, Offset, READ_OFFSET) or Offset()


async def hold_offset(tx: Tx) -> Offset:
    """The same, and the projection waits there until the transaction ends."""
    return await fetch_one(tx, Offset, HOLD_OFFSET) or Offset()
