"""Commands on the tables themselves: migrate, reset."""

import os

from deploy.commands.terminal import DONE, NO, carry_out, print_line, progress
from libs.schema import migrate as migrations
from libs.schema.runtime.streams import ensure_streams


def migrate(database_url: str, nats_url: str | None) -> int:
    """Applies what is missing and names it; a second call applies nothing. Logins with a password set get it."""

    async def work() -> int:
        applied = await migrations.migrate(database_url, passwords=_passwords())
        for name in applied:
            print_line(name)
        progress.print(f"{len(applied)} applied" if applied else "nothing to apply")
        if nats_url is not None:
            await ensure_streams(nats_url)
            progress.print("stream and consumers are there")
        return DONE

    try:
        return carry_out(work())
    except migrations.MigrationError as error:
        progress.print(str(error), markup=False)
        return NO


def _passwords() -> dict[str, str]:
    """What each service may log in with, from COLDSTREAM_DB_PASSWORD_SENDER and so on; others stay as they are."""
    variables = {service: f"COLDSTREAM_DB_PASSWORD_{service.upper()}" for service in migrations.SERVICES}
    return {service: os.environ[variable] for service, variable in variables.items() if variable in os.environ}


def reset(database_url: str, *, yes: bool) -> int:
    """Drops everything that `migrate` made; without `yes` it only says so and returns NO."""
    if not yes:
        progress.print("this drops every table of Coldstream with all its rows; say --yes")
        return NO

    async def work() -> int:
        await migrations.reset(database_url)
        progress.print("dropped; `coldstream migrate` makes it anew")
        return DONE

    return carry_out(work())
