"""How a command talks: data to stdout, the rest to stderr, an exit code; must never print anything else to stdout."""

import asyncio
import logging
import sys
from collections.abc import Coroutine
from typing import Any

import msgspec
from rich.console import Console
from rich.table import Table

from libs.schema.runtime.settings import SettingsError

DONE, NO, UNREACHED = 0, 1, 3

progress = Console(stderr=True, highlight=False, soft_wrap=True)
_data = Console(highlight=False, soft_wrap=True)


def carry_out(work: Coroutine[Any, Any, int]) -> int:
    """Runs the work and returns its exit code; what lies outside of us (server, setting) is one line and UNREACHED."""
    # Only who reaches for a server pays for its driver.
    import asyncpg  # noqa: PLC0415
    import nats.errors  # noqa: PLC0415
    import structlog  # noqa: PLC0415

    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    try:
        return asyncio.run(work)
    except SettingsError as error:
        progress.print(str(error), markup=False)
    except (
        OSError,
        nats.errors.Error,
        asyncpg.PostgresConnectionError,
        asyncpg.InvalidAuthorizationSpecificationError,
    ) as error:
        progress.print(f"not reached: {error or type(error).__name__}", markup=False)
    return UNREACHED


def print_json(value: Any, *, one_line: bool = False) -> None:
    """The value as JSON on stdout, the same words as the Structs' fields."""
    encoded = msgspec.json.encode(value)
    text = encoded if one_line else msgspec.json.format(encoded, indent=2)
    sys.stdout.write(text.decode() + "\n")
    sys.stdout.flush()


def print_table(columns: list[str], rows: list[list[str]]) -> None:
    """Rows under their names on stdout; columns as wide as they need when nobody watches."""
    table = Table(*columns, box=None, pad_edge=False)
    for row in rows:
        table.add_row(*row)
    _data.print(table)


def print_line(text: str) -> None:
    """One line of data on stdout."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()
