"""Wiring of analytics: one projection over the whole stream, and three jobs. Never decides, only puts together."""

from functools import partial

from libs.schema.runtime.service import Loop, Service, open_runtime
from libs.schema.runtime.settings import Settings
from services.analytics import jobs
from services.analytics.handlers import Counting

SETTINGS = Settings


async def build(settings: Settings) -> Service:
    """The service, ready to run.

    Raises:
        OSError, asyncpg.PostgresError: the database cannot be reached or refuses the login.

    """
    runtime = await open_runtime(settings, "analytics")
    return Service(
        name="analytics",
        runtime=runtime,
        projections=(Counting(),),
        loops=(
            # For display only (caps count the ledger), so some seconds late is early enough.
            Loop(name="refresh_inboxes", tick=partial(jobs.refresh_inboxes, runtime), idle_s=5.0),
            Loop(name="judge_tests", tick=jobs.Judge(runtime).judge_tests, idle_s=30.0),
            Loop(name="make_months", tick=partial(jobs.make_months, runtime), idle_s=3600.0),
        ),
    )
