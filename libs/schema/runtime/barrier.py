"""The stop barrier: whoever stops a person, a campaign or everything locks out every send that has not passed T2 yet.

A sender takes all three locks shared, in the order person, campaign, installation, and reads the stop rows in a second
statement, so that its snapshot is younger than the locks (design.md §5.5). Whoever stops takes the one lock exclusively
before it writes; more than one person is always locked in ascending key order. The locks end with the transaction.
"""

from collections.abc import AsyncGenerator, Iterable
from contextlib import asynccontextmanager
from uuid import UUID

from libs.schema.runtime.db import Pool, Tx, transaction_after

# One number space for our advisory locks; hashtextextended spreads the keys over 64 bits.
LOCK_EXCLUSIVE = """
SELECT pg_advisory_xact_lock(hashtextextended(key, 0))
FROM unnest($1::text[]) WITH ORDINALITY AS k(key, n)
ORDER BY n
"""
# Without parameters, so that it can go along with BEGIN: a key is made of ids and hexadecimal digits only.
_LOCK_SHARED = "SELECT pg_advisory_xact_lock_shared(hashtextextended('{key}', 0));"
_INSTALLATION = "barrier/installation"


def _person(team_id: UUID, lead_key: bytes) -> str:
    return f"barrier/person/{team_id}/{lead_key.hex()}"


def _campaign(campaign_id: UUID) -> str:
    return f"barrier/campaign/{campaign_id}"


async def enter(tx: Tx, team_id: UUID, lead_key: bytes, campaign_id: UUID | None) -> None:
    """Waits until no stop for this send is being written and keeps new ones out until the transaction ends.

    Raises:
        asyncpg.LockNotAvailableError: a stop has held its lock for longer than `lock_timeout`.

    """
    await tx.execute(_shared(team_id, lead_key, campaign_id))


@asynccontextmanager
async def inside(pool: Pool, team_id: UUID, lead_key: bytes, campaign_id: UUID | None) -> AsyncGenerator[Tx]:
    """A transaction that has entered the barrier with its first round trip; raises as `transaction` and `enter` do."""
    async with transaction_after(pool, _shared(team_id, lead_key, campaign_id)) as tx:
        yield tx


def _shared(team_id: UUID, lead_key: bytes, campaign_id: UUID | None) -> str:
    """Statements that take the three locks one after the other."""
    keys = [_person(team_id, lead_key), *([_campaign(campaign_id)] if campaign_id else []), _INSTALLATION]
    return "\n".join(_LOCK_SHARED.format(key=key) for key in keys)


async def stop_people(tx: Tx, team_id: UUID, lead_keys: Iterable[bytes]) -> None:
    """Waits for the sends to these people that are passing T2; call it before inserting their stop rows."""
    await tx.execute(LOCK_EXCLUSIVE, [_person(team_id, key) for key in sorted(set(lead_keys))])


async def stop_campaign(tx: Tx, campaign_id: UUID) -> None:
    """The same for a whole campaign; call it before its status leaves 'active'."""
    await tx.execute(LOCK_EXCLUSIVE, [_campaign(campaign_id)])


async def stop_everything(tx: Tx) -> None:
    """The same for the installation; call it before `installation.paused` is set."""
    await tx.execute(LOCK_EXCLUSIVE, [_INSTALLATION])
