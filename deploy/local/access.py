"""The one team of a data directory, its owner and its key; must never make a second team."""

from pathlib import Path

import msgspec

from deploy.local.kept import write_private
from libs.schema.runtime.clock import Clock
from libs.schema.runtime.db import close_pool, open_pool, transaction
from services.api import accounts

SLUG = "home"
OWNER = "owner@coldstream.test"


class Access(msgspec.Struct, frozen=True, kw_only=True):
    """Who one is to the API."""

    team_id: str
    api_key: str


async def kept_access(path: Path, database_url: str) -> Access:
    """The access kept in `path` (mode 600), made at the first call; the URL is the database owner's.

    The key is kept after it is committed: if we die in between, the next call makes another one for the same team.
    """
    kept = _read(path)
    if kept is None:
        kept = await _make(database_url)
        write_private(path, msgspec.json.encode(kept))
    return kept


def _read(path: Path) -> Access | None:
    return msgspec.json.decode(path.read_bytes(), type=Access) if path.exists() else None


async def _make(database_url: str) -> Access:
    pool = await open_pool(database_url, application_name="coldstream-up", max_size=1)
    try:
        clock = Clock()
        await clock.refresh(pool)
        now = clock.now()
        async with transaction(pool) as tx:
            team_id = await accounts.find_team(tx, SLUG)
            if team_id is None:
                team_id, _ = await accounts.create_team_and_owner(tx, name="Home", slug=SLUG, email=OWNER, now=now)
            key = await accounts.create_key(tx, team_id=team_id, name="coldstream up", now=now)
    finally:
        await close_pool(pool)
    return Access(team_id=str(team_id), api_key=key)
