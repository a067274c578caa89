"""Commands for operating an installation: run, settings, the kill switch; must never print a kept secret."""

import importlib
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import msgspec

from deploy.commands.terminal import DONE, UNREACHED, carry_out, print_json, print_table, progress
from libs.schema.runtime import barrier
from libs.schema.runtime.clock import Clock
from libs.schema.runtime.db import close_pool, open_pool, transaction
from libs.schema.runtime.settings import Settings, load
from services.__main__ import main

SET_PAUSED = """
UPDATE installation
SET paused = $1, paused_reason = $2, paused_at = $3
WHERE paused <> $1
RETURNING id
"""
# The audit log belongs to teams, and each of them is told.
AUDIT_FOR_ALL = """
INSERT INTO audit_log (team_id, actor, action, target, detail, at)
SELECT id, 'system', $1, $2, $3, $4
FROM teams
ORDER BY id
"""


def run(role: str) -> int:
    """Runs the service in this process until it is told to stop; UNREACHED when a setting is missing."""
    return UNREACHED if main(role) else DONE


def pause(database_url: str, reason: str) -> int:
    """Sets the kill switch behind the stop barrier: when it returns, no send can pass its point of no return."""
    return carry_out(_switch(database_url, paused=True, reason=reason))


def unpause(database_url: str) -> int:
    """Takes the kill switch back; a second call changes nothing."""
    return carry_out(_switch(database_url, paused=False, reason=None))


async def _switch(database_url: str, *, paused: bool, reason: str | None) -> int:
    pool = await open_pool(database_url, application_name="coldstream-cli", max_size=1)
    try:
        clock = Clock()
        await clock.refresh(pool)
        now = clock.now()
        async with transaction(pool) as tx:
            await barrier.stop_everything(tx)
            installation = await tx.fetchval(SET_PAUSED, paused, reason, now if paused else None)
            if installation is not None:
                action = "installation.pause" if paused else "installation.unpause"
                await tx.execute(AUDIT_FOR_ALL, action, f"installation/{installation}", {"reason": reason}, now)
    finally:
        await close_pool(pool)
    state = "paused" if paused else "sending"
    progress.print(state if installation is not None else f"was {state} already")
    return DONE


def config_show(role: str, *, as_json: bool) -> int:
    """The settings that `run ROLE` would read from this environment; of secrets only that they are set."""

    async def work() -> int:
        kind: type[Settings] = importlib.import_module(f"services.{role}.app").SETTINGS
        settings = load(kind)
        shown = {field: _shown(field, getattr(settings, field)) for field in kind.__struct_fields__}
        if as_json:
            print_json(shown)
        else:
            print_table(["setting", "value"], [[field, str(value)] for field, value in shown.items()])
        return DONE

    return carry_out(work())


def _shown(field: str, value: Any) -> Any:
    """Keys and secrets only as set, URLs without their passwords, the rest as it is."""
    if isinstance(value, bytes) or (field.endswith("_secret") and value is not None):
        return "(set)"
    if isinstance(value, str) and urlsplit(value).password is not None:
        parts = urlsplit(value)
        return urlunsplit(parts._replace(netloc=f"{parts.username}:(set)@{parts.netloc.rpartition('@')[2]}"))
    return msgspec.to_builtins(value)
