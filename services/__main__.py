"""`python -m services NAME`: reads the settings of one service, builds it, runs it. Knows no service by name."""

import asyncio
import sys
from importlib import import_module
from typing import Any, Final

from libs.schema.runtime.service import run
from libs.schema.runtime.settings import SettingsError, load

NAMES: Final = ("api", "api.webhooks", "sender", "warmup", "replies", "analytics")
_USAGE: Final = 64  # sysexits.h EX_USAGE
_CONFIG: Final = 78  # EX_CONFIG


def main(name: str) -> int:
    """Runs the service until a signal ends it; returns the exit code: 0, or 78 when settings are missing or wrong."""
    app: Any = import_module(f"services.{name}.app")
    try:
        settings = load(app.SETTINGS)
    except SettingsError as error:
        sys.stderr.write(f"{error}\n")
        return _CONFIG
    asyncio.run(_build_and_run(app, settings))
    return 0


async def _build_and_run(app: Any, settings: Any) -> None:
    await run(await app.build(settings))


if __name__ == "__main__":
    if len(sys.argv) != 2 or sys.argv[1] not in NAMES:
        sys.stderr.write(f"usage: python -m services {'|'.join(NAMES)}\n")
        sys.exit(_USAGE)
    sys.exit(main(sys.argv[1]))
