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
    await tx.execute(_shared([(team_id, lead_key, campaign_id)]))


@asynccontextmanager
async def inside(pool: Pool, sends: Iterable[tuple[UUID, bytes, UUID | None]]) -> AsyncGenerator[Tx]:
    """A transaction that has entered the barrier for sends of (team, person, campaign) with its first round trip.

    Raises as `transaction` and `enter` do.
    """
    async with transaction_after(pool, _shared(sends)) as tx:
        yield tx


def _shared(sends: Iterable[tuple[UUID, bytes, UUID | None]]) -> str:
    """Statements that take the locks one after the other."""
    teams, lead_keys, campaign_ids = zip(*sends, strict=True)
    people = sorted(set(zip(lead_keys, teams, strict=True)))
    campaigns = sorted({campaign_id for campaign_id in campaign_ids if campaign_id})
    keys = (*(_person(team_id, key) for key, team_id in people), *map(_campaign, campaigns), _INSTALLATION)
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
