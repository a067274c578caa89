"""`coldstream keys`: API keys; must never print one that was made before."""

from uuid import UUID

import asyncpg

from deploy.commands.terminal import DONE, NO, carry_out, print_json, print_line, progress
from libs.schema.runtime.clock import Clock
from libs.schema.runtime.db import close_pool, open_pool, transaction
from services.api import accounts


def create(database_url: str, team_id: UUID, name: str, *, as_json: bool) -> int:
    """Makes an API key with the owner's rights and prints it, the only time that it can be seen."""

    async def work() -> int:
        pool = await open_pool(database_url, application_name="coldstream-cli", max_size=1)
        try:
            clock = Clock()
            await clock.refresh(pool)
            async with transaction(pool) as tx:
                key = await accounts.create_key(tx, team_id=team_id, name=name, now=clock.now())
        except asyncpg.ForeignKeyViolationError:
            progress.print(f"there is no team {team_id}")
            return NO
        finally:
            await close_pool(pool)
        if as_json:
            print_json({"api_key": key, "team_id": team_id})
        else:
            print_line(key)
        return DONE

    return carry_out(work())
