"""Wiring of warmup: the frame that every service has, and nothing in it yet; plans nothing, hears nothing."""

from libs.schema.runtime.service import Service, open_runtime
from libs.schema.runtime.settings import Settings

SETTINGS = Settings


async def build(settings: Settings) -> Service:
    """The service, ready to run: relay and auditor, as in every process.

    Raises:
        OSError, asyncpg.PostgresError: the database cannot be reached or refuses the login.

    """
    return Service(name="warmup", runtime=await open_runtime(settings, "warmup"))
