"""SQL of kept answers: the same Idempotency-Key gets the same response."""

from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from libs.schema.runtime.db import Tx, fetch_one


class KeptAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What the first request with a key was and what it was answered."""

    request_hash: bytes
    response_status: int
    response_headers: dict[str, Any]
    response_body: bytes


LOCK_ANSWER = """
SELECT pg_try_advisory_xact_lock(hashtextextended('idempotency/' || $1::uuid || '/' || $2::text, 0))
"""


async def lock_answer(tx: Tx, team_id: UUID, key: str) -> bool:
    """Whether this transaction is the only one that works on the key now; the lock ends with it."""
    return await tx.fetchval(LOCK_ANSWER, team_id, key)


FIND_ANSWER = """
SELECT request_hash, response_status, response_headers, response_body
FROM idempotency_key
WHERE team_id = $1
    AND key = $2
    AND response_status IS NOT NULL
"""


async def find_answer(tx: Tx, team_id: UUID, key: str) -> KeptAnswer | None:
    """The kept answer, if the key was used before."""
    return await fetch_one(tx, KeptAnswer, FIND_ANSWER, team_id, key)


KEEP_ANSWER = """
INSERT INTO idempotency_key
    (team_id, key, request_hash, response_status, response_headers, response_body, created_at)
VALUES ($1, $2, $3, $4, $5, $6, $7)
"""


async def keep_answer(tx: Tx, team_id: UUID, key: str, answer: KeptAnswer, at: datetime) -> None:
    """Keeps the answer in the transaction of the work that it reports."""
    await tx.execute(
        KEEP_ANSWER,
        team_id,
        key,
        answer.request_hash,
        answer.response_status,
        answer.response_headers,
        answer.response_body,
        at,
    )
